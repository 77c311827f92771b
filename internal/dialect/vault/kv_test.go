package vault_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// reader lets the user of a test read and write secrets.
func reader(t *testing.T, s *vaulttest.Server) {
	t.Helper()
	admin := kms.Call{Principal: &kms.Principal{Name: "alice", Namespace: kms.DefaultNamespace, Roles: []kms.Role{kms.RoleAdmin}, Method: kms.AuthToken}, Namespace: kms.DefaultNamespace}
	_, err := s.Engine.PutPolicy(t.Context(), admin, engine.PutPolicyInput{ID: "secrets",
		Text: `permit (principal in Role::"user", action in [Action::"ReadSecret", Action::"ManageSecrets"], resource) when { context has secret && context.secret like "secret/*" };`})
	if err != nil {
		t.Fatal(err)
	}
}

// version is what is told of a version.
type version struct {
	Created  string            `json:"created_time"`
	Custom   map[string]string `json:"custom_metadata"`
	Deletion string            `json:"deletion_time"`
	Gone     bool              `json:"destroyed"`
	Version  int
}

type secretRead struct {
	Data     json.RawMessage
	Metadata version
}

func TestKVAnswersAsVaultDoes(t *testing.T) {
	s := vaulttest.Open(t)
	reader(t, s)
	ask := func(method, path, body string, headers ...string) vaulttest.Answer {
		t.Helper()
		return s.Ask(t, s.User, method, path, body, headers...)
	}
	want := func(a vaulttest.Answer, status int, body string) {
		t.Helper()
		if a.Status != status || body != "" && strings.TrimSpace(string(a.Body)) != body {
			t.Errorf("got %d %s want %d %s", a.Status, a.Body, status, body)
		}
	}
	want(ask("GET", "secret/data/app/db", ""), 404, `{"errors":[]}`)
	want(ask("LIST", "secret/metadata", ""), 404, `{"errors":[]}`)
	want(ask("POST", "secret/data/app/db", `{}`), 400, `{"errors":["no data provided"]}`)

	var v version
	ask("POST", "secret/data/app/db", `{"data":{"user":"a","nested":{"x":1,"y":[1,2]}},"options":{"cas":0}}`).Into(t, &v)
	if v.Version != 1 || v.Created == "" || v.Gone || v.Deletion != "" {
		t.Errorf("got %+v", v)
	}
	a := ask("PUT", "secret/data/app/db", `{"data":{"user":"b"},"options":{"cas":0}}`)
	if want(a, 400, ""); len(a.Errors()) != 2 || a.Errors()[0] != "check-and-set parameter did not match the current version" {
		t.Errorf("got %s", a.Body)
	}
	var r secretRead
	ask("GET", "secret/data/app/db", "").Into(t, &r)
	if string(r.Data) != `{"user":"a","nested":{"x":1,"y":[1,2]}}` || r.Metadata.Version != 1 {
		t.Errorf("got %+v %s", r, r.Data)
	}

	ask("PATCH", "secret/data/app/db", `{"data":{"nested":{"y":null,"z":"\u00e9"},"pass":"p"}}`, "Content-Type: application/merge-patch+json").Into(t, &v)
	ask("GET", "secret/data/app/db?version=2", "").Into(t, &r)
	if v.Version != 2 || string(r.Data) != `{"user":"a","nested":{"x":1,"z":"\u00e9"},"pass":"p"}` {
		t.Errorf("patched: got %+v %s", v, r.Data)
	}
	want(ask("PATCH", "secret/data/app/db", `{"data":{}}`, "Content-Type: application/json"), 415, "")
	want(ask("PATCH", "secret/data/none", `{"data":{}}`, "Content-Type: application/merge-patch+json"), 404, `{"errors":[]}`)

	want(ask("DELETE", "secret/data/app/db", ""), 204, "")
	a = ask("GET", "secret/data/app/db", "")
	a.Data(t, &r)
	if a.Status != 404 || string(r.Data) != "null" || r.Metadata.Deletion == "" || r.Metadata.Gone || r.Metadata.Version != 2 {
		t.Errorf("deleted: got %d %s", a.Status, a.Body)
	}
	want(ask("POST", "secret/undelete/app/db", `{"versions":["2"]}`), 204, "")
	want(ask("GET", "secret/data/app/db", ""), 200, "")
	want(ask("POST", "secret/destroy/app/db", `{"versions":"1,7"}`), 204, "")
	a = ask("GET", "secret/data/app/db?version=1", "")
	if a.Data(t, &r); a.Status != 404 || !r.Metadata.Gone {
		t.Errorf("destroyed: got %d %s", a.Status, a.Body)
	}
	want(ask("POST", "secret/destroy/app/db", `{}`), 400, `{"errors":["No version number provided"]}`)
	want(ask("POST", "secret/delete/app/none", `{"versions":[1]}`), 204, "")

	want(ask("POST", "secret/metadata/app/db", `{"max_versions":3,"cas_required":true,"delete_version_after":"1h","custom_metadata":{"own\u0065r":"x"}}`), 204, "")
	var m struct {
		CAS      bool `json:"cas_required"`
		Current  int  `json:"current_version"`
		Custom   map[string]string
		Meta     map[string]string `json:"custom_metadata"`
		After    string            `json:"delete_version_after"`
		Max      int               `json:"max_versions"`
		Oldest   int               `json:"oldest_version"`
		Versions map[string]version
	}
	ask("GET", "secret/metadata/app/db", "").Into(t, &m)
	if !m.CAS || m.Current != 2 || m.Meta["owner"] != "x" || m.After != "1h0m0s" || m.Max != 3 || m.Oldest != 1 || len(m.Versions) != 2 || !m.Versions["1"].Gone || m.Versions["2"].Gone {
		t.Errorf("got %+v", m)
	}
	a = ask("POST", "secret/data/app/db", `{"data":{}}`)
	if want(a, 400, ""); len(a.Errors()) != 2 || a.Errors()[0] != "check-and-set parameter required for this call" {
		t.Errorf("got %s", a.Body)
	}
	want(ask("POST", "secret/metadata/app/db", `{"max_versions":1000}`), 400, "")
	want(ask("POST", "secret/metadata/app/db", `{"metadata_cas":1}`), 400, "")

	ask("POST", "secret/data/app", `{"data":{"x":1}}`)
	for path, keys := range map[string][]string{"secret/metadata?list=true": {"app", "app/"}, "secret/metadata/": {"app", "app/"}, "secret/metadata/app/?list=true": {"db"}, "secret/metadata?list=true&after=app&limit=1": {"app/"}} {
		method := "GET"
		if !strings.Contains(path, "list=true") {
			method = "LIST"
		}
		var l struct{ Keys []string }
		if ask(method, path, "").Into(t, &l); !reflect.DeepEqual(l.Keys, keys) {
			t.Errorf("%s %s: got %v want %v", method, path, l.Keys, keys)
		}
	}
	want(ask("DELETE", "secret/metadata/app/db", ""), 204, "")
	want(ask("DELETE", "secret/metadata/app/db", ""), 204, "")
	want(ask("GET", "secret/metadata/app/db", ""), 404, `{"errors":[]}`)
	want(ask("GET", "secret/nope/x", ""), 404, "")
	want(s.Ask(t, s.Admin, "GET", "secret/data/app", ""), 403, "") // who manages secrets does not read them
	want(ask("POST", "secret/data/"+strings.Repeat("x", 300), `{"data":{}}`), 400, "")
	want(ask("POST", "secret/data/big", `{"data":{"x":"`+strings.Repeat("x", engine.MaxSecretValue)+`"}}`), 413, "")
}

