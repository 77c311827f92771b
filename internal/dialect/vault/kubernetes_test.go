package vault_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/authn/oidc/oidctest"
	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
)

// cluster is what of kube-apiserver knows tokens. It wants its questions as that does.
type cluster struct {
	*oidctest.Issuer // signs the tokens of service accounts
	api              *httptest.Server
	ca               string
	answer           atomic.Pointer[func(map[string]oidctest.Value)] // changes the status of an answer
	reviewed         atomic.Int64
}

const reviewer = "eyJyZXZpZXdlciI6dHJ1ZX0"

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{Issuer: oidctest.Start(t)}
	c.api = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.reviewed.Add(1)
		var q struct {
			APIVersion, Kind string
			Spec             struct {
				Token     string
				Audiences []string
			}
		}
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		err := d.Decode(&q)
		bearer := r.Header.Get("Authorization")
		switch {
		case r.Method != http.MethodPost || r.URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews":
			http.NotFound(w, r)
		case bearer != "Bearer "+reviewer && bearer != "Bearer "+q.Spec.Token:
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
		case err != nil || q.APIVersion != "authentication.k8s.io/v1" || q.Kind != "TokenReview" || q.Spec.Token == "" || r.Header.Get("Content-Type") != "application/json":
			http.Error(w, "bad request", http.StatusBadRequest)
		default:
			status := map[string]oidctest.Value{"authenticated": true, "audiences": q.Spec.Audiences,
				"user": oidctest.Claims{"username": "system:serviceaccount:shop:cart", "uid": "5f0c", "groups": []string{"system:serviceaccounts"}}}
			if change := c.answer.Load(); change != nil {
				(*change)(status)
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusCreated)
			_ = json.NewEncoder(w).Encode(oidctest.Claims{"apiVersion": q.APIVersion, "kind": q.Kind, "metadata": oidctest.Claims{}, "spec": q.Spec, "status": status})
		}
	}))
	t.Cleanup(c.api.Close)
	c.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.api.Certificate().Raw}))
	return c
}

// says changes what the cluster answers.
func (c *cluster) says(change func(map[string]oidctest.Value)) { c.answer.Store(&change) }

// pod is the token of a service account, as a pod has it.
func (c *cluster) pod(t *testing.T, namespace, name string, more oidctest.Claims) string {
	t.Helper()
	claims := oidctest.Claims{"sub": "system:serviceaccount:" + namespace + ":" + name, "aud": []string{"vault"},
		"kubernetes.io": oidctest.Claims{"namespace": namespace, "serviceaccount": oidctest.Claims{"name": name, "uid": "5f0c"}, "pod": oidctest.Claims{"name": "p"}}}
	for k, v := range more {
		claims[k] = v
	}
	return c.Token(t, time.Now(), claims)
}

// TestAServiceAccountLogsIn whose cluster says that the token is its.
func TestAServiceAccountLogsIn(t *testing.T) {
	s := vaulttest.Open(t)
	c := newCluster(t)
	answers(t, s.Ask(t, s.Admin, "POST", "sys/auth/k", `{"type":"kubernetes"}`), http.StatusNoContent, "")
	answers(t, s.Ask(t, s.Admin, "POST", "auth/k/config", vaulttest.Body(t, "kubernetes_host", c.api.URL, "kubernetes_ca_cert", c.ca, "token_reviewer_jwt", reviewer)), http.StatusNoContent, "")
	a := s.Ask(t, s.Admin, "GET", "auth/k/config", "")
	answers(t, a, http.StatusOK, `"token_reviewer_jwt_set":true`)
	if strings.Contains(string(a.Body), reviewer) {
		t.Errorf("the token of the reviewer is shown: %s", a.Body)
	}
	answers(t, s.Ask(t, s.Admin, "POST", "auth/k/role/cart", `{"bound_service_account_names":"c*t","bound_service_account_namespaces":["shop","bank"],"audience":"vault","token_policies":"user","token_ttl":"20m"}`), http.StatusNoContent, "")
	answers(t, s.Ask(t, s.Admin, "GET", "auth/k/role/cart", ""), http.StatusOK, `"bound_service_account_namespaces":["shop","bank"]`)
	logIn := func(token string) vaulttest.Answer {
		return s.Ask(t, "", "POST", "auth/k/login", vaulttest.Body(t, "role", "cart", "jwt", token))
	}
	legacy := c.Token(t, time.Now(), oidctest.Claims{"aud": "vault", "exp": nil, "kubernetes.io/serviceaccount/namespace": "shop",
		"kubernetes.io/serviceaccount/service-account.name": "cart", "kubernetes.io/serviceaccount/service-account.uid": "5f0c"})
	for _, token := range []string{c.pod(t, "shop", "cart", nil), legacy} {
		in, _ := authOf(t, logIn(token))
		look := s.Ask(t, in.Token, "GET", "auth/token/lookup-self", "")
		for _, text := range []string{`"display_name":"k/5f0c"`, `"service_account_name":"cart"`, `"service_account_namespace":"shop"`, `"creation_ttl":1200`} {
			answers(t, look, http.StatusOK, text)
		}
	}
	answers(t, s.Ask(t, s.Admin, "POST", "auth/k/role/cart", `{"alias_name_source":"serviceaccount_name"}`), http.StatusNoContent, "")
	in, _ := authOf(t, logIn(c.pod(t, "shop", "cart", nil)))
	answers(t, s.Ask(t, in.Token, "GET", "auth/token/lookup-self", ""), http.StatusOK, `"display_name":"k/shop/cart"`)
	// without a reviewer's, the token reviews itself
	answers(t, s.Ask(t, s.Admin, "POST", "auth/k/config", vaulttest.Body(t, "kubernetes_host", c.api.URL, "kubernetes_ca_cert", c.ca)), http.StatusNoContent, "")
	answers(t, s.Ask(t, s.Admin, "GET", "auth/k/config", ""), http.StatusOK, `"token_reviewer_jwt_set":false`)
	authOf(t, logIn(c.pod(t, "shop", "cart", nil)))
}

