package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// versionsAtOnce is how many versions one transaction erases: each is up to five of its store.MaxOps conditions and writes.
const versionsAtOnce = 40

// destroyDue destroys a key: it erases the shred secret of every version and marks the key. Mostly that is one small transaction, whatever else the store holds. A key of
// many versions takes several, newest versions first: from the first of them on it is destroyed, and nothing saves it. A crash in between leaves the
// row that is due, and the next run goes on.
func destroyDue(ctx context.Context, t *task) error {
	k, err := t.o.records.Key(ctx, t.Namespace, t.Key)
	if err != nil {
		return err
	}
	for last := k.Latest; ; {
		first := uint32(1)
		if last > versionsAtOnce {
			first = last - versionsAtOnce + 1
		}
		over, err := t.destroyVersions(ctx, first, last)
		if err != nil || over {
			return err
		}
		last = first - 1
	}
}

// destroyVersions erases a run of versions; with version 1 the key is destroyed to the end. over tells that there is nothing more to do.
func (t *task) destroyVersions(ctx context.Context, first, last uint32) (over bool, err error) {
	err = t.e.direct(ctx, t.o, kms.Call{Namespace: t.Namespace}, kms.DestroyKey, func(w *work, tx *records.Tx) error {
		k, there, err := tx.Key(t.Namespace, t.Key)
		if err != nil {
			return err
		}
		w.rec.Resource = k.Name
		if over = !there || !k.DestroyAt.Equal(t.Date()) || !destructible(&k.Key, t.e.clock.Trusted()); over {
			w.rec.Detail = "nothing to do: cancelled or done"
			return t.take(tx)
		}
		if err := t.e.putTime(tx); err != nil {
			return err
		}
		for n := first; n <= last; n++ {
			if err := w.destroyVersion(tx, k.ID, n); err != nil {
				return err
			}
		}
		k.Switch = kms.DestroyedKey
		w.rec.Keys = append(w.rec.Keys, keyUse(k.ID, 0, k.Rev))
		w.putKey(tx, &k)
		if over = first == 1; !over {
			w.rec.Detail = fmt.Sprintf("material of versions %d to %d erased, more follow", first, last)
			return nil
		}
		if err := t.take(tx); err != nil {
			return err
		}
		k.Destroyed = w.now.UTC()
		r, err := w.erased(tx, k.Namespace, k.ID, k.DestroyAt)
		if err != nil {
			return err
		}
		w.rec.Detail = fmt.Sprintf("%d versions erased; irrecoverable when epoch %d is destroyed", k.Latest, r.Epoch)
		return tx.PutReceipt(r)
	})
	if over {
		t.e.jobs.rolls.erased.Store(true)
	}
	return over, err
}

// destructible tells whether the window of a key is over, or its destruction has begun.
func destructible(k *kms.Key, now time.Time) bool {
	return k.Switch == kms.PendingDestruction && lifecycle.Due(k.DestroyAt, now) == nil || k.Switch == kms.DestroyedKey && k.Destroyed.IsZero()
}

func (w *work) destroyVersion(tx *records.Tx, id kms.ID, n uint32) error {
	v, there, err := tx.Version(id, n)
	if err != nil || !there {
		return err
	}
	settleVersion(&v.Version, w.now)
	states, err := lifecycle.Destruction(v.State)
	if err != nil {
		return nil //nolint:nilerr // destroyed already
	}
	for _, st := range states {
		w.move(&v.Version, st)
	}
	if err := eraseMaterial(tx, &v); err != nil {
		return err
	}
	return tx.PutVersion(v)
}
