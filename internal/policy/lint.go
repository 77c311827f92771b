package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/keyhold/keyhold/internal/kms"
)

// lint refuses what Cedar's type checker lets pass and that could nevertheless fail at run time, or be silently false: an
// attribute of an entity that is never loaded, "in" and "==" against a type that nothing of the kind is in, names of roles,
// actions and values that do not exist, arithmetic that can overflow.
func lint(s *statement, p *place) Findings {
	l := &linter{s: s, place: p}
	tree := s.tree()
	l.scope(tree)
	for _, c := range tree.Conditions {
		xast.Inspect(xast.NewNode(c.Body), func(n xast.IsNode) bool {
			l.node(n)
			return true
		})
		if f, bad := overflows(c.Body); bad {
			l.found = append(l.found, p.at(nil, f, "compare without arithmetic, or with smaller numbers"))
		}
	}
	return l.found
}

type linter struct {
	s     *statement
	place *place
	found Findings
}

func (l *linter) report(words []string, what, want string) {
	l.found = append(l.found, l.place.at(words, what, want))
}

func (l *linter) reportEntity(uid types.EntityUID, what, want string) {
	l.found = append(l.found, l.place.entity(uid, what, want))
}

// relations: which types of entity a variable can equal, and be in. Everything else is silently false.
var relations = map[types.String]struct{ equals, in []types.EntityType }{
	"principal": {[]types.EntityType{typePrincipal}, []types.EntityType{typePrincipal, typeRole, typeGroup}},
	"resource":  {[]types.EntityType{typeKey, typeNamespace}, []types.EntityType{typeKey, typeNamespace, typeName, typeFolder}},
	"action":    {[]types.EntityType{typeAction}, []types.EntityType{typeAction}},
}

func (l *linter) scope(tree *xast.Policy) {
	l.scopeOf("principal", tree.Principal)
	l.scopeOf("action", tree.Action)
	l.scopeOf("resource", tree.Resource)
	if len(l.found) == 0 && len(l.s.resourceTypes()) == 0 {
		l.report([]string{"action"}, "none of these actions acts on such a resource", fmt.Sprintf("%s acts on a %s", l.s.actions.first(), resourceType(l.s.actions.first())))
	}
}

func (l *linter) scopeOf(variable types.String, scope xast.IsScopeNode) {
	switch sc := scope.(type) {
	case xast.ScopeTypeEq:
		l.equals(variable, sc.Entity)
	case xast.ScopeTypeIn:
		l.in(variable, sc.Entity)
	case xast.ScopeTypeInSet:
		if len(sc.Entities) == 0 {
			l.report([]string{"in", "["}, "the list of actions is empty", "name at least one")
		}
		for _, e := range sc.Entities {
			l.in(variable, e)
		}
	case xast.ScopeTypeIs:
		l.is(variable, sc.Type)
	case xast.ScopeTypeIsIn:
		l.is(variable, sc.Type)
		l.in(variable, sc.Entity)
	}
}

func (l *linter) equals(variable types.String, uid types.EntityUID) {
	if !l.entity(uid) {
		return
	}
	switch {
	case !slices.Contains(relations[variable].equals, uid.Type) && slices.Contains(relations[variable].in, uid.Type):
		l.reportEntity(uid, fmt.Sprintf("a %s never equals a %s", variable, uid.Type), fmt.Sprintf("write %s in %s", variable, uid))
	case !slices.Contains(relations[variable].equals, uid.Type):
		l.reportEntity(uid, fmt.Sprintf("a %s never equals a %s", variable, uid.Type), "compare with "+joined(relations[variable].equals))
	case uid.Type == typeAction:
		if _, err := kms.ParseAction(string(uid.ID)); err != nil {
			l.reportEntity(uid, fmt.Sprintf("%s is a group of actions, which no action equals", uid), fmt.Sprintf("write %s in %s", variable, uid))
		}
	}
}

