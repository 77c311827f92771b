package policy

import (
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/keyhold/keyhold/internal/kms"
)

// MaxNamed is how many policies a decision names.
const MaxNamed = 8

// The times that can be decided about. They bound what arithmetic with the time can give: see span.go.
var (
	minNow = time.Unix(0, 0)
	maxNow = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
)

// Request is what is asked.
type Request struct {
	Principal *Principal
	Action    kms.Action
	Resource  *Resource
	Now       time.Time
	Remote    netip.Addr // invalid on the local socket
	Dialect   kms.Dialect
	Context   kms.Context // the encryption context
	Region    string      // of the request; empty: none
	Alias     string      // by which the request names the key; empty: it does not
	Asks      Teller      // what the request says of itself; nil: nothing
}

// Decision is the answer.
type Decision struct {
	Allowed   bool
	Code      kms.Code // 0 if allowed; CodeDenied, CodeDuties or CodeOutsideScope
	Policies  []string // the ids of those that decided, at most MaxNamed; built-in rules start with "keyhold:"
	Errors    []string // for the log alone; at most MaxNamed
	Cacheable bool     // the same for this principal, action, resource and these rules at any time, from anywhere, with any context
	PolicyRev kms.Rev
}

// Decide answers a request. Whatever cannot be evaluated without an error is denied.
func (r *Rules) Decide(q Request) Decision {
	var v verdict
	r.judge(&v, q)
	return v.Decision
}

// verdict is a decision with everything that led to it. It serves Cedar's evaluator the matching policies and the three
// entities of the request from where they are: no map is built for a decision.
type verdict struct {
	Decision
	q        Request
	list     []*statement
	room     [16]*statement
	bounds   bool // yield the statements as judged for any context
	closed   bool // only what belongs to the key permits
	facts    Facts
	pick     func(*statement) bool
	tags     types.Entity // of the encryption context, built when a policy reads it
	hasTags  bool
	diag     cedar.Diagnostic
	allowing []cedar.DiagnosticReason // what separation of duties then overrode
	managing kms.Action               // what separation of duties found this principal may do
	problem  string                   // why nothing could be evaluated
}

func (r *Rules) judge(v *verdict, q Request) {
	v.PolicyRev, v.Code, v.q = r.rev, kms.CodeDenied, q
	if v.problem = r.unfit(q); v.problem != "" {
		v.Errors = []string{v.problem}
		return
	}
	if !q.Principal.scope.empty() && !q.Principal.scope.has(q.Action) {
		v.Code, v.Policies, v.Cacheable = kms.CodeOutsideScope, []string{ruleScope}, true
		return
	}
	own := r.hears(q.Principal, q.Action)
	v.list = r.matching(v.room[:0], q.Principal, q.Resource, maskOf(q.Action), own)
	reads, facts := false, false
	if own {
		reads, facts = q.Resource.own.reading(q.Action)
	}
	for _, s := range v.list {
		reads, facts = reads || s.context, facts || s.facts
	}
	v.Cacheable = !reads
	var context types.Record
	if reads {
		context = v.context(facts)
	}
	v.closed = v.closes(q.Action, context, own)
	v.settle(v.evaluate(q.Action, context))
	if v.Allowed && r.settings.SeparationOfDuties && q.Action.Group() == kms.UseGroup && q.Action.OnKey() {
		r.judgeDuties(v, own)
	}
}

// unfit tells why a request cannot be evaluated at all.
func (r *Rules) unfit(q Request) string {
	switch {
	case q.Principal == nil:
		return "the request has no principal"
	case q.Resource == nil:
		return "the request has no resource"
	case q.Principal.bad != "":
		return q.Principal.bad
	case q.Resource.bad != "":
		return q.Resource.bad
	case len(q.Principal.keys) == 0 || len(q.Resource.keys) == 0:
		return "principal or resource was not prepared"
	case q.Action.Group() == 0:
		return "there is no such action"
	case q.Action.OnKey() != q.Resource.isKey:
		return q.Action.String() + " does not act on " + q.Resource.String()
	case q.Resource.namespace != r.namespace:
		return "these are the rules of another namespace"
	case q.Now.Before(minNow) || q.Now.After(maxNow):
		return "the time is out of range"
	case q.Context.Check() != nil:
		return "the encryption context is too large"
	}
	return ""
}

