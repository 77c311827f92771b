package policy

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
)

// TestReachIsWhatSomeContextPermits: what Decide permits in any context is within reach; and where no policy looks at the context, nothing else is.
func TestReachIsWhatSomeContextPermits(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(3, 7))}
	reached, permitted := 0, 0
	for range rounds(50) {
		rules := d.rules(t, true)
		whatever := true // no policy looks at the context
		for _, s := range rules.own.all {
			whatever = whatever && !s.context
		}
		for range 10 {
			p, on := d.principal(), key("default", d.keyName(), "env", one(d, "prod", "dev"), "u", "yes")
			got, some := rules.Reach(p, on), Reach{}
			for _, a := range kms.AllActions() {
				if !a.OnKey() || a.Group() != kms.UseGroup && a.Group() != kms.ManageGroup {
					continue
				}
				for range 4 {
					q := d.request()
					q.Principal, q.Resource, q.Action = p, on, a
					if allowed := rules.Decide(q).Allowed; a.Group() == kms.UseGroup {
						some.Uses = some.Uses || allowed
					} else {
						some.Manages = some.Manages || allowed
					}
				}
			}
			if some.Uses && !got.Uses || some.Manages && !got.Manages || whatever && got != some {
				t.Fatalf("got %+v, want %+v for %+v on %s", got, some, p.of, on)
			}
			reached, permitted = reached+count(got), permitted+count(some)
		}
	}
	if permitted == 0 || reached < permitted {
		t.Errorf("the test does not test: %d within reach, %d permitted", reached, permitted)
	}
}

func count(r Reach) (n int) {
	for _, b := range []bool{r.Uses, r.Manages} {
		if b {
			n++
		}
	}
	return n
}

// TestWhatIsAlikeIsDecidedAlike: no decision tells two keys or two principals apart that are said to be alike.
func TestWhatIsAlikeIsDecidedAlike(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(5, 11))}
	keys, principals := 0, 0
	for range rounds(200) {
		rules := d.rules(t, true)
		var all []*kms.Key
		for range 6 {
			name := d.keyName()
			all = append(all, &kms.Key{ID: idOf(name), Namespace: "default", Name: name, Algorithm: one(d, kms.AES256GCM, kms.Ed25519), Usage: kms.EncryptDecrypt,
				Switch: one(d, kms.Enabled, kms.Disabled), Origin: kms.Generated, Labels: map[string]string{"env": one(d, "prod", "dev")}})
		}
		q := d.request()
		for _, a := range all {
			for _, b := range all {
				if a.ID == b.ID && a.Switch == b.Switch || rules.Alike(a) != rules.Alike(b) {
					continue
				}
				keys++
				for range 4 {
					q := d.request()
					if !q.Action.OnKey() {
						q.Action = kms.Decrypt
					}
					q.Resource = PrepareKey(a)
					one := rules.Decide(q)
					q.Resource = PrepareKey(b)
					if other := rules.Decide(q); one.Allowed != other.Allowed {
						t.Fatalf("%s: %+v and %+v are alike, and decided %v and %v", q.Action, a, b, one, other)
					}
				}
			}
		}
		for range 100 {
			a, b := d.principal(), d.principal()
			if a.of.Namespace != "default" || b.of.Namespace != "default" || a.of.Name == b.of.Name || rules.AlikePrincipal(a) != rules.AlikePrincipal(b) {
				continue
			}
			principals++
			q.Principal = a
			one := rules.Decide(q)
			q.Principal = b
			if other := rules.Decide(q); one.Allowed != other.Allowed {
				t.Fatalf("%s: %+v and %+v are alike, and decided %v and %v", q.Action, a.of, b.of, one, other)
			}
		}
	}
	if keys < 100 || principals < 10 {
		t.Errorf("the test does not test: %d pairs of keys, %d of principals", keys, principals)
	}
}

// TestRulesOfRolesTellNothingApart: where only roles decide, all keys are alike, and all principals of one role.
func TestRulesOfRolesTellNothingApart(t *testing.T) {
	for text, same := range map[string]bool{
		`permit (principal in Group::"g", action, resource);`:                                               true,
		`permit (principal, action, resource) when { resource.namespace == "default" };`:                    true,
		`permit (principal, action, resource is Key);`:                                                      true,
		`permit (principal, action, resource in Folder::"payroll");`:                                        false,
		`permit (principal, action, resource in Name::"payroll/1");`:                                        false,
		`permit (principal, action, resource is Key) when { resource.name like "p*" };`:                     false,
		`permit (principal, action, resource) when { resource in Folder::"payroll" };`:                      false,
		fmt.Sprintf(`forbid (principal, action, resource == Key::%q);`, idOf("payroll/1")):                  false,
		`permit (principal, action, resource is Key) when { resource.algorithm == "aes-256-gcm" };`:         true,
		`permit (principal, action, resource) when { resource.hasTag("a") && resource.getTag("a") == "b"};`: false,
	} {
		rules := mustCompile(t, "default", together, text)
		a := &kms.Key{ID: idOf("payroll/1"), Namespace: "default", Name: "payroll/1", Algorithm: kms.AES256GCM, Usage: kms.EncryptDecrypt, Switch: kms.Enabled, Origin: kms.Generated, Labels: map[string]string{"a": "b"}}
		b := *a
		b.ID, b.Name, b.Labels = idOf("web/1"), "web/1", nil
		if text == `permit (principal, action, resource is Key) when { resource.algorithm == "aes-256-gcm" };` {
			b.Labels = a.Labels
		}
		if got := rules.Alike(a) == rules.Alike(&b); got != same {
			t.Errorf("%s: got alike %t, want %t", text, got, same)
		}
	}
}
