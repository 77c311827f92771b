package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

func keyRole(a kms.Action, need lifecycle.Need) []role[KeyInput] {
	return []role[KeyInput]{{action: a, need: need, key: func(in *KeyInput) (kms.Ref, error) { return in.Key, nil }}}
}

// The descriptors of the operator's switch on a key.
var (
	enableKey  = turn(kms.EnableKey, lifecycle.Enable)
	disableKey = turn(kms.DisableKey, lifecycle.Disable)
	suspendKey = turn(kms.SuspendKey, lifecycle.Suspend)
	resumeKey  = turn(kms.ResumeKey, lifecycle.Resume)

	cancelDestruction = change[CancelInput, KeyOutput]{
		name: kms.CancelKeyDestruction,
		roles: []role[CancelInput]{{action: kms.CancelKeyDestruction, need: lifecycle.Read,
			key: func(in *CancelInput) (kms.Ref, error) { return in.Key, nil }}},
		do: func(_ context.Context, w *work, tx *records.Tx, in *CancelInput) (KeyOutput, error) {
			return w.turnKey(tx, lifecycle.Cancel, func(k *records.Key, to *kms.Switch) error {
				// While destruction is suspended nothing is being destroyed: there is time to save a key.
				if r := w.e.clock.Look(); !r.Suspended() {
					if err := lifecycle.Cancellable(k.DestroyAt, r.Trusted); err != nil {
						return err
					}
				}
				if in.Disable && *to != kms.PendingImport {
					*to = kms.Disabled
				}
				if !k.DestroyAt.IsZero() { // or it waits for replicas to go
					if err := unschedule(tx, k); err != nil {
						return err
					}
				}
				k.DestroyAt, k.Before = time.Time{}, 0
				if k.Stands != "" {
					return nil
				}
				k.Window = 0
				return tx.RemoveReceipt(k.Namespace, k.ID)
			})
		},
	}
	scheduleDestruction = change[DestroyInput, KeyOutput]{
		name: kms.ScheduleKeyDestruction,
		roles: []role[DestroyInput]{{action: kms.ScheduleKeyDestruction, need: lifecycle.Read,
			key: func(in *DestroyInput) (kms.Ref, error) { return in.Key, nil }}},
		prepare: func(ctx context.Context, w *work, in *DestroyInput) (err error) {
			in.users, err = w.usedSince(ctx)
			return err
		},
		do: func(_ context.Context, w *work, tx *records.Tx, in *DestroyInput) (KeyOutput, error) {
			window, err := w.window(&w.keys[0].Key.Key, in.Window)
			if err != nil {
				return KeyOutput{}, err
			}
			end, err := lifecycle.End(w.now, window, w.rules.ns.Dev)
			if err != nil {
				return KeyOutput{}, err
			}
			return w.turnKey(tx, lifecycle.Schedule, func(k *records.Key, _ *kms.Switch) error {
				k.Before, k.DestroyAt = k.Switch, end.UTC()
				if k.Stands != "" { // no material goes with a replica
					w.rec.Detail = fmt.Sprintf("replica in %s goes at %s", k.Stands, end.UTC().Format(time.RFC3339))
					return tx.PutDue(dueOf(&k.Key, k.DestroyAt))
				}
				report, err := w.assessed(tx, k.ID, in.users)
				if err != nil {
					return err
				}
				w.rec.Detail = fmt.Sprintf("destroy at %s; assessment sha256:%x", end.UTC().Format(time.RFC3339), report)
				if len(k.Replicas) > 0 {
					k.DestroyAt, k.Window = time.Time{}, kms.Seconds(end.Sub(w.now)/time.Second)
					w.rec.Detail = fmt.Sprintf("destroy %s after the last of %d replicas is gone; assessment sha256:%x", k.Window.Duration(), len(k.Replicas), report)
				}
				if err := tx.PutReceipt(w.requested(records.Receipt{Namespace: k.Namespace, Key: k.ID, Due: k.DestroyAt, Assessment: report})); err != nil {
					return err
				}
				if k.DestroyAt.IsZero() {
					return nil
				}
				return tx.PutDue(dueOf(&k.Key, k.DestroyAt))
			})
		},
	}
)

// key reads an admitted key as the transaction sees it. If it has changed since it was admitted, admission starts again.
func (w *work) key(tx *records.Tx) (records.Key, error) {
	a := w.keys[0]
	k, ok, err := tx.Key(a.Namespace, a.ID)
	if err != nil {
		return k, err
	}
	if !ok || k.Rev != a.Rev {
		return k, errStale
	}
	return k, nil
}

// putKey writes a changed key when the record's leaf hash is known, as it is at home.
func (w *work) putKey(tx *records.Tx, k *records.Key) {
	k.Changed = w.now.UTC()
	w.rec.Resource = k.Name
	w.onCommit(k.Change, func(leaf [32]byte) error {
		k.Change = leaf
		if err := w.rewrapIfPrimaryChanged(tx, k); err != nil {
			return err
		}
		stored := *k
		stored.Stand("")
		return tx.PutKey(stored)
	})
}

// turn is a change that moves the operator's switch and nothing else.
func turn(a kms.Action, m lifecycle.Move) change[KeyInput, KeyOutput] {
	return change[KeyInput, KeyOutput]{
		name:  a,
		roles: keyRole(a, lifecycle.Read),
		do: func(_ context.Context, w *work, tx *records.Tx, _ *KeyInput) (KeyOutput, error) {
			return w.turnKey(tx, m, func(*records.Key, *kms.Switch) error { return nil })
		},
	}
}

// turnKey moves the switch of a key, or of the replica that the call is about. also sees where the switch goes, and may send it elsewhere.
func (w *work) turnKey(tx *records.Tx, m lifecycle.Move, also func(k *records.Key, to *kms.Switch) error) (KeyOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return KeyOutput{}, err
	}
	k.Stand(w.call.Region)
	to, err := lifecycle.Turn(k.Switch, k.Before, m)
	if kms.CodeOf(err) == kms.CodeAlreadyDone {
		w.rec.Detail = "nothing to do"
		return KeyOutput{Key: k.Key}, nil
	}
	if err != nil {
		return KeyOutput{}, err
	}
	if err := also(&k, &to); err != nil {
		return KeyOutput{}, err
	}
	if k.Switch = to; k.Stands == "" {
		if err := resume(tx, &k); err != nil {
			return KeyOutput{}, err
		}
	}
	w.putKey(tx, &k)
	return KeyOutput{Key: k.Key}, nil
}
