package kms_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

func TestEveryActionHasANameAndAGroup(t *testing.T) {
	names, groups := map[string]bool{}, map[string]bool{}
	form := regexp.MustCompile(`^[A-Z][A-Za-z]+$`)
	for _, a := range kms.AllActions() {
		if name := a.String(); !form.MatchString(name) || names[name] || name == "UnknownAction" {
			t.Errorf("action %d: name %q, seen before: %v", a, name, names[name])
		}
		names[a.String()] = true
		if g := a.Group(); g == 0 || g.String() == "UnknownGroup" {
			t.Errorf("%s has no group", a)
		}
		if got, err := kms.ParseAction(a.String()); err != nil || got != a {
			t.Errorf("%s: read back as %s, %v", a, got, err)
		}
		if a.Group() == kms.ManageGroup && !a.OnKey() {
			t.Errorf("%s manages the life of a key but does not act on one", a)
		}
		groups[a.Group().String()] = true
	}
	if len(names) != kms.ActionCount-1 || len(groups) != len(kms.AllGroups()) {
		t.Errorf("%d actions and %d groups in use, want %d and %d", len(names), len(groups), kms.ActionCount-1, len(kms.AllGroups()))
	}
	for _, a := range []kms.Action{0, kms.Action(kms.ActionCount), 255} {
		if a.String() != "UnknownAction" || a.Group() != 0 || a.OnKey() {
			t.Errorf("action %d exists", a)
		}
	}
	for _, bad := range []string{"", "encrypt", "UnknownAction", "Encrypt "} {
		if _, err := kms.ParseAction(bad); kms.CodeOf(err) != kms.CodeBadRequest {
			t.Errorf("%q: got %v want %s", bad, err, kms.CodeBadRequest)
		}
	}
}

// TestEveryErrorSaysWhatAndWhatNext: title, advice, kind by the hundreds digit, and unique words.
func TestEveryErrorSaysWhatAndWhatNext(t *testing.T) {
	titles, kinds := map[string]kms.Code{}, map[kms.Kind]bool{}
	for _, c := range kms.AllCodes() {
		if c.Title() == "" || c.Next() == "" || strings.TrimSpace(c.Title()) != c.Title() || strings.HasSuffix(c.Next(), ".") {
			t.Errorf("%s: title %q, next %q", c, c.Title(), c.Next())
		}
		if other, twice := titles[c.Title()]; twice {
			t.Errorf("%s and %s have the same title %q", c, other, c.Title())
		}
		titles[c.Title()] = c
		// 1000 invalid, 1100 unauthenticated, … 1900 unavailable, 2000 internal.
		if want := kms.Kind(c/100 - 9); c.Kind() != want { //nolint:gosec // G115: 1 to 11
			t.Errorf("%s: kind got %s want %s", c, c.Kind(), want)
		}
		kinds[c.Kind()] = true
		if got := c.String(); len(got) != 6 || got != fmt.Sprintf("KH%d", uint16(c)) {
			t.Errorf("code %d is written %s", uint16(c), got)
		}
	}
	names := map[string]bool{}
	for _, k := range kms.AllKinds() {
		if !kinds[k] || names[k.String()] || k.String() == "unknown-kind" {
			t.Errorf("kind %s: used %v, name taken %v", k, kinds[k], names[k.String()])
		}
		names[k.String()] = true
	}
	for _, c := range []kms.Code{0, 999, 1000, 1999, 2002, 65535} {
		if c.Kind() != kms.KindInternal || c.Title() != "" {
			t.Errorf("code %d exists", uint16(c))
		}
	}
}

func TestAnErrorHidesItsCause(t *testing.T) {
	cause := errors.New("inside")
	err := fmt.Errorf("outer: %w", kms.Errorf(kms.CodeBusy, "%d wait", 3).Because(cause))
	if kms.CodeOf(err) != kms.CodeBusy || !errors.Is(err, cause) || !errors.Is(err, kms.Errorf(kms.CodeBusy, "")) {
		t.Errorf("got %v", err)
	}
	if errors.Is(err, kms.Errorf(kms.CodeSealed, "")) {
		t.Error("another code matches")
	}
	if text := kms.AsError(err).Error(); text != "KH1802 busy: 3 wait" {
		t.Errorf("got %q", text)
	}
	foreign := kms.AsError(errors.New("dial tcp 10.0.0.7: secret"))
	if foreign.Code != kms.CodeInternal || strings.Contains(foreign.Error(), "10.0.0.7") || errors.Unwrap(foreign) == nil {
		t.Errorf("a foreign error: got %v", foreign)
	}
	if kms.AsError(nil) != nil || kms.CodeOf(nil) != 0 {
		t.Error("no error became one")
	}
	e := kms.Errorf(kms.CodeBusy, "")
	if e.Advice() != kms.CodeBusy.Next() {
		t.Errorf("advice got %q", e.Advice())
	}
	if e.Next = "wait"; e.Advice() != "wait" || e.Kind() != kms.KindLimited {
		t.Errorf("advice got %q, kind %s", e.Advice(), e.Kind())
	}
}

