package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cedar-policy/cedar-go"
	cast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/policy/iam"
)

// The ids of what belongs to a key, as they stand in decisions and audit records. No policy of a namespace can have such an id.
const (
	keyPolicyID = "key-policy"
	grantPrefix = "grant:"
)

// KeyPolicy is the checked policy of a key: it speaks about that key alone. What it permits is permitted; what it forbids is forbidden
// against everything; and where it does not hand an action on to the account, nothing but itself and grants permits that action on
// that key, beside the built-in guardrails (AWS KMS Developer Guide, "Key policies").
type KeyPolicy struct {
	text        string
	statements  []*statement
	delegations []*statement
}

// Text is what was checked, byte for byte.
func (p *KeyPolicy) Text() string { return p.text }

// DefaultKeyPolicy is the policy of a key that has none: the account's roles and policies decide (AWS KMS Developer Guide, "Default
// key policy").
func DefaultKeyPolicy(account string) string {
	return fmt.Sprintf(`{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::%s:root"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`, account)
}

// CheckKeyPolicy reads a key policy in AWS's language for the namespace whose account it is. It is refused as CodeBadPolicy with every
// finding.
func CheckKeyPolicy(account string, text []byte) (*KeyPolicy, error) {
	compiled, err := compileIAM(keyPolicyID, iam.KeyPolicy, account, text)
	if err != nil {
		return nil, err
	}
	p := &KeyPolicy{text: string(text)}
	for i := range compiled {
		s, err := translated(fmt.Sprintf("%s#%d", keyPolicyID, compiled[i].Number), &compiled[i], types.EntityUID{})
		if err != nil {
			return nil, err
		}
		s.ofKey = true
		if compiled[i].Delegates {
			p.delegations = append(p.delegations, s)
		} else {
			p.statements = append(p.statements, s)
		}
	}
	return p, nil
}

func compileIAM(id string, kind iam.Kind, account string, text []byte) ([]iam.Compiled, error) {
	compiled, err := iam.Compile(kind, account, text)
	var found iam.Findings
	if errors.As(err, &found) {
		all := make(Findings, len(found))
		for i, f := range found {
			all[i] = Finding(f)
		}
		return nil, refused(id, all)
	}
	return compiled, err
}

// translated makes a statement of what was translated.
func translated(id string, c *iam.Compiled, caller types.EntityUID) (*statement, error) {
	p := cast.Permit()
	if !c.Permit {
		p = cast.Forbid()
	}
	switch caller.Type {
	case typePrincipal:
		p = p.PrincipalEq(caller)
	case typeGroup:
		p = p.PrincipalIn(caller)
	}
	if !c.Key.IsZero() {
		p = p.ResourceEq(types.NewEntityUID(typeKey, types.String(c.Key.String())))
	}
	for _, n := range c.When {
		p = p.When(n)
	}
	s := &statement{id: types.PolicyID(id), policy: cedar.NewPolicyFromAST(p), permit: c.Permit, line: c.Line, column: c.Column, text: c.Text}
	s.learn()
	s.actions = maskOf(c.Actions...)
	if err := s.validate(s.tree()); err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "statement %s could not be translated", id).Because(fmt.Errorf("%s: %w", p.MarshalCedar(), err))
	}
	return s, nil
}

// learn reads off the syntax tree what decisions want to know of it. Every attribute is read behind a test of the same attribute, so that a
// bound never loses one without the other.
func (s *statement) learn() {
	tree := s.tree()
	s.readScope(tree)
	s.context, s.action, s.principal = reads(tree, "context"), reads(tree, "action"), reads(tree, "principal")
	s.sight, s.facts = sightOf(tree), readsFacts(tree)
	if s.bound = s.policy; s.context {
		s.bound = cedar.NewPolicyFromAST((*cast.Policy)(s.boundTree(tree)))
	}
}

// Grant is a checked grant: what it permits to one principal on one key.
type Grant struct{ statements []*statement }

// GrantTerms is what a grant says.
type GrantTerms struct {
	ID         string // 64 hexadecimal digits
	Grantee    string // the principal's name
	Operations []kms.Action
	// At most one of these: the encryption context of the request has exactly these entries, or these among others.
	Equals kms.Context
	Subset kms.Context
}

