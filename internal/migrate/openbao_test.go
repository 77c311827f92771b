package migrate_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
	"github.com/keyhold/keyhold/internal/migrate"
)

// onlyExport shows keys as those that no backup is made of.
func onlyExport(_ string, shown map[string]any) { shown["allow_plaintext_backup"] = false }

func check(t *testing.T, keys []migrate.Key, how migrate.How, outcome migrate.Outcome) {
	t.Helper()
	for _, k := range keys {
		if k.How != how || k.Outcome != outcome || k.Verified == "" {
			t.Errorf("got %+v, want %s, %s and verified", k, how, outcome)
		}
	}
}

// TestWhatOpenBaoExportsMoves: every type of key, made again of what export shows of it; afterwards all that it made before works.
func TestWhatOpenBaoExportsMoves(t *testing.T) {
	from, to := vaulttest.Open(t), vaulttest.Open(t)
	bao := serveOpenBao(t, from)
	bao.alter = onlyExport
	keys := moved(t, into(t, bao.end(), to))
	check(t, keys, migrate.ByExport, migrate.Moved)
	if n := bao.requests("GET transit/backup"); n > 0 {
		t.Errorf("%d backups were asked for", n)
	}
	total := 0
	for _, k := range keys {
		c := bao.keys[k.Name]
		total += to.Recheck(t, c, k.Name)
		var got, want struct {
			Min                 int  `json:"min_decryption_version"`
			Latest              int  `json:"latest_version"`
			Backup              bool `json:"allow_plaintext_backup"`
			Exportable, Derived bool
			Keys                map[string]json.RawMessage
		}
		to.Ask(t, to.Admin, "GET", "transit/keys/"+k.Name, "").Into(t, &got)
		if err := json.Unmarshal(c.Versions, &want); err != nil {
			t.Fatal(err)
		}
		if got.Min != want.Min || got.Latest != want.Latest || got.Backup || !got.Exportable || got.Derived != want.Derived {
			t.Errorf("%s: got %+v want %+v", k.Name, got, want)
		}
		if k.Type == "aes256-gcm96" && string(got.Keys["1"]) != string(want.Keys["1"]) {
			t.Errorf("%s: version 1 was made at %s, want %s", k.Name, got.Keys["1"], want.Keys["1"])
		}
	}
	if total != vaulttest.CapturedSamples {
		t.Errorf("%d samples were tried, want %d", total, vaulttest.CapturedSamples)
	}
}

// some are one key of each kind; all of them with KEYHOLD_LONG=1.
func some() []string {
	if os.Getenv("KEYHOLD_LONG") == "1" {
		return nil
	}
	return []string{"aes256-gcm96", "chacha20-poly1305-convergent", "ed25519-derived", "ecdsa-p521", "rsa-2048", "hmac-64"}
}

// TestWhatOpenBaoBacksUpMoves: and a second run, even one that may not use the keys there, finds those with public keys; one that may finds all.
func TestWhatOpenBaoBacksUpMoves(t *testing.T) {
	from, to := vaulttest.Open(t), vaulttest.Open(t)
	bao := serveOpenBao(t, from, some()...)
	keys := moved(t, into(t, bao.end(), to))
	check(t, keys, migrate.ByBackup, migrate.Moved)
	for _, k := range keys {
		to.Recheck(t, bao.keys[k.Name], k.Name)
	}
	backups := bao.requests("GET transit/backup")
	check(t, moved(t, into(t, bao.end(), to)), migrate.IsThere, migrate.There)
	bao.uses = nil
	for _, k := range moved(t, into(t, bao.end(), to)) {
		shown := strings.HasPrefix(k.Type, "rsa") || strings.HasPrefix(k.Type, "ecdsa")
		if shown != (k.Outcome == migrate.There) || !shown && (k.Outcome != migrate.Left || !strings.Contains(k.Why, "could not be told") || !strings.Contains(k.Why, "permission denied")) {
			t.Errorf("without the right to use keys: got %+v", k)
		}
	}
	if n := bao.requests("GET transit/backup"); n != backups {
		t.Errorf("%d more backups were asked for", n-backups)
	}
}

