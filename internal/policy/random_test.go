package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"

	"github.com/keyhold/keyhold/internal/kms"
)

// rounds is how often a random test repeats: n, or twenty times that with KEYHOLD_LONG=1.
func rounds(n int) int {
	if os.Getenv("KEYHOLD_LONG") == "1" {
		return 20 * n
	}
	return n
}

// dice throws random policies and requests over a small world, so that they meet.
type dice struct{ *rand.Rand }

func one[T any](d dice, list ...T) T { return list[d.IntN(len(list))] }

func (d dice) keyName() string {
	return one(d, "a", "b", "payroll/1", "payroll/eu/1", "payroll/eu/2", "web/1")
}

func (d dice) actionName() string {
	if d.IntN(3) == 0 {
		return one(d, kms.AllGroups()...).String()
	}
	return one(d, kms.AllActions()...).String()
}

// policy is within the limits of size; Check may still refuse it.
func (d dice) policy() string {
	for {
		text := d.anyPolicy()
		if _, err := parse("p", []byte(text)); err == nil {
			return text
		}
	}
}

func (d dice) anyPolicy() string {
	p := one(d, "principal", "principal", `principal == Principal::"u"`, `principal == Principal::"v"`, `principal in Role::"user"`, `principal in Role::"admin"`,
		`principal in Group::"g"`, `principal is Principal`, `principal is Principal in Group::"h"`)
	a := one(d, "action", `action in Action::"UseKey"`, `action in Action::"ManageKey"`, `action in [Action::"UseKey", Action::"Read"]`,
		fmt.Sprintf(`action in Action::%q`, d.actionName()), fmt.Sprintf(`action == Action::%q`, one(d, kms.AllActions()...)))
	r := one(d, "resource", "resource", "resource is Key", "resource is Namespace", `resource in Folder::"payroll"`, `resource is Key in Folder::"payroll/eu"`,
		fmt.Sprintf(`resource in Name::%q`, d.keyName()), fmt.Sprintf(`resource == Key::%q`, idOf(d.keyName())), `resource in Namespace::"default"`, `resource == Namespace::"default"`)
	text := fmt.Sprintf("%s (%s, %s, %s)", one(d, "permit", "permit", "forbid"), p, a, r)
	for range d.IntN(3) {
		text += fmt.Sprintf(" %s { %s }", one(d, "when", "unless"), d.condition(3))
	}
	return text + ";"
}

// condition is one that Check accepts, more often than not.
func (d dice) condition(depth int) string {
	if depth > 0 && d.IntN(2) == 0 {
		switch d.IntN(4) {
		case 0:
			return fmt.Sprintf("(%s && %s)", d.condition(depth-1), d.condition(depth-1))
		case 1:
			return fmt.Sprintf("(%s || %s)", d.condition(depth-1), d.condition(depth-1))
		case 2:
			return "!" + d.condition(depth-1)
		default:
			return fmt.Sprintf("(if %s then %s else %s)", d.condition(depth-1), d.condition(depth-1), d.condition(depth-1))
		}
	}
	return "(" + one(d,
		"true", "false", `principal.name == "u"`, `principal.method != "token"`, `principal in Group::"g"`, `resource.namespace == "default"`,
		`resource is Key && resource.algorithm == "aes-256-gcm"`, `resource is Key && resource.name like "payroll/*"`,
		`resource.hasTag("env") && resource.getTag("env") == "prod"`, `resource.hasTag("env")`, `resource.getTag("env") == "prod"`,
		`resource.hasTag(principal.name) && resource.getTag(principal.name) == "yes"`,
		`context has source_ip && context.source_ip.isInRange(ip("10.0.0.0/8"))`, `context has source_ip`, `context.source_ip.isLoopback()`,
		`context.now < datetime("2026-06-15T12:00:00Z")`, `context.now.toTime() >= duration("9h") && context.now.toTime() < duration("17h")`,
		`context.now.offset(duration("1h")).durationSince(datetime("2026-01-01")).toDays() * 2 + 1 < 400`,
		`context.encryption.hasTag("tenant") && context.encryption.getTag("tenant") == "a"`, `context.encryption.hasTag("tenant")`,
		`["native", "aws"].contains(context.dialect)`, `action in Action::"UseKey"`, `action == Action::"Encrypt"`, `action in [Action::"Read", Action::"ManageKey"]`,
		`context == context`, `context.now < 5`, `-principal.name < 1`,
	) + ")"
}

