package policy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// aclPaths are what paths stand for in these tests: transit at two mounts, secrets at one.
var aclPaths = []kms.Path{
	{Pattern: "transit/encrypt/{name}", Capability: "update", Action: kms.Encrypt},
	{Pattern: "transit/encrypt/{name}", Capability: "create", Action: kms.CreateKey},
	{Pattern: "transit/decrypt/{name}", Capability: "update", Action: kms.Decrypt},
	{Pattern: "transit/keys/{name}", Capability: "read", Action: kms.DescribeKey},
	{Pattern: "transit/sign/{name}", Capability: "update", Action: kms.Sign},
	{Pattern: "transit/sign/{name}/{any}", Capability: "update", Action: kms.Sign},
	{Pattern: "transit/keys", List: true, Capability: "list", Action: kms.ListKeys},
	{Pattern: "team/t/encrypt/{name}", Capability: "update", Action: kms.Encrypt, Prefix: "team/t/"},
	{Pattern: "secret/data/{names}", Capability: "read", Action: kms.ReadSecret, Prefix: "secret/"},
	{Pattern: "secret/data/{names}", Capability: "update", Action: kms.PutSecret, Prefix: "secret/"},
}

// aclRule is one path of a policy.
type aclRule struct {
	path string
	can  []string
}

func aclText(rules []aclRule) string {
	var b strings.Builder
	for _, r := range rules {
		fmt.Fprintf(&b, "path %q {\n  capabilities = [\"%s\"]\n}\n", r.path, strings.Join(r.can, `", "`))
	}
	return b.String()
}

// matches is Vault's way to match a path, as a regular expression.
func (r *aclRule) matches(path string) bool {
	p, glob := strings.CutSuffix(r.path, "*")
	var parts []string
	for _, s := range strings.Split(p, "/") {
		if s == "+" {
			parts = append(parts, "[^/]+")
		} else {
			parts = append(parts, regexp.QuoteMeta(s))
		}
	}
	end := "$"
	if glob {
		end = ".*$"
	}
	return regexp.MustCompile("^" + strings.Join(parts, "/") + end).MatchString(path)
}

// lower: r has the lower priority of two that match, in the words of Vault's documentation.
func (r *aclRule) lower(o *aclRule) bool {
	wild := func(s string) int {
		if at := strings.IndexAny(s, "+*"); at >= 0 {
			return at
		}
		return 1 << 20
	}
	switch a, b := r.path, o.path; {
	case wild(a) != wild(b):
		return wild(a) < wild(b)
	case strings.HasSuffix(a, "*") != strings.HasSuffix(b, "*"):
		return strings.HasSuffix(a, "*")
	case strings.Count(a, "+") != strings.Count(b, "+"):
		return strings.Count(a, "+") > strings.Count(b, "+")
	case len(a) != len(b):
		return len(a) < len(b)
	default:
		return a < b
	}
}

// aclDecide is Vault's decision about one path with one policy.
func aclDecide(rules []aclRule, path, capability string) bool {
	var best *aclRule
	for i := range rules {
		if r := &rules[i]; r.matches(path) && (best == nil || best.lower(r)) {
			best = r
		}
	}
	return best != nil && slices.Contains(best.can, capability) && !slices.Contains(best.can, "deny")
}

type asksSecret string

func (s asksSecret) Tell(f *Facts) { f.Secret = string(s) }

// aclAsk asks the compiled policy about a path.
func aclAsk(t *testing.T, rules *Rules, p *kms.Path, name string) bool {
	t.Helper()
	q := Request{Principal: PreparePrincipal(&kms.Principal{Name: "app", Namespace: "default", Groups: []string{"acl"}, Method: kms.AuthToken}), Action: p.Action, Now: time.Unix(1e9, 0)}
	switch {
	case p.Action.OnSecret():
		q.Resource, q.Asks = PrepareNamespace("default"), asksSecret(p.Prefix+name)
	case p.Action.OnKey() || p.Action == kms.CreateKey:
		q.Resource = PrepareKey(&kms.Key{ID: idOf(name), Namespace: "default", Name: p.Prefix + name, Algorithm: kms.AES256GCM, Usage: kms.EncryptDecrypt, Origin: kms.Generated, Switch: kms.Enabled})
	default:
		q.Resource = PrepareNamespace("default")
	}
	d := rules.Decide(q)
	if len(d.Errors) > 0 {
		t.Fatalf("%v", d.Errors)
	}
	return d.Allowed
}