// context is the request's context as Cedar sees it, with all that is known of the request or without.
func (v *verdict) context(facts bool) types.Record {
	q := &v.q
	m := types.RecordMap{
		"now":        types.NewDatetime(q.Now),
		"dialect":    types.String(q.Dialect.String()),
		"encryption": encryptionUID,
	}
	if q.Remote.IsValid() {
		a := q.Remote.Unmap().WithZone("")
		m["source_ip"] = types.IPAddr(netip.PrefixFrom(a, a.BitLen()))
	}
	if facts {
		v.addFacts(m)
	}
	return types.NewRecord(m)
}

var encryptionUID = types.NewEntityUID(typeEncryption, "request")

func (v *verdict) evaluate(action kms.Action, context types.Record) (cedar.Decision, cedar.Diagnostic) {
	return cedar.Authorize(v, v, cedar.Request{
		Principal: v.q.Principal.entity.UID,
		Action:    theVocabulary().uids[action],
		Resource:  v.q.Resource.entity.UID,
		Context:   context,
	})
}

// settle turns Cedar's answer into ours: an error anywhere is a refusal.
func (v *verdict) settle(answer cedar.Decision, diag cedar.Diagnostic) {
	v.diag = diag
	v.Allowed, v.Code, v.Policies = false, kms.CodeDenied, nil
	if len(diag.Errors) > 0 {
		for _, e := range diag.Errors {
			v.name(e.PolicyID)
			if len(v.Errors) < MaxNamed {
				v.Errors = append(v.Errors, e.String())
			}
		}
		return
	}
	for _, reason := range diag.Reasons {
		v.name(reason.PolicyID)
	}
	if answer == cedar.Allow {
		v.Allowed, v.Code = true, 0
	}
}

func (v *verdict) name(id types.PolicyID) {
	if len(v.Policies) < MaxNamed && !slices.Contains(v.Policies, string(id)) {
		v.Policies = append(v.Policies, string(id))
	}
}

// All yields the matching policies under their real ids.
func (v *verdict) All() iter.Seq2[types.PolicyID, *cedar.Policy] { return v.yield }

func (v *verdict) yield(yield func(types.PolicyID, *cedar.Policy) bool) {
	for _, s := range v.list {
		if v.pick != nil && !v.pick(s) || v.closed && s.permit && !s.ofKey {
			continue
		}
		p := s.policy
		if v.bounds {
			p = s.bound
		}
		if !yield(s.id, p) {
			return
		}
	}
}

// Get finds the entities of the request. Ancestors are parents of these and have no attributes: they are never needed.
func (v *verdict) Get(uid types.EntityUID) (types.Entity, bool) {
	switch uid {
	case v.q.Principal.entity.UID:
		return v.q.Principal.entity, true
	case v.q.Resource.entity.UID:
		return v.q.Resource.entity, true
	case encryptionUID:
		return v.encryption(), true
	}
	if uid.Type == typeAction {
		if a, ok := actionOf(uid); ok {
			return theVocabulary().action[a], true
		}
	}
	return v.folded(uid)
}

func actionOf(uid types.EntityUID) (kms.Action, bool) {
	a, ok := theVocabulary().byName[string(uid.ID)]
	return a, ok
}

func (v *verdict) encryption() types.Entity {
	if !v.hasTags {
		tags := make(types.RecordMap, len(v.q.Context))
		for name, value := range v.q.Context {
			tags[types.String(name)] = types.String(value)
		}
		v.tags = types.Entity{UID: encryptionUID, Tags: types.NewRecord(tags)}
		v.hasTags = true
	}
	return v.tags
}
