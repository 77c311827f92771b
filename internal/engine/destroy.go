package engine

import (
	"context"
	"fmt"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// whenDue says how what is due is done. What is done removes its row, in the transaction that does it.
var whenDue = map[records.What]func(context.Context, *Engine, *opened, records.Due) error{
	records.DueDestroy: func(ctx context.Context, e *Engine, o *opened, d records.Due) error { return e.destroyKey(ctx, o, d) },
}

// doDue does what is due.
func (e *Engine) doDue(ctx context.Context, o *opened) error {
	due, err := o.records.DueBy(ctx, e.clock.Trusted(), dueAtOnce)
	if err != nil {
		return err
	}
	for _, d := range due {
		do, known := whenDue[d.What]
		if !known {
			continue // of a newer version of the program
		}
		if err := do(ctx, e, o, d); err != nil {
			return err
		}
	}
	return nil
}

// destroyKey erases the shred secret of each version, in pages, and then marks the key. A crash in between leaves a key
// that is pending destruction, and the next run goes on.
func (e *Engine) destroyKey(ctx context.Context, o *opened, d records.Due) error {
	k, err := o.records.Key(ctx, d.Namespace, d.Key)
	if err != nil {
		return err
	}
	for before := k.Latest + 1; k.Rev != 0 && before > 1; {
		first := uint32(1)
		if before > 50 {
			first = before - 50
		}
		if err := e.destroyVersions(ctx, o, d, first, before-1); err != nil {
			return err
		}
		before = first
	}
	return e.direct(ctx, o, kms.Call{Namespace: d.Namespace}, kms.DestroyKey, func(w *work, tx *records.Tx) error {
		k, there, err := tx.Key(d.Namespace, d.Key)
		if err != nil {
			return err
		}
		if err := tx.RemoveDue(d); err != nil {
			return err
		}
		w.rec.Resource = k.Name
		if !there || k.Switch != kms.PendingDestruction || !k.DestroyAt.Equal(d.At) {
			w.rec.Detail = "nothing to do: cancelled or done"
			return nil
		}
		if k.Switch, err = lifecycle.Turn(k.Switch, k.Before, lifecycle.Destroy); err != nil {
			return err
		}
		if err := e.putTime(tx); err != nil {
			return err
		}
		k.Destroyed = w.now.UTC()
		w.rec.Keys = append(w.rec.Keys, keyUse(k.ID, 0, k.Rev))
		w.rec.Detail = fmt.Sprintf("%d versions; irrecoverable after the next epoch roll and the retention of escrow copies", k.Latest)
		w.putKey(tx, &k)
		return nil
	})
}

func (e *Engine) destroyVersions(ctx context.Context, o *opened, d records.Due, first, last uint32) error {
	return e.direct(ctx, o, kms.Call{Namespace: d.Namespace}, kms.DestroyKey, func(w *work, tx *records.Tx) error {
		k, there, err := tx.Key(d.Namespace, d.Key)
		if err != nil {
			return err
		}
		due := there && k.Switch == kms.PendingDestruction && lifecycle.Due(k.DestroyAt, e.clock.Trusted()) == nil
		if !due {
			w.rec.Detail = "nothing to do: cancelled or done"
			return nil
		}
		if err := e.putTime(tx); err != nil {
			return err
		}
		for n := first; n <= last; n++ {
			v, there, err := tx.Version(k.ID, n)
			if err != nil {
				return err
			}
			if !there {
				continue
			}
			states, err := lifecycle.Destruction(v.State)
			if err != nil {
				continue // destroyed already
			}
			for _, st := range states {
				w.move(&v.Version, st)
			}
			v.Wrapped = nil
			if err := tx.EraseShred(k.ID, n); err != nil {
				return err
			}
			if err := tx.PutVersion(v); err != nil {
				return err
			}
		}
		w.rec.Keys = append(w.rec.Keys, keyUse(k.ID, last, k.Rev))
		w.rec.Resource = k.Name
		w.rec.Detail = fmt.Sprintf("material of versions %d to %d erased", first, last)
		w.putKey(tx, &k)
		return nil
	})
}
