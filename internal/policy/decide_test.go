package policy

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
)

var (
	apart    = Settings{SeparationOfDuties: true}
	together = Settings{}
)

func ask(p *Principal, a kms.Action, res *Resource) Request {
	return Request{Principal: p, Action: a, Resource: res, Now: noon, Dialect: kms.DialectNative}
}

// resourceFor is a resource of the namespace that the action acts on.
func resourceFor(a kms.Action, ns kms.Namespace) *Resource {
	if a.OnKey() {
		return key(ns, "payroll/7")
	}
	return PrepareNamespace(ns)
}

// TestRolesPermitTheirGroupsAndNothingElse states the built-in roles once more, independently, action by action.
func TestRolesPermitTheirGroupsAndNothingElse(t *testing.T) {
	for _, home := range []kms.Namespace{"default", "other", kms.SystemNamespace} {
		for _, role := range append(kms.AllRoles(), "") {
			for _, where := range []kms.Namespace{"default", kms.SystemNamespace} {
				rules := mustCompile(t, where, together)
				p := principal(home, "p", role)
				for _, a := range kms.AllActions() {
					g := a.Group()
					want := g == kms.SelfGroup && home == where
					switch {
					case role == kms.RoleOperator && home == kms.SystemNamespace:
						want = want || g == kms.OperatorGroup && a != kms.DestroyKey || g == kms.AdminGroup || a == kms.ReadNamespace || a == kms.ReadPolicy
					case home != where:
					case role == kms.RoleAdmin:
						want = want || g == kms.ManageGroup || g == kms.ReadGroup || g == kms.SecretGroup || g == kms.AdminGroup && a != kms.CreateNamespace
					case role == kms.RoleUser:
						want = want || g == kms.UseGroup || g == kms.ReadGroup
					case role == kms.RoleAuditor:
						want = want || g == kms.ReadGroup || g == kms.AuditGroup
					}
					got := rules.Decide(ask(p, a, resourceFor(a, where)))
					if got.Allowed != want || len(got.Errors) > 0 {
						t.Errorf("%s of %s, %s in %s: got %+v, want allowed %v", role, home, a, where, got, want)
					}
					if got.Allowed == (got.Code != 0) {
						t.Errorf("%s: allowed %v with code %v", a, got.Allowed, got.Code)
					}
				}
			}
		}
	}
}

func TestOperatorCannotUseKeysWhateverPoliciesSay(t *testing.T) {
	everything := `permit (principal, action, resource);`
	for _, ns := range []kms.Namespace{"default", kms.SystemNamespace} {
		for _, set := range []Settings{apart, together} {
			rules := mustCompile(t, ns, set, everything)
			p := principal(kms.SystemNamespace, "root", kms.RoleOperator, kms.RoleUser, kms.RoleAdmin)
			for _, a := range kms.AllActions() {
				if g := a.Group(); g != kms.UseGroup && g != kms.ManageGroup && !a.OnSecret() {
					continue
				}
				if d := rules.Decide(ask(p, a, resourceFor(a, ns))); d.Allowed || !slices.Contains(d.Policies, ruleOperators) {
					t.Errorf("%s in %s: got %+v, want denied by %s", a, ns, d, ruleOperators)
				}
			}
		}
	}
}

// TestOperatorsCannotBeLockedOut: the way to repair a namespace stays open, even in the system namespace itself.
func TestOperatorsCannotBeLockedOut(t *testing.T) {
	for _, ns := range []kms.Namespace{"default", kms.SystemNamespace} {
		rules := mustCompile(t, ns, apart, `forbid (principal, action, resource);`)
		for _, a := range []kms.Action{kms.ReadPolicy, kms.PutPolicy, kms.DeletePolicy, kms.ReadNamespace, kms.SealServer} {
			if d := rules.Decide(ask(principal(kms.SystemNamespace, "root", kms.RoleOperator), a, PrepareNamespace(ns))); !d.Allowed {
				t.Errorf("%s in %s: got %+v, want allowed", a, ns, d)
			}
		}
		if d := rules.Decide(ask(principal(ns, "boss", kms.RoleAdmin), kms.PutPolicy, PrepareNamespace(ns))); d.Allowed {
			t.Errorf("in %s the forbid does not reach its own administrator: %+v", ns, d)
		}
	}
}

func TestOnlyTheServerDestroys(t *testing.T) {
	rules := mustCompile(t, "default", together, `permit (principal, action, resource);`)
	server := PreparePrincipal(&kms.Principal{Name: "keyhold", Namespace: kms.SystemNamespace, Roles: []kms.Role{kms.RoleOperator}, Method: kms.AuthSystem})
	if d := rules.Decide(ask(server, kms.DestroyKey, key("default", "k"))); !d.Allowed {
		t.Errorf("the server: got %+v, want allowed", d)
	}
	for _, p := range []*Principal{principal(kms.SystemNamespace, "root", kms.RoleOperator), principal("default", "boss", kms.RoleAdmin)} {
		if d := rules.Decide(ask(p, kms.DestroyKey, key("default", "k"))); d.Allowed {
			t.Errorf("%s: got allowed", p.of.Name)
		}
	}
}

func TestTokenScopeNarrowsBeforeCedar(t *testing.T) {
	rules := mustCompile(t, "default", apart)
	for _, c := range []struct {
		scope  []kms.Action
		action kms.Action
		want   kms.Code
	}{
		{nil, kms.Encrypt, 0},
		{[]kms.Action{kms.Encrypt}, kms.Encrypt, 0},
		{[]kms.Action{kms.Encrypt}, kms.Decrypt, kms.CodeOutsideScope},
		{[]kms.Action{kms.RotateKey}, kms.RotateKey, kms.CodeDenied}, // a scope grants nothing
		{[]kms.Action{250}, kms.Encrypt, kms.CodeOutsideScope},       // nothing that exists is still a scope
	} {
		p := PreparePrincipal(&kms.Principal{Name: "u", Namespace: "default", Roles: []kms.Role{kms.RoleUser}, Method: kms.AuthToken, Scope: c.scope})
		if d := rules.Decide(ask(p, c.action, key("default", "k"))); d.Code != c.want {
			t.Errorf("scope %v, %s: got %v, want %v", c.scope, c.action, d.Code, c.want)
		}
	}
}

// TestAddressesAreComparedAsWritten: an IPv4 address that arrives on an IPv6 socket is an IPv4 address, and zones do not count.
func TestAddressesAreComparedAsWritten(t *testing.T) {
	rules := mustCompile(t, "default", apart, `forbid (principal, action, resource)
unless { context has source_ip && (context.source_ip.isInRange(ip("10.0.0.0/8")) || context.source_ip.isInRange(ip("fe80::/10"))) };`)
	for addr, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "fe80::1%eth0": true, "11.0.0.1": false, "::ffff:11.0.0.1": false, "2001:db8::1": false} {
		q := ask(principal("default", "u", kms.RoleUser), kms.Encrypt, key("default", "k"))
		q.Remote = netip.MustParseAddr(addr)
		if d := rules.Decide(q); d.Allowed != want || len(d.Errors) > 0 {
			t.Errorf("%s: got %+v, want allowed %v", addr, d, want)
		}
	}
}
