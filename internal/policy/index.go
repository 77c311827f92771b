package policy

import (
	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/keyhold/keyhold/internal/kms"
)

// statement is one permit or forbid, compiled, with what its syntax tree says about it.
type statement struct {
	id        types.PolicyID
	policy    *cedar.Policy
	bound     *cedar.Policy // the same, judged for any context: see bound.go
	permit    bool
	context   bool  // a condition reads the context
	action    bool  // a condition reads the action
	principal bool  // a condition reads the principal
	facts     bool  // a condition reads what only Facts tell
	ofKey     bool  // it belongs to one key
	grant     bool  // it is of a grant
	sight     sight // what conditions can tell keys by
	actions   mask  // that its scope can match
	resource  types.EntityUID
	caller    types.EntityUID // zero: any
	line      int
	column    int
	text      string
}

// tree is the syntax tree. It must not be changed.
func (s *statement) tree() *xast.Policy { return (*xast.Policy)(s.policy.AST()) }

func (s *statement) readScope(p *xast.Policy) {
	switch sc := p.Principal.(type) {
	case xast.ScopeTypeEq:
		s.caller = sc.Entity
	case xast.ScopeTypeIn:
		s.caller = sc.Entity
	case xast.ScopeTypeIsIn:
		s.caller = sc.Entity
	}
	switch sc := p.Resource.(type) {
	case xast.ScopeTypeEq:
		s.resource = sc.Entity
	case xast.ScopeTypeIn:
		s.resource = sc.Entity
	case xast.ScopeTypeIsIn:
		s.resource = sc.Entity
	}
	covers := theVocabulary().actions
	switch sc := p.Action.(type) {
	case xast.ScopeTypeEq:
		if a, err := kms.ParseAction(string(sc.Entity.ID)); err == nil { // a group equals no action
			s.actions = maskOf(a)
		}
	case xast.ScopeTypeIn:
		s.actions = covers[string(sc.Entity.ID)]
	case xast.ScopeTypeInSet:
		for _, e := range sc.Entities {
			s.actions = s.actions.or(covers[string(e.ID)])
		}
	default:
		s.actions = maskOf(kms.AllActions()...)
	}
}

// index finds the statements whose scope can match a request: by the resource they name (or any), below it by
// the principal they name (or any), below that by action. Scopes are read from the syntax tree, never from text.
type index struct {
	all     []*statement
	buckets map[types.EntityUID]map[types.EntityUID][]*statement
}

func newIndex() *index {
	return &index{buckets: map[types.EntityUID]map[types.EntityUID][]*statement{}}
}

// add files a statement and tells how many are now filed in the same place.
func (ix *index) add(s *statement) int {
	ix.all = append(ix.all, s)
	b := ix.buckets[s.resource]
	if b == nil {
		b = map[types.EntityUID][]*statement{}
		ix.buckets[s.resource] = b
	}
	b[s.caller] = append(b[s.caller], s)
	return len(b[s.caller])
}

// slice appends the statements that can match principal, resource and one of the actions.
func (ix *index) slice(list []*statement, p *Principal, r *Resource, actions mask) []*statement {
	var anything types.EntityUID
	list = fromBucket(list, ix.buckets[anything], p, actions)
	for i := range r.keys {
		list = fromBucket(list, ix.buckets[r.keys[i]], p, actions)
	}
	return list
}

func fromBucket(list []*statement, b map[types.EntityUID][]*statement, p *Principal, actions mask) []*statement {
	if len(b) == 0 {
		return list
	}
	var anyone types.EntityUID
	list = matching(list, b[anyone], actions)
	for i := range p.keys {
		list = matching(list, b[p.keys[i]], actions)
	}
	return list
}

func matching(list, from []*statement, actions mask) []*statement {
	for _, s := range from {
		if !s.actions.and(actions).empty() {
			list = append(list, s)
		}
	}
	return list
}