func (d dice) principal() *Principal {
	p := &kms.Principal{Name: one(d, "u", "v", "w"), Namespace: one[kms.Namespace](d, "default", "default", "default", "other", kms.SystemNamespace), Method: one(d, kms.AuthToken, kms.AuthCertificate, kms.AuthSystem)}
	for _, r := range kms.AllRoles() {
		if d.IntN(3) == 0 {
			p.Roles = append(p.Roles, r)
		}
	}
	for _, g := range []string{"g", "h"} {
		if d.IntN(2) == 0 {
			p.Groups = append(p.Groups, g)
		}
	}
	if d.IntN(8) == 0 {
		p.Scope = []kms.Action{one(d, kms.AllActions()...), kms.Encrypt}
	}
	return PreparePrincipal(p)
}

func (d dice) request() Request {
	q := Request{Principal: d.principal(), Action: one(d, kms.AllActions()...), Now: noon.Add(time.Duration(d.IntN(200)-100) * time.Hour), Dialect: one(d, kms.AllDialects()...)}
	if d.IntN(2) == 0 {
		q.Action = one(d, kms.Encrypt, kms.Decrypt, kms.RotateKey)
	}
	q.Resource = PrepareNamespace("default")
	if q.Action.OnKey() {
		q.Resource = key("default", d.keyName(), "env", one(d, "prod", "dev"), "u", "yes")
		if d.IntN(4) == 0 {
			q.Resource = PrepareMissing("default", kms.Ref(one(d, d.keyName(), idOf(d.keyName()).String(), "alias/a")))
		}
	}
	if d.IntN(2) == 0 {
		q.Remote = netip.MustParseAddr(one(d, "10.0.0.1", "192.0.2.1", "::ffff:10.1.1.1", "fe80::1%eth0"))
	}
	if d.IntN(2) == 0 {
		q.Context = kms.Context{"tenant": one(d, "a", "b")}
	}
	return q
}

// rules are random. Some are of policies that Check refuses, so that errors happen, unless only good ones are wanted.
func (d dice) rules(t *testing.T, onlyGood bool) *Rules {
	var list []*Policy
	for i := range 1 + d.IntN(12) {
		id, text := fmt.Sprintf("p-%d", i), d.policy()
		p, err := Check(id, []byte(text))
		if err != nil && !onlyGood {
			p = unchecked(t, id, text)
		}
		if p != nil {
			list = append(list, p)
		}
	}
	return mustCompileList(t, "default", one(d, apart, together), list...)
}

// TestSliceDecidesLikeTheFullSet: leaving out what the index leaves out changes neither decision, nor reasons, nor errors.
func TestSliceDecidesLikeTheFullSet(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(1, 2))}
	allowed, failed := 0, 0
	for range rounds(400) {
		rules := d.rules(t, false)
		for range 10 {
			q := d.request()
			own := rules.hears(q.Principal, q.Action)
			full := verdict{q: q, list: slices.Clone(rules.builtin.all)}
			if own {
				full.list = append(full.list, rules.own.all...)
			}
			part := verdict{q: q, list: rules.matching(nil, q.Principal, q.Resource, maskOf(q.Action), own)}
			for _, v := range []*verdict{&full, &part} {
				answer, diag := v.evaluate(q.Action, q.context())
				sortDiagnostic(diag)
				v.settle(answer, diag)
			}
			if full.Allowed != part.Allowed || !reflect.DeepEqual(full.diag, part.diag) {
				t.Fatalf("%+v\nfull: %+v\nslice: %+v", q, full.diag, part.diag)
			}
			got := rules.Decide(q)
			if got.Code != kms.CodeOutsideScope && got.Code != kms.CodeDuties && len(got.Errors) == 0 && got.Allowed != full.Allowed {
				t.Fatalf("%+v: Decide says %+v, the full set %v", q, got, full.Allowed)
			}
			if got.Allowed {
				allowed++
			}
			if len(part.diag.Errors) > 0 {
				failed++
				if got.Allowed {
					t.Fatalf("%+v: allowed beside the errors %v", q, part.diag.Errors)
				}
			}
		}
	}
	if allowed < 100 || failed < 50 {
		t.Errorf("only %d requests were allowed and %d met an error: the worlds no longer meet", allowed, failed)
	}
}

