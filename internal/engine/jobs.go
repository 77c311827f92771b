package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/keyhold/keyhold/internal/clock"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// The jobs. Each is resumable: what it does is decided by what is in the store, not by what it remembers.
const (
	jobDue    = "due-work"
	jobEpoch  = "roll-shred-epoch"
	jobRoot   = "rotate-root-key"
	jobSweep  = "forget-old-tokens"
	jobClock  = "keep-time"
	jobLogEnd = "keep-log-checkpoint"
	jobLedger = "count-key-uses"

	jobReceipts = "write-destruction-receipts"
	jobRewrap   = "re-wrap-data-keys"
)

const (
	dueEvery   = time.Second // a look at one row, as long as nothing is due
	sweepEvery = time.Hour
	pageOfRows = 100 // rows re-wrapped in one transaction
	idemFor    = 24 * time.Hour
	retryAfter = time.Minute
)

// jobs is the server's scheduled work and how it stands.
type jobs struct {
	mu    sync.Mutex // guards info
	info  map[string]*JobInfo
	wake  chan struct{}
	rolls rolls
}

func jobNames() []string {
	return []string{jobDue, jobEpoch, jobRoot, jobSweep, jobClock, jobLogEnd, jobLedger, jobReceipts, jobRewrap}
}

func (j *jobs) init(*Engine) {
	j.info = map[string]*JobInfo{}
	for _, n := range jobNames() {
		j.info[n] = &JobInfo{Name: n, State: "idle"}
	}
	j.wake = make(chan struct{}, 1)
	j.rolls.quit, j.rolls.claims = make(chan struct{}), map[uint32]int{}
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
	for _, n := range jobNames() {
		out = append(out, *j.info[n])
	}
	return out
}

// runJobs runs for the engine's life.
func (e *Engine) runJobs(ctx context.Context) {
	defer close(e.jobs.rolls.quit)
	tick := time.NewTicker(dueEvery)
	defer tick.Stop()
	var next agenda
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-e.jobs.wake:
		}
		e.upkeep(ctx, &next)
	}
}

// agenda is when what does not happen in every round is to happen again.
type agenda struct {
	sweep, epoch, logEnd, budgets time.Time
	ending                        *opened // whose log's first checkpoint was kept
}

// upkeep is one round of the jobs.
func (e *Engine) upkeep(ctx context.Context, next *agenda) {
	o, ok := e.holds()
	if !ok {
		return
	}
	rotating := e.useOpened(ctx, o, next)
	o.release()
	if rotating { // which waits until nobody uses o
		e.do(jobRoot, func() error { return e.finishRotation(ctx) })
	}
}

// useOpened does what can be done while the root stays as it is, and tells whether a rotation of the root has to go on first.
func (e *Engine) useOpened(ctx context.Context, o *opened, next *agenda) (rotating bool) {
	var r clock.Reading
	e.do(jobClock, func() (err error) { r, err = e.keepTime(ctx, o); return err })
	e.do(jobDue, func() error {
		err := e.doDue(ctx, o, &r)
		if now := e.now(); !now.Before(next.budgets) {
			next.budgets = now.Add(budgetSweep)
			err = errors.Join(err, e.giveBackIdle(ctx, o, false), e.watchRotations(ctx, o))
		}
		return err
	})
	if r.Suspended() { // what can be undone goes on
		e.suspended(jobDue)
	}
	if r.Trusted.After(next.sweep) && !r.Suspended() {
		next.sweep = r.Trusted.Add(sweepEvery)
		e.do(jobSweep, func() error { return e.sweep(ctx, o) })
	}
	if now := e.now(); next.ending != o || !now.Before(next.logEnd) { // at once after unsealing
		next.ending, next.logEnd = o, now.Add(logEndEvery)
		e.do(jobLogEnd, func() error { return e.keepLogEnd(ctx, o) })
	}
	if o.root.Rotating() {
		return true
	}
	if !e.campaigns.working() {
		e.do(jobRewrap, func() error { return e.rewrapWanted(ctx, o) })
	}
	if !e.rolling() && (e.jobs.rolls.erased.Swap(false) || r.Trusted.After(next.epoch)) {
		next.epoch = r.Trusted.Add(retryAfter)
		older := false
		e.unlessSuspended(&r, jobEpoch, func() (err error) { older, err = e.rollIfDue(ctx, o); return err })
		if older {
			e.endEpochs(byItself)
		}
	}
	return false
}

// unlessSuspended runs a job that does by date what cannot be undone, if the clock is believed.
func (e *Engine) unlessSuspended(r *clock.Reading, name string, f func() error) {
	if !r.Suspended() {
		e.do(name, f)
		return
	}
	e.suspended(name)
}

// suspended says of a job that it waits for the clock to be believed.
func (e *Engine) suspended(name string) {
	e.jobs.set(name, func(i *JobInfo) {
		i.State, i.LastNote = "suspended", "the machine's clock jumped ahead; put it right, or confirm it: keyhold operator confirm-clock"
	})
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

// sweep forgets what has no use any more: answers that nobody fetched, what is left of mounts of logins, secret ids that ended, remembered outcomes of idempotency tokens, and tokens that ended a month ago.
func (e *Engine) sweep(ctx context.Context, o *opened) error {
	if err := e.dropAnswers(ctx, o, e.clock.Trusted()); err != nil {
		return err
	}
	if err := e.dropLogins(ctx, o, e.clock.Trusted()); err != nil {
		return err
	}
	old := e.clock.Trusted().Add(-idemFor)
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
	ended := e.clock.Trusted().AddDate(0, -1, 0)
	if err := e.dropTokens(ctx, o, ended); err != nil {
		return err
	}
	return e.dropAccessKeys(ctx, o, ended)
}
