package engine

import (
	"context"
	"crypto/sha256"
	stdjson "encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// A change describes an operation that writes. Like an op, plus what happens outside and inside the transaction.
type change[In, Out any] struct {
	name  kms.Action
	roles []role[In] // none: the operation is on the namespace
	check func(*In) error
	// authorize, where set, decides on something else than the roles' keys or the namespace.
	authorize func(*work, *In) error
	// approve, where set, says why others have to approve exactly this request first, whatever the namespace's rules say; "": they need not.
	// What is approved is what the exported fields of In say: a secret among them shows as nothing, so that it needs its digest beside it.
	approve func(*work, *In) string
	// approvers, where set, is how many approve then at least. Not set: as many as is usual in the namespace.
	approvers func(*work, *In) int
	// prepare does what is slow, such as making key material, after admission and outside the transaction.
	prepare func(context.Context, *work, *In) error
	// do reads the transaction's own state, decides on it, and writes. It may run more than once.
	do func(context.Context, *work, *records.Tx, *In) (Out, error)
	// cost is what it protects; nil: one operation, no bytes.
	cost func(*In) amount
	// secret marks an output that is shown once: an idempotent repeat is told that it was done, not what came of it.
	secret bool
	// releases marks an operation that writes nothing itself, but gives something out: of its own it changes only the approval that it uses up.
	releases bool
}

// errStale: what admitted the call has changed by the time of the transaction; admit again.
var errStale = errors.New("admitted on an older revision")

// errDry ends a transaction whose outcome only was wanted.
var errDry = errors.New("dry run")

const maxAdmissions = 8

// alter runs an operation that writes: admit → prepare → one transaction of change and record → record in the log →
// publish → release.
func alter[In, Out any](ctx context.Context, e *Engine, c kms.Call, d *change[In, Out], in *In) (out Out, err error) {
	var none Out
	w := e.start(&c, d.name)
	defer w.finish()
	if err = w.enter(ctx); err != nil {
		return none, err
	}
	for range maxAdmissions {
		w.readyToAdmit()
		if err = admit(ctx, w, d.roles, d.check, d.authorize, in); err != nil {
			break
		}
		w.needs = needed(w, d, in)
		if err = w.unapproved(); err != nil {
			break
		}
		w.call.DryRun = c.DryRun || c.Ask // before others are asked to approve it, it is rehearsed
		if out, err = commit(ctx, w, d, in); !errors.Is(err, errStale) {
			break
		}
		for i := range w.n {
			w.o.ring.Forget(Touch{Kind: records.TouchKey, Namespace: c.Namespace, ID: w.keys[i].ID})
		}
		w.o.rules.forget(Touch{Kind: records.TouchNamespace, Namespace: c.Namespace})
	}
	if errors.Is(err, errUnapproved) {
		if err = w.required(); c.Ask && !c.DryRun {
			return none, ask(ctx, w, d.name, in)
		}
	}
	if d, is := any(&out).(dated); is {
		d.asOf(w.now)
	}
	switch {
	case errors.Is(err, errStale):
		err = kms.Errorf(kms.CodeConflict, "other changes of this key came between %d times", maxAdmissions)
	case errors.Is(err, errDry):
		w.rec.Outcome, err = audit.DryRun, nil
	case err == nil && w.pending != nil:
		if err = w.publish(w.pending); err != nil {
			return none, err // what it made is asked for again when the record is there
		}
		if d.releases && !w.stands(ctx) {
			return none, w.withhold()
		}
		return out, nil
	}
	if err = w.settle(ctx, err); err != nil {
		return none, err
	}
	return out, nil
}

func (w *work) readyToAdmit() {
	w.n, w.rec.Keys, w.rec.PrevChange, w.rec.Detail, w.rec.Change = 0, w.uses[:0], [32]byte{}, "", false
	w.stamp, w.pending, w.needs, w.granted = nil, nil, need{}, nil
	w.rec.Approval, w.rec.Approvers = kms.ID{}, nil
}

// committed is a change that is in the store and not yet known to be in the log.
type committed struct {
	id          kms.ID
	body, annex []byte
	rev         kms.Rev
	touched     []Touch
}

// commit runs the change and its record as one transaction.
func commit[In, Out any](ctx context.Context, w *work, d *change[In, Out], in *In) (out Out, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = w.e.panicked(d.name, p)
		}
	}()
	if d.prepare != nil {
		w.claim() // before anything is wrapped; it ends with the work
		if w.limited() {
			w.cost = cost(1, 0)
			if d.cost != nil {
				w.cost = d.cost(in)
			}
		}
		if err = d.prepare(ctx, w, in); err != nil {
			return out, err
		}
	}
	var digest [32]byte
	if w.call.Token != "" {
		if digest, err = digestOf(d.name, in); err != nil {
			return out, err
		}
	}
	var approved [32]byte
	if !w.call.Approval.IsZero() {
		if approved, err = w.approvalDigest(d.name, in); err != nil {
			return out, err
		}
	}
	var p committed
	var admitted [2]audit.KeyUse
	n := copy(admitted[:], w.rec.Keys)
	// From here on the caller's hanging up no longer matters: the change happens with its record, or not at all.
	ctx = context.WithoutCancel(ctx)
	clearing := w.e.outbox.take(clearWith)
	p.rev, p.touched, err = w.o.records.Update(ctx, func(tx *records.Tx) error {
		w.unsay(admitted[:n])
		if w.call.DryRun {
			tx.Look()
		}
		if done, err := w.replay(tx, digest, d.secret, &out); done || err != nil {
			return err
		}
		approval, err := w.approval(tx, approved)
		if err != nil {
			return err
		}
		if out, err = d.do(ctx, w, tx, in); err != nil {
			return err
		}
		if w.call.DryRun {
			return w.rehearsed(approval)
		}
		if d.releases && approval != nil {
			w.onCommit([32]byte{}, func([32]byte) error { return nil })
		}
		if w.stamp == nil {
			return nil // nothing to change: an ordinary record follows, and an approval is not used up
		}
		w.rec.Outcome, w.rec.Change = audit.OK, true
		if err := w.useApproval(tx, approval); err != nil {
			return err
		}
		p.id = w.rec.ID
		if p.body, p.annex, err = audit.Encode(&w.rec); err != nil {
			return err
		}
		leaf := audit.LeafHash(p.body)
		if err := w.stamp(leaf); err != nil {
			return err
		}
		if approval != nil {
			approval.Change = leaf
			if err := tx.PutApproval(*approval); err != nil {
				return err
			}
		}
		if err := w.remember(tx, digest, d.secret, &out); err != nil {
			return err
		}
		tx.ClearOutbox(clearing)
		return tx.PutOutbox(w.outboxRow(&p))
	})
	if p.rev == 0 {
		w.e.outbox.settled(clearing...)
		if w.rec.Change { // the store refused what was ready: a name that is taken, a full disk
			w.unsay(admitted[:n])
		}
		return out, err
	}
	w.pending = &p
	return out, nil
}