func (l *linter) in(variable types.String, uid types.EntityUID) {
	if l.entity(uid) && !slices.Contains(relations[variable].in, uid.Type) {
		l.reportEntity(uid, fmt.Sprintf("a %s is never in a %s", variable, uid.Type), "it can be in "+joined(relations[variable].in))
	}
}

func (l *linter) is(variable types.String, t types.EntityType) {
	if !slices.Contains(relations[variable].equals, t) {
		l.report([]string{"is", string(t)}, fmt.Sprintf("a %s is never a %s", variable, t), nearest(string(t), names(relations[variable].equals)))
	}
}

// entity checks an entity literal by itself: a type and an id that can exist.
func (l *linter) entity(uid types.EntityUID) bool {
	id := string(uid.ID)
	bad := func(what, want string) bool {
		l.reportEntity(uid, what, want)
		return false
	}
	switch uid.Type {
	case typeRole:
		if !slices.Contains(names(kms.AllRoles()), id) {
			return bad(fmt.Sprintf("there is no role %q", clip(id)), nearest(id, names(kms.AllRoles())))
		}
	case typeAction:
		if _, ok := theVocabulary().actions[id]; !ok {
			return bad(fmt.Sprintf("there is no action %q", clip(id)), nearest(id, append(names(kms.AllGroups()), names(kms.AllActions())...)))
		}
	case typeKey:
		if parsed, ok := kms.ParseID(id); !ok || parsed.String() != id {
			return bad(fmt.Sprintf("%q is not the id of a key in its lower-case form", clip(id)), fmt.Sprintf("by name, write resource in %s", types.NewEntityUID(typeName, uid.ID)))
		}
	case typeName:
		if kms.CheckName(id) != nil {
			return bad(fmt.Sprintf("no key can have the name %q", clip(id)), "letters, digits and . _ / - after a first letter or digit")
		}
	case typeFolder:
		if !validFolder(id) {
			return bad(fmt.Sprintf("no key can be in the folder %q", clip(id)), "write it without / at its start and end")
		}
	case typeNamespace:
		if _, err := kms.ParseNamespace(id); err != nil {
			return bad(fmt.Sprintf("no namespace can have the name %q", clip(id)), "a-z, 0-9 and -")
		}
	case typePrincipal, typeGroup:
		if id == "" {
			return bad(fmt.Sprintf("the %s has no name", uid.Type), "")
		}
	default:
		known := []types.EntityType{typePrincipal, typeRole, typeGroup, typeAction, typeKey, typeName, typeFolder, typeNamespace}
		return bad(fmt.Sprintf("there is no entity type %s to name one of", uid.Type), nearest(string(uid.Type), names(known)))
	}
	return true
}

// resourceTypes are the types that the resource of the statement can have, by its scope.
func (s *statement) resourceTypes() []types.EntityType {
	var actions, out []types.EntityType
	for _, a := range kms.AllActions() {
		if t := resourceType(a); s.actions.has(a) && !slices.Contains(actions, t) {
			actions = append(actions, t)
		}
	}
	for _, t := range actions {
		if s.resourceCanBe(t) {
			out = append(out, t)
		}
	}
	return out
}

func (s *statement) resourceCanBe(t types.EntityType) bool {
	below := func(e types.EntityUID) bool {
		return t == typeKey && e.Type != typeKey || e.Type == t
	}
	switch sc := s.tree().Resource.(type) {
	case xast.ScopeTypeEq:
		return sc.Entity.Type == t
	case xast.ScopeTypeIn:
		return below(sc.Entity)
	case xast.ScopeTypeIs:
		return sc.Type == t
	case xast.ScopeTypeIsIn:
		return sc.Type == t && below(sc.Entity)
	}
	return true
}