// TestACLPoliciesDecideAsVault compares random policies with the interpreter, request by request.
func TestACLPoliciesDecideAsVault(t *testing.T) {
	documents := 1500
	if os.Getenv("KEYHOLD_LONG") == "1" {
		documents = 100_000
	}
	r := rand.New(rand.NewPCG(3, 5))
	paths := []string{"*", "transit/*", "transit/+/app", "transit/encrypt/*", "transit/encrypt/app", "transit/encrypt/app*", "transit/encrypt/ap*", "transit/encrypt/+", "transit/decrypt/app", "transit/decrypt/+",
		"transit/decrypt/b*", "transit/keys/app", "transit/keys/*", "transit/keys", "transit/key*", "transit/+/", "transit/+", "team/t/encrypt/app", "team/+/encrypt/a*", "team/*", "+/t/encrypt/app", "secret/data/*", "secret/data/a",
		"secret/data/a/b", "secret/data/a/*", "secret/data/+/b", "secret/data/+", "secret/+/a/b", "secret/data/a/+/c"}
	capabilities := []string{"create", "read", "update", "update", "update", "list", "deny"}
	names := []string{"app", "app2", "ap", "b", "bb", "x"}
	secrets := []string{"a", "a/b", "a/b/c", "b", "b/b", "b/c/b", "a/x/c"}
	refused, allowed, cases := 0, 0, 0
	for range documents {
		var policy []aclRule
		for range 1 + r.IntN(5) {
			one := aclRule{path: pick(r, paths...), can: []string{pick(r, capabilities...)}}
			if r.IntN(2) == 0 {
				one.can = append(one.can, pick(r, capabilities...))
			}
			if !slices.ContainsFunc(policy, func(o aclRule) bool { return o.path == one.path }) {
				policy = append(policy, one)
			}
		}
		text := aclText(policy)
		compiled, _, err := CheckACL("acl", aclPaths, []byte(text), Attached{Groups: []string{"acl"}}, false)
		if err != nil {
			var found Findings
			if kms.CodeOf(err) != kms.CodeBadPolicy || !errors.As(err, &found) {
				t.Fatalf("%s: %v", text, err)
			}
			refused++
			continue
		}
		rules, err := Compile("default", Settings{}, []*Policy{compiled}, 1)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			p := &aclPaths[r.IntN(len(aclPaths))]
			if strings.Contains(p.Pattern, "{any}") || p.Action == kms.Sign { // two paths that stand for one action
				continue
			}
			name := pick(r, names...)
			if p.Action.OnSecret() {
				name = pick(r, secrets...)
			}
			path := strings.NewReplacer("{name}", name, "{names}", name).Replace(p.Pattern)
			want := aclDecide(policy, path, p.Capability)
			if p.Action == kms.ReadSecret && want && !aclDecide(slices.DeleteFunc(slices.Clone(policy), func(r aclRule) bool { return !strings.HasPrefix(r.path, "secret/") }), path, p.Capability) {
				want = false // no wildcard permits it that does not name the mount
			}
			if p.List { // Vault asks for the path with the slash; a rule without wildcards means it without one, too
				folders := slices.Clone(policy)
				for i := range folders {
					if !strings.ContainsAny(folders[i].path, "+*") {
						folders[i].path = strings.TrimSuffix(folders[i].path, "/") + "/"
					}
				}
				want = aclDecide(folders, path+"/", p.Capability)
			}
			if got := aclAsk(t, rules, p, name); got != want {
				t.Fatalf("%s\n%s %s: got %v want %v", text, p.Capability, path, got, want)
			}
			if cases++; want {
				allowed++
			}
		}
	}
	if refused > documents/4 || allowed < cases/20 || allowed > cases*9/10 {
		t.Errorf("%d of %d documents refused, %d of %d requests allowed: the comparison says little", refused, documents, allowed, cases)
	}
}

