package soft

import (
	"crypto"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// ML-DSA, FIPS 204: "pure" signatures of the message itself with an empty context, hedged (§3.4). The material is the seed ξ.
const latticeSeed = 32

// nistSignatures is the arc of NIST's signature algorithms. ML-DSA: RFC 9881 §2; SLH-DSA: RFC 9909 §3. No parameters.
var nistSignatures = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3}

func nistPublic(last int, public []byte) ([]byte, error) {
	return spki(pkix.AlgorithmIdentifier{Algorithm: nistID(last)}, public)
}

func nistID(last int) asn1.ObjectIdentifier {
	return append(nistSignatures[:len(nistSignatures):len(nistSignatures)], last)
}

// latticeKey is one expanded private key of some size.
type latticeKey struct {
	sign   func(message []byte) ([]byte, error)
	signMu func(mu []byte) ([]byte, error) // the message representative μ in the place of the message
	erase  func()
}

// latticePublic verifies with one public key of some size.
type latticePublic func(message, signature []byte) bool

// lattice is one parameter set.
type lattice struct {
	oid    int                                                                // last arc
	expand func(seed *[latticeSeed]byte) (*latticeKey, latticePublic, []byte) // FIPS 204 algorithm 6
	read   func(public []byte) (latticePublic, error)
}

var lattices = map[kms.Algorithm]lattice{
	kms.MLDSA44: latticeOf(17, mldsa.MLDSA44(), mldsa44.SignatureSize, mldsa44.NewKeyFromSeed, mldsa44.SignTo, mldsa44.Verify),
	kms.MLDSA65: latticeOf(18, mldsa.MLDSA65(), mldsa65.SignatureSize, mldsa65.NewKeyFromSeed, mldsa65.SignTo, mldsa65.Verify),
	kms.MLDSA87: latticeOf(19, mldsa.MLDSA87(), mldsa87.SignatureSize, mldsa87.NewKeyFromSeed, mldsa87.SignTo, mldsa87.Verify),
}

// packed is a public key that reads and writes its encoding.
type packed[T any] interface {
	*T
	Bytes() []byte
	UnmarshalBinary([]byte) error
}

// latticeOf makes a row from the functions of one size, which are the same but for their types.
func latticeOf[Public, Private any, P packed[Public]](oid int, set mldsa.Parameters, size int, expand func(*[latticeSeed]byte) (P, *Private),
	sign func(k *Private, message, context []byte, randomized bool, signature []byte) error,
	verify func(k P, message, context, signature []byte) bool,
) lattice {
	verifier := func(public P) latticePublic {
		return func(message, signature []byte) bool { return verify(public, message, nil, signature) }
	}
	return lattice{
		oid: oid,
		expand: func(seed *[latticeSeed]byte) (*latticeKey, latticePublic, []byte) {
			public, private := expand(seed)
			return &latticeKey{
				sign: func(message []byte) ([]byte, error) {
					out := make([]byte, size)
					return out, sign(private, message, nil, true, out)
				},
				signMu: func(mu []byte) ([]byte, error) {
					return signMu(set, any(private).(interface{ Seed() []byte }).Seed(), mu)
				}, //nolint:errcheck,forcetypeassert // all three sizes have it
				erase: func() { *private = *new(Private) },
			}, verifier(public), public.Bytes()
		},
		read: func(raw []byte) (latticePublic, error) {
			public := P(new(Public))
			return verifier(public), public.UnmarshalBinary(raw)
		},
	}
}

func makeLattice(p *Provider, a kms.Algorithm, _ int) (*secret.Bytes, []byte, error) {
	seed := make([]byte, latticeSeed)
	if err := p.random.fill(seed); err != nil {
		return nil, nil, err
	}
	s := secret.Take(seed)
	k, err := expand(a, s)
	if err != nil {
		s.Zero()
		return nil, nil, err
	}
	erasePrivate(k.private)
	return s, k.public, nil
}

func parseLattice(_ *Provider, a kms.Algorithm, s *secret.Bytes) (*key, error) {
	defer s.Zero()
	if err := wantBytes(s, latticeSeed); err != nil {
		return nil, err
	}
	return expand(a, s)
}

func expand(a kms.Algorithm, seed *secret.Bytes) (*key, error) {
	set, ok := lattices[a]
	if !ok {
		return nil, fmt.Errorf("%s is not ML-DSA", a)
	}
	k, verifier, raw := set.expand((*[latticeSeed]byte)(seed.Reveal(reveal.Key{})))
	public, err := nistPublic(set.oid, raw)
	if err != nil {
		k.erase()
		return nil, err
	}
	return &key{private: k, public: public, verifier: verifier}, nil
}

func latticeSign(k *key, _ crypto.Hash, message []byte, _ kms.Salt) ([]byte, error) {
	return k.private.(*latticeKey).sign(message)
}

// muSize is the length of μ in bytes (FIPS 204 §6.2).
const muSize = 64

// signMu signs a message representative that was made elsewhere (FIPS 204 §6.2, "external μ"; RFC 9881 appendix D), hedged. The library that does everything else
// has no door for it; latticemu.go verifies.
func signMu(set mldsa.Parameters, seed, mu []byte) (signature []byte, err error) {
	defer clear(seed)
	secret.Do(func() {
		var k *mldsa.PrivateKey
		if k, err = mldsa.NewPrivateKey(set, seed); err == nil {
			signature, err = k.Sign(nil, mu, mldsacrypto.MLDSAMu)
		}
	})
	return signature, err
}

func latticeSignMu(k *key, mu []byte) ([]byte, error) { return k.private.(*latticeKey).signMu(mu) }

func latticeVerifyMu(k *key, mu, signature []byte) bool {
	for a, set := range latticeSets {
		const header = 64 // more than what stands before the key in its SubjectPublicKeyInfo, and less than sets differ by
		if at := len(k.public) - set.publicBytes; at > 0 && at < header {
			return verifyMu(a, k.public[at:], mu, signature)
		}
	}
	return false
}

func latticeVerify(k *key, _ crypto.Hash, message, signature []byte, _ kms.Salt) bool {
	return k.verifier.(latticePublic)(message, signature)
}
