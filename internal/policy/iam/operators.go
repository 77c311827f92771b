package iam

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	cast "github.com/cedar-policy/cedar-go/ast"
)

// relation is how a value of the request and one of the policy are compared.
type relation uint8

const (
	equal relation = iota + 1
	alike          // with wildcards
	fold           // without regard to case
	less
	lessEqual
	greater
	greaterEqual
	within // a network
	null
)

// operator is one row of the table of condition operators.
type operator struct {
	families []family
	relation relation
	negated  bool
}

// operators is the table (IAM User Guide, "Condition operators"), without IfExists and the set operators, which go with most of
// them. BinaryEquals is left out: no condition key of these is binary.
func operators() map[string]operator {
	word := []family{texts, sets}
	all := map[string]operator{
		"StringEquals":              {word, equal, false},
		"StringNotEquals":           {word, equal, true},
		"StringEqualsIgnoreCase":    {word, fold, false},
		"StringNotEqualsIgnoreCase": {word, fold, true},
		"StringLike":                {word, alike, false},
		"StringNotLike":             {word, alike, true},
		"ArnEquals":                 {word, alike, false}, // the same as ArnLike, says the guide
		"ArnLike":                   {word, alike, false},
		"ArnNotEquals":              {word, alike, true},
		"ArnNotLike":                {word, alike, true},
		"Bool":                      {[]family{flags}, equal, false},
		"IpAddress":                 {[]family{addresses}, within, false},
		"NotIpAddress":              {[]family{addresses}, within, true},
		"Null":                      {[]family{texts, sets, flags, numbers, moments, addresses}, null, false},
	}
	for _, ordered := range []struct {
		name     string
		families []family
	}{{"Numeric", []family{numbers, moments}}, {"Date", []family{moments}}} {
		for name, o := range map[string]operator{
			"Equals": {nil, equal, false}, "NotEquals": {nil, equal, true}, "LessThan": {nil, less, false},
			"LessThanEquals": {nil, lessEqual, false}, "GreaterThan": {nil, greater, false}, "GreaterThanEquals": {nil, greaterEqual, false},
		} {
			o.families = ordered.families
			all[ordered.name+name] = o
		}
	}
	return all
}

// quantifier is a set operator.
type quantifier uint8

const (
	noQuantifier quantifier = iota
	forAll
	forAny
)

// conditions translates a Condition: everything in it has to hold.
func (c *compiler) conditions(at value) []cast.Node {
	if at.form != object {
		c.report(at, "Condition is an object", `{"StringEquals": {"kms:EncryptionContext:KEY": "VALUE"}}`)
		return nil
	}
	var all []cast.Node
	n := 0
	for _, m := range at.members {
		if m.form != object || len(m.members) == 0 {
			c.report(m.value, fmt.Sprintf("%s has keys and their values", clip(m.name)), "")
			continue
		}
		for _, k := range m.members {
			if n++; n > MaxConditions {
				c.report(at, fmt.Sprintf("the statement has more than %d conditions", MaxConditions), "divide it")
				return nil
			}
			if one, ok := c.condition(m, k); ok {
				all = append(all, one)
			}
		}
	}
	return all
}

// condition translates one operator on one key.
func (c *compiler) condition(op, key member) (cast.Node, bool) {
	var none cast.Node
	before := len(c.found)
	name, q := op.name, noQuantifier
	if prefix, rest, ok := strings.Cut(name, ":"); ok {
		switch prefix {
		case "ForAllValues":
			name, q = rest, forAll
		case "ForAnyValue":
			name, q = rest, forAny
		}
	}
	name, ifExists := strings.CutSuffix(name, "IfExists")
	o, ok := operators()[name]
	if !ok || o.relation == null && (ifExists || q != noQuantifier) {
		c.found = report(c.found, c.text, op.at, fmt.Sprintf("%q is not a condition operator", clip(op.name)), "for example StringEquals, StringLike, Bool, IpAddress")
		return none, false
	}
	s, wrong, known := c.lookup(key.name)
	switch {
	case !known:
		c.found = report(c.found, c.text, key.at, fmt.Sprintf("there is no condition key %q", clip(key.name)), "")
		return none, false
	case wrong != "":
		c.found = report(c.found, c.text, key.at, fmt.Sprintf("the condition key %q cannot be decided on: %s", clip(key.name), wrong), "")
		return none, false
	case !slices.Contains(o.families, s.family):
		c.found = report(c.found, c.text, op.at, fmt.Sprintf("%s does not compare %s, which %q is", clip(op.name), s.family, clip(key.name)), "")
		return none, false
	case s.family == sets && q == noQuantifier && o.relation != null:
		c.found = report(c.found, c.text, op.at, fmt.Sprintf("%q has any number of values", clip(key.name)), "ForAnyValue:"+op.name+" or ForAllValues:"+op.name)
		return none, false
	}
	values := c.scalars(key.value)
	var n cast.Node
	switch {
	case o.relation == null:
		n = c.null(s, values)
	case s.family == sets:
		n = c.set(s, o, q, ifExists, values)
	default:
		n = c.single(s, o, q, ifExists, values)
	}
	return n, len(c.found) == before
}

// scalars are the values of a condition: texts, numbers and booleans, one or several.
func (c *compiler) scalars(v value) []value {
	items := []value{v}
	if v.form == list {
		if items = v.items; len(items) == 0 {
			c.report(v, "the list is empty", "at least one value")
		}
	}
	for _, item := range items {
		if item.form != text && (item.form != other || item.text == "null") {
			c.report(item, "want a value", "")
			return nil
		}
	}
	return items
}

