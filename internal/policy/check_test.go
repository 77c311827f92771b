package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// TestFindingsSayWhereAndWhatWouldBeRight: "line:column words of the finding", with the place of the word that is wrong.
func TestFindingsSayWhereAndWhatWouldBeRight(t *testing.T) {
	head := "permit (principal, action == Action::\"Encrypt\", resource)\n"
	for _, c := range []struct {
		text  string
		wants []string
	}{
		// Syntax.
		{``, []string{"1:1 empty"}},
		{`// only a remark`, []string{"1:1 empty"}},
		{`permt (principal, action, resource);`, []string{"1:1 permt: want permit or forbid"}},
		{`permit (principal action, resource);`, []string{"1:19 action: want ,"}},
		{`permit (principal, action, resource)`, []string{"1:37 the end of the text: want ;"}},
		{head + `when { };`, []string{"2:8 }"}},
		{head + `when { principal.name == "a" } when principal;`, []string{"2:37 principal: want {"}},
		{head + `when { principal.foo() };`, []string{"2:18 foo is not a method"}},
		{head + `when { contains(principal) };`, []string{"2:8 contains is not a function"}},
		{head + `when { principal $ 1 };`, []string{"2:18 $: want }"}},
		{head + `when { "a };`, []string{"2:8 not terminated"}},
		{head + `when { principal.name == "\q" };`, []string{"2:26 escape"}},
		{"permit (principal, action, resource);\nforbid (principal, action, resourc);", []string{"2:28 resourc: want resource"}},
		{"@id(\"a\")\n@id(\"b\")\npermit (principal, action, resource);", []string{"2:2 duplicate annotation: @id"}},
		// Names.
		{`permit (principal, action == Action::"Encrpt", resource);`, []string{`1:38 no action "Encrpt": nearest is Encrypt`}},
		{`permit (principal, action in [Action::"Encrypt", Action::"Usekey"], resource);`, []string{`1:58 no action "Usekey": nearest is UseKey`}},
		{`permit (principal, action == Action::"UseKey", resource);`, []string{`1:38 group of actions, which no action equals: write action in Action::"UseKey"`}},
		{`permit (principal, action in [], resource);`, []string{"1:30 empty"}},
		{`permit (principal in Role::"amdin", action, resource);`, []string{`1:28 no role "amdin": nearest is admin`}},
		{`permit (principal == User::"a", action, resource);`, []string{`1:28 no entity type User`}},
		{`permit (principal == Princpal::"a", action, resource);`, []string{`1:32 no entity type Princpal to name one of: nearest is Principal`}},
		{`permit (principal == Group::"a", action, resource);`, []string{`1:29 principal never equals a Group: write principal in Group::"a"`}},
		{`permit (principal, action, resource == Name::"payroll/7");`, []string{`1:46 never equals a Name: write resource in Name::"payroll/7"`}},
		{`permit (principal, action, resource == Key::"payroll/7");`, []string{`1:45 not the id of a key in its lower-case form: by name, write resource in Name::"payroll/7"`}},
		{`permit (principal, action, resource in Folder::"payroll/");`, []string{`1:48 folder "payroll/": write it without /`}},
		{`permit (principal, action == Action::"Encrypt", resource == Namespace::"default");`, []string{`1:20 none of these actions acts on such a resource: Encrypt acts on a Key`}},
		{`permit (principal, action == Action::"ListKeys", resource in Folder::"a");`, []string{`1:20 none of these actions acts on such a resource: ListKeys acts on a Namespace`}},
		{`permit (principal is Role, action, resource);`, []string{`1:22 a principal is never a Role: want one of Principal`}},
		{head + `when { principal in Folder::"a" };`, []string{`2:29 a principal is never in a Folder: it can be in Principal, Role, Group`}},
		// Attributes.
		{head + "when {\n  resource.algoritm == \"rsa-2048\"\n};", []string{`3:12 a Key has no attribute algoritm: nearest is algorithm`}},
		{head + `when { context.sourceip.isLoopback() };`, []string{`2:16 the context has no attribute sourceip: nearest is source_ip`}},
		{head + `when { context.source_ip.isLoopback() };`, []string{`2:16 source_ip may be absent: test it first: context has source_ip && …`}},
		{head + `when { context has source_ip || context.source_ip.isLoopback() };`, []string{`2:41 source_ip may be absent`}},
		{head + `when { context has sourceip };`, []string{`2:20 context never has the attribute sourceip: nearest is source_ip`}},
		{head + `when { resource.getTag("env") == "prod" };`, []string{`2:24 "env" may be absent: test it first: resource.hasTag("env") && …`}},
		{head + `when { context.encryption.getTag("env") == "prod" };`, []string{`2:34 "env" may be absent: test it first: context.encryption.hasTag("env") && …`}},
		{head + `when { principal.hasTag("env") };`, []string{`2:18 only keys and the encryption context have tags`}},
		{head + `when { resource.hasTag(if true then "a" else "b") };`, []string{`2:23 name of a tag is neither a string nor an attribute`}},
		{`permit (principal, action, resource) when { resource.name == "x" };`, []string{`1:54 only keys have the attribute name, and some of these actions act on a namespace: write resource is Key`}},
		{head + `when { Principal::"bob".name == "x" };`, []string{`2:25 read of something else`}},
		{head + `when { {a: 1}.a == 1 };`, []string{`2:15 read of something else`}},
		{head + `when { resource.state == "on" };`, []string{`2:26 resource.state is never "on": want one of enabled`}},
		{head + `when { context.dialect == "AWS" };`, []string{`2:27 context.dialect is never "AWS": nearest is aws`}},
		// Types.
		{head + `when { context.now < 5 };`, []string{`2:20 < compares a time with a number`}},
		{head + `when { context.now.toTime() >= datetime("2026-01-01") };`, []string{`2:29 >= compares a duration with a time`}},
		{head + `when { true } when { context.dialect };`, []string{`2:15 expected Bool but saw String`}},
		{head + `when { principal.name == 5 };`, []string{`2:1 types Long and String are not compatible`}},
		{head + `when { context.now < datetime("tomorrow") };`, []string{`2:31 "tomorrow" is no datetime: want "2030-01-31"`}},
		{head + `when { context has source_ip && context.source_ip.isInRange(ip("10.0.0.0/33")) };`, []string{`2:64 "10.0.0.0/33" is no IP address: want "192.0.2.7"`}},
		{head + `when { [].contains("a") };`, []string{`2:1 empty set`}},
		// Arithmetic that can fail.
		{head + `when { 9223372036854775807 + 1 > 0 };`, []string{`1:1 this arithmetic can overflow`}},
		{head + `when { context.now.offset(duration("106751991167d")) > context.now };`, []string{`1:1 offset can overflow`}},
		// Several, in the order of the text; the second statement by its own place.
		{"permit (principal in Role::\"usr\", action, resource);\n  forbid (principal, action, resource) when {\n\tresource has lables };", []string{
			`1:28 nearest is user`, `3:15 resource never has the attribute lables`}},
		{"permit (principal in Role::\"usr\", action, resource)\nwhen { context.source_ip.isIpv4() } unless { principal.nme == \"a\" };", []string{
			`1:28 nearest is user`, `2:16 source_ip may be absent`, `2:56 no attribute nme: nearest is name`}},
	} {
		found := findings(t, c.text)
		if len(found) != len(c.wants) {
			t.Errorf("%s\ngot  %v\nwant %d findings", c.text, found, len(c.wants))
			continue
		}
		for i, want := range c.wants {
			place, words, _ := strings.Cut(want, " ")
			if got := fmt.Sprintf("%d:%d", found[i].Line, found[i].Column); got != place || !strings.Contains(found[i].String(), words) {
				t.Errorf("%s\ngot  %v\nwant %s", c.text, found[i], want)
			}
		}
	}
}