// TestWhatAServiceAccountDoesNotProve: each answers the same, and is on the record with the reason; the cluster is asked only if it could make a difference.
func TestWhatAServiceAccountDoesNotProve(t *testing.T) {
	s := vaulttest.Open(t)
	c := newCluster(t)
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SetKey(k, jose.ES256, jose.JSONWebKey{Key: k.Public(), KeyID: "a"})
	for at, keys := range map[string][]string{"k": nil, "signed": {publicPEM(t, k.Public())}} {
		answers(t, s.Ask(t, s.Admin, "POST", "sys/auth/"+at, `{"type":"kubernetes"}`), http.StatusNoContent, "")
		answers(t, s.Ask(t, "", "POST", "auth/"+at+"/login", `{"role":"cart","jwt":"x"}`), http.StatusForbidden, "permission denied")
		answers(t, s.Ask(t, s.Admin, "POST", "auth/"+at+"/config", vaulttest.Body(t, "kubernetes_host", c.api.URL, "kubernetes_ca_cert", c.ca, "token_reviewer_jwt", reviewer,
			"pem_keys", append([]string{}, keys...), "issuer", c.URL, "disable_iss_validation", false)), http.StatusNoContent, "")
		answers(t, s.Ask(t, s.Admin, "POST", "auth/"+at+"/role/cart", `{"bound_service_account_names":"cart","bound_service_account_namespaces":"shop","audience":"vault","token_policies":"user"}`), http.StatusNoContent, "")
	}
	type status = map[string]oidctest.Value
	other := oidctest.Start(t)
	for name, r := range map[string]struct {
		at, role, token, why string
		says                 func(status)
		asked                bool
	}{
		"another account":      {at: "k", token: c.pod(t, "shop", "till", nil), why: `called "till"`},
		"another namespace":    {at: "k", token: c.pod(t, "bank", "cart", nil), why: `namespace "bank"`},
		"another audience":     {at: "k", token: c.pod(t, "shop", "cart", oidctest.Claims{"aud": "api"}), why: `audience is "api"`},
		"another issuer":       {at: "k", token: c.pod(t, "shop", "cart", oidctest.Claims{"iss": "https://x.example"}), why: "issuer is"},
		"expired":              {at: "k", token: c.pod(t, "shop", "cart", oidctest.Claims{"exp": time.Now().Add(-time.Hour).Unix()}), why: "expired"},
		"not yet":              {at: "k", token: c.pod(t, "shop", "cart", oidctest.Claims{"nbf": time.Now().Add(time.Hour).Unix()}), why: "not good yet"},
		"no account":           {at: "k", token: c.pod(t, "shop", "", nil), why: "names no service account"},
		"no token":             {at: "k", token: "x", why: "form of a signed token"},
		"another role":         {at: "k", role: "x", token: c.pod(t, "shop", "cart", nil), why: `no role "x"`},
		"somebody's signature": {at: "signed", token: other.Token(t, time.Now(), oidctest.Claims{"sub": "x"}), why: "signature does not verify"},
		"unknown": {at: "k", token: c.pod(t, "shop", "cart", nil), why: "does not know it: expired", asked: true,
			says: func(s status) { s["authenticated"], s["error"] = false, "expired" }},
		"an error": {at: "k", token: c.pod(t, "shop", "cart", oidctest.Claims{"jti": "1"}), why: "does not know it", asked: true,
			says: func(s status) { s["error"] = "token was revoked" }},
		"of another account": {at: "k", token: c.pod(t, "shop", "cart", oidctest.Claims{"jti": "2"}), why: "says that of another", asked: true,
			says: func(s status) {
				s["user"] = oidctest.Claims{"username": "system:serviceaccount:shop:till", "uid": "5f0c"}
			}},
		"of an account that was made again": {at: "k", token: c.pod(t, "shop", "cart", oidctest.Claims{"jti": "3"}), why: "says that of another", asked: true,
			says: func(s status) {
				s["user"] = oidctest.Claims{"username": "system:serviceaccount:shop:cart", "uid": "99"}
			}},
		"of a person": {at: "k", token: c.pod(t, "shop", "cart", oidctest.Claims{"jti": "4"}), why: "no service account", asked: true,
			says: func(s status) { s["user"] = oidctest.Claims{"username": "ann", "uid": "5f0c"} }},
		"of a cluster that looks at no audience": {at: "signed", token: c.pod(t, "shop", "cart", nil), why: "the audience", asked: true,
			says: func(s status) { delete(s, "audiences") }},
	} {
		c.says(func(status) {})
		if r.says != nil {
			c.says(r.says)
		}
		before := c.reviewed.Load()
		role := "cart"
		if r.role != "" {
			role = r.role
		}
		answers(t, s.Ask(t, "", "POST", "auth/"+r.at+"/login", vaulttest.Body(t, "role", role, "jwt", r.token)), http.StatusForbidden, `{"errors":["permission denied"]}`)
		if got := lastLogin(t, s); got.Outcome != audit.Denied || !strings.Contains(got.Detail, r.why) {
			t.Errorf("%s: on the record as %v %q, want %s", name, got.Outcome, got.Detail, r.why)
		}
		if asked := c.reviewed.Load() > before; asked != r.asked {
			t.Errorf("%s: the cluster was asked: %v, want %v", name, asked, r.asked)
		}
	}
	// a cluster that cannot be asked is no refusal
	c.api.Close()
	a := s.Ask(t, "", "POST", "auth/k/login", vaulttest.Body(t, "role", "cart", "jwt", c.pod(t, "shop", "cart", nil)))
	if a.Status < 500 && a.Status != http.StatusBadRequest || strings.Contains(string(a.Body), c.api.URL) {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
}

// TestWhatAMountOfAClusterIsNotTold: configurations and roles that say nothing, or more than there is.
func TestWhatAMountOfAClusterIsNotTold(t *testing.T) {
	s := vaulttest.Open(t)
	answers(t, s.Ask(t, s.Admin, "POST", "sys/auth/kubernetes", `{"type":"kubernetes"}`), http.StatusNoContent, "")
	many := make([]string, 300)
	for i := range many {
		many[i] = "a"
	}
	for _, c := range []struct{ path, body, why string }{
		{"config", `{}`, "no host"},
		{"config", `{"kubernetes_host":"http://10.0.0.1"}`, "over TLS"},
		{"config", `{"kubernetes_host":"https://a:b@c"}`, "over TLS"},
		{"config", `{"kubernetes_host":"https://a","kubernetes_ca_cert":"x"}`, "not PEM"},
		{"config", `{"kubernetes_host":"https://a","pem_keys":["x"]}`, "error parsing public key"},
		{"config", `{"kubernetes_host":"https://a","token_reviewer_jwt":"a\r\nHost: b"}`, "not a token"},
		{"config", `{"kubernetes_host":"https://a","token_reviewer_jwt":"` + strings.Repeat("a", 20000) + `"}`, "at most"},
		{"role/a", `{"bound_service_account_namespaces":"a"}`, "can not be empty"},
		{"role/a", `{"bound_service_account_names":"a"}`, "can not be empty"},
		{"role/a", `{"bound_service_account_names":["*","a"],"bound_service_account_namespaces":"a"}`, "can not mix"},
		{"role/a", `{"bound_service_account_names":"a","bound_service_account_namespaces":"a","alias_name_source":"x"}`, "alias_name_source"},
		{"role/a", `{"bound_service_account_names":"a","bound_service_account_namespaces":"a","bound_service_account_namespace_selector":"{}"}`, "not supported"},
		{"role/a", vaulttest.Body(t, "bound_service_account_names", many, "bound_service_account_namespaces", "a"), "too many"},
	} {
		a := s.Ask(t, s.Admin, "POST", "auth/kubernetes/"+c.path, c.body)
		if a.Status < 400 || !strings.Contains(string(a.Body), c.why) {
			t.Errorf("%s %s: got %d %s, want %s", c.path, c.body, a.Status, a.Body, c.why)
		}
	}
	answers(t, s.Ask(t, "", "POST", "auth/kubernetes/login", `{"jwt":"x"}`), http.StatusBadRequest, "missing role")
}
