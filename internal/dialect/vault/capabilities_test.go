package vault_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
)

// TestCapabilitiesOfOthers: of a token, and of its accessor, for who may test policies; nobody else learns what others may do.
func TestCapabilitiesOfOthers(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "k", "")
	a := s.Ask(t, s.Admin, "POST", "sys/policies/acl/app", `{"policy":"path \"transit/encrypt/k\" { capabilities = [\"update\"] }"}`)
	if a.Status != 204 {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	app := tokenWith(t, s, "svc/app", "app")
	var self struct{ Accessor string }
	s.Ask(t, app, "GET", "auth/token/lookup-self", "").Into(t, &self)
	ask := func(path, member, value string) string {
		body := fmt.Sprintf(`{%q:%q,"paths":["transit/encrypt/k","transit/decrypt/k"]}`, member, value)
		var can map[string][]string
		s.Ask(t, s.Admin, "POST", path, body).Into(t, &can)
		return fmt.Sprint(can["transit/encrypt/k"], can["transit/decrypt/k"])
	}
	for path, c := range map[string][2]string{"sys/capabilities": {"token", app}, "sys/capabilities-accessor": {"accessor", self.Accessor}} {
		if got, want := ask(path, c[0], c[1]), "[update] [deny]"; got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
		if a := s.Ask(t, app, "POST", path, fmt.Sprintf(`{%q:%q,"path":"transit/encrypt/k"}`, c[0], c[1])); a.Status != 200 && path == "sys/capabilities" {
			t.Errorf("%s of the caller's own: got %d %s", path, a.Status, a.Body)
		}
		if a := s.Ask(t, s.Admin, "POST", path, fmt.Sprintf(`{%q:"x","path":"transit/encrypt/k"}`, c[0])); a.Status != 400 || a.Errors()[0] != "invalid "+c[0] {
			t.Errorf("%s of one that there is not: got %d %s", path, a.Status, a.Body)
		}
		for _, of := range []string{"nowhere/x", "transit/encrypt/k"} {
			if a := s.Ask(t, s.User, "POST", path, fmt.Sprintf(`{%q:%q,"path":%q}`, c[0], c[1], of)); a.Status != 403 {
				t.Errorf("%s of %s, asked by a user: got %d %s", path, of, a.Status, a.Body)
			}
		}
	}
	other := tokenWith(t, s, "alice", "app")
	if a := s.Ask(t, s.Admin, "POST", "sys/capabilities", fmt.Sprintf(`{"token":%q,"path":"transit/keys/k"}`, other)); a.Status != 400 || !strings.Contains(a.Errors()[0], "capabilities-self") {
		t.Errorf("of a token of the same name with other policies: got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, s.Admin, "POST", "auth/token/revoke-accessor", fmt.Sprintf(`{"accessor":%q}`, self.Accessor)); a.Status != 204 {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, s.Admin, "POST", "sys/capabilities-accessor", fmt.Sprintf(`{"accessor":%q,"path":"transit/keys/k"}`, self.Accessor)); a.Status != 400 {
		t.Errorf("of a token that was revoked: got %d %s", a.Status, a.Body)
	}
}

// TestThereAreNoLeases: Vault's answers for leases that there are not, of one segment or several.
func TestThereAreNoLeases(t *testing.T) {
	s := vaulttest.Open(t)
	for _, c := range []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"POST", "sys/leases/lookup", `{"lease_id":"database/creds/x/1"}`, 400, "invalid lease"},
		{"POST", "sys/leases/lookup", `{}`, 400, "lease_id must be specified"},
		{"PUT", "sys/leases/renew", `{"lease_id":"database/creds/x/1","increment":3600}`, 400, "lease not found"},
		{"PUT", "sys/leases/renew/database/creds/x/1", `{}`, 400, "lease not found"},
		{"PUT", "sys/leases/revoke", `{"lease_id":"database/creds/x/1"}`, 204, ""},
		{"PUT", "sys/leases/revoke", `{}`, 400, "lease_id must be specified"},
		{"PUT", "sys/leases/revoke/database/creds/x/1", `{}`, 204, ""},
		{"PUT", "sys/leases/revoke-prefix/database/creds", "", 204, ""},
		{"PUT", "sys/leases/revoke-force/database", "", 204, ""},
		{"LIST", "sys/leases/lookup/", "", 404, ""},
		{"LIST", "sys/leases/lookup/database/creds/x", "", 404, ""},
		{"GET", "sys/leases/count", "", 404, ""},
		{"POST", "sys/leases/tidy", "", 405, "1 error occurred:\n\t* unsupported operation\n\n"},
	} {
		a := s.Ask(t, s.User, c.method, c.path, c.body)
		got := ""
		if texts := a.Errors(); len(texts) > 0 {
			got = texts[0]
		}
		if a.Status != c.status || got != c.text {
			t.Errorf("%s %s %s: got %d %q, want %d %q", c.method, c.path, c.body, a.Status, got, c.status, c.text)
		}
		if a := s.Ask(t, "nobody", c.method, c.path, c.body); a.Status != http.StatusForbidden {
			t.Errorf("%s %s without a token: got %d", c.method, c.path, a.Status)
		}
	}
	var n struct {
		Count *int `json:"lease_count"`
	}
	if s.Ask(t, s.User, "GET", "sys/leases/count?type=irrevocable", "").Into(t, &n); n.Count == nil || *n.Count != 0 {
		t.Errorf("got %v", n.Count)
	}
}

