package engine

import (
	"context"
	"errors"

	"golang.org/x/time/rate"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// direct runs a change that no policy decides, because its authority is something else: the local socket before there is
// anybody to ask, a one-time code, a quorum of shares, or the clock. It commits and records like every other change.
func (e *Engine) direct(ctx context.Context, o *opened, c kms.Call, a kms.Action, do func(*work, *records.Tx) error) error {
	return e.directly(ctx, o, c, a, nil, do)
}

// directly is direct for what has something to prepare outside the transaction, such as key material. errGone, errLeaseLost and errStale are answered as they are: nothing
// happened, and nobody asked.
func (e *Engine) directly(ctx context.Context, o *opened, c kms.Call, a kms.Action, prepare func(*work) error, do func(*work, *records.Tx) error) error {
	w := &work{e: e, call: &c, now: e.now(), o: o}
	o.users.Add(1)
	defer w.end()
	p := *system
	if c.Principal != nil {
		p = *c.Principal
	}
	if p.Alias == [16]byte{} {
		o.identify(&p)
	}
	c.Principal = &p
	w.begin(a)
	var done committed
	var err error
	if prepare != nil {
		w.claim() // before anything is wrapped; it ends with the work
		if err := prepare(w); quiet(err) {
			return err
		} else if err != nil {
			return w.fail(err)
		}
	}
	clearing := e.outbox.take(clearWith)
	done.rev, done.touched, err = o.records.Update(context.WithoutCancel(ctx), func(tx *records.Tx) error {
		w.rec.Detail, w.rec.PrevChange, w.stamp, w.rec.Keys = "", [32]byte{}, nil, nil
		if err := do(w, tx); err != nil {
			return err
		}
		if c.DryRun {
			return errDry
		}
		w.rec.Outcome, w.rec.Change = audit.OK, true
		done.id = w.rec.ID
		var err error
		if done.body, done.annex, err = audit.Encode(&w.rec); err != nil {
			return err
		}
		if w.stamp != nil {
			if err := w.stamp(audit.LeafHash(done.body)); err != nil {
				return err
			}
		}
		tx.ClearOutbox(clearing)
		return tx.PutOutbox(w.outboxRow(&done))
	})
	if err != nil {
		e.outbox.settled(clearing...)
		if quiet(err) {
			return err
		}
		w.rec.Change = false
		if errors.Is(err, errStale) {
			return err // nothing happened, and it is tried again
		}
		if errors.Is(err, errDry) {
			w.rec.Outcome = audit.DryRun
			_, err = e.record(&w.rec)
			return err
		}
		return w.fail(err)
	}
	return w.publish(&done)
}

func quiet(err error) bool {
	return errors.Is(err, errGone) || errors.Is(err, errLeaseLost) || errors.Is(err, errStale)
}

// fail records a failure whose caller was never admitted by policy.
func (w *work) fail(err error) error {
	k := kms.AsError(err)
	w.rec.Code, w.rec.Outcome = k.Code, outcomeOf(k.Kind())
	if cause := k.Unwrap(); cause != nil {
		w.e.log.Error("operation_failed", "action", w.rec.Action.String(), "code", k.Code.String(), "error", cause)
	}
	if limit := w.e.limitOf(w.call.Principal); limit != nil && !limit.Allow() {
		w.e.counts.add(w.rec.Action, w.rec.Dialect, w.rec.Outcome)
		return k // counted; strangers must not be able to fill the trail
	}
	if _, failed := w.e.record(&w.rec); failed != nil {
		return failed
	}
	return k
}

// limitOf limits the records of what callers attempt who are nobody in particular: strangers, and those who say who they are and do not prove it. nil: there
// is no limit.
func (e *Engine) limitOf(p *kms.Principal) *rate.Limiter {
	switch {
	case p == nil || p.Method == kms.AuthNone || p.Method == kms.AuthCode:
		return e.strangers
	case p.Method == kms.AuthLogin:
		return e.failures
	}
	return nil
}

// note records something that is neither an operation on a key nor a change: unsealing, sealing, stopping.
func (e *Engine) note(c kms.Call, a kms.Action, err error, detail string) error {
	w := &work{e: e, call: &c, now: e.now()}
	w.begin(a)
	w.rec.Detail = clipTo(detail, 1024)
	w.rec.Outcome = audit.OK
	if err != nil {
		return w.fail(err)
	}
	_, failed := e.record(&w.rec)
	return failed
}

// SystemName is what the server itself is called in histories and records.
const SystemName = "keyhold"

// system is the server itself: scheduled work, recovery.
var system = &kms.Principal{Name: SystemName, Namespace: kms.SystemNamespace, Method: kms.AuthSystem}
