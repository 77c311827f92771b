package acl

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/token"
)

// Limits of a document.
const (
	MaxBytes    = 32 << 10 // of text
	MaxPaths    = 256
	MaxFindings = 20  // reported at once
	maxPath     = 512 // bytes of one path
	maxDepth    = 16  // of brackets in one another: a path has three
)

// Finding is one thing that is wrong with a document, and where.
type Finding struct {
	Line   int // from 1
	Column int // in bytes, from 1
	What   string
	Want   string // what would be right; may be empty
}

// Findings are all that is wrong with a document, at most MaxFindings.
type Findings []Finding

func (f Findings) Error() string {
	lines := make([]string, len(f))
	for i, one := range f {
		lines[i] = fmt.Sprintf("line %d, column %d: %s", one.Line, one.Column, one.What)
		if one.Want != "" {
			lines[i] += ": " + one.Want
		}
	}
	return strings.Join(lines, "\n")
}

// The capabilities. Sudo and scan mean nothing here: there is nothing that they are asked for.
const (
	Create = "create"
	Read   = "read"
	Update = "update"
	Delete = "delete"
	List   = "list"
	Patch  = "patch"
	Deny   = "deny"
	Sudo   = "sudo"
	Scan   = "scan"
)

var capabilities = []string{Create, Read, Update, Delete, List, Patch, Deny, Sudo, Scan}

// old are the permissions that a path had before it had capabilities.
var old = map[string][]string{"deny": {Deny}, "read": {Read, List}, "write": {Create, Read, Update, Delete, List}, "sudo": {Create, Read, Update, Delete, List, Sudo}}

// rule is one path of a document, with what it permits.
type rule struct {
	path string // as it is written, without a slash in front
	at   token.Pos
	can  []string
}

func (r *rule) has(capability string) bool { return slices.Contains(r.can, capability) }

// reader reads one document.
type reader struct{ found Findings }

func (r *reader) report(at token.Pos, what, want string) {
	if len(r.found) < MaxFindings {
		r.found = append(r.found, Finding{Line: max(at.Line, 1), Column: max(at.Column, 1), What: what, Want: want})
	}
}

// read gives the rules of a document, one for each path: the capabilities of a path that stands twice add up, as in Vault.
func read(doc []byte) ([]rule, Findings) {
	r := &reader{}
	top := token.Pos{Line: 1, Column: 1}
	switch {
	case len(doc) > MaxBytes:
		r.report(top, fmt.Sprintf("the policy has %d bytes, the limit is %d", len(doc), MaxBytes), "")
		return nil, r.found
	case !utf8.Valid(doc):
		r.report(top, "the policy is not UTF-8", "")
		return nil, r.found
	case deep(doc) > maxDepth:
		r.report(top, fmt.Sprintf("more than %d brackets stand in one another", maxDepth), "")
		return nil, r.found
	}
	list, err := parse(doc)
	if err != nil {
		r.report(top, "this is neither HCL nor JSON: "+clip(err.Error()), `path "transit/encrypt/app" { capabilities = ["update"] }`)
		return nil, r.found
	}
	var rules []rule
	for _, item := range list.Items {
		rules = r.item(rules, item)
	}
	if len(rules) > MaxPaths {
		r.report(top, fmt.Sprintf("the policy has %d paths, the limit is %d", len(rules), MaxPaths), "")
	}
	if len(rules) == 0 && len(r.found) == 0 {
		r.report(top, "the policy names no path", `path "transit/encrypt/app" { capabilities = ["update"] }`)
	}
	return rules, r.found
}

// parse reads HCL or JSON. The library is not known to panic; if it does, the document is refused.
func parse(doc []byte) (list *ast.ObjectList, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it cannot be read")
		}
	}()
	f, err := hcl.ParseBytes(doc)
	if err != nil {
		return nil, err
	}
	list, ok := f.Node.(*ast.ObjectList)
	if !ok {
		return nil, fmt.Errorf("it is not a list of paths")
	}
	return list, nil
}