func TestCheckAcceptsWhatIsRight(t *testing.T) {
	for _, text := range []string{
		`permit (principal, action, resource);`,
		"// why\n@reason(\"audit finding\")\nforbid (principal, action in Action::\"ManageKey\", resource is Key) unless { resource.state == \"enabled\" };",
		`permit (principal in Group::"a", action in [Action::"Encrypt", Action::"Read"], resource in Folder::"a/b");`,
		`permit (principal, action, resource) when { resource.hasTag(principal.name) && resource.getTag(principal.name) == "owner" };`,
		`permit (principal, action in Action::"UseKey", resource is Key) when { resource.name like "payroll/*" };`,
		`permit (principal, action, resource) when { [Principal::"a", Principal::"b"].contains(principal) };`,
		`permit (principal, action, resource) when { principal in [Group::"a", Group::"b"] || principal.method == "certificate" };`,
		`permit (principal, action, resource) when { context.now.offset(duration("-2h")).toTime() < duration("17h") };`,
		`permit (principal, action, resource) when { context.now.durationSince(datetime("2026-01-01")).toDays() * 24 - 5 < 100 };`,
		`permit (principal, action, resource) when { if context has source_ip then context.source_ip.isIpv6() else false };`,
		"permit (principal, action, resource);\npermit (principal == Principal::\"Jürgen\", action, resource);",
	} {
		if _, err := Check("p", []byte(text)); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
}

func TestCheckKeepsTextAndNumbersStatements(t *testing.T) {
	text := "permit (principal, action == Action::\"Encrypt\", resource);\n\nforbid (principal, action == Action::\"Encrypt\", resource in Name::\"k\"); // never\n"
	p := mustCheck(t, "two", text)
	if p.ID() != "two" || p.Text() != text || p.Statements() != 2 {
		t.Errorf("got %q, %d statements, %q", p.ID(), p.Statements(), p.Text())
	}
	e := mustCompileList(t, "default", together, p).Explain(ask(principal("default", "u"), kms.Encrypt, key("default", "k")))
	if len(e.Forbids) != 1 || e.Forbids[0].Policy != "two#2" || e.Forbids[0].Line != 3 || !strings.HasPrefix(e.Forbids[0].Text, "forbid (") {
		t.Errorf("got %+v, want two#2 at line 3", e.Forbids)
	}
}

func TestLimitsOfOnePolicy(t *testing.T) {
	scope := `permit (principal, action, resource)`
	many := func(n int, one, between string) string {
		return strings.TrimSuffix(strings.Repeat(one+between, n), between)
	}
	tags := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`resource.hasTag("%d")`, i))
		}
		return strings.Join(all, " && ")
	}
	for name, c := range map[string]struct {
		under, over string
		code        kms.Code
	}{
		"bytes":      {scope + ";" + strings.Repeat(" ", MaxBytes-len(scope)-1), scope + ";" + strings.Repeat(" ", MaxBytes), kms.CodeTooLarge},
		"statements": {many(MaxStatements, scope+";", "\n"), many(MaxStatements+1, scope+";", "\n"), kms.CodeBadPolicy},
		"nesting": {scope + "when {" + strings.Repeat("(", MaxNesting-1) + "true" + strings.Repeat(")", MaxNesting-1) + "};",
			scope + "when {" + strings.Repeat("(", MaxNesting) + "true" + strings.Repeat(")", MaxNesting) + "};", kms.CodeBadPolicy},
		"clauses":   {scope + many(MaxConditions, "when { true }", " ") + ";", scope + many(MaxConditions+1, "when { true }", " ") + ";", kms.CodeBadPolicy},
		"operators": {scope + "when {" + many(MaxOperators+1, "true", "||") + "};", scope + "when {" + many(MaxOperators+2, "true", "||") + "};", kms.CodeBadPolicy},
		"not":       {scope + "when {" + strings.Repeat("!", MaxOperators) + "true };", scope + "when {" + strings.Repeat("!", MaxOperators+1) + "true };", kms.CodeBadPolicy},
		"tests":     {scope + "when {" + tags(MaxTests) + "};", scope + "when {" + tags(MaxTests+1) + "};", kms.CodeBadPolicy},
		"ifs": {scope + "when {" + strings.Repeat("if true then true else ", MaxIfs) + "true };",
			scope + "when {" + strings.Repeat("if true then true else ", MaxIfs+1) + "true };", kms.CodeBadPolicy},
	} {
		if _, err := Check("p", []byte(c.under)); err != nil {
			t.Errorf("%s: at the limit: %v", name, err)
		}
		if _, err := Check("p", []byte(c.over)); kms.CodeOf(err) != c.code {
			t.Errorf("%s: over the limit: got %v, want %v", name, err, c.code)
		}
	}
	for _, id := range []string{"", "-a", "A", "a b", "keyhold:x", "a#1", strings.Repeat("a", MaxID+1)} {
		if _, err := Check(id, []byte(scope+";")); kms.CodeOf(err) != kms.CodeBadName {
			t.Errorf("id %q: got %v, want CodeBadName", id, err)
		}
	}
	if _, err := Check("p", []byte("permit (principal, action, resource);\xff")); kms.CodeOf(err) != kms.CodeBadPolicy {
		t.Errorf("not UTF-8: got %v", err)
	}
	if f := findings(t, many(MaxStatements, `permit (principal in Role::"x", action in Action::"y", resource in Folder::"/");`, "\n")); len(f) != MaxFindings {
		t.Errorf("got %d findings, want %d", len(f), MaxFindings)
	}
}

