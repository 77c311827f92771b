package soft_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/provider/soft"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/transport"
)

// sampled is a key of another server's transit, with what it made (internal/dialect/vault/testdata/openbao).
type sampled struct {
	Type    string `json:"key_type"`
	Options struct {
		Derived    bool
		Convergent bool `json:"convergent_encryption"`
	}
	Export  map[string]struct{ Keys map[string]string }
	Samples []sample
}

type sample struct {
	Op            string
	Version       int
	Input, Output map[string]any
}

func (s sample) bytes(t *testing.T, from map[string]any, name string) []byte {
	t.Helper()
	text, _ := from[name].(string)
	b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "vault:v"+strconv.Itoa(s.Version)+":"))
	if err != nil {
		t.Fatalf("%s %q: %v", name, text, err)
	}
	return b
}

var sampledTypes = map[string]kms.Algorithm{"aes128-gcm96": kms.AES128GCM, "aes256-gcm96": kms.AES256GCM, "chacha20-poly1305": kms.ChaCha20Poly1305,
	"xchacha20-poly1305": kms.XChaCha20Poly1305, "hmac": kms.HMACSHA256, "ed25519": kms.Ed25519}

var sampledMACs = map[string]kms.Scheme{"sha2-224": kms.SchemeHMACSHA224, "sha2-256": kms.SchemeHMACSHA256, "sha2-384": kms.SchemeHMACSHA384, "sha2-512": kms.SchemeHMACSHA512,
	"sha3-224": kms.SchemeHMACSHA3x224, "sha3-256": kms.SchemeHMACSHA3x256, "sha3-384": kms.SchemeHMACSHA3x384, "sha3-512": kms.SchemeHMACSHA3x512, "": kms.NoScheme}

// TestTransitSamplesAgree: what another server encrypted opens, what it encrypts convergently is made again byte for byte, and so are its MACs. What we make
// opens by the standard library.
func TestTransitSamplesAgree(t *testing.T) {
	files, err := filepath.Glob("../../dialect/vault/testdata/openbao/*.json")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d files of samples, %v", len(files), err)
	}
	door := newDoor(t)
	for _, f := range files {
		b, err := os.ReadFile(f) //nolint:gosec // G304: test data
		if err != nil {
			t.Fatal(err)
		}
		var k sampled
		if err := json.Unmarshal(b, &k); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		a, known := sampledTypes[k.Type]
		if !known { // other kinds have no layout of transit's own
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(f), ".json"), func(t *testing.T) {
			if kms.CheckLoad(a, door.profile) != nil {
				if _, err := door.Generate(provider.Spec{Algorithm: a}, nil, nil); kms.CodeOf(err) != kms.CodeProfile {
					t.Errorf("got %v want %s", err, kms.CodeProfile)
				}
				return
			}
			door.agree(t, a, &k)
		})
	}
}

// door is where material comes in.
type door struct {
	*soft.Provider
	profile kms.Profile
	handle  provider.Handle
	public  any
}

