package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/seal"
)

// The jobs. Each is resumable: what it does is decided by what is in the store, not by what it remembers.
const (
	jobDestroy = "destroy-due-keys"
	jobEpoch   = "roll-shred-epoch"
	jobRoot    = "rotate-root-key"
	jobSweep   = "forget-old-tokens"
)

const (
	destroyEvery = time.Second // a look at one row, as long as nothing is due
	sweepEvery   = time.Hour
	pageOfRows   = 100 // rows re-wrapped in one transaction
	dueAtOnce    = 50
	idemFor      = 24 * time.Hour
	retryAfter   = time.Minute
)

// jobs is the server's scheduled work and how it stands.
type jobs struct {
	mu    sync.Mutex // guards info
	info  map[string]*JobInfo
	wake  chan struct{}
	epoch sync.Mutex // one roll at a time
}

func (j *jobs) init(*Engine) {
	j.info = map[string]*JobInfo{}
	for _, n := range []string{jobDestroy, jobEpoch, jobRoot, jobSweep} {
		j.info[n] = &JobInfo{Name: n, State: "idle"}
	}
	j.wake = make(chan struct{}, 1)
}

func (j *jobs) kick() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

func (j *jobs) set(name string, f func(*JobInfo)) {
	j.mu.Lock()
	f(j.info[name])
	j.mu.Unlock()
}

func (j *jobs) all() []JobInfo {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []JobInfo
	for _, n := range []string{jobDestroy, jobEpoch, jobRoot, jobSweep} {
		out = append(out, *j.info[n])
	}
	return out
}

// runJobs runs for the engine's life.
func (e *Engine) runJobs(ctx context.Context) {
	tick := time.NewTicker(destroyEvery)
	defer tick.Stop()
	var sweep, epoch time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-e.jobs.wake:
		}
		o := e.open.Load()
		if o == nil || e.blocked.Load() != nil {
			continue
		}
		o.users.Add(1)
		if e.open.Load() == o {
			now := e.now()
			e.do(jobDestroy, func() error { return e.destroyDue(ctx, o) })
			if now.After(sweep) {
				sweep = now.Add(sweepEvery)
				e.do(jobSweep, func() error { return e.sweep(ctx, o) })
			}
			if o.root.Rotating() {
				o.users.Add(-1)
				e.do(jobRoot, func() error { return e.finishRotation(ctx) })
				continue
			}
			if now.After(epoch) {
				epoch = now.Add(retryAfter)
				e.do(jobEpoch, func() error { return e.rollIfDue(ctx, o) })
			}
		}
		o.users.Add(-1)
	}
}

// do runs a job once and keeps how it ended.
func (e *Engine) do(name string, f func() error) {
	defer func() {
		if p := recover(); p != nil {
			err := e.panicked(0, p)
			e.jobs.set(name, func(i *JobInfo) { i.State, i.LastNote = "failed", err.Error() })
		}
	}()
	err := f()
	e.jobs.set(name, func(i *JobInfo) {
		i.LastRun = e.now().UTC()
		i.State = "idle"
		if err != nil {
			i.State, i.LastNote = "failed", kms.AsError(err).Error()
		}
	})
	if err != nil {
		e.log.Error("job_failed", "job", name, "error", err)
	}
}

// destroyDue destroys the keys whose windows have ended.
func (e *Engine) destroyDue(ctx context.Context, o *opened) error {
	due, err := o.records.DueBy(ctx, e.now(), dueAtOnce)
	if err != nil {
		return err
	}
	for _, d := range due {
		if err := e.destroyKey(ctx, o, d); err != nil {
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
		due := there && k.Switch == kms.PendingDestruction && lifecycle.Due(k.DestroyAt, w.now) == nil
		if !due {
			w.rec.Detail = "nothing to do: cancelled or done"
			return nil
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

// sweep forgets what has no use any more: remembered outcomes of idempotency tokens, and tokens that ended a month ago.
func (e *Engine) sweep(ctx context.Context, o *opened) error {
	old := e.now().Add(-idemFor)
	for after := []byte(nil); ; {
		paths, next, err := o.records.ExpiredIdem(ctx, after, 500, func(i records.Idem) bool { return i.Time.Before(old) })
		if err != nil {
			return err
		}
		for len(paths) > 0 {
			n := min(len(paths), pageOfRows)
			page := paths[:n]
			paths = paths[n:]
			if _, _, err := o.records.Update(ctx, func(tx *records.Tx) error { tx.DropPaths(page); return nil }); err != nil {
				return err
			}
		}
		if next == nil {
			break
		}
		after = next
	}
	ended := e.now().AddDate(0, -1, 0)
	for after := (kms.ID{}); ; {
		page, next, err := o.records.Tokens(ctx, after, 500)
		if err != nil {
			return err
		}
		for _, t := range page {
			if t.Expires.After(ended) {
				continue
			}
			_, touched, err := o.records.Update(ctx, func(tx *records.Tx) error { return tx.RemoveToken(t.ID) })
			if err != nil {
				return err
			}
			e.tell(touched)
		}
		if next.IsZero() {
			return nil
		}
		after = next
	}
}

// rollIfDue rolls the epoch when its period is over, and goes on with a roll that was interrupted.
func (e *Engine) rollIfDue(ctx context.Context, o *opened) error {
	list := o.epochs.List()
	current := list[len(list)-1]
	e.jobs.set(jobEpoch, func(i *JobInfo) { i.NextRun = current.Created.Add(e.cfg.EpochPeriod).UTC() })
	if len(list) == 1 && e.now().Before(current.Created.Add(e.cfg.EpochPeriod)) {
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
		n, err := o.epochs.Roll(o.config, e.now())
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