// TestWorstPoliciesAreCheckedInBoundedTime: what is dearest for the type checker within the limits.
func TestWorstPoliciesAreCheckedInBoundedTime(t *testing.T) {
	var tags []string
	for i := range MaxTests {
		tags = append(tags, fmt.Sprintf(`resource.hasTag("a%d")`, i))
	}
	wrong := `principal.nothing`
	for range MaxIfs {
		wrong = `(if ` + wrong + ` is Principal in Group::"g" then principal else principal)`
	}
	name := `"a"`
	for range MaxIfs {
		name = `(if true then ` + name + ` else ` + name + `)`
	}
	for what, condition := range map[string]string{
		"tests":  `action in Action::"Read" || (` + strings.Join(tags, " && ") + `)`,
		"errors": `action in Action::"Read" && ` + wrong + ` is Principal in Group::"g"`,
		"names":  `resource.hasTag(` + name + `)`,
		"like":   `principal.name like "` + strings.Repeat("a*", 4000) + `"`,
		"sets":   `[` + strings.TrimSuffix(strings.Repeat(`"a", `, 3000), ", ") + `].contains(principal.name)`,
	} {
		text := strings.Repeat(`permit (principal, action, resource) when { `+condition+" };\n", 1)
		for len(text)*2 <= MaxBytes && strings.Count(text, ";") < MaxStatements {
			text += text
		}
		start := time.Now()
		_, err := Check("p", []byte(text))
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: took %v (%v)", what, took, err)
		} else {
			t.Logf("%s: %v", what, took)
		}
	}
}