// TestNamespacesAreKeyholds: an operator makes and lists them, others see their own; the trail is the one audit device.
func TestNamespacesAreKeyholds(t *testing.T) {
	s := vaulttest.Open(t)
	var ns struct {
		Path    string
		Tainted bool
	}
	for range 2 { // a second time it is there
		if s.Ask(t, s.Operator, "POST", "sys/namespaces/acme", `{}`).Into(t, &ns); ns.Path != "acme/" || ns.Tainted {
			t.Errorf("got %+v", ns)
		}
	}
	var list struct {
		Keys []string
		Info map[string]struct{ Path string } `json:"key_info"`
	}
	if s.Ask(t, s.Operator, "LIST", "sys/namespaces", "").Into(t, &list); !slices.Contains(list.Keys, "acme/") || list.Info["acme/"].Path != "acme/" {
		t.Errorf("the operator: got %+v", list)
	}
	list.Keys = nil
	if s.Ask(t, s.Admin, "GET", "sys/internal/ui/namespaces", "").Into(t, &list); !slices.Equal(list.Keys, []string{"default/"}) {
		t.Errorf("an administrator: got %v", list.Keys)
	}
	if a := s.Ask(t, s.Admin, "POST", "sys/policies/acl/wide", `{"policy":"path \"sys/*\" { capabilities = [\"read\",\"update\",\"create\"] }"}`); a.Status != 204 && a.Status != 200 {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	wide := tokenWith(t, s, "svc/wide", "wide")
	for _, c := range []struct {
		token, method, path, body string
		want                      int
	}{
		{s.Operator, "GET", "sys/namespaces/acme", "", 200},
		{s.Operator, "GET", "sys/namespaces/none", "", 404},
		{s.Operator, "GET", "sys/namespaces/a/b", "", 404},
		{s.Operator, "POST", "sys/namespaces/a/b", `{}`, 400},
		{s.Operator, "POST", "sys/namespaces/b", `{"custom_metadata":{"a":"b"}}`, 400},
		{s.Operator, "DELETE", "sys/namespaces/acme", "", 405},
		{s.Admin, "POST", "sys/namespaces/mine", `{}`, 403},
		{s.Admin, "GET", "sys/namespaces/acme", "", 403},
		{s.Auditor, "GET", "sys/audit", "", 200},
		{s.User, "GET", "sys/audit", "", 403},
		{wide, "GET", "sys/audit", "", 403},
		{wide, "POST", "sys/namespaces/mine", `{}`, 403},
		{s.Auditor, "GET", "sys/internal/ui/resultant-acl", "", 405},
	} {
		if a := s.Ask(t, c.token, c.method, c.path, c.body); a.Status != c.want {
			t.Errorf("%s %s: got %d %s, want %d", c.method, c.path, a.Status, a.Body, c.want)
		}
	}
}
