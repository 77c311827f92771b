package engine

import (
	"context"
	"crypto/sha256"
	"sync/atomic"
	"weak"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/policy"
	"github.com/keyhold/keyhold/internal/policy/iam"
	"github.com/keyhold/keyhold/internal/records"
)

// Limits of grants. All that one principal holds on a key are looked at for each of its decisions there; how many others there are costs
// nothing.
const (
	maxGrants   = 50_000 // on one key
	maxGrantsOf = 250    // on one key, of one principal
)

// attached is what the engine keeps beside a cached key.
type attached struct {
	key      *kms.Key
	prepared atomic.Pointer[weak.Pointer[policy.Resource]]
	verdicts verdicts
	own      atomic.Pointer[map[string]*policy.Resource] // with the key's policy and one principal's grants; copied on write
}

func attach(k *kms.Key) any { return &attached{key: k} }

// resource is the key as it is decided about. It is larger than the key, and most keys are decided about once for each who uses them: it is
// made when it is needed, and kept until the next collection.
func (a *attached) resource() *policy.Resource {
	if kept := a.prepared.Load(); kept != nil {
		if on := kept.Value(); on != nil {
			return on
		}
	}
	on := policy.PrepareKey(a.key)
	kept := weak.Make(on)
	a.prepared.Store(&kept)
	return on
}

// hasRules tells whether anything belongs to the key that decides about it.
func hasRules(k *kms.Key) bool { return k.HasPolicy || k.Grants > 0 }

// resource is the key as it is decided about for one principal. It is read once for a revision of the key: both count it up.
func (w *work) resource(ctx context.Context, att *attached, k *kms.Key, principal string) (*policy.Resource, error) {
	if !hasRules(k) {
		return att.resource(), nil
	}
	if m := att.own.Load(); m != nil {
		if on := (*m)[principal]; on != nil {
			return on, nil
		}
	}
	on, err := w.ruledResource(ctx, att.resource(), k, principal)
	if err != nil {
		return nil, err
	}
	next := map[string]*policy.Resource{principal: on}
	if m := att.own.Load(); m != nil && len(*m) < maxVerdicts {
		for p, one := range *m {
			next[p] = one
		}
	}
	att.own.Store(&next) // a concurrent one may be lost: it is only a cache
	return on, nil
}

// keyResource is the same for a key that was read and is not in the keyring.
func (w *work) keyResource(ctx context.Context, k *kms.Key, principal string) (*policy.Resource, error) {
	on := policy.PrepareKey(k)
	if !hasRules(k) || k.Rev == 0 { // one that is only planned has no grants yet
		return on, nil
	}
	return w.ruledResource(ctx, on, k, principal)
}

func (w *work) ruledResource(ctx context.Context, on *policy.Resource, k *kms.Key, principal string) (*policy.Resource, error) {
	p, err := w.o.keyPolicy(ctx, k)
	if err != nil {
		return nil, err
	}
	var grants []*policy.Grant
	if k.Grants > 0 {
		all, err := w.o.records.GrantsOf(ctx, k.ID, principal, maxGrantsOf)
		if err != nil {
			return nil, err
		}
		for i := range all {
			grants = append(grants, prepareGrant(&all[i]))
		}
	}
	return on.With(p, grants), nil
}

// keyPolicy reads a key's own policy; nil: it has none, which is the default.
func (o *opened) keyPolicy(ctx context.Context, k *kms.Key) (*policy.KeyPolicy, error) {
	if !k.HasPolicy {
		return nil, nil //nolint:nilnil // the default
	}
	rec, err := o.records.KeyPolicy(ctx, k.ID)
	if err != nil {
		return nil, err
	}
	if rec.Rev == 0 {
		return nil, kms.Errorf(kms.CodeConflict, "the policy of key %q was taken away meanwhile", k.Name)
	}
	p, err := o.rules.keyPolicy(ctx, rec.Account, rec.Text)
	if err != nil {
		// It was valid when it was stored. One that is no longer must not silently fall away: it may forbid.
		return nil, kms.Errorf(kms.CodeBadPolicy, "the stored policy of key %q is no longer valid; nothing is permitted until it is put again", k.Name).Because(err)
	}
	return p, nil
}

// keyPolicy translates the text of a key policy, once for all keys that have the same.
func (b *rulebook) keyPolicy(ctx context.Context, account, text string) (*policy.KeyPolicy, error) {
	return b.keyPolicies.Load(ctx, sha256.Sum256([]byte(account+"\x00"+text)), func(context.Context) (*policy.KeyPolicy, error) {
		return policy.CheckKeyPolicy(account, []byte(text))
	})
}

func prepareGrant(g *records.Grant) *policy.Grant {
	return policy.PrepareGrant(&policy.GrantTerms{ID: g.ID.String(), Grantee: g.Grantee, Operations: g.Operations, Equals: g.Equals, Subset: g.Subset})
}

// Account is the 12-digit number that stands for a namespace in the names of AWS.
func (e *Engine) Account(ns kms.Namespace) string {
	if a := e.cfg.Accounts[ns]; a != "" {
		return a
	}
	return kms.AccountOf(ns)
}

// PrincipalOf is the name of the principal that an ARN of AWS means in an account. CodeBadRequest: it means none that can call.
func PrincipalOf(arn, account string) (string, error) { return iam.PrincipalName(arn, account) }

// PrincipalARN is the ARN of a principal of an account.
func PrincipalARN(name, account string) string { return iam.PrincipalARN(name, account) }
