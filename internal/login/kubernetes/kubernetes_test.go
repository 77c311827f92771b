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

	"github.com/go-json-experiment/json"

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

// FuzzReviews: whatever a cluster answers, nobody comes of it but a service account that has a name.
func FuzzReviews(f *testing.F) {
	f.Add([]byte(`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{"authenticated":true,"audiences":["a"],"user":{"username":"system:serviceaccount:n:s","uid":"u"}}}`), "a")
	f.Add([]byte(`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{"authenticated":true,"user":{"username":"system:serviceaccount::"}}}`), "")
	f.Fuzz(func(t *testing.T, answer []byte, audience string) {
		var a review
		if json.Unmarshal(answer, &a) != nil {
			return
		}
		who, err := a.account(audience)
		switch {
		case err != nil && !refused(err) && kms.CodeOf(err) != kms.CodeIssuer:
			t.Fatalf("%s: got %v", answer, err)
		case err == nil && (who.namespace == "" || who.name == "" || !a.Status.Authenticated || a.Status.Error != ""):
			t.Fatalf("%s: got %+v", answer, who)
		}
	})
}

// TestAReviewIsForTheAudience: a cluster that does not look at audiences has not said that the token is for this one.
func TestAReviewIsForTheAudience(t *testing.T) {
	for answer, good := range map[string]bool{
		`"authenticated":true,"audiences":["a","b"],"user":{"username":"system:serviceaccount:n:s"}`:         true,
		`"authenticated":true,"user":{"username":"system:serviceaccount:n:s"}`:                               false,
		`"authenticated":true,"audiences":["b"],"user":{"username":"system:serviceaccount:n:s"}`:             false,
		`"authenticated":false,"audiences":["a"],"user":{"username":"system:serviceaccount:n:s"}`:            false,
		`"authenticated":true,"error":"e","audiences":["a"],"user":{"username":"system:serviceaccount:n:s"}`: false,
		`"authenticated":true,"audiences":["a"],"user":{"username":"system:admin"}`:                          false,
		`"authenticated":true,"audiences":["a"],"user":{"username":"system:serviceaccount:n:s:t"}`:           false,
	} {
		var a review
		if err := json.Unmarshal([]byte(`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{`+answer+`}}`), &a); err != nil {
			t.Fatal(err)
		}
		if _, err := a.account("a"); (err == nil) != good || err != nil && !refused(err) {
			t.Errorf("%s: got %v", answer, err)
		}
	}
}
