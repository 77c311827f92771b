package policy

import (
	"github.com/cedar-policy/cedar-go/types"

	"github.com/keyhold/keyhold/internal/kms"
)

// Limits of one namespace.
const (
	MaxPolicies = 20_000
	// MaxAlike limits the statements whose scopes name the same principal (or none) and the same resource (or none): all of
	// them are evaluated for one request, at about 0.3 µs each.
	MaxAlike = 500
)

// Settings are a namespace's choices among the built-in guardrails.
type Settings struct {
	// SeparationOfDuties refuses to use a key to whoever may manage it. It is on for every namespace unless it was switched
	// off; the zero value is "off" only so that a stored false means what it says.
	SeparationOfDuties bool
	// Development lets administrators of a development server's namespace operate the server too, so that one token can do
	// everything there.
	Development bool
}

// Rules is everything that decides in one namespace: an immutable snapshot, safe for concurrent use.
type Rules struct {
	namespace kms.Namespace
	settings  Settings
	builtin   *index
	own       *index
	tells     tells
	rev       kms.Rev
}

// Compile makes the rules of a namespace from its checked policies. The revision is that of the newest of them; it goes
// into every decision.
func Compile(ns kms.Namespace, set Settings, policies []*Policy, rev kms.Rev) (*Rules, error) {
	if _, err := kms.ParseNamespace(string(ns)); err != nil {
		return nil, err
	}
	if len(policies) > MaxPolicies {
		return nil, kms.Errorf(kms.CodeTooLarge, "namespace %s has %d policies, the limit is %d", ns, len(policies), MaxPolicies)
	}
	r := &Rules{namespace: ns, settings: set, builtin: theBuiltins(), own: newIndex(), rev: rev,
		tells: tells{named: map[types.EntityType]bool{}, callers: map[types.EntityUID]bool{}}}
	if set.Development {
		for _, s := range theDevelopment() {
			r.own.add(s)
			r.tells.learn(s)
		}
	}
	seen := make(map[string]bool, len(policies))
	for _, p := range policies {
		if p == nil {
			return nil, kms.Errorf(kms.CodeInternal, "namespace %s has a policy that was not checked", ns)
		}
		if seen[p.id] {
			return nil, kms.Errorf(kms.CodeConflict, "namespace %s has two policies with the id %s", ns, p.id)
		}
		seen[p.id] = true
		for _, s := range p.statements {
			r.tells.learn(s)
			if n := r.own.add(s); n > MaxAlike {
				return nil, kms.Errorf(kms.CodeTooLarge,
					"more than %d statements of namespace %s name the same principal and resource in their scope as policy %s: name one or the other, or join conditions with ||", MaxAlike, ns, s.id)
			}
		}
	}
	return r, nil
}

// Namespace is where the rules decide.
func (r *Rules) Namespace() kms.Namespace { return r.namespace }

// Settings are those the rules were made with.
func (r *Rules) Settings() Settings { return r.settings }

// Rev is the revision the rules were made from.
func (r *Rules) Rev() kms.Rev { return r.rev }

// hears tells whether the namespace's own policies have a say: about its own principals, except in what operators do
// to administer it.
func (r *Rules) hears(p *Principal, action kms.Action) bool {
	if p.of.Namespace != r.namespace {
		return false
	}
	reach := operatorReach()
	return !p.operator || !reach.has(action)
}

// matching are the statements whose scope can match.
func (r *Rules) matching(list []*statement, p *Principal, res *Resource, actions mask, own bool) []*statement {
	list = r.builtin.slice(list, p, res, actions)
	if own {
		list = r.own.slice(list, p, res, actions)
		if res.own != nil {
			list = res.own.slice(list, p, actions)
		}
	}
	return list
}
