package iam

import (
	"fmt"
	"slices"
	"strings"

	cast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
)

// operand is one value of the policy that texts are compared with.
type operand struct {
	at      value
	pattern pattern
	caller  bool // ${aws:username}: the name of who calls
	fold    bool
}

// operands reads the values of a text operator, with their policy variables.
func (c *compiler) operands(o operator, values []value) []operand {
	var all []operand
	for _, v := range values {
		one := operand{at: v, fold: o.relation == fold}
		var ok bool
		if one.pattern, one.caller, ok = c.interpolate(v, o.relation == alike); ok {
			all = append(all, one)
		}
	}
	return all
}

// interpolate replaces policy variables (IAM User Guide, "Policy variables"): version 2008-10-17 has none.
func (c *compiler) interpolate(v value, wildcards bool) (p pattern, caller, ok bool) {
	read := exactly
	if wildcards {
		read = wild
	}
	rest := v.text
	if !c.variables {
		return read(rest), false, true
	}
	for {
		before, after, found := strings.Cut(rest, "${")
		p = append(p, read(before)...)
		if !found {
			return p, false, true
		}
		name, after, closed := strings.Cut(after, "}")
		if !closed {
			c.report(v, "a policy variable is not closed", "${aws:username}")
			return nil, false, false
		}
		switch strings.ToLower(name) {
		case "*", "?", "$":
			p = append(p, exactly(name)...)
		case "aws:principalaccount", "kms:calleraccount":
			p = append(p, exactly(c.account)...)
		case "aws:username":
			if len(p) > 0 || after != "" {
				c.report(v, "a name cannot be put together with other text", "${aws:username} alone")
				return nil, false, false
			}
			return nil, true, true
		default:
			c.report(v, fmt.Sprintf("the policy variable ${%s} cannot be decided on", clip(name)), "${aws:username} and ${aws:PrincipalAccount} can")
			return nil, false, false
		}
		rest = after
	}
}

// matches tells whether a text that is known now is that of the operand.
func (p operand) matches(s string) bool {
	if p.fold {
		want, _ := p.pattern.literal()
		return strings.EqualFold(want, s)
	}
	return p.pattern.matches(s)
}

// exact is an operand without wildcards. Regard to case cannot be switched off in Cedar: only a text without letters has no case.
func (c *compiler) exact(p operand) (string, bool) {
	s, ok := p.pattern.literal()
	if ok && p.fold && strings.ToLower(s) != strings.ToUpper(s) {
		c.report(p.at, "regard to case cannot be switched off for this key", "list the spellings with StringEquals")
		return "", false
	}
	return s, ok
}

func (c *compiler) fixedText(fixed string, o operator, values []value) bool {
	hit := false
	for _, p := range c.operands(o, values) {
		if p.caller {
			c.report(p.at, "this key is the same for every caller", "")
			continue
		}
		hit = hit || p.matches(fixed)
	}
	return hit
}

// text1 is that the value of a key is one of several.
func (c *compiler) text1(s subject, o operator, values []value) cast.Node {
	var exact []cast.Node
	var all []cast.Node
	for _, p := range c.operands(o, values) {
		switch {
		case p.caller:
			if s.arn || s.words != nil || s.strip != "" {
				c.report(p.at, "the name of a user is never a value of this key", "")
				continue
			}
			all = append(all, cast.Not(isRole()).And(s.value.Equal(cast.Principal().Access("name"))))
		case s.words != nil:
			for _, w := range s.words {
				if p.matches(w.aws) {
					for _, ours := range w.ours {
						exact = append(exact, cast.String(ours))
					}
				}
			}
		default:
			for _, part := range c.parts(s, p) {
				if one, ok := c.exact(part.operand); ok {
					if part.guard == nil {
						exact = append(exact, cast.String(one))
					} else {
						all = append(all, part.guard.And(s.value.Equal(cast.String(one))))
					}
					continue
				}
				n, ok := c.like(s.value, part.operand)
				if !ok {
					continue
				}
				if part.guard != nil {
					n = part.guard.And(n)
				}
				all = append(all, n)
			}
		}
	}
	switch len(exact) {
	case 0:
	case 1:
		all = append([]cast.Node{s.value.Equal(exact[0])}, all...)
	default:
		all = append([]cast.Node{cast.Set(exact...).Contains(s.value)}, all...)
	}
	return either(all)
}

