package vault_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/authn/oidc/oidctest"
	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// answers wants an answer of a status, with a text in it.
func answers(t *testing.T, a vaulttest.Answer, status int, text string) {
	t.Helper()
	if a.Status != status || !strings.Contains(string(a.Body), text) {
		t.Errorf("got %d %s, want %d %s", a.Status, a.Body, status, text)
	}
}

// lastLogin is the newest record of a login.
func lastLogin(t *testing.T, s *vaulttest.Server) audit.Record {
	t.Helper()
	by := kms.Call{Principal: &kms.Principal{Name: "eve", Namespace: kms.DefaultNamespace, Roles: []kms.Role{kms.RoleAuditor}, Method: kms.AuthToken}, Namespace: kms.DefaultNamespace}
	out, err := s.Engine.ListAudit(t.Context(), by, engine.AuditListInput{Filter: audit.Filter{Action: kms.Login}, Limit: 1})
	if err != nil || len(out.Entries) != 1 {
		t.Fatalf("got %d records, %v", len(out.Entries), err)
	}
	return out.Entries[0].Record
}

func publicPEM(t *testing.T, k crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// TestSomebodyLogsInByATokenOfAnIssuer whose keys are found by its configuration, at an address, or are given.
func TestSomebodyLogsInByATokenOfAnIssuer(t *testing.T) {
	s := vaulttest.Open(t)
	i := oidctest.Start(t)
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.SetKey(k, jose.ES256, jose.JSONWebKey{Key: k.Public(), KeyID: "a", Algorithm: "ES256", Use: "sig"})
	for at, config := range map[string]string{
		"jwt":      vaulttest.Body(t, "oidc_discovery_url", i.URL, "oidc_discovery_ca_pem", string(i.CA), "default_role", "ci"),
		"team/set": vaulttest.Body(t, "jwks_url", i.URL+"/keys", "jwks_ca_pem", string(i.CA), "bound_issuer", i.URL, "default_role", "ci"),
		"given":    vaulttest.Body(t, "jwt_validation_pubkeys", []string{publicPEM(t, k.Public())}, "jwt_supported_algs", "ES256", "default_role", "ci"),
	} {
		kind := "jwt"
		if at == "jwt" {
			kind = "oidc"
		}
		answers(t, s.Ask(t, s.Admin, "POST", "sys/auth/"+at, `{"type":"`+kind+`"}`), http.StatusNoContent, "")
		answers(t, s.Ask(t, s.Admin, "GET", "auth/"+at+"/config", ""), http.StatusNotFound, "")
		answers(t, s.Ask(t, "", "POST", "auth/"+at+"/login", `{"jwt":"x"}`), http.StatusBadRequest, "error validating token")
		answers(t, s.Ask(t, s.Admin, "POST", "auth/"+at+"/config", config), http.StatusNoContent, "")
		answers(t, s.Ask(t, s.Admin, "GET", "auth/"+at+"/config", ""), http.StatusOK, `"default_role":"ci"`)
		answers(t, s.Ask(t, s.Admin, "POST", "auth/"+at+"/role/ci", `{"role_type":"jwt","user_claim":"sub","bound_audiences":"keyhold","groups_claim":"groups",
			"claim_mappings":{"/at/host":"host"},"token_policies":"user","token_ttl":"1h"}`), http.StatusNoContent, "")
		answers(t, s.Ask(t, s.Admin, "GET", "auth/"+at+"/role/ci", ""), http.StatusOK, `"bound_audiences":["keyhold"]`)
		answers(t, s.Ask(t, s.Admin, "GET", "auth/"+at+"/role/ci", ""), http.StatusOK, `"token_policies":["user"]`)
		token := i.Token(t, time.Now(), oidctest.Claims{"groups": []string{"dev", "no such name"}, "at": oidctest.Claims{"host": "h1"}})
		in, _ := authOf(t, s.Ask(t, "", "POST", "auth/"+at+"/login", vaulttest.Body(t, "jwt", token)))
		a := s.Ask(t, in.Token, "GET", "auth/token/lookup-self", "")
		for _, text := range []string{`"display_name":"` + at + `/svc"`, `"` + at + `/dev"`, `"host":"h1"`, `"role":"ci"`} {
			answers(t, a, http.StatusOK, text)
		}
		if strings.Contains(string(a.Body), "no such name") {
			t.Errorf("a group that has no name: %s", a.Body)
		}
		answers(t, s.Ask(t, s.Admin, "DELETE", "auth/"+at+"/role/ci", ""), http.StatusNoContent, "")
		answers(t, s.Ask(t, "", "POST", "auth/"+at+"/login", vaulttest.Body(t, "jwt", token)), http.StatusBadRequest, "error validating token")
	}
	answers(t, s.Ask(t, s.Admin, "POST", "auth/jwt/oidc/auth_url", ""), http.StatusMethodNotAllowed, "browser")
}

// TestWhatATokenDoesNotProve: each answers the same, and is on the record with the reason.
func TestWhatATokenDoesNotProve(t *testing.T) {
	s := vaulttest.Open(t)
	i := oidctest.Start(t)
	answers(t, s.Ask(t, s.Admin, "POST", "sys/auth/jwt", `{"type":"jwt"}`), http.StatusNoContent, "")
	answers(t, s.Ask(t, s.Admin, "POST", "auth/jwt/config", vaulttest.Body(t, "oidc_discovery_url", i.URL, "oidc_discovery_ca_pem", string(i.CA), "jwt_supported_algs", "ES256")), http.StatusNoContent, "")
	answers(t, s.Ask(t, s.Admin, "POST", "auth/jwt/role/ci", `{"role_type":"jwt","user_claim":"sub","bound_audiences":["keyhold"],"bound_subject":"svc","bound_claims_type":"glob",
		"bound_claims":{"ref":["refs/heads/*"],"/of/team":"a"},"token_policies":"user"}`), http.StatusNoContent, "")
	now := time.Now()
	good := oidctest.Claims{"ref": "refs/heads/main", "of": oidctest.Claims{"team": "a"}}
	with := func(name string, v oidctest.Value) string {
		c := oidctest.Claims{"ref": good["ref"], "of": good["of"]}
		c[name] = v
		return i.Token(t, now, c)
	}
	whole := i.Token(t, now, good)
	parts := strings.Split(whole, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	hmac := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + parts[1] + "." + parts[2]
	rsa := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + parts[1] + "." + parts[2]
	other := oidctest.Start(t)
	authOf(t, s.Ask(t, "", "POST", "auth/jwt/login", vaulttest.Body(t, "jwt", whole, "role", "ci")))
	for name, c := range map[string]struct{ role, token, why string }{
		"another audience":    {"ci", with("aud", "others"), `audience is "others"`},
		"no audience":         {"ci", with("aud", nil), `audience is ""`},
		"another issuer":      {"ci", with("iss", "https://else.example"), "issuer is"},
		"another subject":     {"ci", with("sub", "root"), `subject is "root"`},
		"another claim":       {"ci", with("ref", "refs/tags/v1"), `claim "ref"`},
		"a claim that is off": {"ci", with("of", oidctest.Claims{"team": "b"}), `claim "/of/team"`},
		"no claim":            {"ci", with("of", nil), `claim "/of/team"`},
		"expired":             {"ci", with("exp", now.Add(-2*time.Minute).Unix()), "expired at"},
		"not yet":             {"ci", with("nbf", now.Add(2*time.Minute).Unix()), "good from"},
		"from the future":     {"ci", with("iat", now.Add(2*time.Minute).Unix()), "issued at"},
		"another role":        {"cd", whole, `no role "cd"`},
		"no role":             {"", whole, "names no role"},
		"no signature":        {"ci", none, "a form and an algorithm"},
		"a shared secret":     {"ci", hmac, "a form and an algorithm"},
		"another algorithm":   {"ci", rsa, "a form and an algorithm"},
		"somebody else":       {"ci", other.Token(t, now, oidctest.Claims{"iss": i.URL}), "no such key"},
		"another signature":   {"ci", parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)), "does not verify"},
		"no token":            {"ci", "x", "a form and an algorithm"},
	} {
		a := s.Ask(t, "", "POST", "auth/jwt/login", vaulttest.Body(t, "jwt", c.token, "role", c.role))
		answers(t, a, http.StatusBadRequest, `{"errors":["error validating token"]}`)
		if r := lastLogin(t, s); r.Outcome != audit.Denied || !strings.Contains(r.Detail, c.why) {
			t.Errorf("%s: on the record as %v %q, want %s", name, r.Outcome, r.Detail, c.why)
		}
	}
}

