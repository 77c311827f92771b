package oidc

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"
)

// says answers every question with the same bytes.
type says []byte

func (s says) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(s)), Header: http.Header{}, Request: r}, nil
}

// FuzzAnswers: what an issuer answers to either question is refused, or leads to addresses over TLS and to public keys alone.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://i.example","jwks_uri":"https://i.example/keys"}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"a"},{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		i := newIssuer("https://i.example", &http.Client{Transport: says(answer)}, time.Now)
		if at, err := i.discover(t.Context()); err == nil && !overTLS(at) {
			t.Fatalf("leads to %q", at)
		}
		keys, err := i.set(t.Context(), "https://i.example/keys")
		if err == nil && len(keys) == 0 || len(keys) > maxKeys {
			t.Fatalf("got %d keys", len(keys))
		}
		for k := range keys {
			if !keys[k].IsPublic() || !strong(&keys[k]) {
				t.Fatalf("got %T", keys[k].Key)
			}
		}
	})
}
