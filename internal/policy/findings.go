package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// place finds where in a policy's text a finding belongs. Cedar's syntax tree keeps the place of a statement only; within
// it the tokens that a finding is about are looked for.
type place struct {
	s      *statement
	tokens []token
}

func newPlace(s *statement) *place { return &place{s: s, tokens: lex(s.text)} }

// clause narrows the place to one when or unless of the statement.
func (p *place) clause(i int) *place {
	depth, seen := 0, -1
	out := &place{s: p.s}
	for _, t := range p.tokens {
		switch t.text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		case "when", "unless":
			if depth == 0 {
				seen++
			}
		}
		if seen == i {
			out.tokens = append(out.tokens, t)
		}
	}
	return out
}

// at is a finding at the first place where the tokens stand in a row, or at the statement if they stand nowhere.
func (p *place) at(words []string, what, want string) Finding {
	f := Finding{Line: p.s.line, Column: p.s.column, What: what, Want: want}
	if len(p.tokens) > 0 {
		f = f.moved(p.tokens[0], p.s)
	}
	if len(words) == 0 {
		return f
	}
	for i := range p.tokens {
		if i+len(words) > len(p.tokens) {
			break
		}
		if slices.EqualFunc(p.tokens[i:i+len(words)], words, func(t token, w string) bool { return t.text == w }) {
			return f.moved(p.tokens[i+len(words)-1], p.s)
		}
	}
	return f
}

// moved is the finding at a token of the statement's text.
func (f Finding) moved(t token, s *statement) Finding {
	f.Line, f.Column = s.line+t.line-1, t.column
	if t.line == 1 {
		f.Column += s.column - 1
	}
	return f
}

// attr is a finding at an attribute: .name, has name, or its quoted forms.
func (p *place) attr(name, what, want string) Finding {
	quoted := strconv.Quote(name)
	missed := p.at(nil, what, want)
	for _, words := range [][]string{{".", name}, {"has", name}, {"[", quoted}, {"has", quoted}} {
		if f := p.at(words, what, want); f != missed {
			return f
		}
	}
	return missed
}

// entity is a finding at an entity literal.
func (p *place) entity(uid types.EntityUID, what, want string) Finding {
	words := strings.Split(strings.ReplaceAll(string(uid.Type), "::", "\x00::\x00"), "\x00")
	return p.at(append(words, "::", strconv.Quote(string(uid.ID))), what, want)
}

// nearest is the word most like s, with the article "nearest is"; empty if none is alike.
func nearest(s string, words []string) string {
	best, least := "", len(s)/2+1
	for _, w := range words {
		if d := distance(strings.ToLower(s), strings.ToLower(w), least); d < least {
			best, least = w, d
		}
	}
	if best == "" {
		return "want one of " + strings.Join(words, ", ")
	}
	return "nearest is " + best
}

