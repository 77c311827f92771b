package soft

import (
	"crypto/subtle"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
	"github.com/keyhold/keyhold/internal/transport"
)

// form says how material is written inside its wrapping. The numbers are part of the format.
type form uint8

const (
	rawForm   form = 1 // the key itself: AES, HMAC and others
	seedForm  form = 2 // the seed that the key is expanded from: Ed25519, ML-DSA, ML-KEM, X-Wing
	pkcs8Form form = 3 // PKCS #8 PrivateKeyInfo in DER, RFC 5208 §5: ECDSA, ECDH, RSA
)

// The header of wrapped material: 01 | algorithm u8 | form u8. It is authenticated by the box that follows.
const (
	materialVersion = 1
	materialHeader  = 3
)

// material is one version's key while it is being made.
type material struct {
	algorithm kms.Algorithm
	form      form
	secret    *secret.Bytes // as its form says
	public    []byte        // DER SubjectPublicKeyInfo of asymmetric keys
}

func (m *material) erase() { m.secret.Zero() }

// wrap seals the material for one place.
func (m *material) wrap(k *box.Key, place []byte) ([]byte, error) {
	header := []byte{materialVersion, byte(m.algorithm), byte(m.form)}
	out := make([]byte, materialHeader, materialHeader+box.Overhead+m.secret.Len())
	copy(out, header)
	out, err := k.Seal(out, box.Material, header, m.secret.Reveal(reveal.Key{}), place)
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "new key material could not be wrapped").Because(err)
	}
	return out, nil
}

func (m *material) check() []byte {
	if m.public != nil {
		return transport.CheckPublic(m.public)
	}
	return transport.CheckSecret(m.algorithm, m.secret)
}

// open unwraps, parses and verifies.
func (p *Provider) open(kind *kind, a kms.Algorithm, wrapped []byte, wrap *box.Key, place, check []byte) (*handle, error) {
	raw, err := unwrapMaterial(kind, a, wrapped, wrap, place)
	if err != nil {
		return nil, err
	}
	k, err := p.parse(kind, a, raw, check)
	if err != nil {
		return nil, err
	}
	return &handle{algorithm: a, profile: p.profile, key: k}, nil
}

// unseal does the same and keeps the material itself too.
func (p *Provider) unseal(kind *kind, a kms.Algorithm, wrapped []byte, wrap *box.Key, place, check []byte) (*secret.Bytes, *key, error) {
	raw, err := unwrapMaterial(kind, a, wrapped, wrap, place)
	if err != nil {
		return nil, nil, err
	}
	kept := secret.Copy(raw.Reveal(reveal.Key{}))
	k, err := p.parse(kind, a, raw, check)
	if err != nil {
		kept.Zero()
		return nil, nil, err
	}
	return kept, k, nil
}

// unwrapMaterial is the place where every wrapped form is read.
func unwrapMaterial(kind *kind, a kms.Algorithm, wrapped []byte, wrap *box.Key, place []byte) (*secret.Bytes, error) {
	if len(wrapped) < materialHeader+box.Overhead || len(wrapped) > MaxWrapped {
		return nil, damaged(nil)
	}
	header := wrapped[:materialHeader]
	if header[0] != materialVersion || header[1] != byte(a) || header[2] != byte(kind.form) {
		return nil, damaged(nil)
	}
	raw, err := wrap.Open(nil, box.Material, header, wrapped[materialHeader:], place)
	if err != nil {
		return nil, damaged(err)
	}
	return secret.Take(raw), nil
}

// parse makes a key of material, which it owns, and verifies its check value.
func (p *Provider) parse(kind *kind, a kms.Algorithm, raw *secret.Bytes, check []byte) (*key, error) {
	k, err := kind.parse(p, a, raw)
	if err != nil {
		return nil, damaged(err)
	}
	got := k.check()
	if len(got) != CheckSize || subtle.ConstantTimeCompare(got, check) != 1 {
		k.erase()
		return nil, kms.Errorf(kms.CodeCheckValue, "the key material is not what its record says was created")
	}
	return k, nil
}

// damaged is the one error for material that does not open, whatever the reason.
func damaged(cause error) error {
	return kms.Errorf(kms.CodeRecordDamaged, "the key material does not open: it was changed, belongs elsewhere, or was wrapped by another key").Because(cause)
}
