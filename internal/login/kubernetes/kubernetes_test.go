package kubernetes

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"encoding/pem"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
)

func refused(err error) bool {
	no := (*login.Refusal)(nil)
	return errors.As(err, &no)
}

// TestAClusterThatAnswersSomethingElse is one that cannot be asked: who logs in is told neither where it is nor what it said.
func TestAClusterThatAnswersSomethingElse(t *testing.T) {
	long := strings.Repeat("a", maxAnswer)
	for name, answer := range map[string]http.HandlerFunc{
		"a refusal": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret reason", http.StatusForbidden) },
		"another place": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"another kind": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1"}`))
		},
		"too much": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":{"token":"` + long + `"},"status":{"authenticated":true}}`))
		},
	} {
		s := httptest.NewTLSServer(answer)
		t.Cleanup(s.Close)
		c := &config{Host: s.URL, CA: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))}
		_, err := New().review(t.Context(), c, "reviewer", "token", "")
		if e := kms.AsError(err); e == nil || e.Code != kms.CodeIssuer || strings.Contains(e.What, s.URL) || strings.Contains(e.What, "secret") {
			t.Errorf("%s: got %v", name, err)
		}
		c.CA = "" // which the system does not trust
		if _, err := New().review(t.Context(), c, "reviewer", "token", ""); kms.CodeOf(err) != kms.CodeIssuer {
			t.Errorf("%s, of an authority that is not known: got %v", name, err)
		}
	}
}

func FuzzTokens(f *testing.F) {
	for _, s := range []string{
		`{"aud":"a","exp":1800000100,"kubernetes.io":{"namespace":"n","serviceaccount":{"name":"s","uid":"u"}}}`,
		`{"aud":["a","b"],"kubernetes.io/serviceaccount/namespace":"n","kubernetes.io/serviceaccount/service-account.name":"s","kubernetes.io/serviceaccount/service-account.uid":"u"}`,
		`{"aud":7}`, ``,
	} {
		f.Add("e30." + base64.RawURLEncoding.EncodeToString([]byte(s)) + ".AA")
	}
	r := &role{Names: []string{"*"}, Namespaces: []string{"n*"}, Audience: "a"}
	f.Fuzz(func(t *testing.T, token string) {
		c := &config{NoIss: true}
		s, err := c.read(t.Context(), token)
		if err == nil {
			if err = s.judge(c, r, time.Unix(1_800_000_000, 0)); err == nil {
				var a *account
				if a, err = s.account(); err == nil {
					err = r.admits(a)
				}
			}
		}
		if err != nil && !refused(err) {
			t.Fatalf("%q: got %v", token, err)
		}
	})
}