// distance is the Levenshtein distance, cut off at most.
func distance(a, b string, most int) int {
	const longest = 64 // names are shorter
	if len(a) > longest || len(b) > longest {
		return most
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return min(row[len(b)], most)
}

func attrNames(attrs []attribute) []string {
	all := make([]string, len(attrs))
	for i, a := range attrs {
		all[i] = a.name
	}
	return all
}

// typecheck validates a statement strictly against the schema. All actions have the same types of context, so that it is
// enough to check one action for each type of resource; statements that speak of actions in their conditions are checked
// against every action (the two agree: TestBriefSchemaAgreesWithFull).
func typecheck(s *statement, p *place) Findings {
	tree := s.tree()
	err := s.validate(tree)
	if err == nil {
		return nil
	}
	// Once more, one clause at a time, to say where. (What is learnt in one clause does not hold in the next.)
	var found Findings
	for i, c := range tree.Conditions {
		one := *tree
		one.Conditions = []xast.ConditionType{c}
		in := p.clause(i)
		for _, e := range flatten(s.validate(&one)) {
			found = append(found, explainFinding(e.Error(), in))
		}
	}
	if len(found) == 0 {
		for _, e := range flatten(err) {
			found = append(found, explainFinding(e.Error(), p))
		}
	}
	return found
}

func (s *statement) validate(tree *xast.Policy) error {
	if s.action || namesActions(tree) {
		return theVocabulary().full.Policy("", tree)
	}
	return theVocabulary().brief.Policy("", s.briefly(tree))
}

// briefly is the statement with one action for each type of resource that its actions act on.
func (s *statement) briefly(tree *xast.Policy) *xast.Policy {
	out := *tree
	var stand []types.EntityUID
	for _, t := range s.resourceTypes() {
		if t == typeKey {
			stand = append(stand, briefKey)
		} else {
			stand = append(stand, briefNamespace)
		}
	}
	out.Action = xast.ScopeTypeInSet{Entities: stand}
	return &out
}

func namesActions(tree *xast.Policy) bool {
	found := false
	for _, c := range tree.Conditions {
		xast.Inspect(xast.NewNode(c.Body), func(n xast.IsNode) bool {
			if v, ok := n.(xast.NodeValue); ok {
				if uid, ok := v.Value.(types.EntityUID); ok && uid.Type == typeAction {
					found = true
				}
			}
			return !found
		})
	}
	return found
}

func flatten(err error) []error {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range many.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	return []error{err}
}

var (
	noContextAttr = regexp.MustCompile("^attribute `(.+)` in context for .+ not found$")
	noAttr        = regexp.MustCompile("^attribute `(.+)` on entity type `(.+)` not found$")
	unsafeAttr    = regexp.MustCompile("^unable to guarantee safety of access to optional attribute `(.+)` (?:in context|on entity)")
	unsafeTag     = regexp.MustCompile("^unable to guarantee safety of access to tag `(.+)` on entity type `(.+)`$")
	badLiteral    = regexp.MustCompile("^error during extension function argument validation: failed to parse as (?:an? )?(.+): `(\".*\")`$")
)

// explainFinding turns a message of Cedar's type checker into a finding: where, and what would be right.
func explainFinding(msg string, p *place) Finding {
	if m := noContextAttr.FindStringSubmatch(msg); m != nil {
		return p.attr(m[1], fmt.Sprintf("the context has no attribute %s", m[1]), nearest(m[1], attrNames(contextTable())))
	}
	if m := noAttr.FindStringSubmatch(msg); m != nil {
		facts := theVocabulary().entities
		if m[2] == string(typeNamespace) && slices.Contains(attrNames(facts[typeKey].attrs), m[1]) {
			return p.attr(m[1], fmt.Sprintf("only keys have the attribute %s, and some of these actions act on a namespace", m[1]),
				"write resource is Key in the scope, or name actions on keys only")
		}
		return p.attr(m[1], fmt.Sprintf("a %s has no attribute %s", m[2], m[1]), nearest(m[1], attrNames(facts[types.EntityType(m[2])].attrs)))
	}
	if m := unsafeAttr.FindStringSubmatch(msg); m != nil {
		return p.attr(m[1], fmt.Sprintf("the attribute %s may be absent", m[1]), fmt.Sprintf("test it first: context has %s && …", m[1]))
	}
	if m := unsafeTag.FindStringSubmatch(msg); m != nil {
		on := "resource"
		if m[2] == string(typeEncryption) {
			on = "context.encryption"
		}
		return p.at([]string{"getTag", "(", m[1]}, fmt.Sprintf("the tag %s may be absent", m[1]), fmt.Sprintf("test it first: %s.hasTag(%s) && …", on, m[1]))
	}
	if m := badLiteral.FindStringSubmatch(msg); m != nil {
		return p.at([]string{m[2]}, fmt.Sprintf("%s is no %s", m[2], strings.TrimSuffix(m[1], " value")), literalForms[strings.TrimSuffix(m[1], " value")])
	}
	return p.at(nil, plain.Replace(msg), "")
}

var literalForms = map[string]string{
	"IP address": `want "192.0.2.7" or "192.0.2.0/24"`,
	"decimal":    `want "12.5"`,
	"datetime":   `want "2030-01-31" or "2030-01-31T08:00:00Z"`,
	"duration":   `want "1h30m" or "2d"`,
}

// plain takes the type checker's inner names out of its messages.
var plain = strings.NewReplacer(
	"Set<__cedar::internal::AnyEntity>, or __cedar::internal::AnyEntity", "an entity or a set of entities",
	"__cedar::internal::AnyEntity, or __cedar::internal::OpenRecord{}", "an entity or a record",
	"Set<__cedar::internal::Any>", "a set", "__cedar::internal::AnyEntity", "an entity",
	"__cedar::internal::True", "Bool", "__cedar::internal::False", "Bool", "`", "",
)

// syntaxAt is the form of the parser's errors. The place is that of the token after the one it did not like, because it has
// taken that one already, except for the messages in notTaken.
var (
	syntaxAt  = regexp.MustCompile(`(?s)parse error at <input>:(\d+):(\d+) "(?:[^"\\]|\\.)*": (.*)$`)
	lexicalAt = regexp.MustCompile(`<input>:(\d+):(\d+)|^parser error: :?(\d+):(\d+)`)
	notTaken  = regexp.MustCompile("^(?:got .* want ,|duplicate key.*|.* expects (?:no|one) argument.*|`.*` is (?:not a|a) .*)$")
	notThere  = regexp.MustCompile("^`(.*)` is (?:not a|a) ")
	exactGot  = regexp.MustCompile(`(?s)^exact got (.*) want (.*)$`)
)

// locateSyntax turns an error of the parser into a finding.
func locateSyntax(err error, tokens []token) Finding {
	msg := err.Error()
	m := syntaxAt.FindStringSubmatch(msg)
	if m == nil {
		f := Finding{Line: 1, Column: 1, What: strings.TrimPrefix(msg, "parser error: ")}
		if at := lexicalAt.FindStringSubmatch(msg); at != nil && at[1] != "" {
			f.Line, f.Column = number(at[1]), number(at[2])
			_, rest, _ := strings.Cut(msg, at[0])
			f.What = strings.TrimLeft(rest, ": ")
		}
		return f
	}
	f := Finding{Line: number(m[1]), Column: number(m[2])}
	i := slices.IndexFunc(tokens, func(t token) bool { return t.line == f.Line && t.column == f.Column })
	if i < 0 {
		i = len(tokens) // the end of the text
	}
	if name := notThere.FindStringSubmatch(m[3]); name != nil { // read on past its arguments
		for i = min(i, len(tokens)-1); i > 0 && tokens[i].text != name[1]; i-- {
		}
	} else if !notTaken.MatchString(m[3]) && i > 0 && !(i == len(tokens) && strings.HasPrefix(m[3], "exact got  want")) {
		i--
	}
	got := "the end of the text"
	if i < len(tokens) {
		f.Line, f.Column, got = tokens[i].line, tokens[i].column, tokens[i].text
	}
	switch e := exactGot.FindStringSubmatch(m[3]); {
	case e != nil:
		f.What, f.Want = "unexpected "+clip(got), "want "+e[2]
	case notTaken.MatchString(m[3]), strings.HasPrefix(m[3], "duplicate"):
		f.What = plain.Replace(m[3])
	case strings.HasPrefix(m[3], "unexpected effect"):
		f.What, f.Want = "unexpected "+clip(got), "want permit or forbid"
	default:
		f.What = "unexpected " + clip(got)
		if want, ok := strings.CutPrefix(m[3], "expected "); ok {
			f.Want = "want " + want
		}
	}
	return f
}

// number reads digits that a regular expression has matched.
func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 1
	}
	return n
}

func clip(s string) string {
	const most = 40
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

func asFindings(err error) Findings {
	var f Findings
	if errors.As(err, &f) {
		return f
	}
	return Findings{{Line: 1, Column: 1, What: err.Error()}}
}
