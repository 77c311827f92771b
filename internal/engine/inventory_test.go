package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// inventory reads all pages of a size.
func (w *world) inventory(c kms.Call, f engine.InventoryFilter, limit int) (rows []engine.InventoryRow) {
	w.t.Helper()
	for page := ""; ; {
		out, err := w.e.ReadInventory(w.t.Context(), c, engine.InventoryInput{Filter: f, Page: page, Limit: limit})
		if err != nil {
			w.t.Fatal(err)
		}
		if limit > 0 && len(out.Rows) > limit {
			w.t.Fatalf("a page of %d has %d keys", limit, len(out.Rows))
		}
		rows = append(rows, out.Rows...)
		if page = out.Next; page == "" {
			return rows
		}
	}
}

func namesOf(rows []engine.InventoryRow) string {
	var all []string
	for i := range rows {
		all = append(all, rows[i].Key.Name)
	}
	return strings.Join(all, " ")
}

func (w *world) putPolicy(id, text string) {
	w.t.Helper()
	if _, err := w.e.PutPolicy(w.t.Context(), admin, engine.PutPolicyInput{ID: id, Text: text}); err != nil {
		w.t.Fatal(err)
	}
}

// TestTheInventoryAnswersForEveryKey: what it protects, who may use and manage it, how it is rotated, when it was used last, and what is unknown.
func TestTheInventoryAnswersForEveryKey(t *testing.T) { // INT-5
	w := newWorld(t)
	w.holder("svc/orders", kms.RoleUser)
	w.holder("svc/orders", kms.RoleUser) // twice: named once
	w.bearer("spiffe://a.example/build", "svc/build")
	w.holder("alice", kms.RoleAdmin)
	w.holder("auditor", kms.RoleAuditor)
	w.putPolicy("build", `permit (principal == Principal::"svc/build", action in Action::"UseKey", resource in Folder::"build") when { context.now.toTime() < duration("1h") };`)

	said, err := w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: "build/a", Algorithm: kms.AES256GCM, Class: "confidential",
		Labels: map[string]string{"owner": "ops", "purpose": "builds"}, Period: &kms.Period{Every: 86400, Operations: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	w.create("b", kms.Ed25519, 0)
	w.encrypt("build/a", "x", nil)
	w.register("build/a", "dk")
	used := w.now
	w.usage("b") // brings the ledger up to date

	rows := w.inventory(admin, engine.InventoryFilter{}, 1)
	if got, want := namesOf(rows), "build/a b"; got != want {
		t.Fatalf("got %s want %s", got, want)
	}
	a, b := rows[0], rows[1]
	if a.Key.Class != "confidential" || a.State != kms.Active || len(a.Versions) != 1 || a.Versions[0].Number != 1 || a.Versions[0].History != nil {
		t.Errorf("got %+v", a)
	}
	if want := (engine.KeyRotation{How: engine.RotatesByBoth, Last: said.Key.Rotated, Next: said.Key.RotateAt}); a.Rotation != want && !a.Rotation.Last.Equal(said.Key.Created) {
		t.Errorf("rotation: got %+v want %+v", a.Rotation, want)
	}
	if !a.Use.Last.Equal(used) || a.Use.Done == 0 || a.DataKeys != 1 {
		t.Errorf("got use %+v and %d data keys", a.Use, a.DataKeys)
	}
	if len(a.Unknown) != 0 {
		t.Errorf("got unknown %v of a key of which all is said", a.Unknown)
	}
	if got, want := strings.Join(a.Access.Users, " "), "svc/build svc/orders"; got != want || a.Access.UserCount != 2 {
		t.Errorf("got users %s want %s", got, want)
	}
	if got := strings.Join(b.Access.Users, " "); got != "svc/orders" {
		t.Errorf("of b: got users %s", got)
	}
	if got := strings.Join(b.Access.Managers, " "); got != "alice" {
		t.Errorf("of b: got managers %s", got)
	}
	if got, want := strings.Join(b.Unknown, " "), "class owner purpose rotation"; got != want || !b.Use.Last.IsZero() || b.Rotation.How != engine.RotatesByHand {
		t.Errorf("of b: got unknown %s want %s; %+v", got, want, b)
	}
}

// TestWhoMayIsShownToThoseWhoMayKnow: a reader of keys sees the inventory without the names; policies decide who may describe which key.
func TestWhoMayIsShownToThoseWhoMayKnow(t *testing.T) {
	w := newWorld(t)
	w.create("open/a", kms.AES256GCM, 0)
	w.create("hidden/b", kms.AES256GCM, 0)
	w.putPolicy("hide", `forbid (principal == Principal::"svc/orders", action == Action::"DescribeKey", resource in Folder::"hidden");`)
	for _, c := range []struct {
		who    kms.Call
		keys   string
		access bool
	}{{admin, "open/a hidden/b", true}, {as("auditor", kms.RoleAuditor), "open/a hidden/b", true}, {user, "open/a", false}} {
		out, err := w.e.ReadInventory(t.Context(), c.who, engine.InventoryInput{})
		if err != nil || out.Access != c.access || namesOf(out.Rows) != c.keys {
			t.Errorf("%s: got %s, access %t, %v; want %s, %t", c.who.Principal.Name, namesOf(out.Rows), out.Access, err, c.keys, c.access)
		}
		if len(out.Rows) > 0 && !c.access && (out.Rows[0].Access.UserCount != 0 || out.Rows[0].Access.Users != nil) {
			t.Errorf("%s sees %+v", c.who.Principal.Name, out.Rows[0].Access)
		}
	}
	_, err := w.e.ReadInventory(t.Context(), as("nobody"), engine.InventoryInput{})
	wantCode(t, err, kms.CodeDenied)
}

// TestARevokedPrincipalMayNothingAnyMore: who may use a key follows changes of credentials, policies and keys at once, and their expiry within a minute.
func TestARevokedPrincipalMayNothingAnyMore(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	users := func() string {
		w.t.Helper()
		return strings.Join(w.inventory(admin, engine.InventoryFilter{}, 0)[0].Access.Users, " ")
	}
	want := func(when, want string) {
		t.Helper()
		if got := users(); got != want {
			t.Errorf("%s: got %q want %q", when, got, want)
		}
	}
	want("at first", "")
	w.holder("svc/a", kms.RoleUser)
	want("with a token", "svc/a")
	w.bearer("spiffe://x.example/b", "svc/b", kms.RoleUser)
	want("with a certificate", "svc/a svc/b")
	if _, err := w.e.RevokeCredential(t.Context(), admin, engine.SubjectInput{Subject: "spiffe://x.example/b"}); err != nil {
		t.Fatal(err)
	}
	want("revoked", "svc/a")
	w.putPolicy("no", `forbid (principal == Principal::"svc/a", action in Action::"UseKey", resource) when { resource.hasTag("env") && resource.getTag("env") == "prod" };`)
	want("forbidden by label", "svc/a")
	if _, err := w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: "k", SetLabels: map[string]string{"env": "prod"}}); err != nil {
		t.Fatal(err)
	}
	want("labelled", "")
	if _, err := w.e.DeletePolicy(t.Context(), admin, engine.PolicyInput{ID: "no"}); err != nil {
		t.Fatal(err)
	}
	want("permitted again", "svc/a")
	w.putPolicy("duties", `permit (principal == Principal::"svc/a", action == Action::"RotateKey", resource);`)
	want("who manages does not use", "")
	if got := w.inventory(admin, engine.InventoryFilter{}, 0)[0].Access.Managers; !slices.Contains(got, "svc/a") {
		t.Errorf("got managers %v", got)
	}
	if _, err := w.e.DeletePolicy(t.Context(), admin, engine.PolicyInput{ID: "duties"}); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(31 * day)
	want("expired", "")
}

