package vectors

import (
	"bytes"
	"compress/bzip2"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
)

// acvpSet is one vector set; questions and answers have one form here.
type acvpSet struct {
	Mode       string
	TestGroups []struct {
		ID                           int `json:"tgId"`
		ParameterSet, Curve, HashAlg string
		Function                     string
		Direction                    string
		PreHash                      any
		MacLen                       int
		Tests                        []acvpTest
	}
}

type acvpTest struct {
	ID                         int      `json:"tcId"`
	Message                    hexBytes `json:"message"`
	Msg                        hexBytes `json:"msg"`
	Seed, PK, Key, MAC         hexBytes
	D, Z, EK, DK, M, C, K      hexBytes // of key encapsulation
	Q, QX, QY, R, S, Signature hexBytes
	TestPassed                 bool
}

// dir is where the go command keeps a module that go.mod names.
func dir(t *testing.T, module string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// acvp runs do on every question of an algorithm with its answer; the first element of each file describes the session.
func acvp(t *testing.T, name string, do func(set acvpSet, group int, question, answer acvpTest)) {
	t.Helper()
	read := func(part string) []acvpSet {
		f, err := os.Open(filepath.Join(dir(t, "github.com/geomys/acvp-testdata"), part, name+".bz2"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var sets []acvpSet
		if err := json.NewDecoder(bzip2.NewReader(f)).Decode(&sets); err != nil || len(sets) < 2 {
			t.Fatalf("%s %s: %d sets, %v", name, part, len(sets), err)
		}
		return sets[1:]
	}
	questions, answers := read("vectors"), read("expected")
	for i, set := range questions {
		for j, g := range set.TestGroups {
			theirs := answers[i].TestGroups[j]
			if theirs.ID != g.ID || len(theirs.Tests) != len(g.Tests) {
				t.Fatalf("%s: questions and answers are not in one order", name)
			}
			for k, q := range g.Tests {
				if theirs.Tests[k].ID != q.ID {
					t.Fatalf("%s: questions and answers are not in one order", name)
				}
				do(set, j, q, theirs.Tests[k])
			}
		}
	}
}

func passed(ok bool) kms.Code {
	if ok {
		return 0
	}
	return kms.CodeBadSignature
}

func TestACVPKeysAndMACs(t *testing.T) {
	w := newWorld(t)
	keys, macs := 0, 0
	acvp(t, "ML-DSA", func(set acvpSet, group int, q, answer acvpTest) {
		if set.Mode != "keyGen" {
			return // the signatures are of the internal interface, which the provider does not offer
		}
		a, err := kms.ParseAlgorithm(strings.ToLower(set.TestGroups[group].ParameterSet))
		if err != nil {
			t.Fatal(err)
		}
		keys++
		w.mustLoad(t, a, seed, q.Seed, nistSPKI(t, latticeArc[a], answer.PK))
	})
	for name, of := range map[string]func(int) kms.Algorithm{
		"CMAC-AES":      func(n int) kms.Algorithm { return map[int]kms.Algorithm{16: kms.AES128CMAC, 32: kms.AES256CMAC}[n] },
		"HMAC-SHA2-224": func(int) kms.Algorithm { return kms.HMACSHA224 },
		"HMAC-SHA2-256": func(int) kms.Algorithm { return kms.HMACSHA256 },
		"HMAC-SHA2-384": func(int) kms.Algorithm { return kms.HMACSHA384 },
		"HMAC-SHA2-512": func(int) kms.Algorithm { return kms.HMACSHA512 },
	} {
		acvp(t, name, func(set acvpSet, group int, q, answer acvpTest) {
			a := of(len(q.Key))
			if a == 0 || set.TestGroups[group].Direction == "ver" {
				return // AES-192, and questions whose MAC is cut
			}
			h, err := w.load(t, a, raw, q.Key, nil)
			if strings.HasPrefix(name, "HMAC") && (len(q.Key) < kms.MinHMACKey || len(q.Key) > kms.MaxHMACKey) {
				wantCode(t, name, q.ID, err, kms.CodeRecordDamaged)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			made, err := h.MAC(nil, append(q.Message, q.Msg...), kms.NoScheme)
			if err != nil {
				t.Fatal(err)
			}
			macs++
			if n := len(answer.MAC); n == 0 || n > len(made) || string(made[:n]) != string(answer.MAC) {
				t.Errorf("%s, vector %d: got %x want %x", name, q.ID, made, answer.MAC)
			}
		})
	}
	if keys < 3 || macs < 10 {
		t.Errorf("%d keys and %d MACs were run", keys, macs)
	}
}

func TestACVPSignatures(t *testing.T) {
	w := newWorld(t)
	edwards, curves := map[kms.Scheme]int{}, 0
	acvp(t, "EDDSA", func(set acvpSet, group int, q, answer acvpTest) {
		if set.Mode != "sigVer" {
			return
		}
		s := kms.SchemeEd25519
		if set.TestGroups[group].PreHash == true { // a word elsewhere
			s = kms.SchemeEd25519ph
		}
		public, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(q.Q))
		if err != nil {
			t.Fatal(err)
		}
		edwards[s]++
		wantCode(t, s.String(), q.ID, w.Verify(kms.Ed25519, public, q.Message, q.Signature, false, s), passed(answer.TestPassed))
	})
	type pair struct{ curve, hash string }
	acvp(t, "ECDSA", func(set acvpSet, group int, q, answer acvpTest) {
		g := set.TestGroups[group]
		row, ok := map[pair]struct {
			a     kms.Algorithm
			curve elliptic.Curve
		}{
			{"P-256", "SHA2-256"}: {kms.ECDSAP256, elliptic.P256()},
			{"P-384", "SHA2-384"}: {kms.ECDSAP384, elliptic.P384()},
			{"P-521", "SHA2-512"}: {kms.ECDSAP521, elliptic.P521()},
		}[pair{g.Curve, g.HashAlg}]
		if !ok || set.Mode != "sigVer" {
			return
		}
		size := (row.curve.Params().BitSize + 7) / 8
		point := []byte{4}
		point = append(point, new(big.Int).SetBytes(q.QX).FillBytes(make([]byte, size))...)
		point = append(point, new(big.Int).SetBytes(q.QY).FillBytes(make([]byte, size))...)
		key, err := ecdsa.ParseUncompressedPublicKey(row.curve, point)
		if err != nil {
			t.Fatal(err)
		}
		public, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		signature, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(q.R), new(big.Int).SetBytes(q.S)})
		if err != nil {
			t.Fatal(err)
		}
		curves++
		wantCode(t, g.Curve, q.ID, w.Verify(row.a, public, q.Message, signature, false, kms.NoScheme), passed(answer.TestPassed))
	})
	if edwards[kms.SchemeEd25519] < 1 || edwards[kms.SchemeEd25519ph] < 1 || curves < 3 {
		t.Errorf("%v Ed25519 and %d ECDSA vectors were run", edwards, curves)
	}
}

// TestEd25519phOfTheStandard: RFC 8032 §7.3, TEST abc. Ed25519ph is deterministic too.
func TestEd25519phOfTheStandard(t *testing.T) {
	w := newWorld(t)
	private := unhex(t, "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42")
	want := unhex(t, "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406")
	public, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(unhex(t, "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf")))
	if err != nil {
		t.Fatal(err)
	}
	h := w.mustLoad(t, kms.Ed25519, seed, private, public)
	got, err := h.Sign([]byte("abc"), kms.Form{}, kms.SchemeEd25519ph)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %x, %v want %x", got, err, want)
	}
	digest := sha512.Sum512([]byte("abc"))
	if got, err := h.Sign(digest[:], kms.Form{Digested: true}, kms.SchemeEd25519ph); err != nil || !bytes.Equal(got, want) {
		t.Errorf("of the digest: got %x, %v want %x", got, err, want)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