// unsay takes back what the record says of a change that did not happen.
func (w *work) unsay(admitted []audit.KeyUse) {
	w.rec.Keys = append(w.rec.Keys[:0], admitted...)
	w.rec.Detail, w.rec.PrevChange, w.rec.Change, w.stamp = "", [32]byte{}, false, nil
	w.rec.Approval, w.rec.Approvers = kms.ID{}, nil
}

// onCommit says how the record's leaf hash gets into the changed resource, so that its changes chain.
func (w *work) onCommit(previous [32]byte, stamp func(leaf [32]byte) error) {
	w.rec.PrevChange, w.stamp = previous, stamp
}

// publish appends the record of a committed change to the log, makes every cache forget, and only then lets the answer go.
func (w *work) publish(p *committed) error {
	_, err := w.e.rec.AppendEncoded(p.body, p.annex)
	w.e.tell(p.touched)
	if err != nil {
		w.e.owe(p, err)
		w.e.counts.add(w.rec.Action, w.rec.Dialect, audit.Failed)
		return kms.Errorf(kms.CodeUnrecorded, "the change is committed, but the audit log did not take its record; nothing more is admitted until it does").Because(err)
	}
	w.e.counts.add(w.rec.Action, w.rec.Dialect, w.rec.Outcome)
	w.e.outbox.settled(p.id)
	return nil
}

