package oidc_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyhold/keyhold/internal/authn/oidc"
	"github.com/keyhold/keyhold/internal/kms"
)

var url64 = base64.RawURLEncoding

// signed is a token as RFC 7515 §7.1 has it, with a header that a library would not write.
func signed(t *testing.T, header string, sign func([]byte) []byte) string {
	t.Helper()
	text := url64.EncodeToString([]byte(header)) + "." + url64.EncodeToString([]byte(`{"sub":"svc"}`))
	return text + "." + url64.EncodeToString(sign([]byte(text)))
}

// es256 signs as RFC 7518 §3.4 has it.
func es256(t *testing.T, k *ecdsa.PrivateKey) func([]byte) []byte {
	return func(text []byte) []byte {
		sum := sha256.Sum256(text)
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
}

// TestForgedTokens: what a stranger can make who knows all that is public.
func TestForgedTokens(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := oidc.NewKeys(oidc.Source{Fixed: []crypto.PublicKey{k.Public()}}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	mac := func(secret []byte) func([]byte) []byte {
		return func(text []byte) []byte {
			h := hmac.New(sha256.New, secret)
			_, _ = h.Write(text) // never fails
			return h.Sum(nil)
		}
	}
	shown, err := (&jose.JSONWebKey{Key: other.Public()}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		header string
		sign   func([]byte) []byte
		good   bool
	}{
		"as it should be":                  {`{"alg":"ES256"}`, es256(t, k), true},
		"with a name for its key":          {`{"alg":"ES256","kid":"any"}`, es256(t, k), true},
		"by nobody":                        {`{"alg":"none"}`, func([]byte) []byte { return nil }, false},
		"by nobody, in other letters":      {`{"alg":"nOnE"}`, func([]byte) []byte { return nil }, false},
		"without an algorithm":             {`{}`, es256(t, k), false},
		"by another key":                   {`{"alg":"ES256"}`, es256(t, other), false},
		"by a key that it brings":          {`{"alg":"ES256","jwk":` + string(shown) + `}`, es256(t, other), false},
		"with the public key as a secret":  {`{"alg":"HS256"}`, mac(text), false},
		"with its DER as a secret":         {`{"alg":"HS256"}`, mac(der), false},
		"an algorithm of another curve":    {`{"alg":"ES384"}`, es256(t, k), false},
		"what it says must be understood":  {`{"alg":"ES256","crit":["x"],"x":1}`, es256(t, k), false},
		"must be understood, and is empty": {`{"alg":"ES256","crit":[""],"":1}`, es256(t, k), false},
	} {
		_, err := keys.Payload(t.Context(), signed(t, c.header, c.sign), nil)
		if want := map[bool]kms.Code{false: kms.CodeIdentityToken}[c.good]; kms.CodeOf(err) != want {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := keys.Payload(t.Context(), signed(t, `{"alg":"ES256"}`, es256(t, k)), []string{"RS256"}); kms.CodeOf(err) != kms.CodeIdentityToken {
		t.Errorf("an algorithm that is not wanted: got %v", err)
	}
}

// TestAKeyIsTakenByItsName: a good key under the name of another one is none, nor is one that is for another algorithm.
func TestAKeyIsTakenByItsName(t *testing.T) {
	w := start(t)
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, shown := range map[string]jose.JSONWebKey{
		"another key of that name": {Key: other.Public(), KeyID: "a"},
		"for another algorithm":    {Key: k.Public(), KeyID: "a", Algorithm: "RS256"},
	} {
		w.SetKey(k, jose.ES256, shown)
		w.advance(time.Hour)
		if _, err := w.verify(t, w.Token(t, w.now(), nil), nil); kms.CodeOf(err) != kms.CodeIdentityToken {
			t.Errorf("%s: got %v", name, err)
		}
	}
	w.SetKey(k, jose.ES256, jose.JSONWebKey{Key: k.Public(), KeyID: "a", Algorithm: "ES256"})
	w.advance(time.Hour)
	if _, err := w.verify(t, w.Token(t, w.now(), nil), nil); err != nil {
		t.Error(err)
	}
}

// TestNobodyIsSentElsewhereForKeys: whoever is asked for keys cannot have the server ask others in its network.
func TestNobodyIsSentElsewhereForKeys(t *testing.T) {
	var elsewhere atomic.Int32
	s := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			elsewhere.Add(1)
			return
		}
		http.Redirect(rw, r, "/elsewhere", http.StatusFound)
	}))
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	for _, from := range []oidc.Source{{Address: s.URL + "/keys", Roots: roots}, {Issuer: s.URL, Roots: roots}} {
		keys, err := oidc.NewKeys(from, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if err := keys.Fetch(t.Context()); kms.CodeOf(err) != kms.CodeIssuer || elsewhere.Load() != 0 {
			t.Errorf("got %v, and %d questions elsewhere", err, elsewhere.Load())
		}
	}
}

func FuzzPublicKeys(f *testing.F) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	f.Add("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----")
	f.Fuzz(func(t *testing.T, text string) {
		public, err := oidc.PublicKey(text)
		switch {
		case err != nil && kms.CodeOf(err) != kms.CodeBadRequest:
			t.Fatalf("got %v", err)
		case err == nil && public == nil:
			t.Fatal("a key that is none")
		case err == nil:
			if _, err := oidc.NewKeys(oidc.Source{Fixed: []crypto.PublicKey{public}}, time.Now); err != nil && kms.CodeOf(err) != kms.CodeBadRequest {
				t.Fatalf("got %v", err)
			}
		}
	})
}
