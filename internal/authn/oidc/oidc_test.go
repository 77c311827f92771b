package oidc_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyhold/keyhold/internal/authn/oidc"
	"github.com/keyhold/keyhold/internal/authn/oidc/oidctest"
	"github.com/keyhold/keyhold/internal/kms"
)

// world is an issuer and a verifier that knows it, with a clock of its own.
type world struct {
	*oidctest.Issuer
	v  *oidc.Verifier
	at atomic.Int64
}

func (w *world) now() time.Time { return time.Unix(w.at.Load(), 0) }

func (w *world) advance(d time.Duration) { w.at.Add(int64(d / time.Second)) }

func start(t *testing.T) *world {
	t.Helper()
	w := &world{Issuer: oidctest.Start(t)}
	w.at.Store(1_800_000_000)
	var err error
	if w.v, err = oidc.New(oidc.Config{Issuers: []string{w.URL}, Roots: w.Roots, Now: w.now}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) trust(claims map[string]string) []oidc.Trust {
	return []oidc.Trust{{Issuer: "https://other.example", Audiences: []string{"keyhold"}}, {Issuer: w.URL, Audiences: []string{"else", "keyhold"}, Claims: claims}}
}

func (w *world) verify(t *testing.T, token string, claims map[string]string) (oidc.Identity, error) {
	t.Helper()
	return w.v.Verify(t.Context(), token, w.trust(claims))
}

func wantCode(t *testing.T, err error, want kms.Code) {
	t.Helper()
	if got := kms.CodeOf(err); got != want {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
}

func TestATokenOfATrustedIssuerNamesItsSubject(t *testing.T) {
	w := start(t)
	got, err := w.verify(t, w.Token(t, w.now(), oidctest.Claims{"team": []string{"a", "b"}, "ok": true}), map[string]string{"sub": "svc", "team": "b", "ok": "true"})
	if err != nil || got.Issuer != w.URL || got.Subject != "svc" || got.Audience != "keyhold" || got.Trust != 1 || !got.Expires.Equal(w.now().Add(5*time.Minute)) {
		t.Fatalf("got %+v, %v", got, err)
	}
	for range 20 {
		if _, err := w.verify(t, w.Token(t, w.now(), nil), nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.Asked.Load(); got != 2 {
		t.Errorf("the issuer was asked %d times, want once for its configuration and once for its keys", got)
	}
}

func TestWhatATokenMustSay(t *testing.T) {
	w := start(t)
	now := w.now()
	for name, c := range map[string]struct {
		claims oidctest.Claims
		want   kms.Code
	}{
		"another audience":         {oidctest.Claims{"aud": "others"}, kms.CodeIdentityToken},
		"no audience":              {oidctest.Claims{"aud": nil}, kms.CodeIdentityToken},
		"one of several audiences": {oidctest.Claims{"aud": []string{"x", "keyhold"}}, 0},
		"for another party":        {oidctest.Claims{"aud": []string{"x", "keyhold"}, "azp": "x"}, kms.CodeIdentityToken},
		"for this party":           {oidctest.Claims{"aud": []string{"x", "keyhold"}, "azp": "keyhold"}, 0},
		"another issuer":           {oidctest.Claims{"iss": "https://evil.example"}, kms.CodeIdentityToken},
		"an issuer not configured": {oidctest.Claims{"iss": "https://other.example"}, kms.CodeIdentityToken},
		"no subject":               {oidctest.Claims{"sub": nil}, kms.CodeIdentityToken},
		"a long subject":           {oidctest.Claims{"sub": strings.Repeat("x", 256)}, kms.CodeIdentityToken},
		"no expiry":                {oidctest.Claims{"exp": nil}, kms.CodeIdentityToken},
		"expired":                  {oidctest.Claims{"exp": now.Add(-2 * time.Minute).Unix()}, kms.CodeExpired},
		"expired within leeway":    {oidctest.Claims{"exp": now.Add(-30 * time.Second).Unix()}, 0},
		"not yet":                  {oidctest.Claims{"nbf": now.Add(2 * time.Minute).Unix()}, kms.CodeIdentityToken},
		"made in the future":       {oidctest.Claims{"iat": now.Add(2 * time.Minute).Unix()}, kms.CodeIdentityToken},
		"another claim":            {oidctest.Claims{"env": "test"}, kms.CodeIdentityToken},
		"a claim of another kind":  {oidctest.Claims{"env": 7}, kms.CodeIdentityToken},
	} {
		claims := oidctest.Claims{"env": "prod"}
		for k, v := range c.claims {
			claims[k] = v
		}
		if _, err := w.verify(t, w.Token(t, now, claims), map[string]string{"env": "prod"}); kms.CodeOf(err) != c.want {
			t.Errorf("%s: got %v want %v", name, err, c.want)
		}
	}
}

func TestNoOtherSignatureIsAccepted(t *testing.T) {
	w := start(t)
	good := w.Token(t, w.now(), nil)
	head, rest, _ := strings.Cut(good, ".")
	body, _, _ := strings.Cut(rest, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + body + "."
	for name, bad := range map[string]string{
		"none": none, "cut": good[:len(good)-8], "nothing": "", "two parts": head + "." + body, "too long": strings.Repeat("x", 17<<10),
		"another body": head + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+w.URL+`","sub":"root","aud":"keyhold","exp":9999999999}`)) + "." + good[strings.LastIndex(good, ".")+1:],
	} {
		if _, err := w.verify(t, bad, nil); kms.CodeOf(err) != kms.CodeIdentityToken {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// A shared secret, which would be the public key that everybody knows.
	w.SetKey([]byte(strings.Repeat("k", 32)), jose.HS256, jose.JSONWebKey{Key: []byte(strings.Repeat("k", 32)), KeyID: "h"})
	_, err := w.verify(t, w.Token(t, w.now(), nil), nil)
	wantCode(t, err, kms.CodeIdentityToken)
	var nobody *oidc.Verifier
	_, err = nobody.Verify(t.Context(), good, w.trust(nil))
	wantCode(t, err, kms.CodeIdentityToken)
}

func TestARotatedKeyIsFoundAndStrangersDoNotMakeTheServerAsk(t *testing.T) {
	w := start(t)
	old := w.Token(t, w.now(), nil)
	if _, err := w.verify(t, old, nil); err != nil {
		t.Fatal(err)
	}
	w.Rotate(t)
	next := w.Token(t, w.now(), nil)
	asked := w.Asked.Load()
	for range 50 {
		_, err := w.verify(t, next, nil)
		wantCode(t, err, kms.CodeIdentityToken)
	}
	if w.Asked.Load() != asked {
		t.Error("an unknown key makes the server ask again at once")
	}
	w.advance(11 * time.Second)
	if _, err := w.verify(t, next, nil); err != nil {
		t.Error(err)
	}
	w.advance(11 * time.Second)
	_, err := w.verify(t, old, nil) // its key is gone
	wantCode(t, err, kms.CodeIdentityToken)
}

func TestAnIssuerThatIsDownIsSaidToBe(t *testing.T) {
	w := start(t)
	w.Down(true)
	token := w.Token(t, w.now(), nil)
	_, err := w.verify(t, token, nil)
	wantCode(t, err, kms.CodeIssuer)
	w.Down(false)
	_, err = w.verify(t, token, nil) // not so soon
	wantCode(t, err, kms.CodeIssuer)
	w.advance(11 * time.Second)
	if _, err := w.verify(t, token, nil); err != nil {
		t.Error(err)
	}
	w.Down(true)
	w.advance(2 * time.Hour)
	if _, err := w.verify(t, w.Token(t, w.now(), nil), nil); err != nil { // with the keys that are known
		t.Error(err)
	}
}

func TestAnIssuerThatSaysOddThingsIsNotBelieved(t *testing.T) {
	for name, change := range map[string]func(*world){
		"another name":    func(w *world) { w.About(func(m oidctest.Claims) { m["issuer"] = "https://evil.example" }) },
		"keys in clear":   func(w *world) { w.About(func(m oidctest.Claims) { m["jwks_uri"] = "http://localhost/keys" }) },
		"no keys":         func(w *world) { w.SetKeys() },
		"too many keys":   func(w *world) { w.SetKeys(make([]any, 65)...) },
		"a long answer":   func(w *world) { w.About(func(m oidctest.Claims) { m["x"] = strings.Repeat("x", 300<<10) }) },
		"keys not of JWK": func(w *world) { w.SetKeys("x", 7) },
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t)
			change(w)
			_, err := w.verify(t, w.Token(t, w.now(), nil), nil)
			wantCode(t, err, kms.CodeIssuer)
		})
	}
}

func TestAShortRSAKeyIsNotUsed(t *testing.T) {
	w := start(t)
	k, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // G403: that is the point
	if err != nil {
		t.Fatal(err)
	}
	w.SetKey(k, jose.RS256, jose.JSONWebKey{Key: k.Public(), KeyID: "r"})
	_, err = w.verify(t, w.Token(t, w.now(), nil), nil)
	wantCode(t, err, kms.CodeIssuer)
}

func FuzzVerify(f *testing.F) {
	f.Add("e30.e30.")
	f.Add("eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIn0.AAAA")
	v, err := oidc.New(oidc.Config{Issuers: []string{"https://issuer.example"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := v.Verify(t.Context(), token, []oidc.Trust{{Issuer: "https://elsewhere.example", Audiences: []string{"a"}}}); kms.CodeOf(err) != kms.CodeIdentityToken {
			t.Fatalf("got %v", err)
		}
	})
}
