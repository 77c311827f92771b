package soft

import (
	"crypto/sha3"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
)

// TestAnExternalMuSignsItsMessage makes μ as FIPS 204 algorithm 7 step 6 does, and verifies the signature with the message.
func TestAnExternalMuSignsItsMessage(t *testing.T) {
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	message := []byte("what is signed")
	for _, a := range []kms.Algorithm{kms.MLDSA44, kms.MLDSA65, kms.MLDSA87} {
		s, _, err := makeLattice(p, a, 0)
		if err != nil {
			t.Fatal(err)
		}
		k, err := parseLattice(p, a, s)
		if err != nil {
			t.Fatal(err)
		}
		raw := k.public[len(k.public)-a.Facts().Bits/8:]
		tr := make([]byte, 64)
		h := sha3.NewSHAKE256()
		h.Write(raw)
		h.Read(tr)
		mu := make([]byte, muSize)
		h = sha3.NewSHAKE256()
		h.Write(tr)
		h.Write([]byte{0, 0}) // pure, no context
		h.Write(message)
		h.Read(mu)
		signature, err := latticeSignMu(k, mu)
		if err != nil {
			t.Fatal(err)
		}
		if !latticeVerify(k, 0, message, signature) {
			t.Errorf("%s: the signature of μ does not verify with the message", a)
		}
		mu[0] ^= 1
		if signature, err = latticeSignMu(k, mu); err != nil || latticeVerify(k, 0, message, signature) {
			t.Errorf("%s: another μ signs the message too (%v)", a, err)
		}
	}
}
