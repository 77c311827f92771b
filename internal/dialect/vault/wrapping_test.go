package vault_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
)

// wrapInfo is what is answered in the place of a wrapped answer.
type wrapInfo struct {
	Token, Accessor string
	TTL             int
	Time            string `json:"creation_time"`
	Path            string `json:"creation_path"`
}

// wrapped asks for an answer to be wrapped.
func wrapped(t *testing.T, s *vaulttest.Server, token, method, path, body, ttl string) wrapInfo {
	t.Helper()
	a := s.Ask(t, token, method, path, body, "X-Vault-Wrap-TTL: "+ttl)
	var out struct {
		ID   string          `json:"request_id"`
		Data json.RawMessage `json:"data"`
		Wrap *wrapInfo       `json:"wrap_info"`
		Auth json.RawMessage
	}
	if err := json.Unmarshal(a.Body, &out); err != nil || a.Status != 200 || out.ID != "" || string(out.Data) != "null" || string(out.Auth) != "null" || out.Wrap == nil || out.Wrap.Token == "" {
		t.Fatalf("%s %s: got %d %s", method, path, a.Status, a.Body)
	}
	return *out.Wrap
}

func wantStatus(t *testing.T, a vaulttest.Answer, status int, text string) {
	t.Helper()
	if a.Status != status || text != "" && (len(a.Errors()) == 0 || a.Errors()[0] != text) {
		t.Errorf("got %d %s want %d %q", a.Status, a.Body, status, text)
	}
}

const notValid = "wrapping token is not valid or does not exist"

func TestAnAnswerIsWrappedAndFetchedOnce(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "k", "")
	w := wrapped(t, s, s.User, "POST", "transit/datakey/plaintext/k", "", "60s")
	if w.TTL != 60 || w.Path != "transit/datakey/plaintext/k" || w.Accessor == "" || w.Time == "" {
		t.Errorf("got %+v", w)
	}
	var look struct {
		Path string `json:"creation_path"`
		Time string `json:"creation_time"`
		TTL  int    `json:"creation_ttl"`
	}
	for _, how := range []func() vaulttest.Answer{
		func() vaulttest.Answer { return s.Ask(t, w.Token, "GET", "sys/wrapping/lookup", "") },
		func() vaulttest.Answer { return s.Ask(t, w.Token, "POST", "sys/wrapping/lookup", "{}") },
		func() vaulttest.Answer { return s.Ask(t, "", "POST", "sys/wrapping/lookup", `{"token":"`+w.Token+`"}`) },
		func() vaulttest.Answer {
			return s.Ask(t, s.Admin, "PUT", "sys/wrapping/lookup", `{"token":"`+w.Token+`"}`)
		},
	} {
		if how().Into(t, &look); look.Path != w.Path || look.Time != w.Time || look.TTL != 60 {
			t.Errorf("got %+v want %+v", look, w)
		}
	}
	// For everything else the token is worth nothing.
	for _, path := range []string{"auth/token/lookup-self", "transit/keys/k", "sys/mounts"} {
		wantStatus(t, s.Ask(t, w.Token, "GET", path, ""), 403, "")
	}
	wantStatus(t, s.Ask(t, w.Token, "POST", "sys/wrapping/wrap", `{"a":1}`, "X-Vault-Wrap-TTL: 60"), 403, "")

	var got atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			a := s.Ask(t, w.Token, "POST", "sys/wrapping/unwrap", "")
			switch a.Status {
			case 200:
				var key struct{ Plaintext, Ciphertext string }
				if a.Data(t, &key); key.Plaintext == "" || !strings.HasPrefix(key.Ciphertext, "vault:v1:") {
					t.Errorf("got %s", a.Body)
				}
				got.Add(1)
			case 400:
				wantStatus(t, a, 400, notValid)
			default:
				t.Errorf("got %d %s", a.Status, a.Body)
			}
		})
	}
	all.Wait()
	if got.Load() != 1 {
		t.Errorf("given out %d times", got.Load())
	}
	wantStatus(t, s.Ask(t, w.Token, "GET", "sys/wrapping/lookup", ""), 400, notValid)
}

