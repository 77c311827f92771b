package vault_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
)

// auth is the member of that name.
type auth struct {
	Token     string `json:"client_token"`
	Accessor  string
	Policies  []string
	Metadata  map[string]string
	Duration  int `json:"lease_duration"`
	Renewable bool
	Orphan    bool
}

func authOf(t *testing.T, a vaulttest.Answer) (auth, []string) {
	t.Helper()
	var out struct {
		Auth     auth
		Warnings []string
	}
	if err := json.Unmarshal(a.Body, &out); err != nil || a.Status != 200 || out.Auth.Accessor == "" {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	return out.Auth, out.Warnings
}

// described is what a look-up tells.
type described struct {
	ID, Accessor, Path string
	TTL                int
	Max                int `json:"explicit_max_ttl"`
	Period             int
	Orphan, Renewable  bool
	Meta               map[string]string
	Renewed            string `json:"last_renewal"`
}

// TestATokenIsKnownByItselfAndByItsAccessor: who is asked about by the accessor is not given away.
func TestATokenIsKnownByItselfAndByItsAccessor(t *testing.T) {
	s := vaulttest.Open(t)
	made, _ := authOf(t, s.Ask(t, s.Admin, "POST", "auth/token/create-orphan", `{"policies":["user"],"ttl":"1h","explicit_max_ttl":"2h","meta":{"team":"a\"b"}}`))
	if !made.Orphan || !made.Renewable || made.Metadata["team"] != `a"b` || !slices.Equal(made.Policies, []string{"user"}) {
		t.Errorf("got %+v", made)
	}
	var got described
	for _, how := range []struct{ token, method, path, body, id string }{
		{made.Token, "GET", "lookup-self", "", made.Token},
		{s.Admin, "POST", "lookup", `{"token":"` + made.Token + `"}`, made.Token},
		{s.Admin, "POST", "lookup-accessor", `{"accessor":"` + made.Accessor + `"}`, ""},
	} {
		got = described{}
		s.Ask(t, how.token, how.method, "auth/token/"+how.path, how.body).Into(t, &got)
		if got.ID != how.id || got.Accessor != made.Accessor || got.Max != 7200 || got.Path != "auth/token/create-orphan" || !got.Orphan || got.Meta["team"] != `a"b` || got.TTL > 3600 || got.TTL < 3500 {
			t.Errorf("%s: got %+v", how.path, got)
		}
	}
	var list struct{ Keys []string }
	if s.Ask(t, s.Admin, "LIST", "auth/token/accessors", "").Into(t, &list); !slices.Contains(list.Keys, made.Accessor) {
		t.Errorf("got %v", list.Keys)
	}
	for _, path := range []string{"lookup", "renew", "revoke"} {
		wantStatus(t, s.Ask(t, made.Token, "POST", "auth/token/"+path, `{"token":"`+s.Admin+`"}`), 403, "")
		wantStatus(t, s.Ask(t, s.Admin, "POST", "auth/token/"+path, `{"token":"kh_nothing"}`), 403, "bad token")
	}
	for _, path := range []string{"lookup-accessor", "renew-accessor", "revoke-accessor"} {
		wantStatus(t, s.Ask(t, s.Admin, "POST", "auth/token/"+path, `{"accessor":"00000000-0000-7000-8000-000000000000"}`), 400, "invalid accessor")
	}
	wantStatus(t, s.Ask(t, made.Token, "LIST", "auth/token/accessors", ""), 403, "")
}

// TestATokenIsRenewedUpToItsEnd, and who asked for more is told.
func TestATokenIsRenewedUpToItsEnd(t *testing.T) {
	s := vaulttest.Open(t)
	made, _ := authOf(t, s.Ask(t, s.Admin, "POST", "auth/token/create", `{"policies":["user"],"ttl":"1h","explicit_max_ttl":"2h"}`))
	for i, how := range []struct {
		token, path, body string
		least, most       int
		capped            bool
	}{
		{made.Token, "renew-self", `{"increment":"90m"}`, 5300, 5400, false},
		{s.Admin, "renew", `{"token":"` + made.Token + `","increment":5}`, 1, 5, false},
		{made.Token, "renew-self", ``, 3500, 3600, false},
		{s.Admin, "renew-accessor", `{"accessor":"` + made.Accessor + `","increment":"30h"}`, 7100, 7200, true},
	} {
		got, warnings := authOf(t, s.Ask(t, how.token, "POST", "auth/token/"+how.path, how.body))
		if got.Duration < how.least || got.Duration > how.most || (len(warnings) == 1 && strings.Contains(warnings[0], "capped")) != how.capped || got.Accessor != made.Accessor {
			t.Errorf("%d: got %+v %v", i, got, warnings)
		}
	}
	var look described
	if s.Ask(t, made.Token, "GET", "auth/token/lookup-self", "").Into(t, &look); look.Renewed == "" || look.TTL < 7100 {
		t.Errorf("got %+v", look)
	}
	periodic, _ := authOf(t, s.Ask(t, s.Admin, "POST", "auth/token/create", `{"policies":["user"],"period":600}`))
	if got, warnings := authOf(t, s.Ask(t, periodic.Token, "POST", "auth/token/renew-self", `{"increment":"40h"}`)); got.Duration > 600 || got.Duration < 500 || warnings != nil {
		t.Errorf("got %+v %v", got, warnings)
	}
	fixed, _ := authOf(t, s.Ask(t, s.Admin, "POST", "auth/token/create", `{"policies":["user"],"renewable":false}`))
	if got, warnings := authOf(t, s.Ask(t, fixed.Token, "POST", "auth/token/renew-self", "")); got.Renewable || len(warnings) != 1 {
		t.Errorf("got %+v %v", got, warnings)
	}
	if a := s.Ask(t, s.Admin, "POST", "auth/token/renew", `{"token":"`+fixed.Token+`"}`); a.Status != 400 || !strings.Contains(string(a.Body), "lease is not renewable") {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	for _, body := range []string{`{"policies":["root"]}`, `{"id":"mine"}`, `{"type":"batch"}`, `{"ttl":"-1h"}`, `{"period":"9000h"}`, `{"meta":[]}`, `{"meta":{"":"x"}}`} {
		if a := s.Ask(t, s.Admin, "POST", "auth/token/create", body); a.Status != 400 && a.Status != 413 {
			t.Errorf("%s: got %d %s", body, a.Status, a.Body)
		}
	}
}

// TestWhatComesFromATokenEndsWithIt, through any depth and at once.
func TestWhatComesFromATokenEndsWithIt(t *testing.T) {
	s := vaulttest.Open(t)
	token, line := s.Admin, []auth{}
	for range 4 {
		made, _ := authOf(t, s.Ask(t, token, "POST", "auth/token/create", `{"ttl":"1h"}`))
		if made.Orphan {
			t.Errorf("got %+v", made)
		}
		token, line = made.Token, append(line, made)
	}
	free, _ := authOf(t, s.Ask(t, line[1].Token, "POST", "auth/token/create-orphan", `{"ttl":"1h"}`))
	late, warnings := authOf(t, s.Ask(t, line[1].Token, "POST", "auth/token/create", `{"ttl":"9h"}`))
	if len(warnings) != 1 || !strings.Contains(warnings[0], "create-orphan") {
		t.Errorf("got %v", warnings)
	}
	alive := func(a auth) bool { return s.Ask(t, a.Token, "GET", "auth/token/lookup-self", "").Status == 200 }
	for _, a := range append(line, free, late) {
		if !alive(a) {
			t.Fatalf("%+v", a)
		}
	}
	wantStatus(t, s.Ask(t, line[1].Token, "POST", "auth/token/revoke-self", ""), 204, "")
	for i, a := range append(line, late, free) {
		if got, want := alive(a), i == 0 || a.Token == free.Token; got != want {
			t.Errorf("%d: alive %v, want %v", i, got, want)
		}
	}
	wantStatus(t, s.Ask(t, s.Admin, "POST", "auth/token/revoke", `{"token":"`+free.Token+`"}`), 204, "")
	if alive(free) {
		t.Error("a revoked token is good")
	}
}

// TestATokenIsRevokedWithoutWhatComesFromIt, and nobody finds it any more.
func TestATokenIsRevokedWithoutWhatComesFromIt(t *testing.T) {
	s := vaulttest.Open(t)
	from, _ := authOf(t, s.Ask(t, s.Admin, "POST", "auth/token/create", `{"ttl":"1h"}`))
	child, _ := authOf(t, s.Ask(t, from.Token, "POST", "auth/token/create", `{"ttl":"1h","policies":["user"]}`))
	wantStatus(t, s.Ask(t, child.Token, "POST", "auth/token/revoke-orphan", `{"token":"`+from.Token+`"}`), 403, "")
	wantStatus(t, s.Ask(t, s.Admin, "POST", "auth/token/revoke-orphan", ""), 400, "missing token")
	wantStatus(t, s.Ask(t, s.Admin, "POST", "auth/token/revoke-orphan", `{"token":"`+from.Token+`"}`), 204, "")
	wantStatus(t, s.Ask(t, s.Admin, "POST", "auth/token/revoke-orphan", `{"token":"`+from.Token+`"}`), 403, "bad token")
	wantStatus(t, s.Ask(t, s.Admin, "POST", "auth/token/lookup-accessor", `{"accessor":"`+from.Accessor+`"}`), 400, "invalid accessor")
	var got described
	if s.Ask(t, child.Token, "GET", "auth/token/lookup-self", "").Into(t, &got); !got.Orphan {
		t.Errorf("got %+v", got)
	}
}

// TestATokenThatIsUsedUpIsGone for everyone who looks, at once.
func TestATokenThatIsUsedUpIsGone(t *testing.T) {
	s := vaulttest.Open(t)
	made, _ := authOf(t, s.Ask(t, s.Admin, "POST", "auth/token/create", `{"ttl":"1h","num_uses":1}`))
	wantStatus(t, s.Ask(t, made.Token, "GET", "auth/token/lookup-self", ""), 200, "")
	for path, body := range map[string]string{"lookup": `{"token":"` + made.Token + `"}`, "lookup-accessor": `{"accessor":"` + made.Accessor + `"}`, "renew-accessor": `{"accessor":"` + made.Accessor + `"}`} {
		if a := s.Ask(t, s.Admin, "POST", "auth/token/"+path, body); a.Status != 400 && a.Status != 403 {
			t.Errorf("%s: got %d %s", path, a.Status, a.Body)
		}
	}
	var list struct{ Keys []string }
	if s.Ask(t, s.Admin, "LIST", "auth/token/accessors", "").Into(t, &list); slices.Contains(list.Keys, made.Accessor) {
		t.Errorf("got %v", list.Keys)
	}
}

// TestTheListOfMountsHasThoseOfLogins, for those who may see them.
func TestTheListOfMountsHasThoseOfLogins(t *testing.T) {
	s := vaulttest.Open(t)
	wantStatus(t, s.Ask(t, s.Admin, "POST", "sys/auth/team/approle", `{"type":"approle","description":"machines"}`), 204, "")
	type row struct{ Type, Description string }
	for _, of := range []struct {
		token string
		sees  bool
	}{{s.Admin, true}, {s.User, false}} {
		var got struct{ Auth, Secret map[string]row }
		s.Ask(t, of.token, "GET", "sys/internal/ui/mounts", "").Into(t, &got)
		if m, is := got.Auth["team/approle/"]; is != of.sees || is && m != (row{"approle", "machines"}) || got.Auth["token/"].Type != "token" || got.Secret["transit/"].Type != "transit" {
			t.Errorf("got %+v", got)
		}
	}
	var got map[string]row
	if s.Ask(t, s.Admin, "GET", "sys/auth", "").Into(t, &got); got["team/approle/"].Type != "approle" || got["token/"].Type != "token" {
		t.Errorf("got %+v", got)
	}
}