func TestKVMountsShowTheirVersion(t *testing.T) {
	s := vaulttest.Open(t)
	for path, at := range map[string]string{"sys/mounts": "secret/", "sys/mounts/secret": "", "sys/mounts/secret/tune": "", "sys/mounts/team/kv/tune": "", "sys/internal/ui/mounts": "secret", "sys/internal/ui/mounts/secret/some/path": ""} {
		var all map[string]json.RawMessage
		s.Ask(t, s.User, "GET", path, "").Into(t, &all)
		if at != "" {
			one := map[string]json.RawMessage{}
			if err := json.Unmarshal(all[at], &one); err != nil {
				t.Fatal(err)
			}
			all = one
			if at == "secret" {
				if err := json.Unmarshal(one["secret/"], &all); err != nil {
					t.Fatal(err)
				}
			}
		}
		if string(all["options"]) != `{"version":"2"}` {
			t.Errorf("%s: got options %s", path, all["options"])
		}
	}
	var tune struct{ Options map[string]string }
	if s.Ask(t, s.User, "GET", "sys/mounts/transit/tune", "").Into(t, &tune); tune.Options != nil {
		t.Errorf("transit has options %v", tune.Options)
	}
}

func TestCapabilitiesOnSecretsAreByTheirPath(t *testing.T) {
	s := vaulttest.Open(t)
	reader(t, s)
	for path, want := range map[string][]string{
		"secret/data/a/b": {"create", "delete", "patch", "read", "update"}, "secret/metadata/a": {"create", "delete", "list", "patch", "read", "update"}, "secret/metadata/": {"list"},
		"secret/config": {"read", "update"}, "team/kv/data/a": {"deny"}, "secret/destroy/a": {"update"},
	} {
		var c struct{ Capabilities []string }
		if s.Ask(t, s.User, "POST", "sys/capabilities-self", `{"path":"`+path+`"}`).Into(t, &c); !reflect.DeepEqual(c.Capabilities, want) {
			t.Errorf("%s: got %v want %v", path, c.Capabilities, want)
		}
	}
}

