package vault_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
)

// asked is a request and what its answer has to have.
type asked struct {
	token, method, path, body string
	status                    int
	has                       string
}

func ask(t *testing.T, s *vaulttest.Server, all ...asked) {
	t.Helper()
	for _, q := range all {
		a := s.Ask(t, q.token, q.method, q.path, q.body)
		if a.Status != q.status || !strings.Contains(string(a.Body), q.has) {
			t.Errorf("%s %s %s: got %d %s want %d %s", q.method, q.path, q.body, a.Status, a.Body, q.status, q.has)
		}
	}
}

// appRole makes a mount of AppRole at a path with the role ci, and answers its role id.
func appRole(t *testing.T, s *vaulttest.Server, at, role string) string {
	t.Helper()
	ask(t, s,
		asked{s.Admin, "POST", "sys/auth/" + at, `{"type":"approle"}`, http.StatusNoContent, ""},
		asked{s.Admin, "POST", "auth/" + at + "/role/ci", role, http.StatusNoContent, ""})
	var out struct {
		RoleID string `json:"role_id"`
	}
	s.Ask(t, s.Admin, "GET", "auth/"+at+"/role/ci/role-id", "").Data(t, &out)
	if len(out.RoleID) != 36 {
		t.Fatalf("got role id %q", out.RoleID)
	}
	return out.RoleID
}

// secretID is what the making of one answers.
type secretID struct {
	Value    string `json:"secret_id"`
	Accessor string `json:"secret_id_accessor"`
	Uses     int    `json:"secret_id_num_uses"`
	TTL      int    `json:"secret_id_ttl"`
}

func newSecretID(t *testing.T, s *vaulttest.Server, at, body string) (id secretID) {
	t.Helper()
	s.Ask(t, s.Admin, "POST", "auth/"+at+"/role/ci/secret-id", body).Data(t, &id)
	if id.Value == "" || id.Accessor == "" {
		t.Fatalf("got %+v", id)
	}
	return id
}

func TestAMachineLogsInByItsSecretID(t *testing.T) {
	s := vaulttest.Open(t)
	const at = "team/machines"
	role := appRole(t, s, at, `{"token_policies":"user","secret_id_num_uses":"2","token_ttl":"20m","token_max_ttl":3600}`)
	id := newSecretID(t, s, at, `{"metadata":"{\"host\":\"a\"}"}`)
	if id.Uses != 2 || id.TTL != 0 {
		t.Errorf("got %+v, want two uses, for ever", id)
	}
	body := `{"role_id":"` + role + `","secret_id":"` + id.Value + `"}`
	in, _ := authOf(t, s.Ask(t, "", "PUT", "auth/"+at+"/login", body))
	if in.Metadata["role_name"] != "ci" || in.Metadata["host"] != "a" || in.Duration != 1200 || !in.Renewable || !in.Orphan {
		t.Errorf("got %+v", in)
	}
	refused := func(body string) {
		t.Helper()
		ask(t, s, asked{"", "POST", "auth/" + at + "/login", body, http.StatusBadRequest, `{"errors":["invalid role or secret ID"]}`})
	}
	refused(`{"role_id":"` + role + `","secret_id":"x"}`)
	refused(`{"role_id":"` + role + `"}`)
	refused(`{"role_id":"x","secret_id":"` + id.Value + `"}`)
	ask(t, s,
		asked{"", "POST", "auth/" + at + "/login", `{}`, http.StatusBadRequest, "missing role_id"},
		asked{s.Admin, "POST", "auth/" + at + "/role/ci/secret-id/lookup", `{"secret_id":"` + id.Value + `"}`, http.StatusOK, `"secret_id_num_uses":1`},
		asked{s.Admin, "POST", "auth/" + at + "/role/ci/secret-id-accessor/lookup", `{"secret_id_accessor":"` + id.Accessor + `"}`, http.StatusOK, `"host":"a"`},
		asked{s.Admin, "LIST", "auth/" + at + "/role/ci/secret-id", "", http.StatusOK, id.Accessor},
		asked{"", "POST", "auth/" + at + "/login", body, http.StatusOK, "client_token"},
		asked{"", "POST", "auth/" + at + "/login", body, http.StatusBadRequest, "invalid role or secret ID"}, // it was used twice
		asked{s.Admin, "POST", "auth/" + at + "/role/ci/secret-id/lookup", `{"secret_id":"` + id.Value + `"}`, http.StatusNoContent, ""},
		asked{s.Admin, "LIST", "auth/" + at + "/role/ci/secret-id", "", http.StatusNotFound, `{"errors":[]}`},
		asked{s.Admin, "POST", "auth/" + at + "/role/ci/secret-id", `{"num_uses":3}`, http.StatusBadRequest, "num_uses"},
		asked{s.Admin, "POST", "auth/" + at + "/role/ci/custom-secret-id", `{"secret_id":"mine \" é"}`, http.StatusOK, `"secret_id":"mine \" é"`},
		asked{s.Admin, "POST", "auth/" + at + "/role/ci/custom-secret-id", `{"secret_id":"mine \" é"}`, http.StatusBadRequest, "already registered"},
		asked{"", "POST", "auth/" + at + "/login", `{"role_id":"` + role + `","secret_id":"mine \" é"}`, http.StatusOK, "client_token"},
		asked{s.Admin, "DELETE", "auth/" + at + "/role/ci/secret-id/destroy", `{"secret_id":"mine \" é"}`, http.StatusNoContent, ""},
		asked{"", "POST", "auth/" + at + "/login", `{"role_id":"` + role + `","secret_id":"mine \" é"}`, http.StatusBadRequest, "invalid role or secret ID"},
		asked{s.Admin, "POST", "auth/" + at + "/role/ci/secret-id-accessor/destroy", `{"secret_id_accessor":"` + id.Accessor + `"}`, http.StatusNotFound, "accessor"},
		asked{s.User, "POST", "auth/" + at + "/role/ci/secret-id", `{}`, http.StatusForbidden, "permission denied"},
		asked{s.User, "GET", "auth/" + at + "/role/ci", ``, http.StatusForbidden, "permission denied"},
	)
}