// TestACLPoliciesAreRefusedWithReasons: what cannot be decided on is refused, where it stands.
func TestACLPoliciesAreRefusedWithReasons(t *testing.T) {
	for text, want := range map[string]string{
		``:           "names no path",
		`path "x" {`: "neither HCL nor JSON",
		`path "transit/*/x" { capabilities = ["read"] }`:                                                                        "a * stands at the end of a path only",
		`path "transit/a+b" { capabilities = ["read"] }`:                                                                        "a + stands for a whole segment",
		`path "secret/{{identity.entity.id}}" { capabilities = ["read"] }`:                                                      "template",
		`path "x" { capabilities = ["raed"] }`:                                                                                  "line 1, column 28: raed is none of create, read",
		`path "x" { capabilities = ["read"] allowed_parameters = { "a" = [] } }`:                                                "allowed_parameters cannot be decided on here",
		"path \"x\" { capabilities = [\"read\"] }\n\npath \"y\" {\n  capabilities = [\"read\"]\n  min_wrapping_ttl = \"1s\"\n}": "line 5, column 3: min_wrapping_ttl",
		`path "transit/sign/k/sha2-256" { capabilities = ["update"] }`:                                                          "speaks about a part of",
		`rule "x" {}`:             "rule is not known here",
		`{"path":{"x":3}}`:        "has no block",
		strings.Repeat("[", 1000): "brackets",
		"path \"" + strings.Repeat("x", 600) + "\" { capabilities = [\"read\"] }": "a path has 1 to",
	} {
		_, _, err := CheckACL("acl", aclPaths, []byte(text), Attached{Groups: []string{"acl"}}, false)
		var found Findings
		if kms.CodeOf(err) != kms.CodeBadPolicy || !errors.As(err, &found) || !strings.Contains(found.Error(), want) {
			t.Errorf("%.80s: got %v, want %q", text, err, want)
		}
	}
}

