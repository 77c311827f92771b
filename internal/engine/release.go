package engine

import (
	"context"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
)

// withhold records that an output which was ready is not released.
func (w *work) withhold() error {
	r := w.rec
	r.ID = w.e.newID(w.now)
	r.Time = w.e.now()
	r.Action, r.Outcome, r.Code = kms.Withhold, audit.Withheld, kms.CodeWithheld
	r.Detail = w.rec.Action.String()
	r.Items, r.Versions = nil, nil
	pos, err := w.e.record(&r)
	if err != nil {
		return err
	}
	told := kms.Errorf(kms.CodeWithheld, "the key, the policy or the credential changed while the request ran, and no longer permits it")
	told.Decision = pos.String()
	return told
}

// stands compares what admitted the call with what holds now. The common case is a few atomic reads.
func (w *work) stands(ctx context.Context) bool {
	p, o := w.call.Principal, w.e.open.Load()
	if p.Standing != nil && !p.Standing.Stands() || o == nil || !o.ring.Lease().Valid() {
		return false
	}
	if w.still != nil && !w.still(ctx) {
		return false
	}
	same := o == w.o && !w.rules.ended.Load()
	for i := range w.n {
		same = same && !w.keys[i].Ended()
	}
	if same {
		return true
	}
	return w.readmit(ctx, o)
}

// readmit decides anew on the state as it is now: a change that took nothing away does not cost the caller its answer.
func (w *work) readmit(ctx context.Context, o *opened) bool {
	again := &work{e: w.e, o: o, call: w.call, now: w.e.now()}
	again.rec.Action, again.in = w.rec.Action, w.in
	if again.enterNamespace(ctx) != nil {
		return false
	}
	if w.authorize != nil {
		return w.authorize(again) == nil
	}
	if w.n == 0 {
		return again.authorizeNamespace(w.rec.Action) == nil
	}
	for i := range w.n {
		k := &w.keys[i]
		if again.admitNamed(ctx, kms.RefTo(k.ID), k.alias, k.action, k.need, k.items) != nil {
			return false
		}
	}
	defer again.letGo()
	return w.eachHeld(func(h holding) error {
		_, err := again.version(ctx, h.role, h.number)
		return err
	}) == nil
}