// TestFiltersSelectWhatTheySay ranges over every filter, alone and with pages of every size.
func TestFiltersSelectWhatTheySay(t *testing.T) {
	w := newWorld(t)
	make := func(in engine.CreateKeyInput) {
		t.Helper()
		if in.Algorithm == 0 {
			in.Algorithm = kms.AES256GCM
		}
		if _, err := w.e.CreateKey(t.Context(), admin, in); err != nil {
			t.Fatal(err)
		}
	}
	w.putTemplate(engine.TemplateInfo{Name: "t", Algorithm: kms.AES256GCM})
	make(engine.CreateKeyInput{Name: "old"})
	w.usage("old")
	w.now = w.now.Add(100 * day)
	make(engine.CreateKeyInput{Name: "p/class", Class: "secret", Labels: map[string]string{"owner": "ops"}})
	make(engine.CreateKeyInput{Name: "p/sign", Algorithm: kms.Ed25519})
	make(engine.CreateKeyInput{Name: "off"})
	make(engine.CreateKeyInput{Name: "late", Period: &kms.Period{Every: 86400}})
	make(engine.CreateKeyInput{Name: "made", Template: "t", Description: "said"})
	make(engine.CreateKeyInput{Name: "waits", Import: true})
	make(engine.CreateKeyInput{Name: "dead"})
	if _, err := w.e.DisableKey(t.Context(), admin, engine.KeyInput{Key: "off"}); err != nil {
		t.Fatal(err)
	}
	w.mustRotate("dead", engine.Dates{})
	w.now = w.now.Add(30 * day)
	w.encrypt("made", "x", nil)
	w.usage("made")

	all := "old p/class p/sign off late made waits dead"
	for _, c := range []struct {
		name   string
		filter engine.InventoryFilter
		want   string
	}{
		{"none", engine.InventoryFilter{}, all},
		{"prefix", engine.InventoryFilter{KeyFilter: engine.KeyFilter{NamePrefix: "p/"}}, "p/class p/sign"},
		{"algorithm", engine.InventoryFilter{KeyFilter: engine.KeyFilter{Algorithm: kms.Ed25519}}, "p/sign"},
		{"usage", engine.InventoryFilter{KeyFilter: engine.KeyFilter{Usage: kms.SignVerify}}, "p/sign"},
		{"state", engine.InventoryFilter{KeyFilter: engine.KeyFilter{Switch: kms.Disabled}}, "off"},
		{"label", engine.InventoryFilter{KeyFilter: engine.KeyFilter{Labels: map[string]string{"owner": "ops"}}}, "p/class"},
		{"origin", engine.InventoryFilter{Origin: kms.Imported}, "waits"},
		{"class", engine.InventoryFilter{Class: "secret"}, "p/class"},
		{"template", engine.InventoryFilter{Template: "t"}, "made"},
		{"overdue", engine.InventoryFilter{Overdue: true}, "late"},
		{"state of the version", engine.InventoryFilter{State: kms.Active}, "old p/class p/sign off late made dead"},
		{"unused", engine.InventoryFilter{UnusedSince: w.now.Add(-day)}, "old p/class p/sign off late waits dead"},
		{"unused, and old", engine.InventoryFilter{UnusedSince: w.now.Add(-31 * day)}, "old"},
		{"unknown class", engine.InventoryFilter{Unknown: []string{"class"}}, "old p/sign off late made waits dead"},
		{"unknown purpose and rotation", engine.InventoryFilter{Unknown: []string{"purpose", "rotation"}}, "old p/class p/sign off waits dead"},
		{"unknown use", engine.InventoryFilter{Unknown: []string{"use"}}, ""},
		{"unknown access", engine.InventoryFilter{Unknown: []string{"access"}}, ""},
		{"several", engine.InventoryFilter{KeyFilter: engine.KeyFilter{NamePrefix: "p/", Algorithm: kms.AES256GCM}, Class: "secret"}, "p/class"},
		{"nothing", engine.InventoryFilter{Class: "none"}, ""},
	} {
		for _, limit := range []int{1, 3, 0} {
			if got := namesOf(w.inventory(admin, c.filter, limit)); got != c.want {
				t.Errorf("%s, pages of %d: got %q want %q", c.name, limit, got, c.want)
			}
		}
		sum := w.summary(c.filter)
		if want := len(strings.Fields(c.want)); sum.Keys != want {
			t.Errorf("%s: the summary counts %d, want %d", c.name, sum.Keys, want)
		}
	}
	sum := w.summary(engine.InventoryFilter{})
	if got, want := fmt.Sprint(sum.Class, sum.Switch, sum.Overdue, sum.NeverUsed, sum.Rotation), "map[:7 secret:1] map[disabled:1 enabled:6 pending-import:1] 1 7 map[manual:7 schedule:1]"; got != want {
		t.Errorf("got %s want %s", got, want)
	}
	if got, want := fmt.Sprint(sum.Unknown), "map[class:7 owner:7 purpose:7 rotation:7]"; got != want {
		t.Errorf("got %s want %s", got, want)
	}
}

