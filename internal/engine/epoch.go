package engine

import (
	"context"
	"fmt"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/seal"
)

// rollIfDue rolls the epoch when its period is over, and goes on with a roll that was interrupted.
func (e *Engine) rollIfDue(ctx context.Context, o *opened) error {
	list := o.epochs.List()
	current := list[len(list)-1]
	e.jobs.set(jobEpoch, func(i *JobInfo) { i.NextRun = current.Created.Add(e.cfg.EpochPeriod).UTC() })
	if len(list) == 1 && e.clock.Trusted().Before(current.Created.Add(e.cfg.EpochPeriod)) {
		return nil
	}
	return e.rollEpoch(ctx, o, kms.Call{Namespace: kms.SystemNamespace}, len(list) == 1)
}

// rollEpoch makes a new epoch KEK if asked to, brings every shred row under the newest one, and destroys the older ones when
// a count of the rows under them reads 0.
func (e *Engine) rollEpoch(ctx context.Context, o *opened, c kms.Call, begin bool) error {
	e.jobs.epoch.Lock()
	defer e.jobs.epoch.Unlock()
	if begin {
		n, err := o.epochs.Roll(o.config, e.clock.Trusted())
		if err != nil {
			return err
		}
		err = e.direct(ctx, o, c, kms.RollEpoch, func(w *work, tx *records.Tx) error {
			w.rec.Detail = fmt.Sprintf("epoch %d begins", n)
			return tx.PutJob(records.Job{Name: jobEpoch, State: "running", Target: n, LastRun: w.now.UTC()})
		})
		if err != nil {
			return err
		}
	}
	e.jobs.placing.Lock()   // what began under an older epoch ends
	e.jobs.placing.Unlock() //nolint:staticcheck // SA2001: nothing is to be done meanwhile
	done, err := e.rewrapRows(ctx, o)
	if err != nil {
		return err
	}
	return e.retireEpochs(ctx, o, c, done)
}

func (e *Engine) rewrapRows(ctx context.Context, o *opened) (done uint64, err error) {
	e.jobs.set(jobEpoch, func(i *JobInfo) { i.State, i.Done, i.Total = "running", 0, 0 })
	for after := []byte(nil); ; {
		rows, next, err := o.records.ShredRows(ctx, after, pageOfRows)
		if err != nil {
			return done, err
		}
		_, _, err = o.records.Update(ctx, func(tx *records.Tx) error {
			for _, row := range rows {
				out, changed, err := o.epochs.Rewrap(row.Row, placeOf(row))
				if err != nil {
					return err
				}
				if !changed {
					continue
				}
				if _, err := tx.ReplaceShred(row, records.Shred{Row: out, Namespace: row.Namespace}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return done, err
		}
		done += uint64(len(rows))
		e.jobs.set(jobEpoch, func(i *JobInfo) { i.Done = done })
		if next == nil {
			return done, nil
		}
		after = next
	}
}

func placeOf(row records.ShredRow) []byte {
	if row.Key.IsZero() {
		return seal.Place{Kind: seal.PlaceNamespace, Namespace: row.Namespace}.Bytes()
	}
	return seal.Place{Kind: seal.PlaceVersion, Namespace: row.Namespace, Key: row.Key, Version: row.Version}.Bytes()
}

// retireEpochs counts the rows under each older epoch at a confirmed head and destroys those that have none.
func (e *Engine) retireEpochs(ctx context.Context, o *opened, c kms.Call, done uint64) error {
	if _, err := e.cfg.Store.Confirm(ctx); err != nil {
		return kms.Errorf(kms.CodeStoreUnavailable, "the store does not answer").Because(err)
	}
	under := map[uint32]int{}
	for after := []byte(nil); ; {
		rows, next, err := o.records.ShredRows(ctx, after, 1000)
		if err != nil {
			return err
		}
		for _, row := range rows {
			n, err := seal.WrappedUnder(row.Row)
			if err != nil {
				return err
			}
			under[n]++
		}
		if next == nil {
			break
		}
		after = next
	}
	for _, ep := range o.epochs.List() {
		if ep.Current || under[ep.Number] > 0 {
			continue
		}
		if err := o.epochs.Retire(ep.Number, under[ep.Number]); err != nil {
			return err
		}
		err := e.direct(ctx, o, c, kms.RollEpoch, func(w *work, tx *records.Tx) error {
			w.rec.Detail = fmt.Sprintf("epoch %d destroyed: 0 rows are under it", ep.Number)
			return tx.PutJob(records.Job{Name: jobEpoch, State: "idle", Target: o.epochs.Current(), LastRun: w.now.UTC(), Done: done, Total: done})
		})
		if err != nil {
			return err
		}
	}
	e.jobs.set(jobEpoch, func(i *JobInfo) {
		i.Total, i.LastNote = done, fmt.Sprintf("%d secrets under epoch %d", done, o.epochs.Current())
	})
	return nil
}
