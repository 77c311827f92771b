package vault_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// What clients of Vault stumble over, one test each.

func allowed(t *testing.T, a vaulttest.Answer) {
	t.Helper()
	if a.Status != 200 && a.Status != 204 {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
}

// Clients make the key that a 404 without a text misses, and give up at a 404 with one.
func TestA404WithoutATextIsAMissingKeyAndOneWithATextAMissingRoute(t *testing.T) {
	s := vaulttest.Open(t)
	for path, texts := range map[string]int{"transit/keys/none": 0, "team/t/keys/none": 0, "nowhere/keys/none": 1, "transit/nothing": 1, "transit": 1, "sys/nothing/at/all": 1} {
		a := s.Ask(t, s.Admin, "GET", path, "")
		if got := a.Errors(); a.Status != 404 || len(got) != texts || texts == 1 && !strings.HasPrefix(got[0], `no handler for route "`+path+`"`) {
			t.Errorf("%s: got %d %s", path, a.Status, a.Body)
		}
	}
	wantStatus(t, s.Ask(t, s.Admin, "LIST", "transit/keys", ""), 404, "")
}

func TestAListIsAskedForInFourWays(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "b", "")
	made(t, s, "a", "")
	for _, how := range []string{"LIST transit/keys", "LIST transit/keys/", "GET transit/keys?list=true", "GET transit/keys/?list=true"} {
		method, path, _ := strings.Cut(how, " ")
		var got struct{ Keys []string }
		if s.Ask(t, s.Admin, method, path, "").Into(t, &got); !reflect.DeepEqual(got.Keys, []string{"a", "b"}) {
			t.Errorf("%s: got %v", how, got.Keys)
		}
	}
	wantStatus(t, s.Ask(t, s.Admin, "GET", "transit/keys", ""), 405, "1 error occurred:\n\t* unsupported operation\n\n")
}

func TestRequestsComeAsClientsSendThem(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "k", "")
	for name, headers := range map[string][]string{
		"a bearer token":    {"Authorization: Bearer " + s.User},
		"no content type":   {"X-Vault-Token: " + s.User, "Content-Type: "},
		"a form's":          {"X-Vault-Token: " + s.User, "Content-Type: application/x-www-form-urlencoded"},
		"an unknown header": {"X-Vault-Token: " + s.User, "X-Vault-Request: true", "X-Vault-Inconsistent: forward-active-node"},
	} {
		var c sealed
		s.Ask(t, "", "POST", "transit/encrypt/k", `{"plaintext":"aGk=","key_version":"1","name":"k","nonce":null,"unknown":{"a":[1,{}]}}`, headers...).Into(t, &c)
		if c.Version != 1 {
			t.Errorf("%s: got %+v", name, c)
		}
	}
}

func TestASealedServerAnswersBeforeItAsksWho(t *testing.T) {
	s := vaulttest.Start(t)
	for _, how := range []string{"GET transit/keys/k", "POST transit/encrypt/k", "LIST transit/keys", "DELETE transit/keys/k", "GET sys/mounts", "POST auth/token/create", "GET nowhere", "GET transit/encrypt/k"} {
		method, path, _ := strings.Cut(how, " ")
		for _, token := range []string{"", "x"} {
			a := s.Ask(t, token, method, path, "{bad")
			wantStatus(t, a, 503, "Vault is sealed")
			if len(a.Errors()) != 1 {
				t.Errorf("%s: got %s", how, a.Body)
			}
		}
	}
	for _, path := range []string{"sys/health", "sys/seal-status", "sys/init", "sys/leader"} {
		if a := s.Ask(t, "", "GET", path, ""); a.Status == 403 || !json.Valid(a.Body) {
			t.Errorf("%s: got %d %s", path, a.Status, a.Body)
		}
	}
}

