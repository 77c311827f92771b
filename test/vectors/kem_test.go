package vectors

import (
	"bytes"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"crypto/sha3"
	"encoding/asn1"
	"fmt"
	"strings"
	"testing"

	"github.com/cloudflare/circl/kem"
	"github.com/cloudflare/circl/kem/mlkem/mlkem1024"
	"github.com/cloudflare/circl/kem/mlkem/mlkem512"
	"github.com/cloudflare/circl/kem/mlkem/mlkem768"
	"github.com/cloudflare/circl/kem/xwing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// kems are the parameter sets with their two implementations. The module has no ML-KEM-512.
var kems = map[kms.Algorithm]struct {
	name   string
	oid    asn1.ObjectIdentifier
	circl  kem.Scheme
	module func(public, random []byte) (shared, ciphertext []byte, err error)
}{
	kms.MLKEM512: {"mlkem_512", nistKEM(1), mlkem512.Scheme(), nil},
	kms.MLKEM768: {"mlkem_768", nistKEM(2), mlkem768.Scheme(), func(public, random []byte) ([]byte, []byte, error) {
		ek, err := mlkem.NewEncapsulationKey768(public)
		if err != nil {
			return nil, nil, err
		}
		return mlkemtest.Encapsulate768(ek, random)
	}},
	kms.MLKEM1024: {"mlkem_1024", nistKEM(3), mlkem1024.Scheme(), func(public, random []byte) ([]byte, []byte, error) {
		ek, err := mlkem.NewEncapsulationKey1024(public)
		if err != nil {
			return nil, nil, err
		}
		return mlkemtest.Encapsulate1024(ek, random)
	}},
}

// TestMLKEMIsThatOfTheVectors: from each seed the provider derives the public key, and from each ciphertext the secret, by both
// implementations. Seeds and ciphertexts of other lengths are refused.
func TestMLKEMIsThatOfTheVectors(t *testing.T) {
	for _, profile := range kms.AllProfiles() {
		w := newWorldUnder(t, profile)
		for a, k := range kems {
			if kms.CheckLoad(a, profile) != nil {
				continue
			}
			keys, secrets, seeds, lengths := 0, 0, 0, 0
			for _, g := range file(t, k.name+"_keygen_seed") {
				for _, v := range g.Tests {
					keys++
					w.mustLoad(t, a, seed, v.Seed, spki(t, k.oid, v.EK))
				}
			}
			for _, g := range file(t, k.name) {
				for _, v := range g.Tests {
					if len(v.Seed) != 64 {
						seeds++
						_, err := w.load(t, a, seed, v.Seed, []byte("none"))
						wantCode(t, k.name+": "+v.Comment, v.ID, err, kms.CodeRecordDamaged)
						continue
					}
					h := w.mustLoad(t, a, seed, v.Seed, spki(t, k.oid, v.EK))
					got, err := h.Decapsulate(v.C)
					if v.Result == "invalid" {
						lengths++
						wantCode(t, k.name+": "+v.Comment, v.ID, err, kms.CodeDecryptFailed)
						continue
					}
					if secrets++; err != nil || !got.Equal(secret.Copy(v.K)) {
						t.Errorf("%s under %s, vector %d (%s): another secret, %v", k.name, profile, v.ID, v.Comment, err)
					}
				}
			}
			if keys < 100 || secrets < 100 || seeds < 10 || lengths < 10 {
				t.Errorf("%s under %s: %d keys, %d secrets, %d wrong seeds and %d wrong lengths were run", k.name, profile, keys, secrets, seeds, lengths)
			}
		}
	}
}

// TestMLKEMOfTwoImplementations: both encapsulate as the vectors say, and refuse public keys that are not reduced (FIPS 203 §7.2).
func TestMLKEMOfTwoImplementations(t *testing.T) {
	for _, k := range kems {
		good, bad := 0, 0
		for _, g := range file(t, k.name+"_encaps") {
			for _, v := range g.Tests {
				shared, ciphertext, err := circlEncapsulate(k.circl, v.EK, v.M)
				check := func(who string) {
					t.Helper()
					if v.Result == "valid" {
						if err != nil || !bytes.Equal(ciphertext, v.C) || !bytes.Equal(shared, v.K) {
							t.Errorf("%s by %s, vector %d (%s): another ciphertext or secret, %v", k.name, who, v.ID, v.Comment, err)
						}
					} else if err == nil {
						t.Errorf("%s by %s, vector %d (%s) was accepted", k.name, who, v.ID, v.Comment)
					}
				}
				check("circl")
				if k.module != nil {
					shared, ciphertext, err = k.module(v.EK, v.M)
					check("crypto/mlkem")
				}
				if v.Result == "valid" {
					good++
				} else {
					bad++
				}
			}
		}
		if good < 100 || bad < 100 {
			t.Errorf("%s: %d good and %d bad vectors were run", k.name, good, bad)
		}
	}
}

func circlEncapsulate(s kem.Scheme, public, random []byte) (shared, ciphertext []byte, err error) {
	ek, err := s.UnmarshalBinaryPublicKey(public)
	if err != nil {
		return nil, nil, err
	}
	ciphertext, shared, err = s.EncapsulateDeterministically(ek, random)
	return shared, ciphertext, err
}

// TestACVPKeyEncapsulation: keys through the provider; encapsulation with a given randomness, and decapsulation with an expanded key, neither
// of which it offers, through what it is made of.
func TestACVPKeyEncapsulation(t *testing.T) {
	keys, encapsulated, decapsulated := 0, 0, 0
	acvp(t, "ML-KEM", func(set acvpSet, group int, q, answer acvpTest) {
		g := set.TestGroups[group]
		a, err := kms.ParseAlgorithm(strings.ToLower(g.ParameterSet))
		if err != nil {
			t.Fatal(err)
		}
		k := kems[a]
		switch {
		case set.Mode == "keyGen":
			keys++
			for _, profile := range kms.AllProfiles() {
				newWorldUnder(t, profile).mustLoad(t, a, seed, append(bytes.Clone(q.D), q.Z...), spki(t, k.oid, answer.EK))
			}
		case g.Function == "encapsulation":
			encapsulated++
			for who, encapsulate := range map[string]func() ([]byte, []byte, error){
				"circl": func() ([]byte, []byte, error) { return circlEncapsulate(k.circl, q.EK, q.M) }, "crypto/mlkem": func() ([]byte, []byte, error) { return k.module(q.EK, q.M) },
			} {
				if shared, ciphertext, err := encapsulate(); err != nil || !bytes.Equal(ciphertext, answer.C) || !bytes.Equal(shared, answer.K) {
					t.Errorf("%s by %s, question %d: another ciphertext or secret, %v", a, who, q.ID, err)
				}
			}
		case g.Function == "decapsulation":
			decapsulated++
			private, err := k.circl.UnmarshalBinaryPrivateKey(q.DK)
			if err != nil {
				t.Fatal(err)
			}
			if shared, err := k.circl.Decapsulate(private, q.C); err != nil || !bytes.Equal(shared, answer.K) {
				t.Errorf("%s, question %d: another secret, %v", a, q.ID, err)
			}
		}
	})
	if keys < 2 || encapsulated < 2 || decapsulated < 2 {
		t.Errorf("%d keys, %d encapsulations and %d decapsulations were run", keys, encapsulated, decapsulated)
	}
}

// TestXWingIsThatOfTheDraft: draft-connolly-cfrg-xwing-kem gives its vectors as a text, three runs from the output of
// SHAKE128 of nothing, and here is the SHAKE128 of that text. The public keys and secrets in it are the provider's own.
func TestXWingIsThatOfTheDraft(t *testing.T) {
	const want = "1bcd0057d861d6b866239936cadcaeee1ec0164dedc181c386e9e54fe46156fe"
	w := newWorld(t)
	random := sha3.NewSHAKE128()
	draw := func(n int) []byte {
		b := make([]byte, n)
		random.Read(b) //nolint:errcheck // never fails
		return b
	}
	var text strings.Builder
	for range 3 {
		s := draw(xwing.SeedSize)
		public, _ := xwing.Scheme().DeriveKeyPair(s)
		raw, err := public.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		m := draw(xwing.EncapsulationSeedSize)
		shared, ciphertext, err := circlEncapsulate(xwing.Scheme(), raw, m)
		if err != nil {
			t.Fatal(err)
		}
		// That the handle opens proves that its public key is this one.
		got, err := w.mustLoad(t, kms.XWing, seed, s, spki(t, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 62253, 25722}, raw)).Decapsulate(ciphertext)
		if err != nil || !got.Equal(secret.Copy(shared)) {
			t.Errorf("the provider has another secret: %v", err)
		}
		for _, field := range []struct {
			name  string
			value []byte
		}{{"seed", s}, {"sk", s}, {"pk", raw}, {"eseed", m}, {"ct", ciphertext}, {"ss", shared}} {
			line(&text, field.name, fmt.Sprintf("%x", field.value))
		}
		text.WriteString("\n")
	}
	sum := sha3.SumSHAKE128([]byte(text.String()), 32)
	if got := fmt.Sprintf("%x", sum); got != want {
		t.Errorf("the text of the vectors has the hash %s want %s", got, want)
	}
}

// line writes a field as the draft does: behind its name if that fits into 74 columns, else in lines below it.
func line(to *strings.Builder, name, value string) {
	const width, indent = 74, "  "
	if len(name)+len(value)+5 < width {
		fmt.Fprintf(to, "%s     %s\n", name, value)
		return
	}
	fmt.Fprintf(to, "%s\n", name)
	for len(value) > 0 {
		n := min(len(value), width-len(indent))
		fmt.Fprintf(to, "%s%s\n", indent, value[:n])
		value = value[n:]
	}
}