// tell makes every cache forget what a change touched.
func (e *Engine) tell(touched []Touch) {
	o := e.open.Load()
	for _, t := range touched {
		if o != nil {
			o.ring.Forget(t)
			o.rules.forget(t)
			o.who.forget(t)
			o.shelf.forget(t)
		}
		for _, f := range e.cfg.Forget {
			f(t)
		}
	}
}

func digestOf(a kms.Action, in any) ([32]byte, error) {
	b, err := stdjson.Marshal(in) // in a fixed order, durations as numbers
	if err != nil {
		return [32]byte{}, kms.Errorf(kms.CodeInternal, "the request could not be digested").Because(err)
	}
	return sha256.Sum256(append([]byte(a.String()+"\x00"), b...)), nil
}

// idemParts: asking for the approvals that a request needs, and the request itself, may carry one token.
func (w *work) idemParts() [][]byte {
	parts := [][]byte{[]byte(w.call.Namespace), []byte(w.call.Principal.Namespace), []byte(w.call.Principal.Name), []byte(w.call.Token)}
	if w.asks {
		parts = append(parts, []byte("asks"))
	}
	return parts
}

// replay answers the remembered outcome of an idempotency token.
func (w *work) replay(tx *records.Tx, digest [32]byte, isSecret bool, out any) (bool, error) {
	if w.call.Token == "" {
		return false, nil
	}
	was, ok, err := tx.Idem(w.idemParts()...)
	if err != nil || !ok {
		return false, err
	}
	if was.Request != digest {
		return false, kms.Errorf(kms.CodeTokenReused, "this idempotency token was used for a different request at %s", was.Time.UTC().Format("2006-01-02T15:04:05Z"))
	}
	if isSecret {
		return false, kms.Errorf(kms.CodeAlreadyDone, "this request was carried out at %s; what it gave out is shown only once", was.Time.UTC().Format("2006-01-02T15:04:05Z"))
	}
	if err := json.Unmarshal(was.Output, out, readDurations); err != nil {
		return false, kms.Errorf(kms.CodeInternal, "the remembered answer could not be read").Because(err)
	}
	w.rec.Outcome = audit.Replayed
	return true, nil
}

// A duration is kept in nanoseconds: the library has no form of its own for one.
var (
	writeDurations = json.WithMarshalers(json.MarshalFunc(func(d time.Duration) ([]byte, error) {
		return strconv.AppendInt(nil, int64(d), 10), nil
	}))
	readDurations = json.WithUnmarshalers(json.UnmarshalFunc(func(b []byte, d *time.Duration) error {
		n, err := strconv.ParseInt(string(b), 10, 64)
		*d = time.Duration(n)
		return err
	}))
)

func (w *work) remember(tx *records.Tx, digest [32]byte, isSecret bool, out any) error {
	if w.call.Token == "" {
		return nil
	}
	i := records.Idem{Request: digest, Time: w.now}
	if !isSecret {
		b, err := json.Marshal(out, json.Deterministic(true), writeDurations)
		if err != nil {
			return kms.Errorf(kms.CodeInternal, "the answer could not be remembered").Because(err)
		}
		i.Output = b
	}
	return tx.PutIdem(i, w.idemParts()...)
}