// TestAnotherKeyKeepsItsName: nothing is replaced, and the report says why.
func TestAnotherKeyKeepsItsName(t *testing.T) {
	from, to := vaulttest.Open(t), vaulttest.Open(t)
	bao := serveOpenBao(t, from, "aes256-gcm96", "ecdsa-p256", "hmac")
	for name, body := range map[string]string{"aes256-gcm96": `{}`, "ecdsa-p256": `{"type":"ecdsa-p256"}`, "hmac": `{"type":"aes128-gcm96"}`} {
		for _, path := range []string{name, name + "/rotate"} {
			if a := to.Ask(t, to.Admin, "POST", "transit/keys/"+path, body); a.Status != http.StatusOK {
				t.Fatalf("%s: got %d %s", path, a.Status, a.Body)
			}
		}
	}
	want := map[string]string{"aes256-gcm96": "what the source encrypts by version 1 does not decrypt here", "ecdsa-p256": "the public keys of version", "hmac": "it is of type hmac there and aes128-gcm96 here"}
	for _, k := range moved(t, into(t, bao.end(), to)) {
		if k.How != migrate.Cannot || k.Outcome != migrate.Left || !strings.Contains(k.Why, want[k.Name]) {
			t.Errorf("got %+v, want %q", k, want[k.Name])
		}
	}
	if n := bao.requests("GET transit/backup"); n > 0 {
		t.Errorf("%d backups were asked for", n)
	}
}

// TestAKeyThatIsBeingDestroyedIsNotThere: its public keys are those of the source, and it will be gone.
func TestAKeyThatIsBeingDestroyedIsNotThere(t *testing.T) {
	from, to := vaulttest.Open(t), vaulttest.Open(t)
	bao := serveOpenBao(t, from, "ecdsa-p256")
	check(t, moved(t, into(t, bao.end(), to)), migrate.ByBackup, migrate.Moved)
	if a := to.Ask(t, to.Admin, "DELETE", "transit/keys/ecdsa-p256/soft-delete", ""); a.Status >= 300 {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	if k := moved(t, into(t, bao.end(), to))[0]; k.Outcome != migrate.Left || !strings.Contains(k.Why, "waiting for its destruction") {
		t.Errorf("got %+v", k)
	}
}

// TestNamesThatAreNoneHereTakeAPrefix: and a prefix that makes no name is told with every key.
func TestNamesThatAreNoneHereTakeAPrefix(t *testing.T) {
	to := vaulttest.Open(t)
	bao := serveOpenBao(t, nil, "hmac")
	for prefix, ok := range map[string]bool{"": true, "bao.": true, "team/": false, "_": false, "a b": false, "../": false, strings.Repeat("a", 252): false} {
		keys, err := into(t, bao.end(), to, func(c *migrate.Config) { c.Prefix = prefix }).Plan(t.Context(), nil, nil)
		if err != nil || (keys[0].Outcome == migrate.Planned) != ok {
			t.Errorf("%q: got %+v, %v", prefix, keys, err)
		}
	}
}

// TestAnInterruptedMoveGoesOn: what was not tried says so, and the next run does it.
func TestAnInterruptedMoveGoesOn(t *testing.T) {
	from, to := vaulttest.Open(t), vaulttest.Open(t)
	bao := serveOpenBao(t, from, "aes128-gcm96", "aes256-gcm96", "chacha20-poly1305")
	m := into(t, bao.end(), to, func(c *migrate.Config) { c.Parallel = 1 })
	keys, err := m.Plan(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	err = m.Move(ctx, keys, func(done, total int) {
		if total != 3 {
			t.Errorf("got %d keys", total)
		}
		if done == 1 {
			stop()
		}
	})
	if err == nil || keys[0].Outcome != migrate.Moved || keys[1].Outcome != migrate.Untried || keys[2].Outcome != migrate.Untried {
		t.Errorf("got %v, %+v", err, keys)
	}
	keys = moved(t, m)
	if keys[0].Outcome != migrate.There || keys[1].Outcome != migrate.Moved || keys[2].Outcome != migrate.Moved {
		t.Errorf("got %+v", keys)
	}
}

// TestThePlanAsksWhatTheTokenMay: a key whose backup may not be read goes by export, and one of which neither may be read stays.
func TestThePlanAsksWhatTheTokenMay(t *testing.T) {
	to := vaulttest.Open(t)
	for denied, want := range map[string]migrate.How{"transit/backup/": migrate.ByExport, "transit/export/": migrate.ByBackup, "transit/export/hmac-key/": migrate.ByBackup, "transit/": migrate.Cannot} {
		bao := serveOpenBao(t, nil, "aes256-gcm96", "ecdsa-p256")
		bao.denies = denied
		keys, err := into(t, bao.end(), to).Plan(t.Context(), nil, nil)
		if err != nil || len(keys) != 2 {
			t.Fatalf("got %+v, %v", keys, err)
		}
		for _, k := range keys {
			if k.How != want || want == migrate.Cannot && !strings.Contains(k.Why, "the source's token may not read its backup") {
				t.Errorf("without %s: got %+v, want %s", denied, k, want)
			}
		}
		bao.alter = onlyExport
		if keys, err = into(t, bao.end(), to).Plan(t.Context(), nil, nil); err != nil || (keys[0].How == migrate.ByExport) != (denied == "transit/backup/") {
			t.Errorf("without %s, by export: got %+v, %v", denied, keys[0], err)
		}
	}
}