// TestEachMemberOfARoleHasAPath reads, writes and deletes each of them.
func TestEachMemberOfARoleHasAPath(t *testing.T) {
	s := vaulttest.Open(t)
	was := appRole(t, s, "approle", `{}`)
	role := func(method, path, body string, status int, has string) {
		t.Helper()
		ask(t, s, asked{s.Admin, method, "auth/approle/role/ci" + path, body, status, has})
	}
	for path, m := range map[string]struct{ member, value, none string }{
		"policies":              {"token_policies", `["staff","user"]`, `[]`},
		"period":                {"token_period", `60`, `0`},
		"bind-secret-id":        {"bind_secret_id", `true`, `true`},
		"bound-cidr-list":       {"bound_cidr_list", `["10.0.0.0/8"]`, `[]`},
		"secret-id-bound-cidrs": {"secret_id_bound_cidrs", `["10.0.0.0/8","127.0.0.1"]`, `null`},
		"secret-id-num-uses":    {"secret_id_num_uses", `7`, `0`},
		"secret-id-ttl":         {"secret_id_ttl", `90`, `0`},
		"token-bound-cidrs":     {"token_bound_cidrs", `["127.0.0.1"]`, `[]`},
		"token-max-ttl":         {"token_max_ttl", `900`, `0`},
		"token-num-uses":        {"token_num_uses", `3`, `0`},
		"token-ttl":             {"token_ttl", `800`, `0`},
	} {
		path = "/" + path
		role("POST", path, `{"`+m.member+`":`+m.value+`,"unknown":1}`, http.StatusNoContent, "")
		role("GET", path, "", http.StatusOK, `"data":{"`+m.member+`":`+m.value+`}`)
		role("DELETE", path, "", http.StatusNoContent, "")
		role("GET", path, "", http.StatusOK, `"data":{"`+m.member+`":`+m.none+`}`)
		role("POST", path, `{}`, http.StatusBadRequest, "missing "+m.member)
	}
	role("POST", "/role-id", `{"role_id":"mine"}`, http.StatusNoContent, "")
	role("GET", "/role-id", "", http.StatusOK, `"data":{"role_id":"mine"}`)
	role("GET", "/local-secret-ids", "", http.StatusOK, `"data":{"local_secret_ids":false}`)
	role("POST", "", `{"local_secret_ids":true}`, http.StatusBadRequest, "local_secret_ids is not supported")
	role("POST", "", `{"token_type":"batch"}`, http.StatusBadRequest, "tokens are of type service")
	role("POST", "", `{"token_policies":"root"}`, http.StatusBadRequest, "root tokens may not be created")
	role("POST", "", `{"token_policies":"operator"}`, http.StatusBadRequest, "system namespace only")
	role("POST", "", `{"bind_secret_id":false}`, http.StatusBadRequest, "at least one constraint")
	role("POST", "", `{"token_ttl":20,"token_max_ttl":10}`, http.StatusBadRequest, "token_ttl")
	role("POST", "", `{"token_bound_cidrs":"300.1.1.1"}`, http.StatusBadRequest, "token_bound_cidrs")
	ask(t, s,
		asked{s.Admin, "POST", "auth/approle/role/other", `{"role_id":"mine"}`, http.StatusBadRequest, "another role"},
		asked{s.Admin, "POST", "auth/approle/role/other", `{"role_id":"` + was + `"}`, http.StatusNoContent, ""},
		asked{s.Admin, "LIST", "auth/approle/role", "", http.StatusOK, `"keys":["ci","other"]`},
		asked{s.Admin, "POST", "auth/approle/role/none/token-ttl", `{"token_ttl":1}`, http.StatusNotFound, `{"errors":[]}`},
		asked{s.Admin, "GET", "auth/approle/role/none", "", http.StatusNotFound, `{"errors":[]}`},
		asked{s.Admin, "DELETE", "auth/approle/role/ci", "", http.StatusNoContent, ""},
		asked{s.Admin, "POST", "auth/approle/role/third", `{"role_id":"mine"}`, http.StatusNoContent, ""},
	)
}

