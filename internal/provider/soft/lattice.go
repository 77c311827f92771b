package soft

import (
	"crypto"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"

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
	return spki(pkix.AlgorithmIdentifier{Algorithm: append(nistSignatures[:len(nistSignatures):len(nistSignatures)], last)}, public)
}

// latticeKey is one expanded key of some size.
type latticeKey struct {
	sign   func(message []byte) ([]byte, error)
	verify func(message, signature []byte) bool
	erase  func() // of the expanded private key
}

// lattice is one parameter set.
type lattice struct {
	oid    int                                                       // last arc
	expand func(seed *[latticeSeed]byte) (k *latticeKey, pub []byte) // Algorithm 6
}

var lattices = map[kms.Algorithm]lattice{
	kms.MLDSA44: {17, func(seed *[latticeSeed]byte) (*latticeKey, []byte) {
		public, private := mldsa44.NewKeyFromSeed(seed)
		return &latticeKey{
			sign: func(message []byte) ([]byte, error) {
				out := make([]byte, mldsa44.SignatureSize)
				return out, mldsa44.SignTo(private, message, nil, true, out)
			},
			verify: func(message, signature []byte) bool { return mldsa44.Verify(public, message, nil, signature) },
			erase:  func() { *private = mldsa44.PrivateKey{} },
		}, public.Bytes()
	}},
	kms.MLDSA65: {18, func(seed *[latticeSeed]byte) (*latticeKey, []byte) {
		public, private := mldsa65.NewKeyFromSeed(seed)
		return &latticeKey{
			sign: func(message []byte) ([]byte, error) {
				out := make([]byte, mldsa65.SignatureSize)
				return out, mldsa65.SignTo(private, message, nil, true, out)
			},
			verify: func(message, signature []byte) bool { return mldsa65.Verify(public, message, nil, signature) },
			erase:  func() { *private = mldsa65.PrivateKey{} },
		}, public.Bytes()
	}},
	kms.MLDSA87: {19, func(seed *[latticeSeed]byte) (*latticeKey, []byte) {
		public, private := mldsa87.NewKeyFromSeed(seed)
		return &latticeKey{
			sign: func(message []byte) ([]byte, error) {
				out := make([]byte, mldsa87.SignatureSize)
				return out, mldsa87.SignTo(private, message, nil, true, out)
			},
			verify: func(message, signature []byte) bool { return mldsa87.Verify(public, message, nil, signature) },
			erase:  func() { *private = mldsa87.PrivateKey{} },
		}, public.Bytes()
	}},
}

func makeLattice(p *Provider, a kms.Algorithm) (*secret.Bytes, []byte, error) {
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
	k.erase()
	return s, k.public, nil
}

func parseLattice(a kms.Algorithm, s *secret.Bytes) (*key, error) {
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
	k, raw := set.expand((*[latticeSeed]byte)(seed.Reveal(reveal.Key{})))
	public, err := nistPublic(set.oid, raw)
	if err != nil {
		k.erase()
		return nil, err
	}
	return &key{private: k, public: public}, nil
}

func latticeSign(k *key, _ crypto.Hash, message []byte) ([]byte, error) {
	return k.private.(*latticeKey).sign(message)
}

func latticeVerify(k *key, _ crypto.Hash, message, signature []byte) bool {
	return k.private.(*latticeKey).verify(message, signature)
}