func TestWhatWasSentIsWrapped(t *testing.T) {
	s := vaulttest.Open(t)
	wantStatus(t, s.Ask(t, s.User, "POST", "sys/wrapping/wrap", `{"a":1}`), 400, "endpoint requires response wrapping to be used")
	w := wrapped(t, s, s.User, "POST", "sys/wrapping/wrap", ` {"a":{"b":[1,"x\u00e9"]},"c":"d","n":null} `, "5m")
	again := s.Ask(t, s.User, "POST", "sys/wrapping/rewrap", `{"token":"`+w.Token+`"}`)
	var out struct {
		Wrap wrapInfo `json:"wrap_info"`
	}
	if err := json.Unmarshal(again.Body, &out); err != nil || again.Status != 200 || out.Wrap.TTL != 300 || out.Wrap.Path != "sys/wrapping/wrap" || out.Wrap.Token == w.Token {
		t.Fatalf("got %d %s", again.Status, again.Body)
	}
	wantStatus(t, s.Ask(t, s.User, "POST", "sys/wrapping/unwrap", `{"token":"`+w.Token+`"}`), 400, notValid)
	a := s.Ask(t, s.User, "POST", "sys/wrapping/unwrap", `{"token":"`+out.Wrap.Token+`"}`)
	if a.Status != 200 || !strings.Contains(string(a.Body), `"data":{"a":{"b":[1,"x\u00e9"]},"c":"d","n":null},`) {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
}

// TestATokenIsHandedOnWrapped, as deployments hand their first token to a machine.
func TestATokenIsHandedOnWrapped(t *testing.T) {
	s := vaulttest.Open(t)
	w := wrapped(t, s, s.Admin, "POST", "auth/token/create", `{"policies":["user"]}`, "120")
	a := s.Ask(t, w.Token, "PUT", "sys/wrapping/unwrap", "null")
	var out struct {
		Auth struct {
			Token string `json:"client_token"`
		}
	}
	if err := json.Unmarshal(a.Body, &out); err != nil || a.Status != 200 || out.Auth.Token == "" {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	wantStatus(t, s.Ask(t, out.Auth.Token, "GET", "auth/token/lookup-self", ""), 200, "")
}

func TestWrappingIsRefusedWhereItCannotBe(t *testing.T) {
	s := vaulttest.Open(t)
	for _, ttl := range []string{"x", "-1", `"`, "1h1", "99999999999"} {
		a := s.Ask(t, s.User, "GET", "auth/token/lookup-self", "", "X-Vault-Wrap-TTL: "+ttl)
		if a.Status != 400 || strings.Contains(string(a.Body), "accessor") {
			t.Errorf("%s: got %d %s", ttl, a.Status, a.Body)
		}
	}
	wantStatus(t, s.Ask(t, s.User, "GET", "auth/token/lookup-self", "", "X-Vault-Wrap-TTL: 800h"), 400, "")
	wantStatus(t, s.Ask(t, "", "GET", "sys/health", "", "X-Vault-Wrap-TTL: 60s"), 400, "")
	if a := s.Ask(t, s.User, "GET", "auth/token/lookup-self", "", "X-Vault-Wrap-TTL: 0"); a.Status != 200 || !strings.Contains(string(a.Body), s.User) {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	// What is refused, or has no answer, is not wrapped.
	wantStatus(t, s.Ask(t, s.Admin, "GET", "transit/keys/none", "", "X-Vault-Wrap-TTL: 60s"), 404, "")
	a := s.Ask(t, s.Admin, "POST", "auth/token/revoke-accessor", `{"accessor":"00000000-0000-7000-8000-000000000000"}`, "X-Vault-Wrap-TTL: 60s")
	if a.Status == http.StatusOK {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	wantStatus(t, s.Ask(t, s.User, "POST", "transit/random/60000", "", "X-Vault-Wrap-TTL: 60s"), 413, "")
	for _, token := range []string{"x", s.User, strings.Repeat("k", 75)} {
		wantStatus(t, s.Ask(t, token, "POST", "sys/wrapping/unwrap", ""), 400, notValid)
		wantStatus(t, s.Ask(t, "", "POST", "sys/wrapping/unwrap", `{"token":"`+token+`"}`), 400, notValid)
	}
	wantStatus(t, s.Ask(t, "bad", "POST", "sys/wrapping/unwrap", `{"token":"x"}`), 403, "permission denied")
	wantStatus(t, s.Ask(t, "", "POST", "sys/wrapping/unwrap", ""), 400, notValid)
}