func (w *world) summary(f engine.InventoryFilter) engine.InventorySummaryOutput {
	w.t.Helper()
	out, err := w.e.SummarizeInventory(w.t.Context(), admin, engine.InventorySummaryInput{Filter: f})
	if err != nil || out.Next != "" {
		w.t.Fatalf("%+v %v", out, err)
	}
	return out
}

// TestABadQuestionToTheInventoryIsRefused, clearly and on the record.
func TestABadQuestionToTheInventoryIsRefused(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name string
		in   engine.InventoryInput
		code kms.Code
	}{
		{"a page too large", engine.InventoryInput{Limit: 1001}, kms.CodeTooLarge},
		{"a page below zero", engine.InventoryInput{Limit: -1}, kms.CodeTooLarge},
		{"another's token", engine.InventoryInput{Page: "AAAA"}, kms.CodeBadToken},
		{"an unknown unknown", engine.InventoryInput{Filter: engine.InventoryFilter{Unknown: []string{"future"}}}, kms.CodeBadRequest},
		{"too many labels", engine.InventoryInput{Filter: engine.InventoryFilter{KeyFilter: engine.KeyFilter{Labels: func() map[string]string {
			m := map[string]string{}
			for i := range 65 {
				m[fmt.Sprint(i)] = ""
			}
			return m
		}()}}}, kms.CodeTooLarge},
		{"a long prefix", engine.InventoryInput{Filter: engine.InventoryFilter{KeyFilter: engine.KeyFilter{NamePrefix: strings.Repeat("a", 256)}}}, kms.CodeTooLarge},
	} {
		_, err := w.e.ReadInventory(t.Context(), admin, c.in)
		if kms.CodeOf(err) != c.code {
			t.Errorf("%s: got %v want %s", c.name, err, c.code)
		}
	}
	if got := w.records(audit.Filter{Action: kms.ReadInventory}); len(got) != 6 {
		t.Errorf("got %d records want 6", len(got))
	}
}

