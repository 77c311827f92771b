package vault_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
)

// capturedKeys are those of a running OpenBao.
func capturedKeys(t testing.TB) []vaulttest.Captured {
	t.Helper()
	return vaulttest.CapturedKeys(t, "testdata/openbao")
}

func body(t testing.TB, members ...any) string {
	t.Helper()
	return vaulttest.Body(t, members...)
}

func restored(t testing.TB, s *vaulttest.Server, name, backup string) {
	t.Helper()
	s.Restore(t, name, backup)
}

// TestWhatOpenBaoMadeWorksHere: every key that was captured comes in by its backup, with both versions and their dates, and all that it made before works.
func TestWhatOpenBaoMadeWorksHere(t *testing.T) {
	s := vaulttest.Open(t)
	total := 0
	for _, k := range capturedKeys(t) {
		restored(t, s, k.Name, k.Backup)
		type shown struct {
			Latest int `json:"latest_version"`
			Type   string
			Keys   map[string]json.RawMessage
		}
		var got, want shown
		if err := json.Unmarshal(k.Versions, &want); err != nil {
			t.Fatal(err)
		}
		s.Ask(t, s.Admin, "GET", "transit/keys/"+k.Name, "").Into(t, &got)
		if got.Latest != want.Latest || got.Type != k.Type || k.Type != "hmac" && string(got.Keys["1"]) == "" {
			t.Errorf("%s: got %+v", k.Name, got)
		}
		total += s.Recheck(t, &k, k.Name)
	}
	if total != vaulttest.CapturedSamples {
		t.Errorf("%d samples were tried, want %d", total, vaulttest.CapturedSamples)
	}
}

// TestABackupBringsAKeyBack: what is backed up here and restored under another name is the same key; a name that is taken stays what it is.
func TestABackupBringsAKeyBack(t *testing.T) {
	s := vaulttest.Open(t)
	for _, k := range capturedKeys(t) {
		if strings.HasPrefix(k.Type, "rsa") && k.Type != "rsa-2048" {
			continue
		}
		restored(t, s, k.Name, k.Backup)
		var b struct{ Backup string }
		s.Ask(t, s.Admin, "GET", "transit/backup/"+k.Name, "").Into(t, &b)
		restored(t, s, k.Name+"-copy", b.Backup)
		s.Recheck(t, &k, k.Name+"-copy")
		for kind, raw := range k.Export {
			var e struct{ Keys map[string]string }
			if err := json.Unmarshal(raw, &e); err != nil {
				t.Fatal(err)
			}
			for n, want := range e.Keys {
				var got struct{ Keys map[string]string }
				s.Ask(t, s.Admin, "GET", "transit/export/"+kind+"/"+k.Name+"-copy/"+n, "").Into(t, &got)
				if len(got.Keys) != 1 || strings.TrimSpace(got.Keys[n]) != strings.TrimSpace(want) {
					t.Errorf("%s of %s, version %s: got %q want %q", kind, k.Name, n, got.Keys[n], want)
				}
			}
		}
		for _, force := range []bool{false, true} {
			a := s.Ask(t, s.Admin, "POST", "transit/restore/"+k.Name, body(t, "backup", b.Backup, "force", force))
			if a.Status != http.StatusBadRequest || !strings.Contains(a.Errors()[0], "already exists") {
				t.Errorf("%s again, force %v: got %d %s", k.Name, force, a.Status, a.Body)
			}
		}
	}
}

// TestOnlyWhatWasMadeToLeaveLeaves: and only those get it who may.
func TestOnlyWhatWasMadeToLeaveLeaves(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "stays", `{}`)
	made(t, s, "goes", `{"exportable":true}`)
	for _, c := range []struct {
		token, path string
		status      int
		text        string
	}{
		{s.Admin, "export/encryption-key/stays", 400, "private key material is not exportable"},
		{s.Admin, "backup/stays", 400, "plaintext backup is disallowed on the policy"},
		{s.Admin, "backup/goes", 400, "plaintext backup is disallowed on the policy"},
		{s.User, "export/encryption-key/goes", 403, ""},
		{s.Admin, "export/signing-key/goes", 400, "signing not supported for the key"},
		{s.Admin, "export/nothing/goes", 400, "invalid export type: nothing"},
		{s.Admin, "export/encryption-key/goes/2", 400, "version does not exist or cannot be found"},
		{s.Admin, "export/encryption-key/goes/x", 400, "invalid key version"},
		{s.Admin, "export/encryption-key/goes/latest", 200, ""},
		{s.Admin, "export/hmac-key/goes", 200, ""},
		{s.Admin, "export/encryption-key/none", 404, ""},
	} {
		a := s.Ask(t, c.token, "GET", "transit/"+c.path, "")
		if a.Status != c.status || c.text != "" && a.Errors()[0] != c.text {
			t.Errorf("%s: got %d %s, want %d %s", c.path, a.Status, a.Body, c.status, c.text)
		}
	}
}

// TestTrimmedVersionsAreGone: what the minima let nobody use can be destroyed, and nothing else.
func TestTrimmedVersionsAreGone(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "k", `{"exportable":true,"allow_plaintext_backup":true}`)
	for range 3 {
		s.Ask(t, s.Admin, "POST", "transit/keys/k/rotate", "")
	}
	trim := func(n int) vaulttest.Answer {
		return s.Ask(t, s.Admin, "POST", "transit/keys/k/trim", `{"min_available_version":`+strconv.Itoa(n)+`}`)
	}
	for _, n := range []int{0, 2, 9} {
		if a := trim(n); a.Status != http.StatusBadRequest {
			t.Errorf("trim to %d: got %d %s", n, a.Status, a.Body)
		}
	}
	if a := s.Ask(t, s.Admin, "POST", "transit/keys/k/config", `{"min_decryption_version":3,"min_encryption_version":4}`); a.Status != http.StatusOK {
		t.Fatalf("config: got %d %s", a.Status, a.Body)
	}
	var got struct {
		Least int `json:"min_available_version"`
		Keys  map[string]int64
	}
	if trim(3).Into(t, &got); got.Least != 3 || len(got.Keys) != 2 {
		t.Errorf("got %+v", got)
	}
	if a := trim(2); a.Status != http.StatusBadRequest {
		t.Errorf("back to 2: got %d %s", a.Status, a.Body)
	}
	var b struct{ Backup string }
	s.Ask(t, s.Admin, "GET", "transit/backup/k", "").Into(t, &b)
	s.Restore(t, "copy", b.Backup)
	if s.Ask(t, s.Admin, "GET", "transit/keys/copy", "").Into(t, &got); got.Least != 3 || len(got.Keys) != 2 {
		t.Errorf("the copy of a trimmed key: got %+v", got)
	}
}
