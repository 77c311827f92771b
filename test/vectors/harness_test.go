package vectors

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/provider/soft"
	"github.com/keyhold/keyhold/internal/secret"
)

// Forms of wrapped material, docs/formats-ciphertext.md.
const (
	raw   = 1
	seed  = 2
	pkcs8 = 3
)

// world is a provider and a wrapping key.
type world struct {
	*soft.Provider
	wrap *box.Key
}

func newWorld(t testing.TB) world { return newWorldUnder(t, kms.ProfileDefault) }

func newWorldUnder(t testing.TB, profile kms.Profile) world {
	t.Helper()
	p, err := soft.New(soft.Config{Profile: profile})
	if err != nil {
		t.Fatal(err)
	}
	k, err := box.NewKey(secret.Random(box.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return world{p, k}
}

// load brings a vector's key into the provider by the written format: header, box, check value. Public is nil for symmetric keys;
// otherwise opening proves that the provider derives just this public key.
func (w world) load(t testing.TB, a kms.Algorithm, form byte, material, public []byte) (provider.Handle, error) {
	t.Helper()
	header, place := []byte{1, byte(a), form}, []byte("vector")
	wrapped, err := w.wrap.Seal(bytes.Clone(header), box.Material, header, material, place)
	if err != nil {
		t.Fatal(err)
	}
	var check []byte
	if public != nil {
		sum := sha256.Sum256(public)
		check = sum[:8]
	} else if check, err = hkdf.Key(sha512.New, material, []byte("keyhold/check/v1"), a.String(), 8); err != nil {
		t.Fatal(err)
	}
	h, err := w.Open(a, wrapped, w.wrap, place, check)
	if err == nil {
		t.Cleanup(h.Close)
	}
	return h, err
}

func (w world) mustLoad(t testing.TB, a kms.Algorithm, form byte, material, public []byte) provider.Handle {
	t.Helper()
	h, err := w.load(t, a, form, material, public)
	if err != nil {
		t.Fatalf("%s: %v", a, err)
	}
	return h
}

// hexBytes are bytes in hexadecimal.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// group and vector hold the fields of all kinds of Wycheproof files that are used here.
type group struct {
	KeySize, IVSize, TagSize int
	SHA                      string
	MGFSHA                   string `json:"mgfSha"`
	PublicKeyDER             hexBytes
	PublicKey                json.RawMessage
	PrivateKeyPKCS8          hexBytes
	PrivateSeed              hexBytes
	Tests                    []vector
}

type vector struct {
	ID                                          int `json:"tcId"`
	Comment, Result                             string
	Flags                                       []string
	Msg, Sig, Key, Tag, IV, AAD, CT, Label, Ctx hexBytes
	Mu                                          hexBytes
	Public, Private, Shared                     hexBytes // of key agreement
	Seed, EK, M, C, K                           hexBytes // of key encapsulation
}

// file reads a Wycheproof file.
func file(t testing.TB, name string) []group {
	t.Helper()
	var f struct {
		NumberOfTests int
		TestGroups    []group
	}
	read(t, name, &f)
	n := 0
	for _, g := range f.TestGroups {
		n += len(g.Tests)
	}
	if n == 0 || n != f.NumberOfTests {
		t.Fatalf("%s has %d vectors and says %d", name, n, f.NumberOfTests)
	}
	return f.TestGroups
}

func read(t testing.TB, name string, into any) {
	t.Helper()
	b, err := fs.ReadFile(wycheproof.TestVectors, name+"_test.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// nistSPKI is the SubjectPublicKeyInfo of a post-quantum key, RFC 9881 §2 and RFC 9909 §3.
func nistSPKI(t testing.TB, last int, public []byte) []byte {
	t.Helper()
	return spki(t, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, last}, public)
}

// spki is a SubjectPublicKeyInfo without parameters.
func spki(t testing.TB, oid asn1.ObjectIdentifier, public []byte) []byte {
	t.Helper()
	der, err := asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Public    asn1.BitString
	}{pkix.AlgorithmIdentifier{Algorithm: oid}, asn1.BitString{Bytes: public, BitLength: 8 * len(public)}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func wantCode(t testing.TB, what string, id int, err error, want kms.Code) {
	t.Helper()
	if kms.CodeOf(err) != want {
		t.Errorf("%s, vector %d: got %v want %s", what, id, err, want)
	}
}
