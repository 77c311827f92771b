package policy

import (
	"slices"
	"sync"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/keyhold/keyhold/internal/kms"
)

// manageMask is every action that managing a key consists of.
var manageMask = sync.OnceValue(func() mask { return groupMask(kms.ManageGroup) })

// judgeDuties withdraws an allowed use of a key from a principal that may also manage that key: that is permitted, by a
// role or by a policy, any action of the manage group on it. It judges for any context (bound.go): what could be
// permitted at another hour counts, and only what is forbidden at every hour does not.
func (r *Rules) judgeDuties(v *verdict, own bool) {
	manage := manageMask()
	used := v.diag.Reasons
	v.list = notGrants(r.matching(v.room[:0], v.q.Principal, v.q.Resource, manage, own))
	v.bounds, v.closed = true, false
	defer func() { v.pick = nil }()

	reach := v.permittedOf(manage)
	for a := reach.first(); a != 0 && v.Allowed; a = reach.first() {
		reach = reach.without(a)
		v.pick = func(s *statement) bool { return s.actions.has(a) }
		v.closed = v.closes(a, types.Record{}, own)
		answer, diag := v.evaluate(a, types.Record{})
		if len(diag.Errors) > 0 {
			v.settle(answer, diag)
			return
		}
		if answer == cedar.Allow {
			v.allowing, v.diag, v.managing = used, diag, a
			v.Allowed, v.Code, v.Policies = false, kms.CodeDuties, []string{ruleDuties}
			for _, reason := range diag.Reasons {
				v.name(reason.PolicyID)
			}
		}
	}
}

// permittedOf narrows the actions down to those that some permit allows, before any forbid. Most principals have no
// permit to manage at all, and most permits treat all actions alike: they are evaluated once.
func (v *verdict) permittedOf(manage mask) mask {
	var reach, alike mask
	for _, s := range v.list {
		switch {
		case !s.permit:
		case s.action:
			reach = reach.or(s.actions.and(manage)) // its condition asks for the action: each is looked at
		default:
			alike = alike.or(maskOf(s.actions.and(manage).first()))
		}
	}
	for a := alike.first(); a != 0; a = alike.first() {
		alike = alike.without(a)
		v.pick = func(s *statement) bool {
			return s.permit && !s.action && s.actions.and(manage).first() == a
		}
		_, diag := v.evaluate(a, types.Record{})
		for _, e := range diag.Errors {
			reach = reach.or(v.actionsOf(e.PolicyID)) // evaluated again above, where an error denies
		}
		for _, reason := range diag.Reasons {
			reach = reach.or(v.actionsOf(reason.PolicyID))
		}
	}
	return reach.and(manage)
}

func (v *verdict) actionsOf(id types.PolicyID) mask {
	var all mask
	for _, s := range v.list {
		if s.id == id {
			all = all.or(s.actions)
		}
	}
	return all
}

// notGrants leaves out what grants permit: who may make grants of a grant can hand on what is in it and nothing more, which is not managing
// the key.
func notGrants(list []*statement) []*statement {
	return slices.DeleteFunc(list, func(s *statement) bool { return s.grant })
}
