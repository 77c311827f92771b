package soft

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	koblitz "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// scalarSize is the length of a secp256k1 private key: a big-endian scalar from 1 to the order less one, SEC 1 §3.2.1.
const scalarSize = 32

// scalarTries bounds the search for a scalar in range: a random one is out of it less than once in 2^127.
const scalarTries = 4

// Object identifiers of SubjectPublicKeyInfo: RFC 5480 §2.1.1, SEC 2 §A.2.1.
var (
	oidPublicKeyEC = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidSecp256k1   = asn1.ObjectIdentifier{1, 3, 132, 0, 10}
)

var errScalar = errors.New("the private key is not a scalar of secp256k1")

func makeKoblitz(p *Provider, _ kms.Algorithm, _ int) (*secret.Bytes, []byte, error) {
	b := make([]byte, scalarSize)
	for range scalarTries {
		if err := p.random.fill(b); err != nil {
			return nil, nil, err
		}
		k, err := scalar(b)
		if err != nil {
			continue
		}
		public, err := koblitzPublic(k)
		k.Zero()
		if err != nil {
			clear(b)
			return nil, nil, err
		}
		return secret.Take(b), public, nil
	}
	clear(b)
	return nil, nil, errScalar
}

func parseKoblitz(_ *Provider, _ kms.Algorithm, s *secret.Bytes) (*key, error) {
	defer s.Zero()
	if err := wantBytes(s, scalarSize); err != nil {
		return nil, err
	}
	k, err := scalar(s.Reveal(reveal.Key{}))
	if err != nil {
		return nil, err
	}
	public, err := koblitzPublic(k)
	if err != nil {
		k.Zero()
		return nil, err
	}
	return &key{private: k, public: public, verifier: k.PubKey()}, nil
}

func scalar(b []byte) (*secp256k1.PrivateKey, error) {
	var n secp256k1.ModNScalar
	defer n.Zero()
	if overflow := n.SetByteSlice(b); overflow || n.IsZero() {
		return nil, errScalar
	}
	return secp256k1.NewPrivateKey(&n), nil
}

// koblitzPublic is the SubjectPublicKeyInfo with the uncompressed point, RFC 5480 §2.
func koblitzPublic(k *secp256k1.PrivateKey) ([]byte, error) {
	curve, err := asn1.Marshal(oidSecp256k1)
	if err != nil {
		return nil, err
	}
	return spki(pkix.AlgorithmIdentifier{Algorithm: oidPublicKeyEC, Parameters: asn1.RawValue{FullBytes: curve}}, k.PubKey().SerializeUncompressed())
}

// spki writes a SubjectPublicKeyInfo, RFC 5280 §4.1, for the kinds that crypto/x509 does not know.
func spki(a pkix.AlgorithmIdentifier, public []byte) ([]byte, error) {
	return asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Public    asn1.BitString
	}{a, asn1.BitString{Bytes: public, BitLength: 8 * len(public)}})
}

// koblitzSign is deterministic (RFC 6979) and gives the lower of the two possible s (BIP 62), in DER.
func koblitzSign(k *secp256k1.PrivateKey, digest []byte) []byte {
	return koblitz.Sign(k, digest).Serialize()
}

// koblitzVerify takes strict DER and the lower s alone, so that nobody can make a second signature out of a first.
func koblitzVerify(public *secp256k1.PublicKey, digest, signature []byte) bool {
	sig, err := koblitz.ParseDERSignature(signature)
	if err != nil {
		return false
	}
	s := sig.S()
	return !s.IsOverHalfOrder() && sig.Verify(digest, public)
}