// TestHabitsOfClientsThatKeepKeysInKV are their requests, as they send them.
func TestHabitsOfClientsThatKeepKeysInKV(t *testing.T) {
	s := vaulttest.Open(t)
	reader(t, s)
	ask := func(method, path, body string, headers ...string) vaulttest.Answer {
		return s.Ask(t, s.User, method, path, body, headers...)
	}
	t.Run("MinIO KES makes a key only if there is none", func(t *testing.T) {
		body := func(v string) string {
			return fmt.Sprintf(`{"data":{"my-key":%q},"options":{"cas":0}}`, v)
		}
		if a := ask("PUT", "secret/data/kes/my-key", body("first")); a.Status != 200 {
			t.Fatalf("got %d %s", a.Status, a.Body)
		}
		if a := ask("PUT", "secret/data/kes/my-key", body("second")); a.Status != 400 || !strings.Contains(a.Errors()[0], "check-and-set parameter did not match the current version") {
			t.Errorf("got %d %s", a.Status, a.Body)
		}
		var r struct{ Data map[string]string }
		if ask("GET", "secret/data/kes/my-key", "").Into(t, &r); r.Data["my-key"] != "first" {
			t.Errorf("got %+v", r)
		}
		var l struct{ Keys []string }
		if ask("LIST", "secret/metadata/kes", "").Into(t, &l); !reflect.DeepEqual(l.Keys, []string{"my-key"}) {
			t.Errorf("got %+v", l)
		}
		if a := ask("DELETE", "secret/metadata/kes/my-key", ""); a.Status != 204 {
			t.Errorf("got %d %s", a.Status, a.Body)
		}
		if a := ask("GET", "secret/data/kes/my-key", ""); a.Status != 404 {
			t.Errorf("got %d %s", a.Status, a.Body)
		}
	})
	t.Run("MariaDB looks for version 2 of KV and then for its key", func(t *testing.T) {
		if a := ask("GET", "sys/mounts/secret/tune", ""); a.Status != 200 || !strings.Contains(string(a.Body), `"options":{"version":"2"}`) {
			t.Errorf("got %d %s", a.Status, a.Body)
		}
		ask("PUT", "secret/data/mariadb/1", `{"data":{"data":"01234567890123456789012345678901"}}`)
		for _, path := range []string{"secret/data/mariadb/1", "secret/data/mariadb/1?version=1"} {
			if a := ask("GET", path, ""); !strings.Contains(string(a.Body), `"data":{"data":{"data":"01234567890123456789012345678901"},"metadata":{`) || !strings.Contains(string(a.Body), `"version":1`) {
				t.Errorf("%s: got %d %s", path, a.Status, a.Body)
			}
		}
	})
	t.Run("Ceph reads data.data.key and sends its token twice", func(t *testing.T) {
		ask("POST", "secret/data/ceph/bucket-key", `{"data":{"key":"a2V5"}}`)
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/v1/secret/data/ceph/bucket-key", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header["X-Vault-Token"] = []string{s.User, s.User}
		a := s.Do(t, r)
		var v struct{ Data struct{ Key string } }
		if a.Into(t, &v); v.Data.Key != "a2V5" {
			t.Errorf("got %s", a.Body)
		}
	})
	t.Run("Barbican stores by id, lists, and deletes", func(t *testing.T) {
		const id = "7b1d2b0c6d5f4b0f9d3a1c2e3f405162"
		if a := ask("POST", "secret/data/"+id, `{"data":{"type":"opaque","value":"00ff","created":1700000000,"name":null}}`); a.Status != 200 {
			t.Fatalf("got %d %s", a.Status, a.Body)
		}
		var l struct{ Keys []string }
		if ask("GET", "secret/metadata?list=true", "").Into(t, &l); !strings.Contains(strings.Join(l.Keys, " "), id) {
			t.Errorf("got %v", l.Keys)
		}
		if a := ask("DELETE", "secret/data/"+id, ""); a.Status != 204 {
			t.Errorf("got %d %s", a.Status, a.Body)
		}
		if a := ask("GET", "secret/data/"+id, ""); a.Status != 404 {
			t.Errorf("got %d %s", a.Status, a.Body)
		}
	})
}