// deep is how many brackets stand in one another, wherever they stand.
func deep(doc []byte) int {
	now, most := 0, 0
	for _, b := range doc {
		switch b {
		case '{', '[':
			now++
			most = max(most, now)
		case '}', ']':
			now--
		}
	}
	return most
}

// item reads what stands at the top: paths, and a name, which says nothing.
func (r *reader) item(rules []rule, item *ast.ObjectItem) []rule {
	switch name := key(item, 0); {
	case name == "name":
		return rules
	case name != "path":
		r.report(item.Pos(), clip(name)+" is not known here", "a policy is a list of paths")
		return rules
	case len(item.Keys) == 2:
		return r.path(rules, key(item, 1), item)
	}
	inner, ok := item.Val.(*ast.ObjectType) // path = { "…": { … } }, as JSON has it
	if !ok || len(item.Keys) != 1 {
		r.report(item.Pos(), "a path is path \"…\" { … }", "")
		return rules
	}
	for _, one := range inner.List.Items {
		if len(one.Keys) != 1 {
			r.report(one.Pos(), "a path is path \"…\" { … }", "")
			continue
		}
		rules = r.path(rules, key(one, 0), one)
	}
	return rules
}

func key(item *ast.ObjectItem, i int) string {
	if i >= len(item.Keys) {
		return ""
	}
	s, _ := item.Keys[i].Token.Value().(string)
	return s
}

// path reads one path with its block.
func (r *reader) path(rules []rule, path string, item *ast.ObjectItem) []rule {
	one := rule{path: strings.TrimPrefix(path, "/"), at: item.Pos()}
	block, ok := item.Val.(*ast.ObjectType)
	switch {
	case !ok:
		r.report(one.at, "the path has no block", `path "`+clip(path)+`" { capabilities = ["read"] }`)
		return rules
	case one.path == "" || len(one.path) > maxPath:
		r.report(one.at, fmt.Sprintf("a path has 1 to %d bytes", maxPath), "")
		return rules
	case strings.Contains(one.path, "{{"):
		r.report(one.at, "a path with a template cannot be decided on", "write a policy for each group")
		return rules
	case strings.Contains(strings.TrimSuffix(one.path, "*"), "*"):
		r.report(one.at, "a * stands at the end of a path only", "+ stands for one segment")
		return rules
	case slices.ContainsFunc(strings.Split(one.path, "/"), func(s string) bool { return s != "+" && strings.Contains(s, "+") }):
		r.report(one.at, "a + stands for a whole segment", "")
		return rules
	}
	for _, m := range block.List.Items {
		switch name := key(m, 0); name {
		case "capabilities":
			one.can = append(one.can, r.texts(m, capabilities)...)
		case "policy":
			for _, s := range r.texts(m, []string{"deny", "read", "write", "sudo"}) {
				one.can = append(one.can, old[s]...)
			}
		case "comment": // OpenBao
		default:
			r.report(m.Pos(), clip(name)+" cannot be decided on here", "name the keys in the path, and leave it out")
		}
	}
	if at := slices.IndexFunc(rules, func(o rule) bool { return o.path == one.path }); at >= 0 {
		rules[at].can = append(rules[at].can, one.can...)
		return rules
	}
	return append(rules, one)
}

// texts reads a text or a list of them, each of which has to be known.
func (r *reader) texts(m *ast.ObjectItem, known []string) (all []string) {
	one := func(n ast.Node) {
		lit, ok := n.(*ast.LiteralType)
		var s string
		if ok {
			s, ok = lit.Token.Value().(string)
		}
		if !ok || !slices.Contains(known, s) {
			r.report(n.Pos(), clip(s)+" is none of "+strings.Join(known, ", "), "")
			return
		}
		all = append(all, s)
	}
	if list, ok := m.Val.(*ast.ListType); ok {
		for _, n := range list.List {
			one(n)
		}
		return all
	}
	one(m.Val)
	return all
}

// clip shortens a stranger's text before it goes into a message.
func clip(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
