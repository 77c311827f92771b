package vault_test

import (
	"net/http"
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