// TestWhoMayHandOutSecretIDsNeedsNoMore: an ACL policy lets somebody make secret ids, at all mounts or at none, and not change roles.
func TestWhoMayHandOutSecretIDsNeedsNoMore(t *testing.T) {
	s := vaulttest.Open(t)
	appRole(t, s, "approle", `{"token_policies":"user"}`)
	broker := tokenMade(t, s, s.Admin, "auth/token/create", `{"policies":["broker"]}`)
	one := tokenMade(t, s, s.Admin, "auth/token/create", `{"policies":["one"]}`)
	ask(t, s,
		asked{s.Admin, "POST", "sys/policies/acl/broker", `{"policy":"path \"auth/+/role/+/secret-id\" { capabilities = [\"update\"] }"}`, http.StatusNoContent, ""},
		asked{broker.Token, "POST", "auth/approle/role/ci/secret-id", `{}`, http.StatusOK, "secret_id"},
		asked{broker.Token, "POST", "auth/approle/role/ci", `{"token_policies":"admin"}`, http.StatusForbidden, "permission denied"},
		asked{broker.Token, "LIST", "auth/approle/role/ci/secret-id", ``, http.StatusForbidden, "permission denied"},
		asked{one.Token, "POST", "auth/approle/role/ci/secret-id", `{}`, http.StatusForbidden, "permission denied"})
	// What speaks of one mount cannot be kept by a decision on all of them: it is refused, rather than taken for more or for nothing.
	ask(t, s,
		asked{s.Admin, "POST", "sys/policies/acl/one", `{"policy":"path \"auth/approle/role/+/secret-id\" { capabilities = [\"update\"] }"}`, http.StatusBadRequest, "cannot decide on"},
		asked{one.Token, "POST", "auth/approle/role/ci/secret-id", `{}`, http.StatusForbidden, "permission denied"})
	// Nor does a part of what a role is give the rest of it.
	ask(t, s,
		asked{s.Admin, "POST", "sys/policies/acl/one", `{"policy":"path \"auth/+/users/+/password\" { capabilities = [\"update\"] }"}`, http.StatusBadRequest, "speaks about a part of"},
		asked{s.Admin, "POST", "sys/policies/acl/one", `{"policy":"path \"auth/+/role/+/token-ttl\" { capabilities = [\"update\"] }"}`, http.StatusBadRequest, "speaks about a part of"},
		asked{one.Token, "POST", "auth/approle/role/ci", `{"token_policies":"admin"}`, http.StatusForbidden, "permission denied"},
		asked{s.Admin, "POST", "sys/policies/acl/one", `{"policy":"path \"auth/*\" { capabilities = [\"update\"] }"}`, http.StatusNoContent, ""},
		asked{one.Token, "POST", "auth/approle/role/ci", `{"token_policies":"user"}`, http.StatusNoContent, ""})
}
