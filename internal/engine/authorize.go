package engine

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync/atomic"

	"github.com/keyhold/keyhold/internal/cache"
	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/policy"
	"github.com/keyhold/keyhold/internal/records"
)

// maxRules is how many namespaces' compiled rules are held.
const maxRules = 4096

// maxParsed is how many parsed policies are held, so that changing one of thousands does not read all of them anew.
const maxParsed = 32768

// maxKeyPolicies is how many texts of key policies are held translated: most keys of a namespace have one of a few.
const maxKeyPolicies = 4096

// rulebook holds the compiled rules of namespaces.
type rulebook struct {
	records *records.Records
	paths   []kms.Path // of ACL policies
	rules   *cache.Cache[kms.Namespace, *rules]
	parsed  *cache.Cache[[32]byte, *policy.Policy] // by the digest of id and text

	keyPolicies *cache.Cache[[32]byte, *policy.KeyPolicy] // by the digest of account and text
}

// rules is one namespace's snapshot.
type rules struct {
	*policy.Rules
	ns        records.Namespace
	resource  *policy.Resource // the namespace itself
	templates templates
	logins    logins
	ending    bool // it is destroyed, or is going to be
	ended     atomic.Bool
}

func newRulebook(r *records.Records, paths []kms.Path) *rulebook {
	return &rulebook{
		records: r, paths: paths,
		rules: cache.New[kms.Namespace](maxRules,
			func(r *rules) bool { return !r.ended.Load() }, func(r *rules) { r.ended.Store(true) }),
		parsed: cache.New[[32]byte](maxParsed, func(*policy.Policy) bool { return true }, func(*policy.Policy) {}),

		keyPolicies: cache.New[[32]byte](maxKeyPolicies, func(*policy.KeyPolicy) bool { return true }, func(*policy.KeyPolicy) {}),
	}
}

// get answers a namespace's rules; CodeNotFound if there is no such namespace.
func (b *rulebook) get(ctx context.Context, ns kms.Namespace) (*rules, error) {
	return b.rules.Load(ctx, ns, func(ctx context.Context) (*rules, error) {
		n, err := b.records.Namespace(ctx, ns)
		if err != nil {
			return nil, err
		}
		if n.Rev == 0 {
			return nil, kms.Errorf(kms.CodeNotFound, "there is no namespace %q", ns)
		}
		policies, err := b.policies(ctx, ns)
		if err != nil {
			return nil, err
		}
		made, err := b.templates(ctx, ns)
		if err != nil {
			return nil, err
		}
		at, err := b.logins(ctx, ns)
		if err != nil {
			return nil, err
		}
		compiled, err := policy.Compile(ns, policy.Settings{SeparationOfDuties: n.SeparationOfDuties, Development: n.Dev}, policies, n.Rev)
		if err != nil {
			return nil, err
		}
		return &rules{Rules: compiled, ns: n, resource: policy.PrepareNamespace(ns), templates: made, logins: at, ending: ending(&n) != nil}, nil
	})
}

func (b *rulebook) policies(ctx context.Context, ns kms.Namespace) ([]*policy.Policy, error) {
	var all []*policy.Policy
	for after := ""; ; {
		page, next, err := b.records.Policies(ctx, ns, after, 500)
		if err != nil {
			return nil, err
		}
		for _, p := range page {
			parsed, err := b.parsed.Load(ctx, policyDigest(&p), func(context.Context) (*policy.Policy, error) {
				read, _, err := b.read(&p, true)
				return read, err
			})
			if err != nil {
				// Stored policies were valid when stored. One that is no longer must not silently fall away: it may forbid.
				return nil, kms.Errorf(kms.CodeBadPolicy, "the stored policy %q of namespace %q is no longer valid; nothing is permitted until it is put again or deleted", p.ID, ns).Because(err)
			}
			all = append(all, parsed)
		}
		if next == "" {
			return all, nil
		}
		after = next
	}
}

// policyDigest is of all that the meaning of a policy comes from.
func policyDigest(p *records.Policy) [32]byte {
	all := strings.Join([]string{p.ID, p.Language, p.Account, strings.Join(p.Principals, "\x01"), strings.Join(p.Groups, "\x01"), p.Text}, "\x00")
	return sha256.Sum256([]byte(all))
}

func (b *rulebook) forget(t records.Touch) {
	switch t.Kind {
	case records.TouchNamespace, records.TouchPolicy:
		b.rules.Forget(t.Namespace)
	case records.TouchAll:
		b.rules.Clear()
	case records.TouchKey, records.TouchVersion, records.TouchName, records.TouchToken, records.TouchCredential, records.TouchAccessKey, records.TouchRole:
	}
}

// verdicts remembers decisions that depend on nothing but principal, action, key and rules: a list that is copied on write, so that reading it
// takes no lock. Most keys have few, for which a map takes ten times the memory.
type verdicts struct {
	list atomic.Pointer[[]verdict]
}

const maxVerdicts = 64 // principal × action pairs of one key; beyond, start afresh

