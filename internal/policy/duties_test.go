package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// TestSeparationOfDuties: who may manage a key, by whatever grant, may not use it.
func TestSeparationOfDuties(t *testing.T) {
	use := `permit (principal == Principal::"p", action in Action::"UseKey", resource);`
	for name, c := range map[string]struct {
		roles    []kms.Role
		policies []string
		want     kms.Code
		by       string // the manage permit that the decision names
	}{
		"a user":                         {[]kms.Role{kms.RoleUser}, nil, 0, ""},
		"user and administrator":         {[]kms.Role{kms.RoleUser, kms.RoleAdmin}, nil, kms.CodeDuties, "keyhold:role/admin"},
		"administrator with a use grant": {[]kms.Role{kms.RoleAdmin}, []string{use}, kms.CodeDuties, "keyhold:role/admin"},
		"administrator alone":            {[]kms.Role{kms.RoleAdmin}, nil, kms.CodeDenied, ""},
		"manage by policy":               {nil, []string{use, `permit (principal == Principal::"p", action in Action::"ManageKey", resource);`}, kms.CodeDuties, "pb"},
		"one manage action by policy":    {nil, []string{use, `permit (principal, action == Action::"RotateKey", resource in Folder::"payroll");`}, kms.CodeDuties, "pb"},
		"everything by policy":           {nil, []string{`permit (principal, action, resource);`}, kms.CodeDuties, "pa"},
		"manage other keys":              {nil, []string{use, `permit (principal, action == Action::"RotateKey", resource in Folder::"web");`}, 0, ""},
		"manage as somebody else":        {nil, []string{use, `permit (principal == Principal::"q", action in Action::"ManageKey", resource);`}, 0, ""},
		"manage by label it has":         {nil, []string{use, `permit (principal, action == Action::"DisableKey", resource) when { resource.hasTag("env") && resource.getTag("env") == "prod" };`}, kms.CodeDuties, "pb"},
		"manage by label it has not":     {nil, []string{use, `permit (principal, action == Action::"DisableKey", resource) when { resource.hasTag("env") && resource.getTag("env") == "dev" };`}, 0, ""},
		"manage from elsewhere":          {nil, []string{use, `permit (principal, action == Action::"DisableKey", resource) when { context has source_ip && context.source_ip.isInRange(ip("192.0.2.0/24")) };`}, kms.CodeDuties, "pb"},
		"manage at another hour":         {nil, []string{use, `permit (principal, action in Action::"ManageKey", resource) unless { context.now < datetime("2030-01-01") };`}, kms.CodeDuties, "pb"},
		"manage elsewhere, others":       {nil, []string{use, `permit (principal, action == Action::"DisableKey", resource) when { principal in Group::"g" && context has source_ip };`}, 0, ""},
		"manage, but forbidden":          {nil, []string{use, `permit (principal, action in Action::"ManageKey", resource);`, `forbid (principal == Principal::"p", action in Action::"ManageKey", resource);`}, 0, ""},
		"manage, one left":               {nil, []string{use, `permit (principal, action in Action::"ManageKey", resource);`, `forbid (principal, action in Action::"ManageKey", resource) unless { action == Action::"ResumeKey" };`}, kms.CodeDuties, "pb"},
		"manage, forbidden at times":     {nil, []string{use, `permit (principal, action in Action::"ManageKey", resource);`, `forbid (principal, action in Action::"ManageKey", resource) when { context.now < datetime("2030-01-01") };`}, kms.CodeDuties, "pb"},
		"manage by the action's name":    {nil, []string{use, `permit (principal, action, resource) when { action == Action::"RotateKey" };`}, kms.CodeDuties, "pb"},
		"reading is not managing":        {nil, []string{use, `permit (principal, action in Action::"Read", resource);`}, 0, ""},
	} {
		p := principal("default", "p", c.roles...)
		q := ask(p, kms.Encrypt, key("default", "payroll/7", "env", "prod"))
		q.Remote = netip.MustParseAddr("10.0.0.1")
		rules := mustCompile(t, "default", apart, c.policies...)
		d := rules.Decide(q)
		if d.Code != c.want || d.Allowed != (c.want == 0) || len(d.Errors) > 0 {
			t.Errorf("%s: got %+v, want %v", name, d, c.want)
		}
		if c.by != "" && !slices.Equal(d.Policies, []string{ruleDuties, c.by}) {
			t.Errorf("%s: got policies %v, want %s and %s", name, d.Policies, ruleDuties, c.by)
		}
		if e := rules.Explain(q); c.by != "" && (len(e.Manages) != 1 || e.Manages[0].Policy != c.by || len(e.Needs) != 1 || !strings.Contains(e.Needs[0], c.by)) {
			t.Errorf("%s: got %+v, want an explanation that names %s", name, e, c.by)
		}
		// Off, it stands in nobody's way.
		off := mustCompile(t, "default", together, c.policies...).Decide(q)
		if off.Allowed != (c.want != kms.CodeDenied) {
			t.Errorf("%s, duties together: got %+v", name, off)
		}
	}
}