func sortDiagnostic(d cedar.Diagnostic) {
	slices.SortFunc(d.Reasons, func(a, b cedar.DiagnosticReason) int { return strings.Compare(string(a.PolicyID), string(b.PolicyID)) })
	slices.SortFunc(d.Errors, func(a, b cedar.DiagnosticError) int { return strings.Compare(string(a.PolicyID), string(b.PolicyID)) })
}

// TestCheckedPoliciesNeverFail: what Check accepts compiles and evaluates without an error, for every request; and what
// Decide calls cacheable does not change with the moment.
func TestCheckedPoliciesNeverFail(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(3, 4))}
	cacheable := 0
	for range rounds(400) {
		rules := d.rules(t, true)
		for range 10 {
			q := d.request()
			got := rules.Decide(q)
			if len(got.Errors) > 0 {
				t.Fatalf("%v", got.Errors)
			}
			if !got.Cacheable {
				continue
			}
			cacheable++
			again := q
			again.Now, again.Remote, again.Dialect, again.Context = noon.Add(9999*time.Hour), netip.Addr{}, kms.DialectKMIP, kms.Context{"tenant": "z"}
			if then := rules.Decide(again); !reflect.DeepEqual(got, then) {
				t.Fatalf("cacheable, but %+v became %+v", got, then)
			}
		}
	}
	if cacheable < 100 {
		t.Errorf("only %d decisions were cacheable", cacheable)
	}
}

// TestExplainDecidesLikeDecide, and gives a reason for everything.
func TestExplainDecidesLikeDecide(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(5, 6))}
	for range rounds(300) {
		rules := d.rules(t, d.IntN(2) == 0)
		for range 10 {
			q := d.request()
			e, want := rules.Explain(q), rules.Decide(q)
			if !reflect.DeepEqual(e.Decision, want) {
				t.Fatalf("got %+v, want %+v", e.Decision, want)
			}
			if e.Allowed != (len(e.Needs) == 0) {
				t.Fatalf("allowed %v with needs %q", e.Allowed, e.Needs)
			}
			switch {
			case e.Allowed && (len(e.Permits) == 0 || len(e.Forbids) > 0),
				e.Code == kms.CodeDuties && (len(e.Permits) == 0 || len(e.Manages) == 0),
				len(e.Errors) > 0 && len(e.Failed) == 0:
				t.Fatalf("%+v: %+v", want, e)
			}
		}
	}
}

// TestBoundsHoldForAnyContext: a permit that holds holds in its bound as well, and a forbid that holds in its bound holds.
func TestBoundsHoldForAnyContext(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(7, 8))}
	met := 0
	for range rounds(3000) {
		p, err := Check("p", []byte(d.policy()))
		if err != nil || !p.statements[0].context {
			continue
		}
		s := p.statements[0]
		for range 5 {
			q := d.request()
			holds := func(bounds bool) bool {
				v := verdict{q: q, list: []*statement{s}, bounds: bounds}
				_, diag := v.evaluate(q.Action, q.context())
				if len(diag.Errors) > 0 {
					t.Fatalf("%s: %v", s.text, diag.Errors)
				}
				return len(diag.Reasons) > 0
			}
			exact, bound := holds(false), holds(true)
			if s.permit && exact && !bound || !s.permit && bound && !exact {
				t.Fatalf("%s\nexact %v, bound %v", s.text, exact, bound)
			}
			if exact != bound {
				met++
			}
		}
	}
	if met < 50 {
		t.Errorf("the bound differed only %d times", met)
	}
}

// TestBriefSchemaAgreesWithFull: checking one action for each type of resource finds what checking all of them finds.
func TestBriefSchemaAgreesWithFull(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(9, 10))}
	refused := 0
	for range rounds(300) {
		list, err := parse("p", []byte(d.policy()))
		if err != nil {
			t.Fatal(err)
		}
		s := list[0]
		if len(s.resourceTypes()) == 0 || s.action {
			continue
		}
		tree := s.tree()
		full, brief := theVocabulary().full.Policy("", tree), theVocabulary().brief.Policy("", s.briefly(tree))
		if (full == nil) != (brief == nil) {
			t.Fatalf("%s\nfull: %v\nbrief: %v", s.text, full, brief)
		}
		if full != nil {
			refused++
		}
	}
	if refused < 20 {
		t.Errorf("only %d were refused", refused)
	}
}