// like is that a value is of a pattern. Cedar has no wildcard for one character.
func (c *compiler) like(n cast.Node, p operand) (cast.Node, bool) {
	switch {
	case p.fold:
		return n, false // exact has said why
	case p.pattern.anything():
		return cast.True(), true
	case p.pattern.hasOne():
		c.report(p.at, "the wildcard ? cannot be decided on", "list the values, or use *")
		return n, false
	}
	var parts []any
	var run []rune
	for _, r := range p.pattern {
		if r != many {
			run = append(run, r)
			continue
		}
		if len(run) > 0 {
			parts, run = append(parts, types.String(run)), nil
		}
		parts = append(parts, types.Wildcard{})
	}
	if len(run) > 0 {
		parts = append(parts, types.String(run))
	}
	return n.Like(types.NewPattern(parts...)), true
}

// part is an operand in this server's own words, and on what it holds.
type part struct {
	operand
	guard *cast.Node
}

// parts says an operand in the words of the subject: nothing of it is left if no value of the subject can match.
func (c *compiler) parts(s subject, p operand) []part {
	switch {
	case s.arn:
		return c.arnParts(s, p)
	case s.strip == "":
		return []part{{operand: p}}
	}
	var all []part
	for _, rest := range p.pattern.after(s.strip) {
		one := p
		if one.pattern = rest; s.colon {
			one.pattern = dotted(rest)
		}
		all = append(all, part{operand: one})
	}
	return all
}

// dotted puts '.' for ':'. A '.' of the policy's own is in no name that AWS takes, and matches nothing else.
func dotted(p pattern) pattern {
	p = slices.Clone(p)
	for i, r := range p {
		if r == ':' {
			p[i] = '.'
		}
	}
	return p
}

// arnParts matches the ARN of a principal part by part: only its last part differs between the callers of a namespace.
func (c *compiler) arnParts(s subject, p operand) []part {
	split, ok := p.pattern.split()
	if !ok {
		if p.pattern.anything() {
			return []part{{operand: p}}
		}
		c.report(p.at, "want the ARN of a principal", "arn:aws:iam::"+c.account+":role/NAME")
		return nil
	}
	for i, is := range []string{"arn", "aws", "iam", "", c.account} {
		if !split[i].matches(is) {
			return nil
		}
	}
	var all []part
	isRole := s.value.Like(types.NewPattern(types.String(RolePrefix), types.Wildcard{}))
	user, role := p, p
	for _, rest := range split[5].after("user/") {
		user.pattern = rest
		all = append(all, part{user, node(cast.Not(isRole))})
	}
	if role.pattern = split[5]; len(split[5].after(RolePrefix)) > 0 {
		all = append(all, part{role, &isRole})
	}
	return all
}

// set is an operator on a key with any number of values.
func (c *compiler) set(s subject, o operator, q quantifier, ifExists bool, values []value) cast.Node {
	var exact []cast.Node
	every := false // some value of the policy matches whatever there is
	for _, p := range c.operands(o, values) {
		switch {
		case s.absent:
		case p.caller:
			c.report(p.at, "the name of a user is never a value of this key", "")
		case s.words != nil:
			for _, w := range s.words {
				if p.matches(w.aws) {
					exact = append(exact, cast.String(w.ours[0]))
				}
			}
		default:
			for _, part := range c.parts(s, p) {
				if one, ok := c.exact(part.operand); ok {
					exact = append(exact, cast.String(one))
				} else if part.pattern.anything() {
					every = true
				} else if !part.fold {
					c.report(p.at, "a pattern cannot be compared with each of a set", "list the values with StringEquals")
				}
			}
		}
	}
	if s.absent {
		return cast.Boolean(q == forAll || ifExists)
	}
	var n cast.Node
	switch none := s.value.IsEmpty(); {
	case every && q == forAll && !o.negated:
		n = cast.True()
	case every && q == forAll:
		n = none
	case every && !o.negated:
		n = cast.Not(none)
	case every:
		n = cast.False()
	case len(exact) == 0 && q == forAll && !o.negated:
		n = none
	case len(exact) == 0 && q == forAll:
		n = cast.True()
	case len(exact) == 0 && !o.negated:
		n = cast.False()
	case len(exact) == 0:
		n = cast.Not(none)
	case q == forAll && !o.negated:
		n = cast.Set(exact...).ContainsAll(s.value)
	case q == forAll:
		n = cast.Not(s.value.ContainsAny(cast.Set(exact...)))
	case !o.negated:
		n = s.value.ContainsAny(cast.Set(exact...))
	default:
		n = cast.Not(cast.Set(exact...).ContainsAll(s.value))
	}
	if ifExists && q == forAny {
		n = s.value.IsEmpty().Or(n)
	}
	return absentOr(s, q == forAll || ifExists, n)
}
