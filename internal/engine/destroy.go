package engine

import (
	"context"
	"fmt"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// destroyDue destroys a key: it erases the shred secret of each version, in pages, and then marks the key. A crash in between leaves a key
// that is pending destruction, and the next run goes on.
func destroyDue(ctx context.Context, t *task) error {
	e, o, d := t.e, t.o, t.Due
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
		if err := t.take(tx); err != nil {
			return err
		}
		w.rec.Resource = k.Name
		if !there || k.Switch != kms.PendingDestruction || !k.DestroyAt.Equal(d.Date()) {
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
