package policy

import (
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// anyContext rewrites a statement so that it no longer depends on the request's context, erring towards "is permitted": a
// permit then holds where it would hold under some context, a forbid where it would hold under every context.
//
// It works on the boolean structure: a test that reads the context becomes what errs on the wanted side. Should a contrived
// condition lose the test that guards another by that, the whole condition is replaced.
func (s *statement) anyContext(p *xast.Policy) *xast.Policy {
	out := s.boundTree(p)
	if s.validate(out) == nil {
		return out
	}
	out.Conditions = nil
	if p.Effect != xast.EffectPermit {
		out.Conditions = []xast.ConditionType{{Condition: xast.ConditionWhen, Body: xast.Boolean(false).AsIsNode()}}
	}
	return out
}

// boundTree is the statement with each condition bounded, should it lose a test by that or not.
func (s *statement) boundTree(p *xast.Policy) *xast.Policy {
	permit := p.Effect == xast.EffectPermit
	out := *p
	out.Conditions = make([]xast.ConditionType, len(p.Conditions))
	for i, c := range p.Conditions {
		// An unless that is false helps the statement to hold.
		up := permit == (c.Condition == xast.ConditionWhen)
		out.Conditions[i] = xast.ConditionType{Condition: c.Condition, Body: bound(c.Body, up)}
	}
	return &out
}

// bound is n, or where that depends on the context its greatest (up) or least value.
func bound(n xast.IsNode, up bool) xast.IsNode {
	if !mentions(n, "context") {
		return n
	}
	switch n := n.(type) {
	case xast.NodeTypeAnd:
		return xast.NodeTypeAnd{BinaryNode: xast.BinaryNode{Left: bound(n.Left, up), Right: bound(n.Right, up)}}
	case xast.NodeTypeOr:
		return xast.NodeTypeOr{BinaryNode: xast.BinaryNode{Left: bound(n.Left, up), Right: bound(n.Right, up)}}
	case xast.NodeTypeNot:
		return xast.NodeTypeNot{UnaryNode: xast.UnaryNode{Arg: bound(n.Arg, !up)}}
	case xast.NodeTypeIfThenElse:
		if !mentions(n.If, "context") {
			return xast.NodeTypeIfThenElse{If: n.If, Then: bound(n.Then, up), Else: bound(n.Else, up)}
		}
	}
	return xast.Boolean(up).AsIsNode()
}
