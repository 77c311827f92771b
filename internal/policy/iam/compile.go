package iam

import (
	"cmp"
	"slices"

	cast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/keyhold/keyhold/internal/kms"
)

// Compiled is a statement in Cedar, or a part of one: some statements are several.
type Compiled struct {
	Number int    // of the statement in its document, from 1
	Sid    string // may be empty
	Permit bool
	// Delegates: it permits nothing itself. Where it holds, the roles and policies of the namespace may permit (AWS KMS Developer
	// Guide, "Allows access to the AWS account and enables IAM policies").
	Delegates bool
	Actions   []kms.Action
	When      []cast.Node // all of them have to hold
	Key       kms.ID      // of an identity policy that names one key; zero: When says which
	Line      int
	Column    int
	Text      string // as it is written
}

// Compile translates a document for the namespace whose account it is. It is refused with Findings: what is wrong with it, and what of it
// cannot be decided on here.
func Compile(kind Kind, account string, doc []byte) ([]Compiled, error) {
	v, found := read(doc)
	if len(found) > 0 {
		return nil, found
	}
	c := &compiler{kind: kind, account: account, text: doc}
	statements := c.statements(v)
	var out []Compiled
	for i := range statements {
		for _, one := range c.compile(&statements[i]) {
			one.Number = i + 1
			out = append(out, one)
		}
	}
	if len(c.found) > 0 {
		slices.SortStableFunc(c.found, func(a, b Finding) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
		return nil, slices.Compact(c.found) // a statement that is two says what is wrong with it twice
	}
	return out, nil
}

// compile translates one statement. One that can never be asked about gives nothing.
func (c *compiler) compile(s *statement) []Compiled {
	c.permit = s.effect == "Allow"
	base := Compiled{Sid: s.sid, Permit: c.permit, Text: string(c.text[s.whole.from:s.whole.to])}
	where := report(nil, c.text, s.whole.from, "", "")[0]
	base.Line, base.Column = where.Line, where.Column
	if m, there := s.parts["Condition"]; there {
		base.When = c.conditions(m.value)
	}
	var reaches bool
	base, reaches = c.resources(s, base)

	direct, delegated, some := c.principals(s)
	var out []Compiled
	if some || !delegated { // where nobody is meant, what is said of actions is looked at all the same
		c.delegating = false
		one := base
		if direct != nil {
			one.When = append([]cast.Node{*direct}, one.When...)
		}
		out = append(out, c.divide(s, one)...)
	}
	if delegated {
		c.delegating = true
		one := base
		one.Delegates = true
		out = append(out, c.divide(s, one)...)
	}
	if !reaches || !some && !delegated {
		return nil
	}
	return out
}

// divide gives UpdateKey a part of its own where only some of its changes are meant.
func (c *compiler) divide(s *statement, one Compiled) []Compiled {
	at, not := s.parts["Action"], false
	if at.form == 0 {
		at, not = s.parts["NotAction"], true
	}
	chosen := c.choose(at.value, not)
	var out []Compiled
	if chosen.every && (one.Delegates || !one.Permit) { // whatever there is about keys
		chosen.whole = slices.DeleteFunc(kms.AllActions(), func(a kms.Action) bool { return !a.OnKey() && !slices.Contains(elsewhere, a) })
	}
	if one.Actions = chosen.whole; len(one.Actions) > 0 {
		out = append(out, one)
	}
	if len(chosen.changes) > 0 {
		part := one
		part.Actions = []kms.Action{kms.UpdateKey}
		var named []cast.Node
		for _, change := range chosen.changes {
			named = append(named, cast.String(string(change)))
		}
		asked := cast.Context().Access("changes")
		touches := cast.Not(asked.IsEmpty()).And(cast.Set(named...).ContainsAll(asked))
		if !one.Permit { // one of the changes is enough to forbid all of them
			touches = asked.ContainsAny(cast.Set(named...)).Or(asked.IsEmpty())
		}
		part.When = append([]cast.Node{touches}, part.When...)
		out = append(out, part)
	}
	return out
}

// principals translates Principal and NotPrincipal of a key policy: who is meant directly (nil and some: everybody), and whether the
// account is, which hands on.
func (c *compiler) principals(s *statement) (direct *cast.Node, delegated, some bool) {
	if c.kind == IdentityPolicy {
		return nil, false, true
	}
	m, not := s.parts["Principal"], false
	if m.form == 0 {
		m, not = s.parts["NotPrincipal"], true
	}
	var named []string
	account, everybody := false, m.form == text && m.text == "*"
	switch {
	case everybody:
	case m.form != object || len(m.members) == 0:
		c.report(m.value, `want "*" or an object`, `{"AWS": "arn:aws:iam::`+c.account+`:user/NAME"}`)
	}
	for _, kind := range m.members {
		values := c.strings(kind.value)
		switch kind.name {
		case "AWS":
			for _, v := range values {
				if v.text == "*" {
					everybody = true
					continue
				}
				w, wrong := principal(v.text, c.account)
				if wrong != "" {
					c.report(v, "this is not a principal of the namespace", wrong)
				}
				if account = account || w.account; w.name != "" {
					named = append(named, w.name)
				}
			}
		case "Service": // none of them ever calls this server
		default:
			c.found = report(c.found, c.text, kind.at, "there are no principals of the kind "+clip(kind.name), "AWS or Service")
		}
	}
	switch {
	case not && everybody:
		c.report(m.value, "everybody is excepted", "")
	case not && !account:
		c.report(m.value, "without the account among them, AWS denies the principals that are excepted as well", "add arn:aws:iam::"+c.account+":root")
	case not:
		return node(cast.Not(oneOf(named))), false, true
	case everybody:
		return nil, false, true
	case account && !c.permit: // everybody of the account is denied
		return nil, false, true
	}
	if len(named) == 0 {
		return nil, account, false
	}
	return node(oneOf(named)), account, true
}

func oneOf(names []string) cast.Node {
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 {
		return cast.False()
	}
	var all []cast.Node
	for _, n := range names {
		all = append(all, cast.Value(types.NewEntityUID("Principal", types.String(n))))
	}
	if len(all) == 1 {
		return cast.Principal().Equal(all[0])
	}
	return cast.Set(all...).Contains(cast.Principal())
}

// resources translates Resource and NotResource. reaches is false if no key is meant.
func (c *compiler) resources(s *statement, one Compiled) (Compiled, bool) {
	m, not := s.parts["Resource"], false
	if m.form == 0 {
		if m, not = s.parts["NotResource"], true; m.form == 0 {
			return one, true // of a key policy: the key
		}
	}
	var meant []cast.Node
	var single kms.ID
	all := false
	for _, v := range c.strings(m.value) {
		t, wrong := resource(v.text, c.account)
		switch {
		case wrong != "":
			c.report(v, "this names no key of the namespace", wrong)
		case t.all:
			all = true
		case t.id != nil:
			if n, id, ok := c.target(v, t, c.permit != not); ok {
				meant, single = append(meant, n), id
			}
		case t.aliases && !c.permit:
			c.report(v, "aliases are not resources of their own here", "deny it on the keys")
		}
	}
	switch {
	case not && all:
		return one, false
	case not:
		one.When = append([]cast.Node{cast.Not(either(meant))}, one.When...)
	case all:
	case len(meant) == 0:
		return one, false
	case len(meant) == 1 && !single.IsZero() && c.kind == IdentityPolicy:
		one.Key = single
	default:
		one.When = append([]cast.Node{either(meant)}, one.When...)
	}
	return one, true
}

// target is that the key is the one, or one of those, that an entry names. What has no region is, where it is strict, in none; else
// it is in every one. id is that of the key if nothing else is said.
func (c *compiler) target(at value, t target, strict bool) (n cast.Node, id kms.ID, ok bool) {
	s, plain := t.id.literal()
	switch {
	case t.id.anything():
		n = cast.Resource().Is("Key")
	case t.id.String() == "mrk-*":
		n = cast.Resource().Is("Key").And(cast.Resource().Access("multi_region"))
	case !plain:
		c.report(at, "a pattern of key ids cannot be decided on", "name keys by their whole id, or all of them by key/*")
		return n, id, false
	default:
		if id, ok = keyID(s); !ok {
			c.report(at, "this is not the id of a key", "a UUID, or mrk- and 32 hexadecimal digits")
			return n, id, false
		}
		n = cast.Resource().Equal(cast.Value(types.NewEntityUID("Key", types.String(id.String()))))
	}
	if t.region.anything() {
		return n, id, true
	}
	has, region := contextHas("region")
	var same cast.Node
	if r, plain := t.region.literal(); plain {
		same = region.Equal(cast.String(r))
	} else if same, ok = c.like(region, operand{at: at, pattern: t.region}); !ok {
		return n, id, false
	}
	if strict {
		same = has.And(same)
	} else {
		same = cast.IfThenElse(*has, same, cast.True())
	}
	return n.And(same), kms.ID{}, true
}
