package soft

import (
	"crypto/subtle"
	"slices"

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

// withMAC is set in the form of material beside which a MAC key stands: its bytes follow those of the key. Material that is a MAC key is its own, for every
// hash, and nothing follows it.
const withMAC = 0x80

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
	beside    bool          // a MAC key stands beside it
	mac       *secret.Bytes // that one; nil: the material is its own
}

func (m *material) erase() {
	m.secret.Zero()
	m.mac.Zero()
}

// ownMAC tells whether keys of an algorithm are MAC keys themselves.
func ownMAC(a kms.Algorithm) bool { return a.Facts().MaxBytes > 0 }

// wrap seals the material for one place.
func (m *material) wrap(k *box.Key, place []byte) ([]byte, error) {
	header := []byte{materialVersion, byte(m.algorithm), byte(m.form)}
	inside := m.secret.Reveal(reveal.Key{})
	if m.beside {
		header[2] |= withMAC
	}
	if m.mac != nil {
		inside = slices.Concat(inside, m.mac.Reveal(reveal.Key{}))
		defer clear(inside)
	}
	out := make([]byte, materialHeader, materialHeader+box.Overhead+len(inside))
	copy(out, header)
	out, err := k.Seal(out, box.Material, header, inside, place)
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
	m, err := unwrapMaterial(kind, a, wrapped, wrap, place)
	if err != nil {
		return nil, err
	}
	k, err := p.parse(kind, m, check)
	if err != nil {
		return nil, err
	}
	return &handle{algorithm: a, profile: p.profile, key: k, beside: m.beside}, nil
}

// unseal does the same and keeps the material itself too.
func (p *Provider) unseal(kind *kind, a kms.Algorithm, wrapped []byte, wrap *box.Key, place, check []byte) (*material, *key, error) {
	m, err := unwrapMaterial(kind, a, wrapped, wrap, place)
	if err != nil {
		return nil, nil, err
	}
	kept := *m
	kept.secret = secret.Copy(m.secret.Reveal(reveal.Key{}))
	if m.mac != nil {
		kept.mac = secret.Copy(m.mac.Reveal(reveal.Key{}))
	}
	k, err := p.parse(kind, m, check)
	if err != nil {
		kept.erase()
		return nil, nil, err
	}
	kept.public = k.public
	return &kept, k, nil
}

// unwrapMaterial is the place where every wrapped form is read.
func unwrapMaterial(kind *kind, a kms.Algorithm, wrapped []byte, wrap *box.Key, place []byte) (*material, error) {
	if len(wrapped) < materialHeader+box.Overhead || len(wrapped) > MaxWrapped {
		return nil, damaged(nil)
	}
	header := wrapped[:materialHeader]
	if header[0] != materialVersion || header[1] != byte(a) || header[2]&^withMAC != byte(kind.form) {
		return nil, damaged(nil)
	}
	raw, err := wrap.Open(nil, box.Material, header, wrapped[materialHeader:], place)
	if err != nil {
		return nil, damaged(err)
	}
	m := &material{algorithm: a, form: kind.form, beside: header[2]&withMAC != 0}
	if m.beside && !ownMAC(a) {
		at := len(raw) - kms.MACKeyBytes
		if at < 0 {
			clear(raw)
			return nil, damaged(nil)
		}
		m.mac = secret.Copy(raw[at:])
		clear(raw[at:])
		raw = raw[:at:at]
	}
	m.secret = secret.Take(raw)
	return m, nil
}

// parse makes a key of material, which it owns, and verifies its check value.
func (p *Provider) parse(kind *kind, m *material, check []byte) (*key, error) {
	k, err := kind.parse(p, m.algorithm, m.secret)
	if err != nil {
		m.mac.Zero()
		return nil, damaged(err)
	}
	k.mac = m.mac
	if m.beside && k.mac == nil {
		k.mac = k.raw
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