// TestSecretsOfNamespacesAreApart, by header and by path.
func TestSecretsOfNamespacesAreApart(t *testing.T) {
	s := vaulttest.Open(t)
	reader(t, s)
	if a := s.Ask(t, s.User, "POST", "secret/data/a", `{"data":{"x":1}}`); a.Status != 200 {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	for _, how := range [][]string{{"default/secret/data/a"}, {"secret/data/a", "X-Vault-Namespace: default"}} {
		if a := s.Ask(t, s.User, "GET", how[0], "", how[1:]...); a.Status != 200 {
			t.Errorf("%v: got %d %s", how, a.Status, a.Body)
		}
	}
	if a := s.Ask(t, s.User, "GET", "other/secret/data/a", ""); a.Status != 403 {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
}

func TestKVSettingsOfAMountHoldForItsSecrets(t *testing.T) {
	s := vaulttest.Open(t)
	reader(t, s)
	ask := func(method, path, body string, headers ...string) vaulttest.Answer {
		t.Helper()
		return s.Ask(t, s.User, method, path, body, headers...)
	}
	type config struct {
		CAS   bool   `json:"cas_required"`
		After string `json:"delete_version_after"`
		Max   int    `json:"max_versions"`
	}
	var c config
	if ask("GET", "secret/config", "").Into(t, &c); c != (config{After: "0s"}) {
		t.Errorf("got %+v", c)
	}
	if a := ask("POST", "secret/config", `{"max_versions":2,"delete_version_after":"3h"}`); a.Status != 204 {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	if ask("GET", "secret/config", "").Into(t, &c); c != (config{After: "3h0m0s", Max: 2}) {
		t.Errorf("got %+v", c)
	}
	for range 3 {
		ask("POST", "secret/data/a/b", `{"data":{"x":{"y":{"z":[1]}},"w":"secret"}}`)
	}
	ask("POST", "secret/metadata/a/c", `{"max_versions":3,"delete_version_after":"1h"}`)
	for range 4 {
		ask("POST", "secret/data/a/c", `{"data":{}}`)
	}
	for path, want := range map[string]int{"secret/metadata/a/b": 2, "secret/metadata/a/c": 3} {
		var m struct{ Versions map[string]version }
		if ask("GET", path, "").Into(t, &m); len(m.Versions) != want {
			t.Errorf("%s: got %+v", path, m)
		}
		for _, v := range m.Versions {
			if v.Deletion == "" || v.Gone {
				t.Errorf("%s: got %+v, want one that will be deleted", path, v)
			}
		}
	}
	if a := ask("POST", "secret/config", `{"cas_required":true}`); a.Status != 204 {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	if a := ask("POST", "secret/data/a/b", `{"data":{}}`); a.Status != 400 || a.Errors()[0] != "check-and-set parameter required for this call" {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	for _, bad := range []string{`{"max_versions":65}`, `{"max_versions":-1}`, `{"delete_version_after":"x"}`, `{"metadata_cas_required":true}`} {
		if a := ask("POST", "secret/config", bad); a.Status != 400 {
			t.Errorf("%s: got %d %s", bad, a.Status, a.Body)
		}
	}
	if a := s.Ask(t, s.User, "GET", "team/kv/config", ""); a.Status != 403 {
		t.Errorf("got %d %s", a.Status, a.Body)
	}

	for path, want := range map[string]string{"secret/subkeys/a/b": `{"x":{"y":{"z":null}},"w":null}`, "secret/subkeys/a/b?version=2&depth=1": `{"x":null,"w":null}`} {
		var sub struct {
			Metadata version
			Subkeys  json.RawMessage
		}
		if ask("GET", path, "").Into(t, &sub); string(sub.Subkeys) != want || sub.Metadata.Version == 0 {
			t.Errorf("%s: got %+v %s", path, sub, sub.Subkeys)
		}
	}
	const patch = "Content-Type: application/merge-patch+json"
	ask("POST", "secret/metadata/a/b", `{"custom_metadata":{"a":"1","b":"2"}}`)
	if a := ask("PATCH", "secret/metadata/a/b", `{"max_versions":7,"custom_metadata":{"b":null,"c":"3"}}`, patch); a.Status != 204 {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	var m struct {
		Max    int               `json:"max_versions"`
		Custom map[string]string `json:"custom_metadata"`
	}
	if ask("GET", "secret/metadata/a/b", "").Into(t, &m); m.Max != 7 || !reflect.DeepEqual(m.Custom, map[string]string{"a": "1", "c": "3"}) {
		t.Errorf("got %+v", m)
	}
	if a := ask("PATCH", "secret/metadata/none", `{"max_versions":7}`, patch); a.Status != 404 {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
}
