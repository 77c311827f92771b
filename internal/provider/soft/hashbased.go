package soft

import (
	"crypto"
	"crypto/rand"
	"fmt"

	"github.com/cloudflare/circl/sign/slhdsa"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// SLH-DSA, FIPS 205: "pure" signatures of the message itself with an empty context, hedged (§9.2). The material is the private
// key of §9.1: SK.seed ‖ SK.prf ‖ PK.seed ‖ PK.root. Signing takes from 15 milliseconds up, so it waits in the pool.
type hashKey struct{ private slhdsa.PrivateKey }

// erase drops the key: its seeds lie inside the other module, and are gone when the garbage collector reuses them.
func (k *hashKey) erase() { k.private = slhdsa.PrivateKey{} }

// hashSets are the parameter sets with the last arcs of their object identifiers.
var hashSets = map[kms.Algorithm]struct {
	id  slhdsa.ID
	oid int
}{
	kms.SLHDSASHA2128s: {slhdsa.SHA2_128s, 20},
	kms.SLHDSASHA2128f: {slhdsa.SHA2_128f, 21},
}

func makeHash(p *Provider, a kms.Algorithm, _ int) (*secret.Bytes, []byte, error) {
	set := hashSets[a]
	public, private, err := slhdsa.GenerateKey(p.random, set.id)
	if err != nil {
		return nil, nil, err
	}
	der, err := hashPublic(set.oid, &public)
	if err != nil {
		return nil, nil, err
	}
	raw, err := private.MarshalBinary()
	if err != nil {
		return nil, nil, err
	}
	return secret.Take(raw), der, nil
}

func parseHash(_ *Provider, a kms.Algorithm, s *secret.Bytes) (*key, error) {
	defer s.Zero()
	set, ok := hashSets[a]
	if !ok {
		return nil, fmt.Errorf("%s is not SLH-DSA", a)
	}
	if err := wantBytes(s, 2*a.Facts().Bits/8); err != nil { // twice the public key: FIPS 205 §9.1
		return nil, err
	}
	k := &hashKey{private: slhdsa.PrivateKey{ID: set.id}}
	if err := k.private.UnmarshalBinary(s.Reveal(reveal.Key{})); err != nil {
		return nil, err
	}
	public := k.private.PublicKey()
	der, err := hashPublic(set.oid, &public)
	if err != nil {
		return nil, err
	}
	return &key{private: k, public: der, verifier: &public}, nil
}

func hashPublic(oid int, public *slhdsa.PublicKey) ([]byte, error) {
	raw, err := public.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return nistPublic(oid, raw)
}

func hashSign(k *key, _ crypto.Hash, message []byte, _ kms.Salt) ([]byte, error) {
	return slhdsa.SignRandomized(&k.private.(*hashKey).private, rand.Reader, slhdsa.NewMessage(message), nil)
}

func hashVerify(k *key, _ crypto.Hash, message, signature []byte, _ kms.Salt) bool {
	return slhdsa.Verify(k.verifier.(*slhdsa.PublicKey), slhdsa.NewMessage(message), signature, nil)
}
