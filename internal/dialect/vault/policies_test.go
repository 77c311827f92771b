package vault_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
)

// tokenWith makes a token with policies.
func tokenWith(t *testing.T, s *vaulttest.Server, name string, policies ...string) string {
	t.Helper()
	list, _ := json.Marshal(policies)
	a := s.Ask(t, s.Admin, "POST", "auth/token/create", fmt.Sprintf(`{"display_name":%q,"policies":%s}`, name, list))
	var out struct {
		Auth struct {
			Token string `json:"client_token"`
		}
	}
	if err := json.Unmarshal(a.Body, &out); err != nil || out.Auth.Token == "" {
		t.Fatalf("no token: %d %s", a.Status, a.Body)
	}
	return out.Auth.Token
}

// TestPoliciesDecide: what an ACL policy permits to tokens that name it, and no more, here and in every dialect; also of secrets and other mounts.
func TestPoliciesDecide(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "app-1", "")
	made(t, s, "other", "")
	policy := func(name, text string) vaulttest.Answer {
		body, _ := json.Marshal(map[string]string{"policy": text})
		return s.Ask(t, s.Admin, "PUT", "sys/policies/acl/"+name, string(body))
	}
	if a := policy("App", `path "transit/encrypt/app-*" { capabilities = ["update"] }
path "transit/keys" { capabilities = ["list"] }
path "secret/data/app/*" { capabilities = ["read"] }`); a.Status != 204 {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	var sealed struct{ Ciphertext string }
	s.Ask(t, s.User, "POST", "transit/encrypt/app-1", `{"plaintext":"aGk="}`).Into(t, &sealed)
	app := tokenWith(t, s, "svc/app", "app", "default")
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "transit/encrypt/app-1", `{"plaintext":"aGk="}`, 200},
		{"POST", "transit/encrypt/other", `{"plaintext":"aGk="}`, 403},
		{"POST", "transit/encrypt/app-2", `{"plaintext":"aGk="}`, 403}, // it would have to be created
		{"POST", "transit/decrypt/app-1", fmt.Sprintf(`{"ciphertext":%q}`, sealed.Ciphertext), 403},
		{"POST", "transit/datakey/plaintext/app-1", `{}`, 403},
		{"LIST", "transit/keys", "", 404}, // it sees no key, as it may describe none
		{"GET", "secret/data/app/x", "", 404},
		{"GET", "secret/data/x", "", 403},
		{"POST", "secret/data/app/x", `{"data":{"a":"b"}}`, 403},
		{"PUT", "sys/policies/acl/app", `{"policy":"path \"*\" { capabilities = [\"update\"] }"}`, 403},
	} {
		if a := s.Ask(t, app, c.method, c.path, c.body); a.Status != c.want {
			t.Errorf("%s %s: got %d %s, want %d", c.method, c.path, a.Status, a.Body, c.want)
		}
	}
	var can struct{ Capabilities []string }
	if s.Ask(t, app, "POST", "sys/capabilities-self", `{"paths":["transit/encrypt/app-9"]}`).Into(t, &can); !slices.Equal(can.Capabilities, []string{"update"}) {
		t.Errorf("capabilities: got %v", can.Capabilities)
	}
	if a := policy("app", `path "transit/encrypt/app-*" { capabilities = ["deny"] }`); a.Status != 204 {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, app, "POST", "transit/encrypt/app-1", `{"plaintext":"aGk="}`); a.Status != 403 {
		t.Errorf("after the policy changed: got %d %s", a.Status, a.Body)
	}
}

