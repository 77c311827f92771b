package vault_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
)

func TestAUserLogsInByThePassword(t *testing.T) {
	s := vaulttest.Open(t)
	want := func(a vaulttest.Answer, status int, text string) {
		t.Helper()
		if a.Status != status || !strings.Contains(string(a.Body), text) {
			t.Errorf("got %d %s, want %d %s", a.Status, a.Body, status, text)
		}
	}
	want(s.Ask(t, "", "POST", "auth/userpass/login/ann", `{"password":"x"}`), http.StatusForbidden, "permission denied")
	want(s.Ask(t, s.Admin, "POST", "sys/auth/userpass", `{"type":"userpass"}`), http.StatusNoContent, "")
	want(s.Ask(t, s.Admin, "POST", "auth/userpass/users/Ann", `{"password":"correct horse","token_policies":"user,staff","token_ttl":"1h"}`), http.StatusNoContent, "")
	want(s.Ask(t, s.Admin, "GET", "auth/userpass/users/ann", ""), http.StatusOK, `"token_policies":["staff","user"]`)
	want(s.Ask(t, "", "POST", "auth/userpass/login/ann", `{"password":"x"}`), http.StatusBadRequest, "invalid username or password")
	want(s.Ask(t, "", "POST", "auth/userpass/login/bob", `{"password":"x"}`), http.StatusBadRequest, "invalid username or password")
	in, _ := authOf(t, s.Ask(t, "", "POST", "auth/userpass/login/ANN", `{"password":"correct horse"}`))
	token := in.Token
	want(s.Ask(t, token, "GET", "auth/token/lookup-self", ""), http.StatusOK, `"display_name":"userpass/ann"`)
	want(s.Ask(t, s.Admin, "DELETE", "sys/auth/userpass", ""), http.StatusNoContent, "")
	want(s.Ask(t, token, "GET", "auth/token/lookup-self", ""), http.StatusForbidden, "permission denied")
}

// TestARoleCanBeCalledLogin, in a namespace of its own: only the path of a login needs no token.
func TestARoleCanBeCalledLogin(t *testing.T) {
	s := vaulttest.Open(t)
	appRole(t, s, "approle", `{}`)
	ask(t, s,
		asked{s.Admin, "POST", "auth/approle/role/login", `{"token_ttl":60}`, http.StatusNoContent, ""},
		asked{s.Admin, "POST", "auth/approle/role/login/secret-id", `{}`, http.StatusOK, "secret_id"},
		asked{"", "POST", "auth/approle/role/login/secret-id", `{}`, http.StatusForbidden, `["permission denied"]`},
		asked{"", "POST", "auth/approle/role/login", `{}`, http.StatusForbidden, `["permission denied"]`},
		asked{"", "POST", "auth/approle/login/x", `{}`, http.StatusForbidden, `["permission denied"]`},
		asked{"", "POST", "auth/none/login", `{}`, http.StatusForbidden, `["permission denied"]`},
		asked{s.Admin, "POST", "auth/none/login", `{}`, http.StatusNotFound, "no handler for route"},
		asked{"", "GET", "auth/approle/login", ``, http.StatusForbidden, `["permission denied"]`},
		asked{"", "POST", "default/auth/approle/login", `{"role_id":"x"}`, http.StatusBadRequest, "invalid role or secret ID"},
		asked{"", "POST", "system/auth/approle/login", `{"role_id":"x"}`, http.StatusForbidden, `["permission denied"]`})
}

// TestALoginDoesNotTellWhatIsThere: a role or user that there is not, and a secret that is wrong, used up or none, look the same.
func TestALoginDoesNotTellWhatIsThere(t *testing.T) {
	s := vaulttest.Open(t)
	for _, put := range []struct{ path, body string }{
		{"sys/auth/userpass", `{"type":"userpass"}`}, {"auth/userpass/users/ann", `{"password":"correct horse"}`},
		{"sys/auth/approle", `{"type":"approle"}`}, {"auth/approle/role/ci", `{"role_id":"app-id","secret_id_num_uses":1}`},
	} {
		wantStatus(t, s.Ask(t, s.Admin, "POST", put.path, put.body), http.StatusNoContent, "")
	}
	used := newSecretID(t, s, "approle", "")
	wantStatus(t, s.Ask(t, "", "POST", "auth/approle/login", `{"role_id":"app-id","secret_id":"`+used.Value+`"}`), http.StatusOK, "")
	wrong := s.Ask(t, "", "POST", "auth/approle/login", `{"role_id":"app-id","secret_id":"wrong"}`)
	for _, body := range []string{`{"role_id":"app-id","secret_id":"` + used.Value + `"}`, `{"role_id":"none","secret_id":"wrong"}`, `{"role_id":"none","secret_id":"` + used.Value + `"}`} {
		if got := s.Ask(t, "", "POST", "auth/approle/login", body); got.Status != http.StatusBadRequest || got.Status != wrong.Status || !slices.Equal(got.Errors(), wrong.Errors()) {
			t.Errorf("%s: got %d %s, want %d %s", body, got.Status, got.Body, wrong.Status, wrong.Body)
		}
	}
	there, not := s.Ask(t, "", "POST", "auth/userpass/login/ann", `{"password":"x"}`), s.Ask(t, "", "POST", "auth/userpass/login/bob", `{"password":"x"}`)
	if there.Status != http.StatusBadRequest || there.Status != not.Status || !slices.Equal(there.Errors(), not.Errors()) {
		t.Errorf("got %s and %s", there.Body, not.Body)
	}
}
