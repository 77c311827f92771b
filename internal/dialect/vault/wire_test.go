package vault_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
)

// TestAnswersAreThoseOfTheWire holds statuses and bodies to what OpenBao 2.6.2 sent.
func TestAnswersAreThoseOfTheWire(t *testing.T) {
	s := vaulttest.Open(t)
	for _, w := range []struct {
		token, method, path, body string
		headers                   []string
		status                    int
		want                      string
	}{
		{"bad", "GET", "auth/token/lookup-self", "", nil, 403, `{"errors":["permission denied"]}`},
		{"", "GET", "", "", nil, 403, `{"errors":["permission denied"]}`},
		{"", "GET", "nope/keys/x", "", nil, 403, `{"errors":["permission denied"]}`},
		{s.Admin, "GET", "t/keys/x", "", nil, 404, `{"errors":["no handler for route \"t/keys/x\". route entry not found."]}`},
		{s.Admin, "OPTIONS", "sys/health", "", nil, 405, `{"errors":[]}`},
		{s.User, "POST", "transit/encrypt/k", "{bad json", nil, 400, `{"errors":["failed to decode JSON input: invalid character 'b'"]}`},
		{s.User, "POST", "transit/encrypt/k", "{}", nil, 400, `{"errors":["missing plaintext to encrypt"]}`},
		{s.User, "PATCH", "transit/encrypt/k", "{}", []string{"Content-Type: application/x-www-form-urlencoded"}, 415,
			`{"errors":["PATCH requires Content-Type of application/merge-patch+json, provided application/x-www-form-urlencoded"]}`},
		{s.User, "GET", "transit/encrypt/k", "", nil, 405, `{"errors":["1 error occurred:\n\t* unsupported operation\n\n"]}`},
		{s.User, "POST", "transit/encrypt/k", `{"plaintext":"aGk="}`, []string{"X-Vault-Namespace: No-Pe"}, 404, `{"errors":["namespace not found"]}`},
		{s.Admin, "GET", "transit/keys/none", "", nil, 404, `{"errors":[]}`},
		{"", "GET", "sys/leader", "", nil, 200, `{"ha_enabled":false}`},
		{"", "GET", "sys/init", "", nil, 200, `{"initialized":true}`},
		{s.Admin, "POST", "transit/keys/k", `{"type":"nope"}`, nil, 400, `{"errors":["unknown key type nope"]}`},
		{s.Admin, "POST", "transit/keys/k", `{"auto_rotate_period":"10m"}`, nil, 400, `{"errors":["auto rotate period must be 0 to disable or at least an hour"]}`},
		{s.Admin, "POST", "sys/mounts/transit", `{"type":"transit"}`, nil, 400, `{"errors":["path is already in use at transit/"]}`},
		{s.User, "POST", "transit/decrypt/k", `{"ciphertext":"x"}`, nil, 400, `{"errors":["invalid ciphertext: no prefix"]}`},
		{s.User, "POST", "transit/decrypt/k", `{"ciphertext":"vault:v1"}`, nil, 400, `{"errors":["invalid ciphertext: wrong number of fields"]}`},
		{s.User, "POST", "transit/decrypt/k", `{"ciphertext":"vault:vx:AA"}`, nil, 400, `{"errors":["invalid ciphertext: version number could not be decoded"]}`},
		{s.User, "POST", "transit/decrypt/k", `{"ciphertext":"vault:v1:?"}`, nil, 400, `{"errors":["invalid ciphertext: could not decode base64"]}`},
	} {
		a := s.Ask(t, w.token, w.method, w.path, w.body, w.headers...)
		if a.Status != w.status || strings.TrimSpace(string(a.Body)) != w.want {
			t.Errorf("%s %s %s: got %d %s want %d %s", w.method, w.path, w.body, a.Status, a.Body, w.status, w.want)
		}
	}
}

// TestAnEnvelopeHasAllItsMembers, null where there is nothing.
func TestAnEnvelopeHasAllItsMembers(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "k", "")
	for _, how := range [][3]string{{"GET", "transit/keys/k", ""}, {"PUT", "transit/encrypt/k", `{"plaintext":""}`}, {"GET", "auth/token/lookup-self", ""}, {"PUT", "auth/token/renew-self", "{}"},
		{"GET", "sys/internal/ui/mounts", ""}, {"GET", "sys/internal/ui/mounts/transit/keys/k", ""}, {"GET", "sys/mounts", ""}, {"PUT", "sys/capabilities-self", `{"paths":["transit/encrypt/k"]}`}} {
		a := s.Ask(t, s.User, how[0], how[1], how[2])
		if how[1] == "transit/keys/k" {
			a = s.Ask(t, s.Admin, how[0], how[1], how[2])
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(a.Body, &all); err != nil || a.Status != 200 {
			t.Fatalf("%v: %d %s %v", how, a.Status, a.Body, err)
		}
		for _, name := range []string{"request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth"} {
			if len(all[name]) == 0 {
				t.Errorf("%v: %q is missing: %s", how, name, a.Body)
			}
		}
		if echo := strings.HasPrefix(how[1], "sys/mounts") || strings.HasPrefix(how[1], "sys/cap"); echo != (len(all) > 8) {
			t.Errorf("%v: got %d members", how, len(all))
		}
	}
}