func TestStatesAndSwitchesHaveTheirWords(t *testing.T) {
	want := []string{"pre-active", "active", "suspended", "deactivated", "archived", "compromised", "destroyed", "destroyed-compromised"}
	for i, s := range kms.AllStates() {
		if s.String() != want[i] || int(s) != i+1 {
			t.Errorf("state %d: got %s want %s", i+1, s, want[i])
		}
		for _, other := range kms.AllStates() {
			if got := kms.In(s).Has(other); got != (s == other) {
				t.Errorf("the set of %s has %s: %v", s, other, got)
			}
		}
	}
	if len(kms.AllStates()) != len(want) || kms.In().Has(kms.Active) || !kms.In(kms.Active, kms.Destroyed).Has(kms.Destroyed) {
		t.Error("sets of states are not what they say")
	}
	for _, s := range kms.AllSwitches() {
		if got, ok := kms.ParseSwitch(s.String()); !ok || got != s {
			t.Errorf("%s: got %s, %v", s, got, ok)
		}
	}
	for _, bad := range []string{"", "Enabled", "unknown-switch"} {
		if _, ok := kms.ParseSwitch(bad); ok {
			t.Errorf("%q is a switch", bad)
		}
	}
	if kms.State(0).String() != "unknown-state" || kms.State(9).String() != "unknown-state" || kms.Switch(7).String() != "unknown-switch" {
		t.Error("what does not exist has a name")
	}
}