// TestSeparationOfDutiesHoldsForEveryUse and for nothing else.
func TestSeparationOfDutiesHoldsForEveryUse(t *testing.T) {
	rules := mustCompile(t, "default", apart)
	p := principal("default", "p", kms.RoleUser, kms.RoleAdmin, kms.RoleAuditor)
	for _, a := range kms.AllActions() {
		want := kms.Code(0)
		switch {
		case a.Group() == kms.UseGroup && a.OnKey():
			want = kms.CodeDuties
		case a.Group() == kms.OperatorGroup || a.Group() == kms.ExceptionGroup || a == kms.CreateNamespace:
			want = kms.CodeDenied
		}
		if d := rules.Decide(ask(p, a, resourceFor(a, "default"))); d.Code != want {
			t.Errorf("%s: got %+v, want %v", a, d, want)
		}
	}
}

// TestSeparationOfDutiesDoesNotDependOnTheMoment: the verdict on a principal and key is the same at any time, from anywhere.
func TestSeparationOfDutiesDoesNotDependOnTheMoment(t *testing.T) {
	rules := mustCompile(t, "default", apart,
		`permit (principal == Principal::"p", action in Action::"UseKey", resource);`,
		`permit (principal == Principal::"p", action in Action::"ManageKey", resource) when { context.now > datetime("2026-06-15T18:00:00Z") && context.dialect == "native" };`)
	for _, at := range []time.Time{noon, noon.Add(12 * time.Hour)} {
		for _, dialect := range kms.AllDialects() {
			q := ask(principal("default", "p"), kms.Decrypt, key("default", "k"))
			q.Now, q.Dialect = at, dialect
			if d := rules.Decide(q); d.Code != kms.CodeDuties || !d.Cacheable {
				t.Errorf("%v by %s: got %+v, want CodeDuties, cacheable", at, dialect, d)
			}
		}
	}
}

// TestSeparationOfDutiesFailsClosed: an error among the policies to manage is a denial as well.
func TestSeparationOfDutiesFailsClosed(t *testing.T) {
	for _, bad := range []string{
		`permit (principal, action in Action::"ManageKey", resource) when { resource.getTag("none") == "x" };`,
		`permit (principal, action in Action::"ManageKey", resource) when { action == Action::"RotateKey" && resource.getTag("none") == "x" };`,
	} {
		rules := mustCompileList(t, "default", apart, unchecked(t, "bad", bad))
		if d := rules.Decide(ask(principal("default", "u", kms.RoleUser), kms.Encrypt, key("default", "k"))); d.Allowed || len(d.Errors) == 0 || !slices.Equal(d.Policies, []string{"bad"}) {
			t.Errorf("%s: got %+v, want denied by the error of bad", bad, d)
		}
	}
}

// TestSeparationOfDutiesSurvivesContrivedConditions: a test of the context that is always false stands before the one that
// guards a tag; without the context, the guard would be lost, and the evaluation would fail.
func TestSeparationOfDutiesSurvivesContrivedConditions(t *testing.T) {
	contrived := `(principal, action in Action::"ManageKey", resource) when { (!(context has now) || resource.hasTag("a")) && resource.getTag("a") == "x" };`
	for effect, want := range map[string]kms.Code{
		"permit ": kms.CodeDuties, // it might permit: counted as if it did
		"forbid ": 0,              // it might not forbid; nothing permits
	} {
		rules := mustCompile(t, "default", apart, effect+contrived)
		if d := rules.Decide(ask(principal("default", "u", kms.RoleUser), kms.Encrypt, key("default", "k"))); d.Code != want || len(d.Errors) > 0 {
			t.Errorf("%s: got %+v, want %v without errors", effect, d, want)
		}
	}
}