// node checks one node of a condition.
func (l *linter) node(n xast.IsNode) {
	switch n := n.(type) {
	case xast.NodeValue:
		if uid, ok := n.Value.(types.EntityUID); ok {
			l.entity(uid)
		}
	case xast.NodeTypeAccess:
		l.rooted(n.Arg, string(n.Value))
	case xast.NodeTypeHas:
		if l.rooted(n.Arg, string(n.Value)) {
			l.has(n)
		}
	case xast.NodeTypeHasTag:
		l.tags(n.Left, n.Right, "hasTag")
	case xast.NodeTypeGetTag:
		l.tags(n.Left, n.Right, "getTag")
	case xast.NodeTypeIn:
		l.inNode(n.Left, n.Right)
	case xast.NodeTypeIs:
		l.isNode(n.Left, n.EntityType)
	case xast.NodeTypeIsIn:
		l.isNode(n.Left, n.EntityType)
		l.inNode(n.Left, n.Entity)
	case xast.NodeTypeEquals:
		l.equality(n.Left, n.Right)
		l.equality(n.Right, n.Left)
	case xast.NodeTypeNotEquals:
		l.equality(n.Left, n.Right)
		l.equality(n.Right, n.Left)
	case xast.NodeTypeLessThan:
		l.order(n.Left, n.Right, "<")
	case xast.NodeTypeLessThanOrEqual:
		l.order(n.Left, n.Right, "<=")
	case xast.NodeTypeGreaterThan:
		l.order(n.Left, n.Right, ">")
	case xast.NodeTypeGreaterThanOrEqual:
		l.order(n.Left, n.Right, ">=")
	case xast.NodeTypeContains:
		if set, ok := n.Left.(xast.NodeTypeSet); ok {
			for _, e := range set.Elements {
				l.equality(n.Right, e)
			}
		}
	}
}

// path is what a chain of attributes starts from and goes through: context.encryption is (context, [encryption]).
func path(n xast.IsNode) (variable types.String, attrs []string, ok bool) {
	switch n := n.(type) {
	case xast.NodeTypeVariable:
		return n.Name, nil, true
	case xast.NodeTypeAccess:
		variable, attrs, ok = path(n.Arg)
		return variable, append(attrs, string(n.Value)), ok
	}
	return "", nil, false
}

// rooted demands that attributes are read of the request's own entities: no others are loaded.
func (l *linter) rooted(n xast.IsNode, attr string) bool {
	if _, _, ok := path(n); ok {
		return true
	}
	l.found = append(l.found, l.place.attr(attr, fmt.Sprintf("the attribute %s is read of something else than principal, resource or context", attr), "nothing else is loaded for a decision"))
	return false
}

func (l *linter) has(n xast.NodeTypeHas) {
	variable, attrs, _ := path(n.Arg)
	var known []string
	switch {
	case variable == "context" && len(attrs) == 0:
		known = attrNames(contextTable())
	case len(attrs) > 0 || variable == "action":
	case variable == "principal":
		known = attrNames(theVocabulary().entities[typePrincipal].attrs)
	default:
		for _, t := range l.s.resourceTypes() {
			known = append(known, attrNames(theVocabulary().entities[t].attrs)...)
		}
	}
	if !slices.Contains(known, string(n.Value)) {
		want := "it has no attributes"
		if len(known) > 0 {
			slices.Sort(known)
			want = nearest(string(n.Value), slices.Compact(known))
		}
		l.found = append(l.found, l.place.attr(string(n.Value), fmt.Sprintf("%s never has the attribute %s", strings.Join(append([]string{string(variable)}, attrs...), "."), clip(string(n.Value))), want))
	}
}

// tags checks hasTag and getTag: of the key or the encryption context, with a name that is simple enough to compare.
func (l *linter) tags(on, name xast.IsNode, method string) {
	variable, attrs, ok := path(on)
	isKey := variable == "resource" && len(attrs) == 0 && slices.Contains(l.s.resourceTypes(), typeKey)
	tagged := []string{"encryption", foldedEncryption, foldedLabels, foldedNewLabels}
	isContext := variable == "context" && len(attrs) == 1 && slices.Contains(tagged, attrs[0])
	if !ok || !isKey && !isContext {
		l.report([]string{method}, "only keys and the encryption context have tags", fmt.Sprintf("resource.%s(…) or context.encryption.%s(…)", method, method))
		return
	}
	if v, ok := name.(xast.NodeValue); ok {
		if _, ok := v.Value.(types.String); ok {
			return
		}
	}
	if _, attrs, ok := path(name); !ok || len(attrs) == 0 {
		l.report([]string{method, "("}, "the name of a tag is neither a string nor an attribute", fmt.Sprintf("%s(\"env\")", method))
	}
}

