package acl

import (
	"fmt"
	"slices"
	"strings"

	cast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/keyhold/keyhold/internal/kms"
)

// Compiled is a statement in Cedar.
type Compiled struct {
	Permit  bool
	Actions []kms.Action
	When    []cast.Node // all of them have to hold
	Line    int
	Column  int
	Text    string // the path
}

// Note is what stands in a document and has no effect.
type Note struct {
	Line int
	Text string
}

func (n Note) String() string { return fmt.Sprintf("line %d: %s", n.Line, n.Text) }

// Compile translates a document with what paths stand for. It is refused with Findings. One that was accepted before is not refused again when paths have come to
// stand for more: what cannot be decided on then permits nothing, and denies all that it may mean.
func Compile(paths []kms.Path, doc []byte, accepted bool) ([]Compiled, []Note, error) {
	rules, found := read(doc)
	if len(found) > 0 {
		return nil, nil, found
	}
	c := &compiler{rules: rules, used: make([]bool, len(rules)), reader: &reader{}, accepted: accepted}
	for i := range rules {
		c.globs = append(c.globs, globOf(rules[i].path))
		c.order = append(c.order, i)
	}
	slices.SortStableFunc(c.order, func(a, b int) int { return before(&c.globs[a], &c.globs[b]) })
	for i := range paths {
		c.path(&paths[i])
	}
	notes := c.whole()
	if len(c.reader.found) > 0 {
		slices.SortStableFunc(c.reader.found, func(a, b Finding) int { return a.Line - b.Line })
		return nil, nil, slices.Compact(c.reader.found)
	}
	for i, used := range c.used {
		if !used {
			notes = append(notes, Note{rules[i].at.Line, "the path " + clip(rules[i].path) + " stands for nothing on this server"})
		}
	}
	return c.joined(), notes, nil
}

type compiler struct {
	rules  []rule
	globs  []glob
	order  []int // of the rules, by priority
	used   []bool
	reader *reader
	out    []part
	wholes []whole

	accepted bool
}

// whole is a path that is permitted together with the others of its action, or not at all.
type whole struct {
	path      *kms.Path
	permitted bool
}

// part is one action of a rule.
type part struct {
	rule   int
	permit bool
	action kms.Action
	text   string     // of the condition: what says the same is joined
	when   *cast.Node // nil: always
}

// meant is a rule that has to do with a path, and which names it means.
type meant struct {
	rule    int
	about   about
	written bool
}

// path says what the rules permit and deny of one path.
func (c *compiler) path(p *kms.Path) {
	pattern := strings.Split(p.Pattern, "/")
	var some []meant
	for _, at := range c.order {
		a, written := c.match(at, p.List, pattern)
		if a.kind == none {
			continue
		}
		c.used[at] = true
		r := &c.rules[at]
		if a.kind == partial && c.accepted && r.has(Deny) {
			a = about{kind: all}
		}
		if a.kind != partial {
			some = append(some, meant{at, a, written})
		} else if !c.accepted && (r.has(p.Capability) || r.has(Deny)) {
			c.reader.report(r.at, "the path "+clip(r.path)+" speaks about a part of "+p.Pattern+" that policies cannot decide on",
				"end it behind the key's name, or put + or * in that place")
		}
	}
	if p.Whole {
		n := len(c.out)
		defer func() {
			permits := slices.ContainsFunc(c.out[n:], func(o part) bool { return o.permit })
			denies := slices.ContainsFunc(c.out[n:], func(o part) bool { return !o.permit })
			c.wholes = append(c.wholes, whole{p, permits && !denies})
		}()
	}
	for i, m := range some {
		r := &c.rules[m.rule]
		denies := r.has(Deny)
		switch {
		case !denies && !r.has(p.Capability):
			continue
		case !denies && p.Action.Group() == kms.ExceptionGroup && !m.written && !(p.Action.OnSecret() && strings.HasPrefix(r.path, p.Prefix)):
			continue
		}
		when, text := m.about.says(p)
		for _, higher := range some[:i] { // that decide instead
			h := &c.rules[higher.rule]
			if !denies && !h.has(Deny) && h.has(p.Capability) || denies && h.has(Deny) {
				continue
			}
			n, s := higher.about.says(p)
			if n == nil || higher.about.kind == all || higher.about.kind == segment && strings.Contains(p.Pattern, nameSegment) { // whatever it is
				text = "never"
				break
			}
			if not := cast.Not(*n); when == nil {
				when = &not
			} else {
				both := when.And(not)
				when = &both
			}
			text += " not " + s
		}
		if text != "never" {
			c.out = append(c.out, part{m.rule, !denies, p.Action, text, when})
		}
	}
}