// absentOr gives the truth for a request that does not carry the key, and n for one that does.
func absentOr(s subject, absent bool, n cast.Node) cast.Node {
	switch {
	case s.absent:
		return cast.Boolean(absent)
	case s.has == nil:
		return n
	case absent:
		return cast.IfThenElse(*s.has, n, cast.True())
	}
	return s.has.And(n)
}

func (c *compiler) null(s subject, values []value) cast.Node {
	absent := cast.Boolean(s.absent)
	switch {
	case s.absent:
	case s.family == sets && s.has != nil:
		absent = cast.IfThenElse(*s.has, s.value.IsEmpty(), cast.True())
	case s.family == sets:
		absent = s.value.IsEmpty()
	case s.has != nil:
		absent = cast.Not(*s.has)
	}
	var all []cast.Node
	for _, v := range values {
		switch strings.ToLower(v.text) {
		case "true":
			all = append(all, absent)
		case "false":
			all = append(all, cast.Not(absent))
		default:
			c.report(v, `Null is "true" or "false"`, "")
		}
	}
	return either(all)
}

// either is that one of them holds; of none nothing does.
func either(all []cast.Node) cast.Node {
	if len(all) == 0 {
		return cast.False()
	}
	n := all[0]
	for _, o := range all[1:] {
		n = n.Or(o)
	}
	return n
}

// single is an operator on a key with at most one value. Several values of the policy: one of them matches; of a negated
// operator: none does (IAM User Guide, "Multiple values").
func (c *compiler) single(s subject, o operator, q quantifier, ifExists bool, values []value) cast.Node {
	var match cast.Node
	switch {
	case s.absent:
		match = cast.False()
	case s.family == flags:
		match = c.flag(s, values)
	case s.family == numbers:
		match = c.number(s, o, values)
	case s.family == moments:
		match = c.moment(s, o, values)
	case s.family == addresses:
		match = c.address(s, values)
	case s.fixed != nil:
		match = cast.Boolean(c.fixedText(*s.fixed, o, values))
	default:
		match = c.text1(s, o, values)
	}
	if o.negated {
		match = cast.Not(match)
	}
	absent := o.negated || ifExists
	switch q {
	case forAll: // nothing is all of nothing
		absent = true
	case forAny:
		absent = ifExists
	case noQuantifier:
	}
	return absentOr(s, absent, match)
}

func (c *compiler) flag(s subject, values []value) cast.Node {
	var all []cast.Node
	for _, v := range values {
		want := strings.ToLower(v.text)
		switch {
		case want != "true" && want != "false":
			c.report(v, "want true or false", "")
		case s.fixed != nil:
			all = append(all, cast.Boolean(*s.fixed == want))
		default:
			all = append(all, s.value.Equal(cast.Boolean(want == "true")))
		}
	}
	return either(all)
}

func (c *compiler) number(s subject, o operator, values []value) cast.Node {
	var all []cast.Node
	for _, v := range values {
		n, err := strconv.ParseInt(v.text, 10, 32)
		if err != nil {
			c.report(v, "want a whole number", "")
			continue
		}
		all = append(all, compared(s.value, o.relation, cast.Long(n)))
	}
	return either(all)
}

func compared(n cast.Node, r relation, with cast.Node) cast.Node {
	switch r {
	case less:
		return n.LessThan(with)
	case lessEqual:
		return n.LessThanOrEqual(with)
	case greater:
		return n.GreaterThan(with)
	case greaterEqual:
		return n.GreaterThanOrEqual(with)
	default:
		return n.Equal(with)
	}
}

// moment compares in whole seconds, as AWS has the time.
func (c *compiler) moment(s subject, o operator, values []value) cast.Node {
	var all []cast.Node
	for _, v := range values {
		at, ok := parseTime(v.text)
		if !ok {
			c.report(v, "want a time of whole seconds", "for example 2027-01-31T08:00:00Z, or seconds since 1970")
			continue
		}
		from, next := datetime(at), datetime(at.Add(time.Second))
		switch o.relation {
		case less:
			all = append(all, s.value.LessThan(from))
		case lessEqual:
			all = append(all, s.value.LessThan(next))
		case greater:
			all = append(all, s.value.GreaterThanOrEqual(next))
		case greaterEqual:
			all = append(all, s.value.GreaterThanOrEqual(from))
		default:
			all = append(all, s.value.GreaterThanOrEqual(from).And(s.value.LessThan(next)))
		}
	}
	return either(all)
}

func datetime(t time.Time) cast.Node {
	return cast.DatetimeExtensionCall(cast.String(t.Format("2006-01-02T15:04:05Z")))
}

// lastTime is the last that can be compared with.
const lastTime = 253402300799 // 9999-12-31T23:59:59Z

func parseTime(s string) (time.Time, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && len(s) > 4 {
		return time.Unix(n, 0).UTC(), n >= 0 && n < lastTime
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), t.Nanosecond() == 0 && t.Unix() >= 0 && t.Unix() < lastTime
		}
	}
	return time.Time{}, false
}

func (c *compiler) address(s subject, values []value) cast.Node {
	var all []cast.Node
	for _, v := range values {
		p, err := netip.ParsePrefix(v.text)
		if a, bad := netip.ParseAddr(v.text); err != nil && bad == nil {
			p, err = a.Prefix(a.BitLen())
		}
		if err != nil || p.Addr().Zone() != "" {
			c.report(v, "want an address or a network", "for example 203.0.113.0/24 or 2001:db8::/32")
			continue
		}
		all = append(all, s.value.IsInRange(cast.IPExtensionCall(cast.String(p.Masked().String()))))
	}
	return either(all)
}