func (l *linter) inNode(left, right xast.IsNode) {
	variable, attrs, ok := path(left)
	if _, known := relations[variable]; !ok || !known || len(attrs) > 0 {
		l.report([]string{"in"}, "only principal, action and resource are in anything", "no other entity is loaded for a decision")
		return
	}
	entities := []xast.IsNode{right}
	if set, ok := right.(xast.NodeTypeSet); ok {
		entities = set.Elements
	}
	for _, e := range entities {
		uid, ok := literalEntity(e)
		if !ok {
			l.report([]string{"in"}, "the right side of in is not an entity or a list of entities", fmt.Sprintf("%s in %s::\"…\"", variable, relations[variable].in[0]))
			continue
		}
		if !slices.Contains(relations[variable].in, uid.Type) {
			l.in(variable, uid)
		}
	}
}

func (l *linter) isNode(left xast.IsNode, t types.EntityType) {
	variable, attrs, ok := path(left)
	if _, known := relations[variable]; !ok || !known || len(attrs) > 0 {
		l.report([]string{"is"}, "only principal and resource have a type to ask for", "")
		return
	}
	l.is(variable, t)
}

func literalEntity(n xast.IsNode) (types.EntityUID, bool) {
	if v, ok := n.(xast.NodeValue); ok {
		uid, ok := v.Value.(types.EntityUID)
		return uid, ok
	}
	return types.EntityUID{}, false
}

// equality checks a comparison seen from its left side (and is called for both).
func (l *linter) equality(left, right xast.IsNode) {
	variable, attrs, ok := path(left)
	if uid, isLiteral := literalEntity(left); isLiteral {
		if _, a, ok := path(right); !ok || len(a) > 0 {
			l.reportEntity(uid, "an entity is compared with something that it never equals", "compare with principal, action or resource")
		}
		return
	}
	if !ok {
		return
	}
	if len(attrs) == 0 {
		if uid, isLiteral := literalEntity(right); isLiteral && variable != "context" {
			l.equals(variable, uid)
		} else {
			l.report([]string{string(variable)}, fmt.Sprintf("%s is compared with something that it never equals", variable), "compare with one entity")
		}
		return
	}
	if v, ok := right.(xast.NodeValue); ok {
		if text, ok := v.Value.(types.String); ok {
			l.value(variable, attrs, string(text))
		}
	}
}

// order checks that both sides of a comparison are of one kind, which cedar-go's type checker does not: a time compared
// with a number passes it and fails at run time.
func (l *linter) order(left, right xast.IsNode, operator string) {
	a, b := kindOf(left), kindOf(right)
	if a == b && a != noKind {
		return
	}
	l.report([]string{operator}, fmt.Sprintf("%s compares %s with %s", operator, a, b),
		"compare two numbers, two times or two durations")
}

// value checks a literal that an attribute with a closed set of values is compared with.
func (l *linter) value(variable types.String, attrs []string, text string) {
	if len(attrs) != 1 {
		return
	}
	var of []attribute
	switch variable {
	case "context":
		of = contextTable()
	case "principal":
		of = theVocabulary().entities[typePrincipal].attrs
	case "resource":
		of = theVocabulary().entities[typeKey].attrs
	}
	for _, a := range of {
		if a.name == attrs[0] && a.values != nil && !slices.Contains(a.values, text) {
			l.report([]string{fmt.Sprintf("%q", text)}, fmt.Sprintf("%s.%s is never %q", variable, a.name, clip(text)), nearest(text, a.values))
		}
	}
}
