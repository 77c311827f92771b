package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"
	cast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/keyhold/keyhold/internal/kms"
)

// Limits of one policy. They keep Check within bounded time: the type checker takes time cubic in the number of
// tests and exponential in the nesting of "if".
const (
	MaxBytes      = 16 << 10 // of text
	MaxStatements = 32       // permits and forbids in one policy
	MaxNesting    = 24       // of brackets
	MaxConditions = 8        // when and unless clauses of one statement
	MaxOperators  = 256      // nodes that are not literals, in one statement
	MaxTests      = 32       // has and hasTag in one statement
	MaxIfs        = 6        // if-then-else in one statement
	MaxFindings   = 20       // reported at once
	MaxID         = 63
)

// Policy is one checked policy: one or several permits and forbids under one id.
type Policy struct {
	id         string
	text       string
	statements []*statement
}

// ID is the id it was checked under.
func (p *Policy) ID() string { return p.id }

// Text is what was checked, byte for byte.
func (p *Policy) Text() string { return p.text }

// Statements is the number of permits and forbids.
func (p *Policy) Statements() int { return len(p.statements) }

// Finding is one thing that is wrong with a policy, and where.
type Finding struct {
	Line   int    // from 1
	Column int    // in characters, from 1
	What   string // what is wrong
	Want   string // what would be right; may be empty
}

func (f Finding) String() string {
	s := fmt.Sprintf("line %d, column %d: %s", f.Line, f.Column, f.What)
	if f.Want != "" {
		s += ": " + f.Want
	}
	return s
}

// Findings are all that is wrong with a policy: at least one, at most MaxFindings. They are the cause of the error that
// Check returns, for callers that present them one by one (errors.As).
type Findings []Finding

