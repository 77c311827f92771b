// Package oidctest runs an OpenID Connect issuer for tests: over TLS, with discovery, keys that can be changed, and tokens of any content.
package oidctest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Value is what a name in JSON may stand for.
type Value = any

// Claims are the content of a token, or of a document of the issuer.
type Claims = map[string]Value

// Issuer is an issuer that runs.
type Issuer struct {
	URL   string
	Roots *x509.CertPool
	CA    []byte       // the same as PEM
	Asked atomic.Int64 // questions that came

	mu    sync.Mutex // guards what follows
	keys  []any      // of the key set, as JSON values
	key   any        // that signs
	alg   jose.SignatureAlgorithm
	id    string
	about func(Claims)
	down  bool
}

// Start runs an issuer with one key (ECDSA on P-256).
func Start(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{}
	i.Rotate(t)
	s := httptest.NewTLSServer(http.HandlerFunc(i.serve))
	t.Cleanup(s.Close)
	i.URL, i.Roots = s.URL, x509.NewCertPool()
	i.Roots.AddCert(s.Certificate())
	i.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return i
}

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.Asked.Add(1)
	i.mu.Lock()
	defer i.mu.Unlock()
	var answer any
	switch {
	case i.down:
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	case r.URL.Path == "/.well-known/openid-configuration":
		about := Claims{"issuer": i.URL, "jwks_uri": i.URL + "/keys"}
		if i.about != nil {
			i.about(about)
		}
		answer = about
	case r.URL.Path == "/keys":
		answer = Claims{"keys": i.keys}
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // a client that is gone cannot be told
}

// Rotate makes a new key, the only one of the set from now on.
func (i *Issuer) Rotate(t testing.TB) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.SetKey(k, jose.ES256, jose.JSONWebKey{Key: k.Public(), KeyID: fmt.Sprintf("k%d", time.Now().UnixNano()), Algorithm: string(jose.ES256), Use: "sig"})
}

// SetKey makes a key sign, and a key set of one.
func (i *Issuer) SetKey(signs any, alg jose.SignatureAlgorithm, shown jose.JSONWebKey) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key, i.alg, i.id, i.keys = signs, alg, shown.KeyID, []any{shown}
}

// SetKeys answers other keys than the one that signs.
func (i *Issuer) SetKeys(keys ...any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = keys
}

// About changes what the issuer says of itself.
func (i *Issuer) About(change func(Claims)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.about = change
}

// Down makes the issuer answer nothing of use, or again.
func (i *Issuer) Down(is bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = is
}

// Token signs a token of "svc" for "keyhold" that lasts five minutes from now on, with claims added or, as nil, taken away.
func (i *Issuer) Token(t testing.TB, now time.Time, claims Claims) string {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	all := Claims{"iss": i.URL, "sub": "svc", "aud": "keyhold", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v Value) bool { return v == nil })
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: i.alg, Key: i.key}, (&jose.SignerOptions{}).WithHeader("kid", i.id))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(s).Claims(all).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}