// TestUseBeforeTheLedgerIsUnknown: what was done before the ledger began is not taken for nothing.
func TestUseBeforeTheLedgerIsUnknown(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	w.create("other", kms.AES256GCM, 0)
	// Nothing has been counted yet.
	if got := w.inventory(admin, engine.InventoryFilter{Unknown: []string{"use"}}, 0); len(got) != 2 || !slices.Contains(got[0].Unknown, "use") {
		t.Errorf("got %+v", got)
	}
	w.encrypt("other", "x", nil)
	w.usage("k")
	if got := w.inventory(admin, engine.InventoryFilter{}, 0); slices.Contains(got[0].Unknown, "use") || !got[0].Use.Last.IsZero() {
		t.Errorf("got %+v", got)
	}
}

// TestTheInventoryOfManyVersions counts the use of versions that are read in pages, and shows the newest 20.
func TestTheInventoryOfManyVersions(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	w.encrypt("k", "x", nil)
	first := w.now
	w.now = w.now.Add(time.Hour)
	for range 25 {
		w.mustRotate("k", engine.Dates{})
	}
	w.usage("k")
	got := w.inventory(admin, engine.InventoryFilter{}, 0)[0]
	if len(got.Versions) != 20 || got.Versions[0].Number != 26 || !got.Use.Last.Equal(first) || got.State != kms.Active {
		t.Errorf("got %d versions from %d, used %s", len(got.Versions), got.Versions[0].Number, got.Use.Last)
	}
}