func TestIDsSortByTimeAndAreUUIDv7(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	var last string
	for i := range 100 {
		id := kms.NewID(time.UnixMilli(1_900_000_000_000+int64(i)), [10]byte{byte(255 - i), 0xff, 0xff, 0xff})
		s := id.String()
		if !form.MatchString(s) || s <= last {
			t.Errorf("got %s after %s", s, last)
		}
		last = s
		if back, ok := kms.ParseID(strings.ToUpper(s)); !ok || back != id || id.IsZero() {
			t.Errorf("%s read back as %s", s, back)
		}
		text, err := id.MarshalText()
		var again kms.ID
		if err != nil || again.UnmarshalText(text) != nil || again != id {
			t.Errorf("%s through text: %s, %v", s, again, err)
		}
	}
	var id kms.ID
	if err := id.UnmarshalText([]byte("no")); kms.CodeOf(err) != kms.CodeBadRequest || !id.IsZero() {
		t.Errorf("got %s, %v", id, err)
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("n", 255)
	for _, good := range []string{"a", "0", "orders/2031.eu_west-1", "A..b", "a/", "aliased", long} {
		if err := kms.CheckName(good); err != nil {
			t.Errorf("%.20q: %v", good, err)
		}
	}
	for _, bad := range []string{"", " ", "-a", ".a", "/a", "_a", "a b", "a\n", "a\x00", "ä", "a:b", long + "n", "alias/a",
		"0192f000-0000-7000-8000-00000000002a", "0192F000-0000-7000-8000-00000000002A"} {
		if err := kms.CheckName(bad); kms.CodeOf(err) != kms.CodeBadName {
			t.Errorf("%.20q: got %v want %s", bad, err, kms.CodeBadName)
		}
	}
	for _, good := range []string{"default", "0", "a-", "a--b", strings.Repeat("n", 63)} {
		if got, err := kms.ParseNamespace(good); err != nil || string(got) != good {
			t.Errorf("namespace %q: got %s, %v", good, got, err)
		}
	}
	for _, bad := range []string{"", "-a", "A", "a.b", "a_b", "a/b", "ä", strings.Repeat("n", 64)} {
		if _, err := kms.ParseNamespace(bad); kms.CodeOf(err) != kms.CodeBadName {
			t.Errorf("namespace %q: got %v want %s", bad, err, kms.CodeBadName)
		}
	}
}

func TestReferencesHaveOneMeaning(t *testing.T) {
	id := kms.NewID(time.UnixMilli(1_900_000_000_000), [10]byte{1})
	if form, got, _, err := kms.RefTo(id).Parse(); form != kms.ByID || got != id || err != nil {
		t.Errorf("by id: %v %s %v", form, got, err)
	}
	if form, _, name, err := kms.Ref("alias/orders/eu").Parse(); form != kms.ByAlias || name != "orders/eu" || err != nil {
		t.Errorf("by alias: %v %q %v", form, name, err)
	}
	if form, _, name, err := kms.Ref("orders/eu").Parse(); form != kms.ByName || name != "orders/eu" || err != nil {
		t.Errorf("by name: %v %q %v", form, name, err)
	}
	for ref, want := range map[kms.Ref]kms.Code{"": kms.CodeBadRequest, "alias/": kms.CodeBadName, "alias/alias/a": kms.CodeBadName,
		"a b": kms.CodeBadName, kms.Ref(strings.Repeat("r", 513)): kms.CodeBadName, "alias/0192f000-0000-7000-8000-00000000002a": kms.CodeBadName} {
		if _, _, _, err := ref.Parse(); kms.CodeOf(err) != want {
			t.Errorf("%.40q: got %v want %s", ref, err, want)
		}
	}
}

func TestLabelsAndContextsAreBounded(t *testing.T) {
	many := map[string]string{}
	for i := range 65 {
		many[fmt.Sprint(i)] = "v"
	}
	big := strings.Repeat("x", 8193)
	for i, c := range []struct {
		err  error
		want kms.Code
	}{
		{kms.CheckLabels(nil), 0}, {kms.CheckLabels(map[string]string{strings.Repeat("k", 128): strings.Repeat("v", 256)}), 0},
		{kms.CheckLabels(many), kms.CodeTooLarge}, {kms.CheckLabels(map[string]string{"": "v"}), kms.CodeBadRequest},
		{kms.CheckLabels(map[string]string{big[:129]: "v"}), kms.CodeBadRequest}, {kms.CheckLabels(map[string]string{"k": big[:257]}), kms.CodeBadRequest},
		{kms.Context(nil).Check(), 0}, {kms.Context{"k": big[:8191]}.Check(), 0}, {kms.Context{"k": ""}.Check(), 0},
		{kms.Context(many).Check(), kms.CodeTooLarge}, {kms.Context{"k": big[:8192]}.Check(), kms.CodeTooLarge}, {kms.Context{"": "v"}.Check(), kms.CodeBadRequest},
	} {
		if kms.CodeOf(c.err) != c.want {
			t.Errorf("case %d: got %v want %s", i, c.err, c.want)
		}
	}
}

// TestWordsOutsideTheListsDoNotPanic: a damaged record may hold any number.
func TestWordsOutsideTheListsDoNotPanic(t *testing.T) {
	for i := range 256 {
		b := byte(i) //nolint:gosec // G115: below 256
		for _, s := range []fmt.Stringer{kms.Kind(b), kms.State(b), kms.Switch(b), kms.Usage(b), kms.Origin(b), kms.Algorithm(b),
			kms.Scheme(b), kms.Profile(b), kms.Action(b), kms.Group(b), kms.Dialect(b), kms.AuthMethod(b)} {
			if s.String() == "" {
				t.Errorf("%T(%d) has no words", s, b)
			}
		}
	}
	seen := map[string]bool{}
	for _, d := range kms.AllDialects() {
		if seen[d.String()] {
			t.Errorf("two dialects are called %s", d)
		}
		seen[d.String()] = true
	}
	p := kms.Principal{Roles: []kms.Role{kms.RoleUser}}
	for _, r := range kms.AllRoles() {
		if p.Has(r) != (r == kms.RoleUser) {
			t.Errorf("a user has %s: %v", r, p.Has(r))
		}
	}
}

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"", "orders", "alias/orders", "0192f000-0000-7000-8000-00000000002a", "alias/", "-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		form, id, name, err := kms.Ref(s).Parse()
		if err != nil {
			if c := kms.CodeOf(err); c != kms.CodeBadRequest && c != kms.CodeBadName || len(err.Error()) > 600 {
				t.Fatalf("%q: %d bytes of %v", s, len(err.Error()), err)
			}
			return
		}
		var back string
		switch form {
		case kms.ByID:
			back, s = id.String(), strings.ToLower(s)
		case kms.ByAlias:
			back = "alias/" + name
		case kms.ByName:
			back = name
		}
		if back != s || form != kms.ByID && kms.CheckName(name) != nil {
			t.Fatalf("%q was read as form %d, %q", s, form, back)
		}
	})
}

func FuzzParseWords(f *testing.F) {
	for _, s := range []string{"", "default", "aes-256-gcm", "Encrypt", "rsa-pss-sha-256", "0192f000-0000-7000-8000-00000000002a", "enabled", "mac"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := kms.ParseAlgorithm(s); err == nil && a.String() != s {
			t.Fatalf("algorithm %q is %s", s, a)
		}
		if c, err := kms.ParseScheme(s); err == nil && s != "" && c.String() != s {
			t.Fatalf("scheme %q is %s", s, c)
		}
		if a, err := kms.ParseAction(s); err == nil && a.String() != s {
			t.Fatalf("action %q is %s", s, a)
		}
		if u, err := kms.ParseUsage(s); err == nil && s != "" && u.String() != s {
			t.Fatalf("usage %q is %s", s, u)
		}
		if sw, ok := kms.ParseSwitch(s); ok && sw.String() != s {
			t.Fatalf("switch %q is %s", s, sw)
		}
		if n, err := kms.ParseNamespace(s); err == nil && string(n) != s {
			t.Fatalf("namespace %q is %s", s, n)
		}
		if id, ok := kms.ParseID(s); ok && !strings.EqualFold(id.String(), s) {
			t.Fatalf("id %q is %s", s, id)
		}
	})
}
