package jwt

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/authn/oidc/oidctest"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
)

func saying(t *testing.T, text string) said {
	t.Helper()
	var s said
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func kept(t *testing.T, was, asked string) role {
	t.Helper()
	d, err := New(nil).Role(t.Context(), "r", login.Document{Public: []byte(was)}, login.Document{Public: []byte(asked)})
	if err != nil {
		t.Fatalf("%s: %v", asked, err)
	}
	var r role
	if err := json.Unmarshal(d.Public, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func refused(err error) bool {
	no := (*login.Refusal)(nil)
	return errors.As(err, &no)
}

// TestWhenATokenIsGood, with the leeways that a role gives it, and those that hold if it says nothing.
func TestWhenATokenIsGood(t *testing.T) {
	const now = 1_800_000_000
	for _, c := range []struct {
		says string
		role role
		good bool
	}{
		{`{}`, role{}, false},
		{`{"exp":1800000001}`, role{}, true},
		{`{"exp":1799999941}`, role{}, true}, // within a minute
		{`{"exp":1799999940}`, role{}, false},
		{`{"exp":1800000000}`, role{Skew: -1}, false},
		{`{"exp":1800000000.5}`, role{Skew: -1}, true},
		{`{"exp":1799999700}`, role{Skew: 301}, true},
		{`{"nbf":1800000060,"exp":1800000100}`, role{}, true},
		{`{"nbf":1800000061,"exp":1800000100}`, role{}, false},
		{`{"iat":1800000061,"exp":1800000100,"nbf":1}`, role{}, false},
		{`{"iat":1799999800}`, role{}, true}, // 150 s and a minute
		{`{"iat":1799999789}`, role{}, false},
		{`{"iat":1799999789}`, role{Expiry: 300}, true},
		{`{"iat":1799999930}`, role{Expiry: -1}, false},
		{`{"exp":1800000209}`, role{}, true}, // good from 150 s before
		{`{"exp":1800000211}`, role{}, false},
		{`{"exp":1800000211}`, role{NotBefore: 300}, true},
		{`{"exp":1800000061}`, role{NotBefore: -1}, false},
		{`{"exp":null,"iat":1800000000}`, role{}, true},
		{`{"exp":"1800000100"}`, role{}, false},
		{`{"exp":-1}`, role{}, false},
		{`{"exp":1e300}`, role{}, false},
	} {
		d, err := saying(t, c.says).dates()
		if err == nil {
			err = c.role.timely(d, time.Unix(now, 0))
		}
		if (err == nil) != c.good || err != nil && !refused(err) {
			t.Errorf("%s with %+v: got %v, want good: %v", c.says, c.role, err, c.good)
		}
	}
}

// TestWhatAClaimMustBe: of texts, numbers and truth values, as texts or by patterns, by names and by pointers.
func TestWhatAClaimMustBe(t *testing.T) {
	const says = `{"iss":"i","sub":"s","n":7,"big":12345678901234567890,"yes":true,"list":["a","b"],"mixed":["a",{}],"o":{"a/b":{"c~d":"x"}},"/raw":"r","null":null,"none":[]}`
	for _, c := range []struct {
		match, claims string
		good          bool
	}{
		{"string", `{"sub":"s"}`, true}, {"string", `{"sub":["x","s"]}`, true}, {"string", `{"sub":"*"}`, false}, {"string", `{"n":7}`, true}, {"string", `{"n":"7"}`, false},
		{"string", `{"big":12345678901234567890}`, true}, {"string", `{"big":12345678901234567891}`, false}, {"string", `{"yes":true}`, true}, {"string", `{"yes":"true"}`, false},
		{"string", `{"list":"b"}`, true}, {"string", `{"list":["c"]}`, false}, {"string", `{"mixed":"a"}`, false}, {"string", `{"o":"x"}`, false}, {"string", `{"none":"a"}`, false},
		{"string", `{"/o/a~1b/c~0d":"x"}`, true}, {"string", `{"/o/a~1b":"x"}`, false}, {"string", `{"/sub/x":"s"}`, false}, {"string", `{"/raw":"r"}`, false}, {"string", `{"null":"a"}`, false},
		{"string", `{"gone":"a"}`, false}, {"string", `{"sub":"s","list":"c"}`, false}, {"glob", `{"sub":"*"}`, true}, {"glob", `{"list":"b*"}`, true}, {"glob", `{"n":"*"}`, false}, {"glob", `{"sub":"t*"}`, false},
	} {
		r := kept(t, "", `{"user_claim":"sub","bound_claims":`+c.claims+`,"bound_claims_type":"`+c.match+`"}`)
		if err := r.bind(saying(t, says), &config{}); (err == nil) != c.good || err != nil && !refused(err) {
			t.Errorf("%s %s: got %v, want good: %v", c.match, c.claims, err, c.good)
		}
	}
}

// TestWhoATokenIs: its name, its groups and what its holder's token carries.
func TestWhoATokenIs(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	const head = `{"exp":1800000100,"sub":"s","user":{"id":"u1"},`
	r := kept(t, "", `{"user_claim":"/user/id","user_claim_json_pointer":true,"bound_subject":"s","groups_claim":"g","claim_mappings":{"a":"A","/user/id":"B","gone":"C"}}`)
	id, err := r.judge(saying(t, head+`"a":7,"g":["x","y","x","not a name"]}`), &config{}, "m", "r", now)
	if err != nil || id.Name != "u1" || !slices.Equal(id.Groups, []string{"m/x", "m/y"}) || !maps.Equal(id.Metadata, map[string]string{"role": "r", "A": "7", "B": "u1"}) {
		t.Errorf("got %+v %v", id, err)
	}
	for _, more := range []string{`"a":{},"g":[]}`, `"a":1}`, `"g":[1]}`, `"g":{}}`, `"g":[],"aud":"x"}`, `"g":[],"aud":{}}`} {
		if _, err := r.judge(saying(t, head+more), &config{}, "m", "r", now); !refused(err) {
			t.Errorf("%s: got %v", more, err)
		}
	}
	for _, user := range []string{`""`, `7`, `["a"]`, `null`, `"a\u0000b"`, `"\u009b31m"`} {
		r := kept(t, "", `{"user_claim":"u","bound_subject":"s"}`)
		if _, err := r.judge(saying(t, head+`"u":`+user+`}`), &config{}, "m", "r", now); !refused(err) {
			t.Errorf("a name of %s: got %v", user, err)
		}
	}
	for config, good := range map[*config]bool{{BoundIssuer: "i"}: true, {BoundIssuer: "j"}: false, {Issuer: "i"}: true, {Issuer: "j"}: false, {Issuer: "j", BoundIssuer: "i"}: true} {
		r := kept(t, "", `{"user_claim":"sub","bound_subject":"s"}`)
		if _, err := r.judge(saying(t, head+`"iss":"i"}`), config, "m", "r", now); (err == nil) != good {
			t.Errorf("%+v: got %v", config, err)
		}
	}
}

// TestARoleKeepsWhatIsNotAskedFor: and what is asked for takes the place of what was.
func TestARoleKeepsWhatIsNotAskedFor(t *testing.T) {
	first := kept(t, "", `{"user_claim":"sub","bound_claims":{"a":"b"},"claim_mappings":{"x":"y"},"bound_audiences":["p","q"]}`)
	was, err := json.Marshal(&first)
	if err != nil {
		t.Fatal(err)
	}
	then := kept(t, string(was), `{"bound_claims":{"c":"d"},"bound_audiences":["r"]}`)
	if then.UserClaim != "sub" || len(then.Claims) != 1 || string(then.Claims["c"]) != `"d"` || !slices.Equal(then.Audiences, []string{"r"}) || then.Mappings["x"] != "y" {
		t.Errorf("got %+v", then)
	}
}

// TestKeysAreAskedForOnce by all mounts that have them from one place, and again when a token names another; while the issuer is away, the old ones do.
func TestKeysAreAskedForOnce(t *testing.T) {
	i := oidctest.Start(t)
	at := time.Unix(1_800_000_000, 0)
	m := New(func() time.Time { return at })
	c := &config{Keys: i.URL + "/keys", KeysCA: string(i.CA)}
	try := func(want kms.Code, no bool) {
		t.Helper()
		keys, err := m.keys(c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = verified(t.Context(), keys, i.Token(t, at, nil), nil)
		if refused(err) != no || !no && kms.CodeOf(err) != want {
			t.Errorf("got %v", err)
		}
		if err != nil && strings.Contains(err.Error(), i.URL) {
			t.Errorf("a stranger is told where the keys are: %v", err)
		}
	}
	for range 5 {
		try(0, false)
		d := *c // another mount
		c = &d
	}
	if got := i.Asked.Load(); got != 1 {
		t.Errorf("asked %d times, want once", got)
	}
	i.Rotate(t)
	try(0, true) // too soon to ask again
	at = at.Add(time.Minute)
	try(0, false)
	i.Down(true)
	at = at.Add(2 * time.Hour)
	try(0, false)
	i.Rotate(t)
	at = at.Add(time.Minute)
	try(kms.CodeIssuer, false)
}

func FuzzSaid(f *testing.F) {
	f.Add(`{"exp":1800000100,"sub":"s","aud":["a"],"g":["x"]}`, `{"user_claim":"sub","bound_audiences":["a"],"groups_claim":"g","bound_claims":{"/a/b":["c",1,true]},"claim_mappings":{"x":"y"}}`)
	f.Add(`{"iat":1,"a":{"b":"c"}}`, `{"user_claim":"/a/b","user_claim_json_pointer":true,"bound_claims":{"/a/b":"*"},"bound_claims_type":"glob"}`)
	m := New(nil)
	f.Fuzz(func(t *testing.T, says, asked string) {
		d, err := m.Role(t.Context(), "r", login.Document{}, login.Document{Public: []byte(asked)})
		if err != nil {
			if code := kms.CodeOf(err); code != kms.CodeBadRequest && code != kms.CodeTooLarge {
				t.Fatalf("%q: got %v", asked, err)
			}
			return
		}
		var r role
		if err := json.Unmarshal(d.Public, &r); err != nil {
			t.Fatalf("%q became %q: %v", asked, d.Public, err)
		}
		if _, err := m.Role(t.Context(), "r", d, login.Document{}); err != nil {
			t.Fatalf("%q became %q, which is not good: %v", asked, d.Public, err)
		}
		var s said
		if json.Unmarshal([]byte(says), &s) != nil {
			return
		}
		id, err := r.judge(s, &config{}, "m", "r", time.Unix(1_800_000_000, 0))
		if err != nil && !refused(err) || err == nil && (id.Name == "" || id.Role != "r") {
			t.Fatalf("%q by %q: got %+v %v", says, d.Public, id, err)
		}
	})
}