// TestWhatAMountOfTokensIsNotTold: configurations and roles that say nothing, or more than there is.
func TestWhatAMountOfTokensIsNotTold(t *testing.T) {
	s := vaulttest.Open(t)
	i := oidctest.Start(t)
	answers(t, s.Ask(t, s.Admin, "POST", "sys/auth/jwt", `{"type":"jwt"}`), http.StatusNoContent, "")
	for body, why := range map[string]string{
		`{}`:                                   "one of these",
		`{"jwks_url":"http://127.0.0.1/keys"}`: "over TLS only",
		`{"jwks_url":"https://a.example","oidc_discovery_url":"https://b.example"}`:               "one of these",
		`{"jwt_validation_pubkeys":"x"}`:                                                          "error parsing public key",
		`{"jwks_url":"https://a.example","jwt_supported_algs":["HS256"]}`:                         "unsupported signing algorithm",
		`{"jwks_url":"https://a.example","oidc_client_id":"a"}`:                                   "not supported",
		`{"oidc_discovery_ca_pem":"x","jwks_url":"https://a.example"}`:                            "an authority is given",
		vaulttest.Body(t, "jwks_url", i.URL, "jwks_ca_pem", "x"):                                  "not PEM",
		vaulttest.Body(t, "jwks_url", i.URL+"/nothing", "jwks_ca_pem", string(i.CA)):              "could not be had",
		vaulttest.Body(t, "oidc_discovery_url", i.URL):                                            "could not be had",
		vaulttest.Body(t, "oidc_discovery_url", i.URL+"/", "oidc_discovery_ca_pem", string(i.CA)): "could not be had",
	} {
		a := s.Ask(t, s.Admin, "POST", "auth/jwt/config", body)
		if a.Status < 400 || !strings.Contains(string(a.Body), why) {
			t.Errorf("%s: got %d %s, want %s", body, a.Status, a.Body, why)
		}
	}
	for body, why := range map[string]string{
		`{"user_claim":"sub"}`:  "at least one bound constraint",
		`{"bound_subject":"a"}`: "a user claim",
		`{"role_type":"oidc","user_claim":"sub","bound_subject":"a"}`:                      "browser",
		`{"role_type":"x","user_claim":"sub","bound_subject":"a"}`:                         "invalid role_type",
		`{"user_claim":"sub","bound_claims":{"a":{}}}`:                                     "unexpected type",
		`{"user_claim":"sub","bound_claims":{"a":[]}}`:                                     "unexpected type",
		`{"user_claim":"sub","bound_claims":"x"}`:                                          "cannot be read",
		`{"user_claim":"sub","bound_claims":{"a":1},"bound_claims_type":"glob"}`:           "not a string",
		`{"user_claim":"sub","bound_claims":{"a":1},"bound_claims_type":"x"}`:              "invalid bound_claims_type",
		`{"user_claim":"sub","bound_claims":{"/a~2":1}}`:                                   "JSON pointer",
		`{"user_claim":"sub","bound_subject":"a","claim_mappings":{"a":"role"}}`:           "reserved",
		`{"user_claim":"sub","bound_subject":"a","clock_skew_leeway":"3000h"}`:             "leeway",
		`{"user_claim":"sub","bound_subject":"a","token_policies":"root"}`:                 "root",
		`{"user_claim":"sub","bound_subject":"a","token_policies":"operator"}`:             "operator",
		`{"user_claim":"sub","bound_subject":"a","token_type":"batch"}`:                    "batch",
		vaulttest.Body(t, "user_claim", "sub", "bound_subject", strings.Repeat("a", 2000)): "at most",
	} {
		a := s.Ask(t, s.Admin, "POST", "auth/jwt/role/ci", body)
		if a.Status < 400 || !strings.Contains(string(a.Body), why) {
			t.Errorf("%s: got %d %s, want %s", body, a.Status, a.Body, why)
		}
	}
	for _, who := range []string{"", s.User} {
		answers(t, s.Ask(t, who, "POST", "auth/jwt/config", `{}`), http.StatusForbidden, "permission denied")
		answers(t, s.Ask(t, who, "GET", "auth/jwt/role/ci", ""), http.StatusForbidden, "permission denied")
	}
}