// whole takes away what permits an action by some of the paths that it stands for: it would permit it by the others as well. A rule that stands for nothing
// else is refused, unless it was accepted before; of another it is noted.
func (c *compiler) whole() (notes []Note) {
	for _, w := range c.wholes {
		if w.permitted {
			continue
		}
		taken := map[int]bool{}
		c.out = slices.DeleteFunc(c.out, func(o part) bool {
			take := o.permit && o.action == w.path.Action
			taken[o.rule] = taken[o.rule] || take
			return take
		})
		for i := range c.rules {
			r := &c.rules[i]
			what := "the path " + clip(r.path) + " speaks about a part of " + w.path.Action.String() + ", which stands for " + w.path.Pattern + " as well"
			switch {
			case !taken[i]:
			case slices.ContainsFunc(c.out, func(o part) bool { return o.rule == i }):
				notes = append(notes, Note{r.at.Line, what + ", and does not permit it"})
			case !c.accepted:
				c.reader.report(r.at, what, "permit that too, as auth/* does, or neither")
			}
		}
	}
	return notes
}

// match compares a rule with a pattern. A list is asked for with a slash at the end of the path; a rule without wildcards means it with and without.
func (c *compiler) match(rule int, list bool, pattern []string) (about, bool) {
	g := &c.globs[rule]
	switch {
	case list && g.exact():
		trimmed := globOf(strings.TrimSuffix(g.text, "/"))
		return match(&trimmed, pattern)
	case list:
		return match(g, append(slices.Clone(pattern), ""))
	}
	return match(g, pattern)
}

// says is the condition that a key or secret is one of those that are meant; nil: it is. A name of one segment has no slash: a key that has one has no path at
// this mount, or is of another.
func (a about) says(p *kms.Path) (*cast.Node, string) {
	if !strings.Contains(p.Pattern, "{name") {
		return nil, "all"
	}
	name, secret := cast.Resource().Access("name"), p.Action.OnSecret()
	if secret {
		name = cast.Context().Access("secret")
	}
	var n cast.Node
	switch a.kind {
	case equal:
		n = name.Equal(cast.String(types.String(p.Prefix + a.text)))
	case shaped:
		pieces, deeper := []any{p.Prefix}, []any{p.Prefix}
		for i, s := range strings.Split(a.text, "/") {
			if i > 0 {
				pieces, deeper = append(pieces, "/"), append(deeper, "/")
			}
			if s == "+" {
				pieces = append(pieces, true)
			} else {
				pieces = append(pieces, s)
			}
			deeper = append(deeper, true)
		}
		n = like(name, pieces...).And(cast.Not(like(name, append(deeper, "/", true)...)))
	default: // every one, or those that begin so
		n = like(name, p.Prefix+a.text, true)
		if strings.Contains(p.Pattern, nameSegment) {
			n = n.And(cast.Not(like(name, p.Prefix, true, "/", true)))
		}
	}
	if secret {
		n = cast.Context().Has("secret").And(n)
	}
	return &n, fmt.Sprint(a.kind, " ", p.Prefix, a.text)
}

// like matches a text with pieces: strings, and true for any text.
func like(n cast.Node, pieces ...any) cast.Node {
	var parts []any
	for _, p := range pieces {
		switch p := p.(type) {
		case string:
			if p != "" {
				parts = append(parts, types.String(p))
			}
		default:
			parts = append(parts, types.Wildcard{})
		}
	}
	return n.Like(types.NewPattern(parts...))
}

// joined puts the actions that a rule permits or denies under the same condition into one statement.
func (c *compiler) joined() []Compiled {
	var all []Compiled
	at := map[string]int{}
	for _, p := range c.out {
		name := fmt.Sprint(p.rule, p.permit, p.text, p.action.OnKey(), p.action.OnSecret())
		if i, there := at[name]; there {
			if !slices.Contains(all[i].Actions, p.action) {
				all[i].Actions = append(all[i].Actions, p.action)
			}
			continue
		}
		r := &c.rules[p.rule]
		s := Compiled{Permit: p.permit, Actions: []kms.Action{p.action}, Line: max(r.at.Line, 1), Column: max(r.at.Column, 1), Text: r.path}
		if p.when != nil {
			s.When = []cast.Node{*p.when}
		}
		at[name] = len(all)
		all = append(all, s)
	}
	return all
}