func TestTokensComeInAnyOfTheirForms(t *testing.T) {
	s := vaulttest.Open(t)
	for _, h := range [][]string{{"X-Vault-Token: " + s.User}, {"Authorization: Bearer " + s.User}, {"Authorization: bearer " + s.User, "X-Vault-Request: true", "Content-Type: application/x-www-form-urlencoded"}} {
		var me struct {
			ID, Accessor string
			Policies     []string
			Name         string `json:"display_name"`
			TTL          int
		}
		if s.Ask(t, "", "GET", "auth/token/lookup-self", "", h...).Into(t, &me); me.ID != s.User || me.Accessor == "" || !reflect.DeepEqual(me.Policies, []string{"user"}) || me.TTL < 1 {
			t.Errorf("got %+v", me)
		}
	}
}

func TestTokensAreMadeAndRevoked(t *testing.T) {
	s := vaulttest.Open(t)
	a := s.Ask(t, s.Admin, "POST", "auth/token/create", `{"policies":["user","default"],"display_name":"svc/new","ttl":"1h"}`)
	var out struct {
		Auth struct {
			Token    string `json:"client_token"`
			Accessor string
			Policies []string
			Lease    int `json:"lease_duration"`
		}
	}
	if err := json.Unmarshal(a.Body, &out); err != nil || a.Status != 200 || out.Auth.Lease < 3500 || out.Auth.Lease > 3600 || !reflect.DeepEqual(out.Auth.Policies, []string{"user"}) {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, out.Auth.Token, "GET", "auth/token/lookup-self", ""); a.Status != 200 {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, s.User, "POST", "auth/token/create", `{}`); a.Status != 403 {
		t.Errorf("a user makes a token: got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, s.Admin, "POST", "auth/token/revoke-accessor", `{"accessor":"`+out.Auth.Accessor+`"}`); a.Status != 204 {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, out.Auth.Token, "GET", "auth/token/lookup-self", ""); a.Status != 403 {
		t.Errorf("after it was revoked: got %d %s", a.Status, a.Body)
	}
}

func TestCapabilitiesAreWhatThePoliciesDecide(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "k", "")
	ask := func(token, path string) []string {
		var c struct{ Capabilities []string }
		s.Ask(t, token, "POST", "sys/capabilities-self", `{"path":"`+path+`"}`).Into(t, &c)
		return c.Capabilities
	}
	for _, w := range []struct {
		token, path string
		want        []string
	}{
		{s.User, "transit/encrypt/k", []string{"update"}}, {s.User, "transit/encrypt/unknown", []string{"update"}}, {s.User, "/v1/transit/decrypt/k", []string{"update"}},
		{s.Admin, "transit/keys/k", []string{"delete", "read", "update"}}, {s.User, "transit/keys/k/rotate", []string{"deny"}}, {s.User, "nowhere/x", []string{"deny"}}, {s.User, "transit/encrypt/*", []string{"deny"}},
	} {
		if got := ask(w.token, w.path); !reflect.DeepEqual(got, w.want) {
			t.Errorf("%s: got %v want %v", w.path, got, w.want)
		}
	}
}

// TestASealedServerSaysSoBeforeItAsksWho: every route but those that need no token.
func TestASealedServerSaysSoBeforeItAsksWho(t *testing.T) {
	s := vaulttest.Start(t)
	for path, want := range map[string]int{"sys/health": 501, "sys/health?uninitcode=299": 299, "sys/seal-status": 200, "sys/init": 200, "sys/leader": 200, "transit/keys/x": 503, "nowhere": 503, "": 503} {
		a := s.Ask(t, "x", "GET", path, "")
		if a.Status != want || !json.Valid(a.Body) {
			t.Errorf("%s: got %d %s want %d", path, a.Status, a.Body, want)
		}
		if want == 503 && strings.TrimSpace(string(a.Body)) != `{"errors":["Vault is sealed"]}` {
			t.Errorf("%s: got %s", path, a.Body)
		}
	}
	for _, bad := range []string{"100", "600", "x"} {
		if a := s.Ask(t, "", "GET", "sys/health?uninitcode="+bad, ""); a.Status != 400 {
			t.Errorf("uninitcode %s: got %d", bad, a.Status)
		}
	}
}
