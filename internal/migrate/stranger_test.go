package migrate_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/migrate"
	"github.com/keyhold/keyhold/internal/secret"
)

// planned makes the plan of a source that answers like this.
func planned(t *testing.T, to *vaulttest.Server, first func(http.ResponseWriter, *http.Request) bool, more ...func(*migrate.ServerConfig)) ([]migrate.Key, error) {
	t.Helper()
	bao := serveOpenBao(t, nil, "aes256-gcm96")
	bao.first = first
	return into(t, bao.end(more...), to).Plan(t.Context(), nil, nil)
}

func says(text string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = w.Write([]byte(text))
		return true
	}
}

// TestAStrangerIsNotTrusted: whatever the source answers, the run ends with a reason, soon, and without the token in it.
func TestAStrangerIsNotTrusted(t *testing.T) {
	to := vaulttest.Open(t)
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was asked elsewhere, with the token %q", r.URL.Path, r.Header.Get("X-Vault-Token"))
	}))
	t.Cleanup(elsewhere.Close)
	for name, c := range map[string]struct {
		first func(http.ResponseWriter, *http.Request) bool
		why   string
	}{
		"no JSON":       {says("<html>"), "is not JSON with a member data"},
		"cut short":     {says(`{"data":{"keys":["a"`), "is not JSON with a member data"},
		"no data":       {says(`{"data":null}`), "is not JSON with a member data"},
		"twice":         {says(`{"data":{"keys":[]},"data":{"keys":["a"]}}`), "is not JSON with a member data"},
		"wrong types":   {says(`{"data":{"keys":[1]}}`), "data/keys/0 is of another type"},
		"too many keys": {says(`{"data":{"keys":["a"` + strings.Repeat(`,"a"`, 100_000) + `]}}`), "lists more than 100000 keys"},
		"huge":          {says(strings.Repeat("x", 8<<20+1)), "has more than 8388608 bytes"},
		"huge, announced": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Length", "99999999999")
			w.WriteHeader(200)
			return true
		}, "has more than 8388608 bytes"},
		"header": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			return true
		}, "does not answer"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}, "refers to " + elsewhere.URL},
		"round and round": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, r.URL.Path+"?list=true&x", http.StatusTemporaryRedirect)
			return true
		}, "the source refers to"},
		"breaks off": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{"data"`))
			return true
		}, "its answer breaks off"},
		"hangs up": {func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, "does not answer"},
		"refuses": {func(w http.ResponseWriter, _ *http.Request) bool {
			refuse(w, 403, "no, "+sourceToken+"\n\x1b[2J")
			return true
		}, "the source refuses GET transit/keys?list=true: 403 no, …"},
		"talks": {func(w http.ResponseWriter, _ *http.Request) bool {
			refuse(w, 400, strings.Repeat("x", 5000))
			return true
		}, strings.Repeat("x", 200) + "…"},
	} {
		_, err := planned(t, to, c.first, func(s *migrate.ServerConfig) { s.Timeout = 5 * time.Second })
		if kms.CodeOf(err) != kms.CodeSource || !strings.Contains(err.Error(), c.why) || strings.Contains(err.Error(), sourceToken) || len(err.Error()) > 1000 {
			t.Errorf("%s: got %v, want %q", name, err, c.why)
		}
	}
}

// TestASlowSourceIsLeft: an answer that comes by drops has no more time than one that does not come.
func TestASlowSourceIsLeft(t *testing.T) {
	to := vaulttest.Open(t)
	_, err := planned(t, to, func(w http.ResponseWriter, r *http.Request) bool {
		for r.Context().Err() == nil {
			if _, err := w.Write([]byte(" ")); err != nil {
				break
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(time.Millisecond):
			}
		}
		return true
	}, func(s *migrate.ServerConfig) { s.Timeout = 50 * time.Millisecond })
	if kms.CodeOf(err) != kms.CodeSource || !strings.Contains(err.Error(), "no whole answer in 50ms") {
		t.Errorf("got %v", err)
	}
}

// TestABusySourceIsAskedAgain: what passes is repeated, a few times; what stays is not.
func TestABusySourceIsAskedAgain(t *testing.T) {
	to := vaulttest.Open(t)
	for _, c := range []struct {
		status, times int
		text          string
		asked         int32
		ok            bool
	}{
		{429, 2, "rate limit quota exceeded", 3, true}, {503, 4, "busy", 5, true}, {502, 1, "", 2, true}, {412, 1, "", 2, true},
		{503, 9, "busy", 5, false}, {503, 9, "Vault is sealed", 1, false}, {500, 9, "internal error", 1, false}, {403, 9, "permission denied", 1, false},
	} {
		var asked atomic.Int32
		_, err := planned(t, to, func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/keys") {
				return false
			}
			if int(asked.Add(1)) > c.times {
				return false
			}
			w.Header().Set("Retry-After", "0")
			refuse(w, c.status, c.text)
			return true
		})
		if (err == nil) != c.ok || asked.Load() != c.asked {
			t.Errorf("%d %s, %d times: got %v after %d requests, want %d", c.status, c.text, c.times, err, asked.Load(), c.asked)
		}
	}
}

// TestRedirectsWithinTheHostAreFollowed: with method, body and token.
func TestRedirectsWithinTheHostAreFollowed(t *testing.T) {
	from, to := vaulttest.Open(t), vaulttest.Open(t)
	bao := serveOpenBao(t, from, "aes256-gcm96")
	bao.first = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("again") {
			return false
		}
		http.Redirect(w, r, r.URL.Path+"?list=true&again", http.StatusTemporaryRedirect)
		return true
	}
	check(t, moved(t, into(t, bao.end(), to)), migrate.ByBackup, migrate.Moved)
}

// TestOnlyVerifiedTLS: an unknown authority, another name, no TLS at all, or no token: nothing is sent.
func TestOnlyVerifiedTLS(t *testing.T) {
	to := vaulttest.Open(t)
	for name, change := range map[string]func(*migrate.ServerConfig){
		"of the system": func(s *migrate.ServerConfig) { s.CACert = nil },
		"another name":  func(s *migrate.ServerConfig) { s.ServerName = "vault.example" },
	} {
		bao := serveOpenBao(t, nil, "aes256-gcm96")
		_, err := into(t, bao.end(change), to).Plan(t.Context(), nil, nil)
		if kms.CodeOf(err) != kms.CodeSource || !strings.Contains(err.Error(), "x509") || bao.requests("") > 0 {
			t.Errorf("%s: got %v after %d requests", name, err, bao.requests(""))
		}
	}
	good := migrate.ServerConfig{What: "the source", Code: kms.CodeSource, Address: "https://h:1", Token: secret.Copy([]byte("t"))}
	if _, err := migrate.NewServer(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*migrate.ServerConfig){
		"http":       func(s *migrate.ServerConfig) { s.Address = "http://h:1" },
		"nowhere":    func(s *migrate.ServerConfig) { s.Address = "" },
		"no host":    func(s *migrate.ServerConfig) { s.Address = "https:///x" },
		"a user":     func(s *migrate.ServerConfig) { s.Address = "https://u:p@h" },
		"no token":   func(s *migrate.ServerConfig) { s.Token = nil },
		"two tokens": func(s *migrate.ServerConfig) { s.Token = secret.Copy([]byte("a\r\nX: b")) },
		"namespace":  func(s *migrate.ServerConfig) { s.Namespace = "a\nb" },
		"mount":      func(s *migrate.ServerConfig) { s.Mount = "a/../sys" },
		"authority":  func(s *migrate.ServerConfig) { s.CACert = []byte("none") },
	} {
		bad := good
		change(&bad)
		if _, err := migrate.NewServer(bad); kms.CodeOf(err) != kms.CodeSource || strings.Contains(err.Error(), "u:p") || strings.Contains(err.Error(), "X: b") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestWhatTheSourceSaysOfAKeyIsChecked: a key that cannot be, or has a name that would lead elsewhere, is a row of the plan, and nothing else.
func TestWhatTheSourceSaysOfAKeyIsChecked(t *testing.T) {
	to := vaulttest.Open(t)
	for text, why := range map[string]string{
		`{"type":"aes256-gcm96","latest_version":0}`:                                                      "no key that there can be",
		`{"type":"aes256-gcm96","latest_version":99999999999}`:                                            "no key that there can be",
		`{"type":"aes256-gcm96","latest_version":"1"}`:                                                    "data/latest_version is of another type",
		`{"type":"aes256-gcm96","latest_version":1,"min_decryption_version":2}`:                           "no key that there can be",
		`{"type":"aes256-gcm96","latest_version":1,"keys":{"2":1}}`:                                       "no key that there can be",
		`{"type":"aes256-gcm96","latest_version":1,"keys":{"1":true}}`:                                    "no key that there can be",
		`{"type":"ed25519","latest_version":1,"keys":{"1":{"certificate_chain":"none"}}}`:                 "no key that there can be",
		`{"type":"aes256-gcm96","latest_version":1,"keys":{"x":1}}`:                                       "no key that there can be",
		`{"type":"aes256-gcm96","latest_version":1,"keys":{"1":-5}}`:                                      "no key that there can be",
		`{"type":"aes256-gcm96","latest_version":1,"auto_rotate_period":-1}`:                              "no key that there can be",
		`{"type":"\u001b[2J","latest_version":1,"exportable":true}`:                                       `keys of type "\x1b[2J" have no form`,
		`{"type":"ml-dsa","latest_version":1,"exportable":true}`:                                          "keys of type ml-dsa have no form",
		`{"type":"aes256-gcm96","latest_version":1}`:                                                      "it is not exportable",
		`{"type":"aes256-gcm96","latest_version":41,"exportable":true}`:                                   "it has 41 versions, and keys move with 40 at most",
		`{"type":"aes256-gcm96","latest_version":1,"exportable":true,"soft_deleted":true}`:                "it is softly deleted",
		`{"type":"aes256-gcm96","latest_version":1,"exportable":true,"derived":true,"kdf":"hmac-sha256"}`: "it derives keys by hmac-sha256",
		`{"type":"aes256-gcm96","latest_version":1,"exportable":true,"derived":true,"kdf":"hkdf_sha256","convergent_encryption":true,"convergent_encryption_version":2}`: "convergently by version 2",
	} {
		keys, err := planned(t, to, func(w http.ResponseWriter, r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "aes256-gcm96") && says(`{"data":`+text+`}`)(w, r)
		})
		if err != nil || len(keys) != 1 || keys[0].Outcome != migrate.Left || !strings.Contains(keys[0].Why, why) {
			t.Errorf("%s: got %+v, %v, want %q", text, keys, err, why)
		}
	}
	keys, err := planned(t, to, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/keys") {
			t.Errorf("%s was asked for", r.URL.Path)
		}
		return says(`{"data":{"keys":["../../sys/seal","a/b","","`+strings.Repeat("a", 500)+`","_x","a b","..","a?x"]}}`)(w, r)
	})
	if err != nil || len(keys) != 8 {
		t.Fatalf("got %d keys, %v", len(keys), err)
	}
	for _, k := range keys {
		if k.Outcome != migrate.Left || k.How != migrate.Cannot || len(k.Name) > 210 {
			t.Errorf("got %+v", k)
		}
	}
}

// TestOneKeyFailsAlone: a backup or an export that is none fails that key, with its reason and nothing of its secret.
func TestOneKeyFailsAlone(t *testing.T) {
	const planted = "UExBTlRFRC1TRUNSRVQ=" // base64
	to := vaulttest.Open(t)
	for name, c := range map[string]struct {
		at, answer, why string
	}{
		"backup is none":        {"backup/", `{"data":{"backup":"` + planted + `"}}`, "not the JSON of a backup"},
		"backup is a number":    {"backup/", `{"data":{"backup":7}}`, "data/backup is no text"},
		"backup is missing":     {"backup/", `{"data":{}}`, "data/backup is no text"},
		"backup is refused":     {"backup/", "", "the source refuses GET transit/backup/aes256-gcm96: 403"},
		"export is short":       {"export/encryption-key/", `{"data":{"keys":{"1":"` + planted + `","2":"` + planted + `"}}}`, "no aes-256-gcm key has"},
		"export is a number":    {"export/encryption-key/", `{"data":{"keys":{"1":7}}}`, "data/keys holds no texts"},
		"export has no version": {"export/encryption-key/", `{"data":{"keys":{}}}`, "does not export version 1"},
		"export is no base64":   {"export/encryption-key/", `{"data":{"keys":{"1":"%%%%` + planted + `","2":""}}}`, "it is not base64"},
		"MAC key is short":      {"export/hmac-key/", `{"data":{"keys":{"1":"` + planted + `","2":"` + planted + `"}}}`, "the MAC key is not 32 bytes"},
		"MAC keys are refused":  {"export/hmac-key/", "", "the source refuses GET transit/export/hmac-key/aes256-gcm96: 403"},
	} {
		bao := serveOpenBao(t, nil, "aes128-gcm96", "aes256-gcm96")
		if !strings.HasPrefix(c.at, "backup") {
			bao.alter = onlyExport
		}
		bao.first = func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case !strings.HasSuffix(r.URL.Path, c.at+"aes256-gcm96"):
				return false
			case c.answer == "":
				refuse(w, 403, "permission denied")
				return true
			}
			return says(c.answer)(w, r)
		}
		m := into(t, bao.end(), to, func(m *migrate.Config) { m.Prefix = fmt.Sprintf("k%x-", name) })
		keys := moved(t, m)
		if keys[0].Outcome != migrate.Moved {
			t.Errorf("%s: the other key: got %+v", name, keys[0])
		}
		if k := keys[1]; k.Outcome != migrate.Failed || !strings.Contains(k.Why, c.why) || strings.Contains(fmt.Sprint(k), planted[:12]) || strings.Contains(fmt.Sprint(k), "PLANTED") {
			t.Errorf("%s: got %+v, want %q", name, k, c.why)
		}
	}
}

// TestASourceThatIsGoneEndsTheRun: it is not asked for every key of ten thousand.
func TestASourceThatIsGoneEndsTheRun(t *testing.T) {
	to := vaulttest.Open(t)
	bao := serveOpenBao(t, nil)
	m := into(t, bao.end(), to, func(c *migrate.Config) { c.Parallel = 1 })
	keys, err := m.Plan(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	bao.Close()
	err = m.Move(context.WithoutCancel(t.Context()), keys, nil)
	if kms.CodeOf(err) != kms.CodeSource {
		t.Errorf("got %v", err)
	}
	failed := 0
	for _, k := range keys {
		if k.Outcome == migrate.Failed {
			failed++
		} else if k.Outcome != migrate.Untried {
			t.Errorf("got %+v", k)
		}
	}
	if failed != 8 {
		t.Errorf("%d keys were tried, want 8", failed)
	}
}

// TestTheLimitsOfBothEndsAgree: a plan does not promise what a restore refuses.
func TestTheLimitsOfBothEndsAgree(t *testing.T) {
	if migrate.MaxVersions != engine.MaxRestored {
		t.Errorf("got %d want %d", migrate.MaxVersions, engine.MaxRestored)
	}
}
