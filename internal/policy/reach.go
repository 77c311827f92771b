package policy

import (
	"sync"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/keyhold/keyhold/internal/kms"
)

// useMask is every action that using a key consists of.
var useMask = sync.OnceValue(func() mask {
	var m mask
	for _, a := range kms.AllActions() {
		if a.Group() == kms.UseGroup && a.OnKey() {
			m = m.or(maskOf(a))
		}
	}
	return m
})

// Reach is what a principal could do with a key, at some time and from somewhere.
type Reach struct {
	Uses    bool // any action of the use group
	Manages bool // any action of the manage group
}

// Reach answers what a principal could do with a key under some request context: what is permitted at another hour, or from another address, counts, and
// only what is forbidden at every hour does not. The key's own state is not looked at, except by policies.
func (r *Rules) Reach(p *Principal, on *Resource) Reach {
	if r.unfit(Request{Principal: p, Resource: on, Action: kms.Encrypt, Now: minNow}) != "" {
		return Reach{}
	}
	manages := r.could(p, on, manageMask())
	reach := Reach{Manages: manages && r.could(p, on, p.within(manageMask()))}
	// Separation of duties goes by what the principal may manage, whatever the scope of the token that it asks with.
	reach.Uses = !(manages && r.settings.SeparationOfDuties) && r.could(p, on, p.within(useMask()))
	return reach
}

// within are those of some actions that the principal's scope has.
func (p *Principal) within(actions mask) mask {
	if p.scope.empty() {
		return actions
	}
	return actions.and(p.scope)
}

// could tells whether any of some actions is permitted under some context.
func (r *Rules) could(p *Principal, on *Resource, wanted mask) bool {
	if wanted.empty() {
		return false
	}
	v := verdict{q: Request{Principal: p, Resource: on}, bounds: true}
	hears := r.hears(p, wanted.first())
	v.list = r.matching(v.room[:0], p, on, wanted, hears)
	if wanted.first().Group() == kms.ManageGroup {
		v.list = notGrants(v.list)
	}
	reach := v.permittedOf(wanted)
	for a := reach.first(); a != 0; a = reach.first() {
		reach = reach.without(a)
		v.pick = func(s *statement) bool { return s.actions.has(a) }
		v.closed = v.closes(a, types.Record{}, hears)
		if answer, diag := v.evaluate(a, types.Record{}); answer == cedar.Allow && len(diag.Errors) == 0 {
			return true
		}
	}
	return false
}