// A refusal is the same whether or not the key is there, to whom may not look.
func TestARefusalDoesNotTellWhichKeysThereAre(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "there", `{"exportable":true}`)
	var nobody struct {
		Auth struct {
			Token string `json:"client_token"`
		}
	}
	if a := s.Ask(t, s.Admin, "POST", "auth/token/create", `{"policies":["strangers"],"ttl":"1h"}`); a.Status != 200 || json.Unmarshal(a.Body, &nobody) != nil {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	masked := func(a vaulttest.Answer, name string) string {
		text := strings.ReplaceAll(string(a.Body), name, "KEY")
		head, _, _ := strings.Cut(text, "decision ") // its number differs
		return fmt.Sprint(a.Status, " ", head)
	}
	for _, how := range []string{"POST transit/encrypt/KEY", "POST transit/decrypt/KEY", "POST transit/datakey/plaintext/KEY", "POST transit/sign/KEY", "POST transit/hmac/KEY", "POST transit/keys/KEY",
		"GET transit/keys/KEY", "POST transit/keys/KEY/rotate", "POST transit/keys/KEY/config", "DELETE transit/keys/KEY", "DELETE transit/keys/KEY/soft-delete", "POST transit/rewrap/KEY"} {
		method, path, _ := strings.Cut(how, " ")
		body := `{"plaintext":"","ciphertext":"vault:v1:AAAA","input":"","deletion_allowed":true}`
		is := s.Ask(t, nobody.Auth.Token, method, strings.ReplaceAll(path, "KEY", "there"), body)
		not := s.Ask(t, nobody.Auth.Token, method, strings.ReplaceAll(path, "KEY", "missing"), body)
		if masked(is, "there") != masked(not, "missing") {
			t.Errorf("%s: got %d %s where it is, %d %s where it is not", how, is.Status, is.Body, not.Status, not.Body)
		}
		if strings.Contains(how, "decrypt") || strings.Contains(how, "rewrap") { // a ciphertext that is none is refused first, in both cases
			continue
		}
		if is.Status != 403 {
			t.Errorf("%s: got %d %s", how, is.Status, is.Body)
		}
	}
}

// A batch is one record that has every item's outcome.
func TestABatchIsRecordedItemByItem(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "k", "")
	var c results
	s.Ask(t, s.User, "POST", "transit/encrypt/k", `{"batch_input":[{"plaintext":"YQ=="},{"plaintext":"Yg=="},{"plaintext":"Yw=="}]}`).Into(t, &c)
	flipped := c.Results[1].Ciphertext[:len(c.Results[1].Ciphertext)-8] + "AAAAAAA="
	a := s.Ask(t, s.User, "POST", "transit/decrypt/k", fmt.Sprintf(`{"batch_input":[{"ciphertext":%q},{"ciphertext":%q},{"ciphertext":%q}]}`, c.Results[0].Ciphertext, flipped, c.Results[2].Ciphertext))
	if a.Status != 400 {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	by := kms.Call{Principal: &kms.Principal{Name: "eve", Namespace: kms.DefaultNamespace, Roles: []kms.Role{kms.RoleAuditor}, Method: kms.AuthToken}, Namespace: kms.DefaultNamespace}
	var items []audit.Item
	for in := (engine.AuditListInput{Limit: 1000}); ; {
		out, err := s.Engine.ListAudit(t.Context(), by, in)
		if err != nil {
			t.Fatal(err)
		}
		for i := range out.Entries {
			if r := &out.Entries[i].Record; r.Action == kms.Decrypt {
				items = append(items, r.Items...)
			}
		}
		if in.Page = out.Next; in.Page == "" {
			break
		}
	}
	if len(items) != 3 || items[0].Code != 0 || items[1].Code == 0 || items[2].Code != 0 {
		t.Errorf("recorded %+v", items)
	}
}

// What a policy names by a pattern only is answered for any key.
func TestCapabilitiesFollowAPolicysPattern(t *testing.T) {
	s := vaulttest.Open(t)
	by := kms.Call{Principal: &kms.Principal{Name: "alice", Namespace: kms.DefaultNamespace, Roles: []kms.Role{kms.RoleAdmin}, Method: kms.AuthToken}, Namespace: kms.DefaultNamespace}
	if _, err := s.Engine.PutPolicy(t.Context(), by, engine.PutPolicyInput{ID: "globs", Text: `permit (principal == Principal::"eve", action == Action::"Encrypt", resource in Folder::"team");`}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{"team/t/encrypt/a": {"update"}, "team/t/encrypt/none": {"update"}, "transit/encrypt/other": {"deny"}, "team/t/decrypt/a": {"deny"}} {
		var c struct{ Capabilities []string }
		if s.Ask(t, s.Auditor, "POST", "sys/capabilities-self", `{"path":"`+path+`"}`).Into(t, &c); !reflect.DeepEqual(c.Capabilities, want) {
			t.Errorf("%s: got %v want %v", path, c.Capabilities, want)
		}
	}
}

func TestAWrappedAnswerIsReadOnceAndLookedUpOften(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "k", "")
	w := wrapped(t, s, s.User, "POST", "transit/datakey/plaintext/k", "", "60s")
	for range 3 {
		allowed(t, s.Ask(t, s.User, "POST", "sys/wrapping/lookup", `{"token":"`+w.Token+`"}`))
	}
	var d struct{ Plaintext string }
	if s.Ask(t, s.User, "POST", "sys/wrapping/unwrap", `{"token":"`+w.Token+`"}`).Into(t, &d); d.Plaintext == "" {
		t.Error("there is nothing in it")
	}
	for _, path := range []string{"unwrap", "lookup"} {
		wantStatus(t, s.Ask(t, s.User, "POST", "sys/wrapping/"+path, `{"token":"`+w.Token+`"}`), 400, notValid)
	}
}