func (f Findings) Error() string {
	lines := make([]string, len(f))
	for i, one := range f {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

// Check parses and validates one policy. It refuses, as CodeBadPolicy with every finding, what is not Cedar, what the Schema
// does not know, what could fail while it is evaluated, and what could never take effect (a name in the wrong place, for
// which Cedar's "in" and "==" would silently be false).
//
// The id is of the form [a-z0-9][a-z0-9-]{0,62}. The statements of a policy with several are called id#1, id#2, …
func Check(id string, text []byte) (*Policy, error) {
	if _, err := kms.ParseNamespace(id); err != nil {
		return nil, kms.Errorf(kms.CodeBadName, "the id of a policy has 1 to %d of a-z, 0-9 and '-', not starting with '-'", MaxID)
	}
	if len(text) > MaxBytes {
		return nil, kms.Errorf(kms.CodeTooLarge, "the policy has %d bytes, the limit is %d: divide it into several", len(text), MaxBytes)
	}
	if !utf8.Valid(text) {
		return nil, refused(id, Findings{{Line: 1, Column: 1, What: "the text is not UTF-8"}})
	}
	statements, err := parse(id, text)
	if err != nil {
		return nil, refused(id, asFindings(err))
	}
	var found Findings
	for _, s := range statements {
		found = append(found, inspect(s)...)
	}
	if len(found) > 0 {
		return nil, refused(id, found)
	}
	for _, s := range statements {
		if s.context {
			s.bound = cedar.NewPolicyFromAST((*cast.Policy)(s.anyContext(s.tree())))
		}
	}
	return &Policy{id: id, text: string(text), statements: statements}, nil
}

func refused(id string, found Findings) error {
	slices.SortFunc(found, func(a, b Finding) int {
		return compare(a.Line, b.Line, a.Column, b.Column, a.What, b.What)
	})
	found = slices.Compact(found)
	if len(found) > MaxFindings {
		found = found[:MaxFindings]
	}
	return kms.Errorf(kms.CodeBadPolicy, "policy %s: %s", id, strings.ReplaceAll(found.Error(), "\n", "; ")).Because(found)
}

func compare(al, bl, ac, bc int, at, bt string) int {
	if al != bl {
		return al - bl
	}
	if ac != bc {
		return ac - bc
	}
	return strings.Compare(at, bt)
}

// parse reads statements within the limits. The error is Findings.
func parse(id string, text []byte) ([]*statement, error) {
	tokens := lex(string(text))
	if f := checkNesting(tokens); f != nil {
		return nil, f
	}
	list, err := cedar.NewPolicyListFromBytes(id, text)
	if err != nil {
		return nil, Findings{locateSyntax(err, tokens)}
	}
	if len(list) == 0 {
		return nil, Findings{{Line: 1, Column: 1, What: "the policy is empty", Want: "write a permit or a forbid"}}
	}
	if len(list) > MaxStatements {
		return nil, Findings{{Line: 1, Column: 1, What: fmt.Sprintf("the policy has %d statements, the limit is %d", len(list), MaxStatements), Want: "divide it into several policies"}}
	}
	out := make([]*statement, len(list))
	for i, p := range list {
		tree := (*xast.Policy)(p.AST())
		end := len(text)
		if i+1 < len(list) {
			end = list[i+1].Position().Offset
		}
		s := &statement{
			id: types.PolicyID(id), policy: p, permit: tree.Effect == xast.EffectPermit,
			line: tree.Position.Line, column: tree.Position.Column,
			text: strings.TrimSpace(string(text[tree.Position.Offset:end])),
		}
		if len(list) > 1 {
			s.id = types.PolicyID(fmt.Sprintf("%s#%d", id, i+1))
		}
		if f := checkSize(s, tree); f != nil {
			return nil, f
		}
		s.readScope(tree)
		s.context, s.action, s.principal = reads(tree, "context"), reads(tree, "action"), reads(tree, "principal")
		s.sight, s.facts = sightOf(tree), readsFacts(tree)
		s.bound = p
		out[i] = s
	}
	return out, nil
}

// checkNesting refuses text that would take the parser deeper than MaxNesting.
func checkNesting(tokens []token) error {
	depth, run := 0, 0
	for _, t := range tokens {
		switch t.text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		}
		switch t.text { // runs of prefix operators and of chained accesses nest as well
		case "!", "-", "if", ".":
			run++
		case "&&", "||", ";", ",", "==":
			run = 0
		}
		if depth > MaxNesting || run > MaxOperators {
			return Findings{{Line: t.line, Column: t.column, What: fmt.Sprintf("nested deeper than %d", MaxNesting), Want: "divide the policy into several"}}
		}
	}
	return nil
}

// checkSize refuses statements that would take the type checker too long.
func checkSize(s *statement, tree *xast.Policy) error {
	operators, tests, ifs := 0, 0, 0
	for _, c := range tree.Conditions {
		xast.Inspect(xast.NewNode(c.Body), func(n xast.IsNode) bool {
			switch n.(type) {
			case xast.NodeValue:
				return true
			case xast.NodeTypeHas, xast.NodeTypeHasTag:
				tests++
			case xast.NodeTypeIfThenElse:
				ifs++
			}
			operators++
			return true
		})
	}
	for _, limit := range []struct {
		is, most int
		what     string
	}{
		{len(tree.Conditions), MaxConditions, "when and unless clauses"},
		{operators, MaxOperators, "operators and attributes"},
		{tests, MaxTests, "has and hasTag tests"},
		{ifs, MaxIfs, "if-then-else expressions"},
	} {
		if limit.is > limit.most {
			return Findings{{Line: s.line, Column: s.column,
				What: fmt.Sprintf("the statement has %d %s, the limit is %d", limit.is, limit.what, limit.most), Want: "divide it into several"}}
		}
	}
	return nil
}

// reads tells whether a condition mentions a variable.
func reads(tree *xast.Policy, variable types.String) bool {
	for _, c := range tree.Conditions {
		if mentions(c.Body, variable) {
			return true
		}
	}
	return false
}

func mentions(n xast.IsNode, variable types.String) bool {
	found := false
	xast.Inspect(xast.NewNode(n), func(n xast.IsNode) bool {
		if v, ok := n.(xast.NodeTypeVariable); ok && v.Name == variable {
			found = true
		}
		return !found
	})
	return found
}

// inspect tells everything that is wrong with a parsed statement.
func inspect(s *statement) Findings {
	place := newPlace(s)
	found := lint(s, place)
	if len(s.resourceTypes()) == 0 {
		return found // no type of resource to check the conditions for
	}
	linted := len(found) > 0
	for _, f := range typecheck(s, place) {
		// Beside lint's findings, only what certainly is not a consequence of them.
		if !linted || f.Want != "" && !slices.ContainsFunc(found, f.samePlace) {
			found = append(found, f)
		}
	}
	return found
}

func (f Finding) samePlace(o Finding) bool { return f.Line == o.Line && f.Column == o.Column }