// TestPoliciesAreKeptAsTheyAreWritten: read, list and delete, in both forms of the API; what is not for this API is not touched.
func TestPoliciesAreKeptAsTheyAreWritten(t *testing.T) {
	s := vaulttest.Open(t)
	const text = "# for the app\npath \"transit/encrypt/app\" {\n  capabilities = [\"update\"]\n}\n"
	body, _ := json.Marshal(map[string]string{"policy": text})
	if a := s.Ask(t, s.Admin, "POST", "sys/policies/acl/app", string(body)); a.Status != 204 {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	var one struct{ Name, Policy, Rules string }
	if s.Ask(t, s.Admin, "GET", "sys/policies/acl/app", "").Into(t, &one); one.Name != "app" || one.Policy != text {
		t.Errorf("got %+v", one)
	}
	if s.Ask(t, s.Admin, "GET", "sys/policy/app", "").Into(t, &one); one.Rules != text {
		t.Errorf("got %+v", one)
	}
	var list struct{ Keys []string }
	if s.Ask(t, s.Admin, "LIST", "sys/policies/acl", "").Into(t, &list); !slices.Equal(list.Keys, []string{"app", "default", "root"}) {
		t.Errorf("got %v", list.Keys)
	}
	if a := s.Ask(t, s.Admin, "POST", "sys/policies/acl/noted", `{"policy":"path \"database/x\" { capabilities = [\"read\"] }"}`); a.Status != 200 || !strings.Contains(string(a.Body), "stands for nothing") {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	for path, want := range map[string]string{
		"sys/policies/acl/root":  `cannot update "root" policy`,
		"sys/policies/acl/admin": `cannot update "admin" policy`,
		"sys/policies/acl/bad":   "",
	} {
		a := s.Ask(t, s.Admin, "POST", path, `{"policy":"path \"x\" { capabilities = [\"raed\"] }"}`)
		if a.Status != 400 || !strings.HasPrefix(a.Errors()[0], want) {
			t.Errorf("%s: got %d %s", path, a.Status, a.Body)
		}
	}
	for range 2 {
		if a := s.Ask(t, s.Admin, "DELETE", "sys/policies/acl/app", ""); a.Status != 204 {
			t.Errorf("delete: got %d %s", a.Status, a.Body)
		}
	}
	if a := s.Ask(t, s.Admin, "GET", "sys/policies/acl/app", ""); a.Status != 404 || len(a.Errors()) != 0 {
		t.Errorf("deleted: got %d %s", a.Status, a.Body)
	}
}

// TestPoliciesThatEverybodyHas: the paths of tokens, leases and wrapping that policies of applications name as a matter of course are accepted beside those of
// logins, and mean what they say.
func TestPoliciesThatEverybodyHas(t *testing.T) {
	s := vaulttest.Open(t)
	put := func(name string, paths map[string]string) vaulttest.Answer {
		var text strings.Builder
		for path, can := range paths {
			fmt.Fprintf(&text, "path %q { capabilities = [%q] }\n", path, can)
		}
		body, _ := json.Marshal(map[string]string{"policy": text.String()})
		return s.Ask(t, s.Admin, "PUT", "sys/policies/acl/"+name, string(body))
	}
	for name, paths := range map[string]map[string]string{
		"usual": {
			"auth/token/lookup-self": "read", "auth/token/renew-self": "update", "auth/token/revoke-self": "update", "sys/capabilities-self": "update",
			"sys/internal/ui/resultant-acl": "read", "sys/renew": "update", "sys/leases/renew": "update", "sys/leases/lookup": "update", "cubbyhole/*": "read",
			"sys/wrapping/wrap": "update", "sys/wrapping/lookup": "update", "sys/wrapping/unwrap": "update", "sys/tools/hash": "update", "sys/control-group/request": "update",
		},
		"maker": {"auth/token/create": "update"},
		"ender": {"auth/token/revoke-accessor": "update", "auth/token/lookup-accessor": "update"},
		"all":   {"auth/*": "update"},
	} {
		if a := put(name, paths); a.Status != 204 && a.Status != 200 {
			t.Errorf("%s: got %d %s", name, a.Status, a.Body)
		}
	}
	// Whoever makes roles of tokens makes those of logins: that is not permitted by the way.
	if a := put("issuer", map[string]string{"auth/token/*": "update"}); a.Status != 200 || !strings.Contains(string(a.Body), "and does not permit it") {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	maker := tokenWith(t, s, "svc/maker", "maker", "issuer")
	if a := s.Ask(t, maker, "POST", "auth/token/create", `{"ttl":"1m"}`); a.Status != 200 {
		t.Errorf("it may make tokens: got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, maker, "POST", "auth/token/roles/x", `{}`); a.Status != 403 {
		t.Errorf("it may not make roles: got %d %s", a.Status, a.Body)
	}
}