func TestCompileRefusesWhatItCannotDecide(t *testing.T) {
	p := mustCheck(t, "p", `permit (principal, action, resource);`)
	for name, c := range map[string]struct {
		ns   kms.Namespace
		list []*Policy
		code kms.Code
	}{
		"no namespace":     {"", nil, kms.CodeBadName},
		"unchecked policy": {"default", []*Policy{nil}, kms.CodeInternal},
		"same id twice":    {"default", []*Policy{p, p}, kms.CodeConflict},
		"too many":         {"default", make([]*Policy, MaxPolicies+1), kms.CodeTooLarge},
		"too many alike":   {"default", alike(t, MaxAlike+1), kms.CodeTooLarge},
	} {
		if _, err := Compile(c.ns, apart, c.list, 1); kms.CodeOf(err) != c.code {
			t.Errorf("%s: got %v, want %v", name, err, c.code)
		}
	}
	if _, err := Compile("default", apart, alike(t, MaxAlike), 1); err != nil {
		t.Errorf("at the limit: %v", err)
	}
}

func alike(t *testing.T, n int) []*Policy {
	var list []*Policy
	for i := range n {
		list = append(list, mustCheck(t, fmt.Sprintf("p-%d", i), `permit (principal in Group::"g", action, resource);`))
	}
	return list
}

// FuzzCheck: no text makes Check panic or take long, and what it accepts compiles and is decided without an error.
func FuzzCheck(f *testing.F) {
	for _, text := range []string{
		`permit (principal, action, resource);`,
		`forbid (principal in Group::"a", action in [Action::"Encrypt"], resource is Key in Folder::"a") unless { context has source_ip && context.source_ip.isInRange(ip("10.0.0.0/8")) };`,
		`permit (principal, action, resource) when { if resource.hasTag("a") then resource.getTag("a") like "x*" else context.now.toTime() < duration("9h") };`,
		`permit (principal, action, resource) when { -1 + 2 * 3 < context.now.durationSince(datetime("2026-01-01")).toDays() && !(principal == Principal::"a") };`,
		`@a("b") permit (principal, action, resource) when { {a: [1, 2].containsAny([3])}.a };`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Check("p", text)
		if err != nil {
			if kms.AsError(err).Kind() != kms.KindInvalid {
				t.Fatalf("got %v, want a refusal of the text", err)
			}
			return
		}
		rules := mustCompileList(t, "default", apart, p)
		for _, q := range fuzzRequests() {
			if d := rules.Decide(q); len(d.Errors) > 0 {
				t.Fatalf("%s\n%v", text, d.Errors)
			}
			rules.Explain(q)
		}
	})
}

func fuzzRequests() []Request {
	var all []Request
	for _, p := range []*Principal{principal("default", "a"), principal("default", "u", kms.RoleUser, kms.RoleAdmin), principal(kms.SystemNamespace, "o", kms.RoleOperator)} {
		for _, a := range []kms.Action{kms.Encrypt, kms.RotateKey, kms.ListKeys, kms.WhoAmI} {
			all = append(all, ask(p, a, resourceFor(a, "default")))
			if a.OnKey() {
				q := ask(p, a, PrepareMissing("default", "a/b"))
				q.Context = kms.Context{"a": "x"}
				all = append(all, q)
			}
		}
	}
	return all
}
