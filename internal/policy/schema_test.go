package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema"

	"github.com/keyhold/keyhold/internal/kms"
)

// TestSchemaNamesEveryAction, group and role, each once.
func TestSchemaNamesEveryAction(t *testing.T) {
	var s schema.Schema
	if err := s.UnmarshalCedar([]byte(Schema())); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(r.Actions), len(kms.AllActions())+len(kms.AllGroups()); got != want {
		t.Errorf("got %d actions and groups, want %d: two share a name", got, want)
	}
	for _, a := range kms.AllActions() {
		act, ok := r.Actions[types.NewEntityUID(typeAction, types.String(a.String()))]
		if !ok || act.AppliesTo == nil || !slices.Equal(act.AppliesTo.Resources, []types.EntityType{resourceType(a)}) {
			t.Errorf("%s: got %+v", a, act)
		}
		if !act.Entity.Parents.Contains(types.NewEntityUID(typeAction, types.String(a.Group().String()))) {
			t.Errorf("%s is not in its group %s", a, a.Group())
		}
	}
	for _, role := range kms.AllRoles() {
		if !slices.Contains(r.Enums[typeRole].Values, types.NewEntityUID(typeRole, types.String(role))) {
			t.Errorf("role %s is missing", role)
		}
	}
}

// TestBuiltInRulesAreValid by the same checks as everybody's, and the roles grant what exists.
func TestBuiltInRulesAreValid(t *testing.T) {
	for _, r := range builtinTexts() {
		if _, err := Check("p", []byte(r.text)); err != nil {
			t.Errorf("%s: %v", r.id, err)
		}
		if !strings.HasPrefix(r.id, rulePrefix) {
			t.Errorf("%s can collide with a policy's id", r.id)
		}
	}
	for _, s := range theBuiltins().all {
		if s.context || s.actions.empty() {
			t.Errorf("%s: reads the context (%v) or covers no action", s.id, s.context)
		}
	}
}

// TestEntitiesConformToTheSchema: what Cedar is served is what policies were validated against.
func TestEntitiesConformToTheSchema(t *testing.T) {
	v := theVocabulary()
	p := PreparePrincipal(&kms.Principal{Name: "u", Namespace: kms.SystemNamespace, Roles: append(kms.AllRoles(), "none"), Groups: []string{"g", "g"}, Method: kms.AuthToken})
	for _, res := range []*Resource{
		key("default", "payroll/eu/7", "env", "prod", "", "odd"), PrepareNamespace("default"),
		PrepareMissing("default", "payroll/7"), PrepareMissing("default", "alias/x"), PrepareMissing("default", kms.RefTo(idOf("k"))),
	} {
		for _, a := range kms.AllActions() {
			if a.OnKey() != res.isKey {
				continue
			}
			q := ask(p, a, res)
			q.Context = kms.Context{"k": "v"}
			verd := verdict{q: q}
			for _, e := range []types.Entity{p.entity, res.entity, v.action[a], verd.encryption()} {
				if err := v.full.Entity(e); err != nil {
					t.Errorf("%s: %v", e.UID, err)
				}
			}
			if err := v.full.Request(types.Request{Principal: p.entity.UID, Action: v.uids[a], Resource: res.entity.UID, Context: q.context()}); err != nil {
				t.Errorf("%s: %v", a, err)
			}
		}
	}
	if len(p.keys) != 1+len(kms.AllRoles())+1 {
		t.Errorf("got %v, want itself, four roles and one group", p.keys)
	}
}

// TestMissingKeyIsDecidedByNameAlone: a refusal does not tell which keys exist.
func TestMissingKeyIsDecidedByNameAlone(t *testing.T) {
	rules := mustCompile(t, "default", apart,
		`permit (principal == Principal::"u", action in Action::"UseKey", resource in Folder::"payroll");`,
		`permit (principal == Principal::"u", action in Action::"UseKey", resource) when { resource.hasTag("env") };`)
	p := principal("default", "u")
	for ref, want := range map[kms.Ref]bool{
		"payroll/7":            true,
		"web/1":                false,
		"alias/payroll/7":      false, // an existing alias says nothing about the key's folder either
		kms.RefTo(idOf("any")): false,
	} {
		if d := rules.Decide(ask(p, kms.Encrypt, PrepareMissing("default", ref))); d.Allowed != want || len(d.Errors) > 0 {
			t.Errorf("%s: got %+v, want allowed %v", ref, d, want)
		}
	}
	got, want := rules.Decide(ask(p, kms.Encrypt, PrepareMissing("default", "web/1"))), rules.Decide(ask(p, kms.Encrypt, key("default", "web/1")))
	if got.Code != want.Code || got.Allowed || want.Allowed {
		t.Errorf("missing %+v, existing %+v: the refusals differ", got, want)
	}
}