func newDoor(t *testing.T) *door {
	d := &door{Provider: newProvider(t, soft.Config{})}
	if fips140.Enforced() {
		d.profile = kms.ProfileFIPS
	}
	wrap, _ := keyOf(t)
	made, err := d.Generate(provider.Spec{Algorithm: kms.RSA2048}, wrap, []byte("door"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.Handle.Close)
	public, err := transport.ParsePublic(made.Public)
	if err != nil {
		t.Fatal(err)
	}
	d.handle, d.public = made.Handle, public.Key
	return d
}

// take brings in one version with its MAC key, and opens it.
func (d *door) take(t *testing.T, a kms.Algorithm, material, mac []byte) provider.Handle {
	t.Helper()
	if a == kms.Ed25519 {
		der, err := x509.MarshalPKCS8PrivateKey(ed25519.PrivateKey(material))
		if err != nil {
			t.Fatal(err)
		}
		material = der
	}
	if a == kms.HMACSHA256 {
		mac = nil
	}
	parcel, err := transport.Seal(kms.RSAAESSHA256, d.public, nil, secret.Take(slices.Concat(material, mac)))
	if err != nil {
		t.Fatal(err)
	}
	wrap, _ := keyOf(t)
	in, err := d.Import(provider.Spec{Algorithm: a, MAC: true, GivenMAC: true}, d.handle, provider.Parcel{Transport: kms.RSAAESSHA256, Bytes: parcel}, wrap, []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := d.Open(a, in.Wrapped, wrap, []byte("p"), in.Check)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func (d *door) agree(t *testing.T, a kms.Algorithm, k *sampled) {
	materials, handles, count := map[int][]byte{}, map[int]provider.Handle{}, map[string]int{}
	for _, s := range k.Samples {
		n := strconv.Itoa(s.Version)
		if handles[s.Version] == nil {
			mac := decode(t, k.Export["hmac-key"].Keys[n])
			materials[s.Version] = mac
			for _, kind := range []string{"encryption-key", "signing-key"} {
				if e, there := k.Export[kind]; there {
					materials[s.Version] = decode(t, e.Keys[n])
				}
			}
			handles[s.Version] = d.take(t, a, materials[s.Version], mac)
		}
		h := handles[s.Version]
		count[s.Op]++
		if s.Op == "hmac" {
			name, _ := s.Input["algorithm"].(string)
			if got, err := h.MAC(nil, s.bytes(t, s.Input, "input"), sampledMACs[name]); err != nil || !bytes.Equal(got, s.bytes(t, s.Output, "hmac")) {
				t.Errorf("MAC with %s: got %x, %v want %s", name, got, err, s.Output["hmac"])
			}
			continue
		}
		of, context := h, s.bytes(t, s.Input, "context")
		if k.Options.Derived {
			derived, err := h.Derive(context)
			if err != nil {
				t.Fatal(err)
			}
			defer derived.Close()
			of = derived
		}
		if s.Op == "sign" {
			if prehashed, _ := s.Input["prehashed"].(bool); prehashed || s.Input["marshaling_algorithm"] != nil {
				continue // what it is made of differs with the request: the dialect's tests have those
			}
			if err := of.Verify(s.bytes(t, s.Input, "input"), s.bytes(t, s.Output, "signature"), kms.Form{}, kms.NoScheme); err != nil {
				t.Errorf("%v: %v", s.Input, err)
			}
			continue
		}
		d.opens(t, a, k, of, s, referenceOf(t, k.Type, materials[s.Version], context, k.Options.Derived))
	}
	if count["hmac"] == 0 || a != kms.HMACSHA256 && count["encrypt"]+count["sign"] == 0 {
		t.Errorf("there are too few samples: %v", count)
	}
}

func (d *door) opens(t *testing.T, a kms.Algorithm, k *sampled, h provider.Handle, s sample, r reference) {
	plaintext, aad, ciphertext := s.bytes(t, s.Input, "plaintext"), s.bytes(t, s.Input, "associated_data"), s.bytes(t, s.Output, "ciphertext")
	scheme := a.Layout(k.Options.Convergent)
	open := func(c, aad []byte) ([]byte, error) { return h.Open(nil, nil, c, aad, scheme) }
	if got, err := open(ciphertext, aad); err != nil || !bytes.Equal(got, plaintext) {
		t.Errorf("version %d, %v: got %q, %v", s.Version, s.Input, got, err)
	}
	changed := bytes.Clone(ciphertext)
	changed[len(changed)/2] ^= 1
	for what, try := range map[string]func() ([]byte, error){
		"a flipped bit": func() ([]byte, error) { return open(changed, aad) }, "other data": func() ([]byte, error) { return open(ciphertext, append([]byte("x"), aad...)) },
	} {
		if got, err := try(); kms.CodeOf(err) != kms.CodeDecryptFailed || got != nil {
			t.Errorf("%s: got %q, %v", what, got, err)
		}
	}
	made, err := h.Seal(nil, nil, plaintext, aad, scheme)
	if _, refused := kms.CheckLayout(a, scheme, d.profile, true); refused != nil {
		if kms.CodeOf(err) != kms.CodeProfile {
			t.Errorf("%s: got %v want %v", scheme, err, refused)
		}
		return
	}
	if err != nil || k.Options.Convergent && !bytes.Equal(made, ciphertext) {
		t.Errorf("%v: encrypted again: got %x, %v want %x", s.Input, made, err, ciphertext)
	}
	if got, err := r.open(made, aad); err != nil || !bytes.Equal(got, plaintext) {
		t.Errorf("%v: by the standard library: got %q, %v", s.Input, got, err)
	}
	if k.Options.Convergent && !bytes.Equal(r.converge(plaintext, aad), ciphertext) {
		t.Errorf("%v: the standard library makes another one", s.Input)
	}
}

func decode(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// reference is transit's own layout by the standard library.
type reference struct {
	aead   cipher.AEAD
	nonces []byte // what makes the nonces of convergent ciphertexts
}

func referenceOf(t *testing.T, kind string, key, context []byte, derived bool) (r reference) {
	t.Helper()
	if derived {
		okm, err := hkdf.Key(sha256.New, key, nil, string(context), len(key)+32)
		if err != nil {
			t.Fatal(err)
		}
		key, r.nonces = okm[:len(key)], okm[len(key):]
	}
	var err error
	switch kind {
	case "chacha20-poly1305":
		r.aead, err = chacha20poly1305.New(key)
	case "xchacha20-poly1305":
		r.aead, err = chacha20poly1305.NewX(key)
	default:
		var block cipher.Block
		if block, err = aes.NewCipher(key); err == nil && fips140.Enforced() {
			r.aead, err = cipher.NewGCMWithRandomNonce(block)
		} else if err == nil {
			r.aead, err = cipher.NewGCM(block)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r reference) open(ciphertext, aad []byte) ([]byte, error) {
	n := r.aead.NonceSize()
	return r.aead.Open(nil, ciphertext[:n], ciphertext[n:], aad)
}

func (r reference) converge(plaintext, aad []byte) []byte {
	m := hmac.New(sha256.New, r.nonces)
	m.Write(plaintext)
	nonce := m.Sum(nil)[:r.aead.NonceSize()]
	return r.aead.Seal(bytes.Clone(nonce), nonce, plaintext, aad)
}
