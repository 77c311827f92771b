package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/keyhold/keyhold/internal/kms"
)

// unchecked makes a policy that Check refuses, as a defect in Check or a damaged record would.
func unchecked(t testing.TB, id, text string) *Policy {
	t.Helper()
	list, err := parse(id, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return &Policy{id: id, text: text, statements: list}
}

func mustCompileList(t testing.TB, ns kms.Namespace, set Settings, list ...*Policy) *Rules {
	t.Helper()
	r, err := Compile(ns, set, list, 7)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestErroringForbidDenies: Cedar skips a forbid whose condition fails, and so allows what it was to forbid.
func TestErroringForbidDenies(t *testing.T) {
	for _, text := range []string{
		`forbid (principal, action, resource) unless { context.mfa_age_s < 900 };`,
		`forbid (principal, action, resource) when { resource.getTag("env") == "prod" };`,
		`forbid (principal, action, resource) when { 9223372036854775807 + 1 > 0 };`,
		`forbid (principal, action, resource) when { context.now < 5 };`,
	} {
		if _, err := Check("bad", []byte(text)); kms.CodeOf(err) != kms.CodeBadPolicy {
			t.Errorf("Check(%s): got %v, want CodeBadPolicy", text, err)
		}
		bad := unchecked(t, "bad", text)
		rules := mustCompileList(t, "default", together, bad)
		q := ask(principal("default", "u", kms.RoleUser), kms.Encrypt, key("default", "k"))

		v := verdict{q: q, list: rules.matching(nil, q.Principal, q.Resource, maskOf(q.Action), true)}
		if answer, _ := v.evaluate(q.Action, q.context()); answer != cedar.Allow {
			t.Errorf("the trap is gone: cedar denies %s by itself", text)
		}
		d := rules.Decide(q)
		if d.Allowed || d.Code != kms.CodeDenied || !slices.Equal(d.Policies, []string{"bad"}) || len(d.Errors) != 1 || !strings.Contains(d.Errors[0], "bad") {
			t.Errorf("%s: got %+v, want denied by an error of policy bad", text, d)
		}
		if e := rules.Explain(q); len(e.Failed) != 1 || len(e.Needs) != 1 || !strings.Contains(e.Needs[0], "bad") {
			t.Errorf("%s: got %+v, want the failed policy named", text, e)
		}
	}
}

// TestMissingEntityDenies: an attribute of an entity that is not loaded is an error, so that the guard that reads it vanishes.
func TestMissingEntityDenies(t *testing.T) {
	rules := mustCompile(t, "default", apart, `permit (principal, action, resource);`)
	p, res := principal("default", "u", kms.RoleUser), key("default", "k")
	for name, q := range map[string]Request{
		"no principal":        ask(nil, kms.Encrypt, res),
		"nil principal":       ask(PreparePrincipal(nil), kms.Encrypt, res),
		"zero principal":      ask(&Principal{}, kms.Encrypt, res),
		"nameless principal":  ask(principal("default", ""), kms.Encrypt, res),
		"homeless principal":  ask(principal("", "u"), kms.Encrypt, res),
		"not authenticated":   ask(PreparePrincipal(&kms.Principal{Name: "u", Namespace: "default"}), kms.Encrypt, res),
		"too many groups":     ask(PreparePrincipal(&kms.Principal{Name: "u", Namespace: "default", Method: kms.AuthToken, Groups: make([]string, MaxGroups+1)}), kms.Encrypt, res),
		"no resource":         ask(p, kms.Encrypt, nil),
		"zero resource":       ask(p, kms.Encrypt, &Resource{}),
		"nil key":             ask(p, kms.Encrypt, PrepareKey(nil)),
		"key without id":      ask(p, kms.Encrypt, PrepareKey(&kms.Key{Name: "k", Namespace: "default"})),
		"key without home":    ask(p, kms.Encrypt, key("", "k")),
		"impossible name":     ask(p, kms.Encrypt, PrepareMissing("default", "no such\x00name")),
		"namespace for a key": ask(p, kms.Encrypt, PrepareNamespace("default")),
		"key for a namespace": ask(p, kms.ListKeys, res),
		"another namespace":   ask(p, kms.Encrypt, key("other", "k")),
		"no action":           ask(p, 0, res),
		"unknown action":      ask(p, 255, res),
		"no time":             {Principal: p, Action: kms.Encrypt, Resource: res},
		"huge context":        {Principal: p, Action: kms.Encrypt, Resource: res, Now: noon, Context: kms.Context{"k": strings.Repeat("x", kms.MaxContextBytes)}},
	} {
		d := rules.Decide(q)
		if d.Allowed || d.Code != kms.CodeDenied || len(d.Errors) != 1 || d.Cacheable {
			t.Errorf("%s: got %+v, want denied with one error, not cacheable", name, d)
		}
		if e := rules.Explain(q); e.Allowed || len(e.Needs) == 0 {
			t.Errorf("%s: Explain got %+v, want denied with what is needed", name, e)
		}
	}

	// An entity that a policy names and that is not of the request is not loaded either.
	text := `forbid (principal, action, resource) when { Principal::"bob".method == "token" };`
	if _, err := Check("bad", []byte(text)); kms.CodeOf(err) != kms.CodeBadPolicy {
		t.Errorf("Check: got %v, want CodeBadPolicy", err)
	}
	q := ask(principal("default", "u", kms.RoleUser), kms.Encrypt, key("default", "k"))
	if d := mustCompileList(t, "default", together, unchecked(t, "bad", text)).Decide(q); d.Allowed || len(d.Errors) != 1 {
		t.Errorf("got %+v, want denied with an error", d)
	}
}

// TestSilentInNeverDecides: "in" is false without any error for an entity that is not loaded, so that a forbid written
// with it does nothing. Everything that the schema says a request's entities can be in is therefore there, and whatever else
// a policy says with "in" is refused when it is written.
func TestSilentInNeverDecides(t *testing.T) {
	p := PreparePrincipal(&kms.Principal{Name: "u", Namespace: "default", Roles: []kms.Role{kms.RoleUser}, Groups: []string{"banned", "x"}, Method: kms.AuthToken})
	res := key("default", "payroll/eu/7")
	for _, scope := range []string{
		`principal == Principal::"u", action, resource`,
		`principal in Principal::"u", action, resource`,
		`principal in Group::"banned", action, resource`,
		`principal in Role::"user", action, resource`,
		`principal is Principal in Group::"banned", action, resource`,
		`principal, action == Action::"Encrypt", resource`,
		`principal, action in Action::"UseKey", resource`,
		`principal, action in [Action::"Read", Action::"UseKey"], resource`,
		`principal, action, resource == Key::"` + idOf("payroll/eu/7").String() + `"`,
		`principal, action, resource in Key::"` + idOf("payroll/eu/7").String() + `"`,
		`principal, action, resource in Name::"payroll/eu/7"`,
		`principal, action, resource in Folder::"payroll"`,
		`principal, action, resource in Folder::"payroll/eu"`,
		`principal, action, resource in Namespace::"default"`,
		`principal, action, resource is Key in Folder::"payroll"`,
		`principal, action, resource is Key`,
	} {
		texts := []string{`forbid (` + scope + `);`}
		for _, cond := range conditionsOf(scope) {
			texts = append(texts, `forbid (principal, action, resource) when { `+cond+` };`)
		}
		for _, text := range texts {
			d := mustCompile(t, "default", apart, text).Decide(ask(p, kms.Encrypt, res))
			if d.Allowed || !slices.Equal(d.Policies, []string{"pa"}) || len(d.Errors) > 0 {
				t.Errorf("%s: got %+v, want denied by pa", text, d)
			}
		}
	}
	for _, never := range []string{
		`principal in Folder::"payroll"`, `resource in Group::"banned"`, `principal in Namespace::"default"`, `resource in Role::"user"`,
		`Principal::"u" in Group::"banned"`, `Group::"banned" in Group::"x"`, `context.encryption in Group::"x"`,
		`principal in [Group::"x", Folder::"payroll"]`, `principal in Role::"usr"`, `action in Action::"Use"`, `action == Action::"UseKey"`,
		`principal == Group::"banned"`, `resource == Folder::"payroll"`, `resource == principal`, `principal is User`, `principal is Group`,
		`resource in Key::"payroll/eu/7"`, `resource in Folder::"/payroll"`, `resource in Folder::"payroll/"`, `resource in Name::"no name"`,
		`principal has nmae`, `resource has labels`, `principal.hasTag("x")`, `resource.algorithm == "aes256"`, `principal.method == "mtls"`,
		`["aes256", "rsa-2048"].contains(resource.algorithm)`, `context.dialect != "AWS"`, `principal in Grup::"x"`,
		`principal in principal`, `{a: principal}.a in Group::"banned"`, `(if true then principal else principal) in Group::"banned"`,
		`Principal::"u" == Principal::"u"`, `context == {}`,
	} {
		text := `forbid (principal, action, resource is Key) when { ` + never + ` };`
		if _, err := Check("p", []byte(text)); kms.CodeOf(err) != kms.CodeBadPolicy {
			t.Errorf("%s: got %v, want CodeBadPolicy", never, err)
		}
	}
}

// conditionsOf says the parts of a scope as conditions, where they say anything.
func conditionsOf(scope string) []string {
	var out []string
	list, inside := "", 0
	for _, part := range strings.SplitAfter(scope, ",") {
		list += part
		inside += strings.Count(part, "[") - strings.Count(part, "]")
		if inside > 0 {
			continue
		}
		if c := strings.TrimSpace(strings.TrimSuffix(list, ",")); strings.Contains(c, " ") {
			out = append(out, c)
		}
		list = ""
	}
	return out
}

// TestTenantPolicyCannotAffectAnother: neither a permit, nor a forbid, nor an error.
func TestTenantPolicyCannotAffectAnother(t *testing.T) {
	for _, mine := range []*Policy{
		mustCheck(t, "mine", `permit (principal, action, resource);`),
		mustCheck(t, "mine", `forbid (principal, action, resource);`),
		unchecked(t, "mine", `forbid (principal, action, resource) when { context.nothing == 1 };`),
	} {
		a := mustCompileList(t, "a", apart, mine)
		b := mustCompileList(t, "b", apart)
		for _, role := range append(kms.AllRoles(), "") {
			for _, act := range kms.AllActions() {
				p := principal("b", "p", role)
				got, want := b.Decide(ask(p, act, resourceFor(act, "b"))), mustCompileList(t, "b", apart).Decide(ask(p, act, resourceFor(act, "b")))
				if got.Allowed != want.Allowed || got.Code != want.Code {
					t.Errorf("%s in b: got %+v, want %+v", act, got, want)
				}
				// In a's own namespace, b's principals get nothing, and a's policy neither helps nor is heard.
				d := a.Decide(ask(p, act, resourceFor(act, "a")))
				if d.Allowed || slices.Contains(d.Policies, "mine") || len(d.Errors) > 0 {
					t.Errorf("%s of b in a: got %+v, want denied by isolation alone", act, d)
				}
				// The rules of a do not decide about what is in b at all.
				if d := a.Decide(ask(principal("a", "p", role), act, resourceFor(act, "b"))); d.Allowed {
					t.Errorf("%s of a in b by the rules of a: got allowed", act)
				}
			}
		}
	}
}

// TestOnlyTheRequestsEntitiesAreServed to Cedar.
func TestOnlyTheRequestsEntitiesAreServed(t *testing.T) {
	v := verdict{q: ask(principal("default", "u"), kms.Encrypt, key("default", "payroll/7"))}
	for uid, want := range map[types.EntityUID]bool{
		types.NewEntityUID(typePrincipal, "u"):    true,
		types.NewEntityUID(typePrincipal, "v"):    false,
		v.q.Resource.entity.UID:                   true,
		types.NewEntityUID(typeAction, "Decrypt"): true,
		types.NewEntityUID(typeAction, "Nothing"): false,
		types.NewEntityUID(typeFolder, "payroll"): false,
		encryptionUID: true,
		types.NewEntityUID(typeEncryption, "another"): false,
	} {
		if _, got := v.Get(uid); got != want {
			t.Errorf("%s: got %v, want %v", uid, got, want)
		}
	}
}