type verdictAt struct {
	principal *kms.Principal
	action    kms.Action
}

type verdict struct {
	at       verdictAt
	rules    *rules
	decision *policy.Decision
}

func (v *verdicts) get(at verdictAt, r *rules) (d policy.Decision, ok bool) {
	list := v.list.Load()
	if list == nil {
		return d, false
	}
	for i := range *list {
		if one := &(*list)[i]; one.at == at {
			if one.rules != r {
				return d, false
			}
			return *one.decision, true
		}
	}
	return d, false
}

func (v *verdicts) put(at verdictAt, r *rules, d policy.Decision) {
	next := []verdict{{at, r, &d}}
	if list := v.list.Load(); list != nil && len(*list) < maxVerdicts {
		next = make([]verdict, 1, 1+len(*list))
		next[0] = verdict{at, r, &d}
		for _, old := range *list {
			if old.rules == r && old.at != at { // of other rules, and so of ended principals after a change, nothing is kept
				next = append(next, old)
			}
		}
	}
	v.list.Store(&next) // a concurrent put may be lost: it is only a cache
}

// enterNamespace finds the rules of the call's namespace. A namespace that does not exist is refused like one that the
// caller has no rights in.
func (w *work) enterNamespace(ctx context.Context) error {
	r, err := w.o.rules.get(ctx, w.call.Namespace)
	if err != nil {
		if kms.CodeOf(err) == kms.CodeNotFound {
			if w.call.Principal.Has(kms.RoleOperator) {
				return err
			}
			return denied(w.call, w.rec.Action)
		}
		return err
	}
	w.rules = r
	w.rec.PolicyRev = r.ns.Rev
	if r.ending {
		return w.admits(r)
	}
	return nil
}

// authorizeKey decides an action on a key, or on a key of that name that does not exist (k is nil), for every item's
// context: a decision that depends on the context is made for each of them.
func (w *work) authorizeKey(ctx context.Context, k *keyring.Key, ref kms.Ref, a kms.Action, its items) error {
	if k == nil {
		return w.authorizeItems(policy.PrepareMissing(w.call.Namespace, ref), a, its, nil)
	}
	att := k.Attached.(*attached) //nolint:errcheck,forcetypeassert // attach makes every one of them
	at := verdictAt{w.call.Principal, a}
	if d, ok := att.verdicts.get(at, w.rules); ok {
		return w.verdict(d, a)
	}
	on, err := w.resource(ctx, att, &k.Key, w.call.Principal.Name)
	if err != nil && !(a == kms.PutKeyPolicy && kms.CodeOf(err) == kms.CodeBadPolicy) {
		return err
	}
	if err != nil { // who may write policies without it can put a better one in its place
		on = att.resource()
	}
	return w.authorizeItems(on, a, its, func(d policy.Decision) { att.verdicts.put(at, w.rules, d) })
}

func (w *work) authorizeItems(on *policy.Resource, a kms.Action, its items, remember func(policy.Decision)) error {
	d := w.decide(on, a, its.first())
	if d.Cacheable && remember != nil {
		remember(d)
	}
	if err := w.verdict(d, a); err != nil || d.Cacheable {
		return err
	}
	for i := 1; i < its.n; i++ {
		c, _ := its.at(i)
		if err := w.verdict(w.decide(on, a, c), a); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) authorizeNamespace(a kms.Action) error {
	return w.verdict(w.decide(w.rules.resource, a, nil), a)
}

func (w *work) decide(on *policy.Resource, a kms.Action, kctx kms.Context) policy.Decision {
	return w.rules.Decide(w.request(w.call.Principal, on, a, kctx))
}

func (w *work) request(p *kms.Principal, on *policy.Resource, a kms.Action, kctx kms.Context) policy.Request {
	asks, _ := w.in.(policy.Teller)
	return policy.Request{
		Principal: policy.PreparePrincipal(p), Action: a, Resource: on, Now: w.now,
		Remote: w.call.Remote.Addr(), Dialect: w.call.Dialect, Context: kctx,
		Region: w.call.Region, Alias: w.alias, Asks: asks,
	}
}

func (w *work) verdict(d policy.Decision, a kms.Action) error {
	w.rec.Policies = d.Policies
	if len(d.Errors) > 0 {
		w.e.log.Warn("policy_evaluation_failed", "namespace", string(w.call.Namespace), "action", a.String(), "errors", d.Errors)
	}
	if d.Allowed {
		return nil
	}
	switch d.Code {
	case kms.CodeDuties:
		return kms.Errorf(kms.CodeDuties, "%s is refused: who manages a key may not use it in namespace %q", a, w.call.Namespace)
	case kms.CodeOutsideScope:
		return kms.Errorf(kms.CodeOutsideScope, "the credential's scope does not include %s", a)
	default:
		return denied(w.call, a)
	}
}

func denied(c *kms.Call, a kms.Action) error {
	return kms.Errorf(kms.CodeDenied, "%s is not allowed to %s on this resource in namespace %q", c.Principal.Name, a, c.Namespace)
}