// TestACLPoliciesAreReadInBothForms: HCL of old and new, and JSON; and what stands for nothing is told.
func TestACLPoliciesAreReadInBothForms(t *testing.T) {
	encrypt := &aclPaths[0]
	for _, text := range []string{
		`path "transit/encrypt/app" { capabilities = ["update"] }`,
		"# a comment\nname = \"x\"\npath \"/transit/encrypt/app\" {\n  capabilities = [\n    \"update\", // another\n  ]\n}\n",
		`path "transit/encrypt/app" { policy = "write" }`,
		`{"path":{"transit/encrypt/app":{"capabilities":["update"]}}}`,
		`{"path":[{"transit/encrypt/app":{"capabilities":["update"]}}]}`,
	} {
		p, notes, err := CheckACL("acl", aclPaths, []byte(text), Attached{Groups: []string{"acl"}}, false)
		if err != nil || len(notes) != 0 {
			t.Errorf("%s: %v %v", text, notes, err)
			continue
		}
		rules, err := Compile("default", Settings{}, []*Policy{p}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !aclAsk(t, rules, encrypt, "app") || aclAsk(t, rules, encrypt, "other") || aclAsk(t, rules, &aclPaths[2], "app") {
			t.Errorf("%s: decides otherwise", text)
		}
	}
	_, notes, err := CheckACL("acl", aclPaths, []byte("path \"transit/encrypt/app\" { capabilities = [\"update\"] }\npath \"database/creds/x\" { capabilities = [\"read\"] }"), Attached{Groups: []string{"acl"}}, false)
	if err != nil || len(notes) != 1 || notes[0] != "line 2: the path database/creds/x stands for nothing on this server" {
		t.Errorf("got %q, %v", notes, err)
	}
}

// TestAnAcceptedACLPolicyGoesOnDenying: what a path has come to stand for since it was written is not permitted, and denied where it may be meant.
func TestAnAcceptedACLPolicyGoesOnDenying(t *testing.T) {
	text := []byte("path \"transit/sign/*\" { capabilities = [\"update\"] }\npath \"transit/sign/k/sha1\" { capabilities = [\"deny\"] }")
	if _, _, err := CheckACL("acl", aclPaths, text, Attached{Groups: []string{"acl"}}, false); kms.CodeOf(err) != kms.CodeBadPolicy {
		t.Errorf("new: got %v", err)
	}
	p, _, err := CheckACL("acl", aclPaths, text, Attached{Groups: []string{"acl"}}, true)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := Compile("default", Settings{}, []*Policy{p}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if aclAsk(t, rules, &aclPaths[4], "k") {
		t.Error("it permits what it may deny")
	}
}

// TestAnActionOfManyPathsIsPermittedByAllOrNone: whoever may set passwords by one path of an action would be let do all that the action stands for.
func TestAnActionOfManyPathsIsPermittedByAllOrNone(t *testing.T) {
	paths := []kms.Path{
		{Pattern: "auth/token/roles/{any}", Capability: "update", Action: kms.PutAuthRole, Whole: true},
		{Pattern: "auth/{mount}/role/{any}", Capability: "update", Action: kms.PutAuthRole, Whole: true},
		{Pattern: "auth/{mount}/users/{any}", Capability: "update", Action: kms.PutAuthRole, Whole: true},
		{Pattern: "auth/{mount}/users/{any}/password", Capability: "update", Action: kms.PutAuthRole},
	}
	for text, want := range map[string]string{
		`path "auth/+/users/+/password" { capabilities = ["update"] }`:                                                                                               "speaks about a part of",
		`path "auth/+/role/+" { capabilities = ["update"] }`:                                                                                                         "speaks about a part of",
		`path "auth/*" { capabilities = ["update"] } path "auth/+/role/+" { capabilities = ["deny"] }`:                                                               "speaks about a part of",
		`path "auth/*" { capabilities = ["update"] } path "auth/token/roles/+" { capabilities = ["read"] }`:                                                          "speaks about a part of",
		`path "auth/*" { capabilities = ["update"] }`:                                                                                                                "",
		`path "auth/+/role/+" { capabilities = ["update"] } path "auth/+/users/*" { capabilities = ["update"] } path "auth/+/roles/+" { capabilities = ["update"] }`: "",
		`path "auth/+/users/+/password" { capabilities = ["deny"] }`:                                                                                                 "",
		`path "auth/token/roles/+" { capabilities = ["update"] } path "auth/+/+/+" { capabilities = ["update"] }`:                                                    "",
	} {
		p, _, err := CheckACL("acl", paths, []byte(text), Attached{Groups: []string{"acl"}}, false)
		if want != "" {
			var found Findings
			if kms.CodeOf(err) != kms.CodeBadPolicy || !errors.As(err, &found) || !strings.Contains(found.Error(), want) {
				t.Errorf("%s: got %v, want %q", text, err, want)
			}
			if p, _, err = CheckACL("acl", paths, []byte(text), Attached{Groups: []string{"acl"}}, true); err != nil { // it stands since an earlier release
				t.Fatal(err)
			}
		} else if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		rules, err := Compile("default", Settings{}, []*Policy{p}, 1)
		if err != nil {
			t.Fatal(err)
		}
		permits := want == "" && !strings.Contains(text, "deny")
		if got := aclAsk(t, rules, &paths[0], ""); got != permits {
			t.Errorf("%s: permitted %t, want %t", text, got, permits)
		}
	}
}

// FuzzACL: whatever is written is translated or refused with findings.
func FuzzACL(f *testing.F) {
	for _, s := range []string{`path "transit/+/app*" { capabilities = ["update", "deny"] }`, `{"path":{"*":{"policy":"sudo"}}}`, "path \"a\" {\ncapabilities=[<<EOF\nread\nEOF\n]}", `path "${x}" {}`, "{", "[", `path`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, _, err := CheckACL("acl", aclPaths, b, Attached{Groups: []string{"acl"}}, false)
		if err != nil {
			var found Findings
			if kms.CodeOf(err) != kms.CodeBadPolicy || !errors.As(err, &found) || len(found) == 0 {
				t.Fatalf("got %v", err)
			}
			return
		}
		rules, err := Compile("default", Settings{}, []*Policy{p}, 1)
		if err != nil {
			return // too many of one kind
		}
		for i := range aclPaths {
			aclAsk(t, rules, &aclPaths[i], "app")
		}
	})
}
