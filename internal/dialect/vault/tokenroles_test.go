package vault_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
)

// tokenMade makes a token, and answers what it is.
func tokenMade(t *testing.T, s *vaulttest.Server, token, path, body string) auth {
	t.Helper()
	a, _ := authOf(t, s.Ask(t, token, "POST", path, body))
	return a
}

func TestATokenIsUsedNoOftenerThanItCanBe(t *testing.T) {
	s := vaulttest.Open(t)
	in := tokenMade(t, s, s.Admin, "auth/token/create", `{"policies":["user"],"num_uses":3}`)
	ask(t, s,
		asked{s.Admin, "POST", "auth/token/lookup-accessor", `{"accessor":"` + in.Accessor + `"}`, http.StatusOK, `"num_uses":3`},
		asked{in.Token, "GET", "auth/token/lookup-self", "", http.StatusOK, `"num_uses":2`},
		asked{in.Token, "POST", "auth/token/create", "{}", http.StatusForbidden, ""}, // it has not got the right, and that counts too
		asked{in.Token, "GET", "auth/token/lookup-self", "", http.StatusOK, `"num_uses":0`},
		asked{in.Token, "GET", "auth/token/lookup-self", "", http.StatusForbidden, `{"errors":["permission denied"]}`},
		asked{in.Token, "POST", "auth/token/renew-self", "{}", http.StatusForbidden, `{"errors":["permission denied"]}`},
	)
	admin := tokenMade(t, s, s.Admin, "auth/token/create", `{"policies":"admin","num_uses":9}`)
	ask(t, s, asked{admin.Token, "POST", "auth/token/create", "{}", http.StatusBadRequest, "restricted use token cannot generate child tokens"})
}

// TestManyUsesAtOnceAreAllCounted: whoever comes at the same time, a token is used as often as it can be.
func TestManyUsesAtOnceAreAllCounted(t *testing.T) {
	s := vaulttest.Open(t)
	const uses, callers = 7, 12
	in := tokenMade(t, s, s.Admin, "auth/token/create", `{"policies":["user"],"num_uses":7}`)
	var good atomic.Int64
	var wait sync.WaitGroup
	for range callers {
		wait.Go(func() {
			if s.Ask(t, in.Token, "GET", "auth/token/lookup-self", "").Status == http.StatusOK {
				good.Add(1)
			}
		})
	}
	wait.Wait()
	if good.Load() != uses {
		t.Errorf("%d of %d requests were answered, want %d", good.Load(), callers, uses)
	}
}

func TestATokenIsUsedFromWhereItIsBoundTo(t *testing.T) {
	s := vaulttest.Open(t)
	ask(t, s,
		asked{s.Admin, "POST", "auth/token/roles/here", `{"token_bound_cidrs":"127.0.0.0/8,::1"}`, http.StatusNoContent, ""},
		asked{s.Admin, "POST", "auth/token/roles/there", `{"token_bound_cidrs":["192.0.2.7"]}`, http.StatusNoContent, ""})
	here := tokenMade(t, s, s.Admin, "auth/token/create/here", `{}`)
	there := tokenMade(t, s, s.Admin, "auth/token/create/there", `{}`)
	ask(t, s,
		asked{here.Token, "GET", "auth/token/lookup-self", "", http.StatusOK, `"bound_cidrs":["127.0.0.0/8","::1"]`},
		asked{there.Token, "GET", "auth/token/lookup-self", "", http.StatusForbidden, "permission denied"})
}

func TestATokenIsMadeWithinItsRole(t *testing.T) {
	s := vaulttest.Open(t)
	role := func(body string) asked {
		return asked{s.Admin, "POST", "auth/token/roles/Ci", body, http.StatusNoContent, ""}
	}
	ask(t, s, role(`{"allowed_policies":"user,team-a","disallowed_policies_glob":["team-*-admin"],"allowed_policies_glob":"team-*","orphan":true,"token_period":"1h",
		"token_num_uses":50,"path_suffix":"x"}`),
		asked{s.Admin, "GET", "auth/token/roles/ci", "", http.StatusOK, `"allowed_policies":["user","team-a"]`},
		asked{s.Admin, "LIST", "auth/token/roles", "", http.StatusOK, `"keys":["ci"]`})
	if got := tokenMade(t, s, s.Admin, "auth/token/create/ci", `{"num_uses":80}`); !got.Orphan || got.Duration != 3600 || len(got.Policies) != 2 {
		t.Errorf("got %+v, want an orphan with a period of an hour and the role's two policies", got)
	} else {
		ask(t, s, asked{s.Admin, "POST", "auth/token/lookup-accessor", `{"accessor":"` + got.Accessor + `"}`, http.StatusOK, `"num_uses":50,"orphan":true,"path":"auth/token/create/ci/x"`})
	}
	refused := func(body, why string) {
		t.Helper()
		ask(t, s, asked{s.Admin, "POST", "auth/token/create/ci", body, http.StatusBadRequest, why})
	}
	tokenMade(t, s, s.Admin, "auth/token/create/ci", `{"policies":["team-b"]}`)
	refused(`{"policies":["admin"]}`, "subset of the role's allowed policies")
	refused(`{"policies":["team-b-admin"]}`, "disallowed by this role")
	ask(t, s,
		asked{s.Admin, "POST", "auth/token/create/none", `{}`, http.StatusBadRequest, "unknown role none"},
		asked{s.User, "POST", "auth/token/create/ci", `{}`, http.StatusForbidden, "permission denied"},
		role(`{"allowed_policies":[],"allowed_policies_glob":[],"disallowed_policies_glob":[]}`))
	refused(`{"policies":["team-b"]}`, "subset of parent")
	got := tokenMade(t, s, s.Admin, "auth/token/create/ci", `{"policies":["admin"],"renewable":true}`)
	ask(t, s,
		asked{got.Token, "POST", "auth/token/renew-self", "{}", http.StatusOK, "client_token"},
		asked{s.Admin, "DELETE", "auth/token/roles/ci", "", http.StatusNoContent, ""},
		asked{got.Token, "POST", "auth/token/renew-self", "{}", http.StatusBadRequest, "does not exist during renewal"},
		asked{got.Token, "GET", "auth/token/lookup-self", "", http.StatusOK, `"role":"ci"`})
}
