package engine

import (
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/usage"
)

// ObserveInput asks who misses a key, or would.
type ObserveInput struct {
	Key   kms.Ref
	Since time.Time // zero: since its destruction was asked for, or the last day
}

// ObserveOutput names the callers of a key: while it is pending destruction those who were refused because of that, else those who used it.
type ObserveOutput struct {
	Key       kms.ID
	Name      string
	Pending   bool // destruction
	DestroyAt time.Time
	Since     time.Time
	Through   time.Time // of the last audit record that was counted
	Callers   []UserUsage
}

const observeFor = 24 * time.Hour

var observeKey = op[ObserveInput, ObserveOutput]{
	name: kms.ReadUsage,
	roles: []role[ObserveInput]{{action: kms.ReadUsage, need: lifecycle.Read,
		key: func(in *ObserveInput) (kms.Ref, error) { return in.Key, nil }}},
	do: doObserve,
}

// ObserveKey names everybody who was refused because a key is pending destruction; before, everybody who uses it.
func (e *Engine) ObserveKey(ctx context.Context, c kms.Call, in ObserveInput) (ObserveOutput, error) {
	return use(ctx, e, c, &observeKey, &in)
}

func doObserve(ctx context.Context, w *work, in *ObserveInput) (ObserveOutput, error) {
	k := w.keys[0]
	end, err := w.ledgerEnd(ctx)
	if err != nil {
		return ObserveOutput{}, err
	}
	out := ObserveOutput{Key: k.ID, Name: k.Name, Pending: k.Switch == kms.PendingDestruction, DestroyAt: k.DestroyAt, Since: in.Since, Through: end.Time}
	if out.Since.IsZero() {
		out.Since = w.now.Add(-observeFor).UTC()
		if out.Pending {
			r, rev, err := w.o.records.Receipt(ctx, k.Namespace, k.ID)
			if err != nil {
				return ObserveOutput{}, err
			}
			if rev != 0 {
				out.Since = r.Asked
			}
		}
	}
	versions, err := w.usedFor(ctx, k.ID)
	if err != nil {
		return ObserveOutput{}, err
	}
	for i := range versions {
		out.Callers = append(out.Callers, callers(&versions[i], out.Pending, out.Since)...)
	}
	out.Callers = w.discreet(joinUsers(out.Callers))
	return out, nil
}

// callers are the users of a version with what is asked for alone: refusals because of the pending destruction, or uses, the last of them since a moment.
func callers(v *VersionUsage, pending bool, since time.Time) []UserUsage {
	want := kms.Code(0)
	if pending {
		want = kms.CodeKeyPendingDestruction
	}
	var all []UserUsage
	for _, u := range v.Users {
		c := UserUsage{Name: u.Name, Namespace: u.Namespace, Alias: u.Alias, Others: u.Others}
		for _, o := range u.Operations {
			if o.Code != want || o.Last.Before(since) || usage.Moves(o.Action) {
				continue
			}
			c.Operations = append(c.Operations, o)
			c.First, c.Last = first(c.First, o.First), later(c.Last, o.Last)
			if pending {
				c.Refused += o.Count
			} else {
				c.Done += o.Count
			}
		}
		if len(c.Operations) > 0 {
			all = append(all, c)
		}
	}
	return all
}