// contextual are the operations that carry an encryption context, and that a constraint narrows. All others of a grant it leaves alone
// (AWS KMS Developer Guide, "Using grant constraints").
var contextual = []kms.Action{kms.Encrypt, kms.Decrypt, kms.GenerateDataKey, kms.GenerateDataKeyWithoutPlaintext, kms.GenerateDataKeyPair,
	kms.GenerateDataKeyPairWithoutPlaintext, kms.ReEncryptFrom, kms.ReEncryptTo}

// PrepareGrant makes a grant ready for decisions.
func PrepareGrant(g *GrantTerms) *Grant {
	caller := types.NewEntityUID(typePrincipal, types.String(g.Grantee))
	out := &Grant{}
	add := func(actions []kms.Action, when ...cast.Node) {
		if len(actions) == 0 {
			return
		}
		p := cast.Permit().PrincipalEq(caller)
		for _, n := range when {
			p = p.When(n)
		}
		s := &statement{id: types.PolicyID(grantPrefix + g.ID), policy: cedar.NewPolicyFromAST(p), permit: true, ofKey: true, grant: true,
			line: 1, column: 1, text: "grant " + g.ID}
		s.learn()
		s.actions = maskOf(actions...)
		out.statements = append(out.statements, s)
	}
	if len(g.Equals)+len(g.Subset) == 0 {
		add(g.Operations)
		return out
	}
	var narrowed, free []kms.Action
	for _, a := range g.Operations {
		if slices.Contains(contextual, a) {
			narrowed = append(narrowed, a)
		} else {
			free = append(free, a)
		}
	}
	add(free)
	add(narrowed, constraint(g.Equals, g.Subset)...)
	return out
}

func constraint(equals, subset kms.Context) []cast.Node {
	encryption := cast.Context().Access("encryption")
	var all, names []cast.Node
	pairs := subset
	if len(equals) > 0 {
		pairs = equals
	}
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		n := cast.String(name)
		names = append(names, n)
		all = append(all, encryption.HasTag(n).And(encryption.GetTag(n).Equal(cast.String(pairs[name]))))
	}
	if len(equals) > 0 {
		all = append(all, cast.Set(names...).ContainsAll(cast.Context().Access("encryption_names")))
	}
	return all
}

// own is what decides about one key alone.
type own struct {
	policy *KeyPolicy // nil: the default, which hands everything on
	grants []*Grant
}

// With is the same key with its policy (nil: the default) and with grants, which need only be those of whoever is decided about.
func (r *Resource) With(p *KeyPolicy, grants []*Grant) *Resource {
	out := *r
	out.own = nil
	if p != nil || len(grants) > 0 {
		out.own = &own{p, grants}
	}
	return &out
}

// slice appends the key's own statements that speak about some of the actions.
func (o *own) slice(list []*statement, p *Principal, actions mask) []*statement {
	if o.policy != nil {
		list = matching(list, o.policy.statements, actions)
	}
	for _, g := range o.grants {
		for _, s := range g.statements {
			if s.caller == p.entity.UID && !s.actions.and(actions).empty() {
				list = append(list, s)
			}
		}
	}
	return list
}

// closes tells whether the key's policy keeps an action to itself: then no role and no policy of the namespace permits it. What
// everybody may do is not handed on by anybody.
func (v *verdict) closes(a kms.Action, context types.Record, hears bool) bool {
	o := v.q.Resource.own
	if !hears || o == nil || o.policy == nil || a.Group() == kms.SelfGroup {
		return false
	}
	d := verdict{q: v.q, bounds: v.bounds, facts: v.facts}
	for _, s := range o.policy.delegations {
		if !s.actions.has(a) {
			continue
		}
		if len(s.tree().Conditions) == 0 {
			return false
		}
		d.list = append(d.list, s)
	}
	if len(d.list) == 0 {
		return true
	}
	answer, diag := d.evaluate(a, context)
	return answer != cedar.Allow || len(diag.Errors) > 0
}

// reading tells whether the decision on an action depends on the context, or on more of it than every request has, by the key's delegations.
func (o *own) reading(a kms.Action) (context, facts bool) {
	if o == nil || o.policy == nil {
		return false, false
	}
	for _, s := range o.policy.delegations {
		if s.actions.has(a) {
			context, facts = context || s.context, facts || s.facts
		}
	}
	return context, facts
}
