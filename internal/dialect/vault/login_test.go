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
