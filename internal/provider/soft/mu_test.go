package soft

import (
	"bytes"
	"crypto/sha3"
	"math/rand/v2"
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
		if !latticeVerify(k, 0, message, signature, 0) {
			t.Errorf("%s: the signature of μ does not verify with the message", a)
		}
		if !latticeVerifyMu(k, mu, signature) {
			t.Errorf("%s: it does not verify with μ", a)
		}
		bothAgree(t, a, k, message, mu, signature)
		mu[0] ^= 1
		if latticeVerifyMu(k, mu, signature) {
			t.Errorf("%s: it verifies with another μ", a)
		}
		if signature, err = latticeSignMu(k, mu); err != nil || latticeVerify(k, 0, message, signature, 0) {
			t.Errorf("%s: another μ signs the message too (%v)", a, err)
		}
	}
}

// bothAgree holds the verification with μ to the library's with the message, over signatures of the message and altered ones.
func bothAgree(t *testing.T, a kms.Algorithm, k *key, message, mu, signature []byte) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, uint64(a)))
	altered := [][]byte{nil, signature[:len(signature)-1], append(bytes.Clone(signature), 0), make([]byte, len(signature))}
	for range 60 {
		made, err := latticeSign(k, 0, message, 0)
		if err != nil {
			t.Fatal(err)
		}
		altered = append(altered, made)
		made = bytes.Clone(made)
		made[random.IntN(len(made))] ^= 1 << random.IntN(8)
		altered = append(altered, made)
		made = bytes.Clone(made)
		made[len(made)-1-random.IntN(90)] ^= 1 << random.IntN(8) // among the hints
		altered = append(altered, made)
	}
	good := 0
	for _, s := range altered {
		want := latticeVerify(k, 0, message, s, 0)
		if got := latticeVerifyMu(k, mu, s); got != want {
			t.Fatalf("%s: with μ %v, with the message %v: %x", a, got, want, s)
		}
		if want {
			good++
		}
	}
	if good < 60 || good > 70 {
		t.Errorf("%s: %d of %d signatures are good", a, good, len(altered))
	}
}

// FuzzVerifyMu: nothing that comes for a signature makes it panic, and nothing but one is taken for one.
func FuzzVerifyMu(f *testing.F) {
	p, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	s, _, err := makeLattice(p, kms.MLDSA44, 0)
	if err != nil {
		f.Fatal(err)
	}
	k, err := parseLattice(p, kms.MLDSA44, s)
	if err != nil {
		f.Fatal(err)
	}
	mu := make([]byte, muSize)
	good, err := latticeSignMu(k, mu)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(nil))
	f.Add(make([]byte, len(good)))
	f.Fuzz(func(t *testing.T, signature []byte) {
		if latticeVerifyMu(k, mu, signature) && !bytes.Equal(signature, good) {
			t.Fatalf("another signature verifies: %x", signature)
		}
	})
}
