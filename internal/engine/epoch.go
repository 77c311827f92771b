package engine

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/seal"
)

// How a roll shares the machine with what is served meanwhile.
const (
	rollShare  = 4                // of its time it works one part
	rollRests  = time.Second      // at most, between two pages
	rollAtOnce = 50               // pages that go without a rest: a small store is done at once
	rollWait   = 10 * time.Second // how long who asks for a roll waits for its end
	rollPause  = time.Minute      // at least, before another one begins because something was erased …
	rollRuns   = 9                // … and so many times as long as the last one took
	claimWait  = 20 * time.Millisecond
)

// rolls is the replacement of shred epochs: what is under way, and what it has to wait for.
type rolls struct {
	begin sync.Mutex    // one begins at a time
	quit  chan struct{} // closed when the engine stops

	erased atomic.Bool // something was, and nobody has looked yet whether an epoch has to end for it

	mu     sync.Mutex     // guards what follows
	paused time.Time      // until when none begins because something was erased
	ended  chan struct{}  // closed when what is under way has ended; nil: nothing is
	latest chan struct{}  // that of the newest, which writes receipts after ended is nil again; nil: there was none
	by     kms.Call       // who began it
	failed error          // how the last one ended
	claims map[uint32]int // secrets that are being wrapped, or wait to be stored, by the epoch that was current when that began
}

// claim says that a secret is about to be wrapped. Until the work ends, no epoch is destroyed that the secret may be under: it is in no row yet
// that could be counted.
func (w *work) claim() {
	r := &w.e.jobs.rolls
	if w.claimed != 0 {
		return
	}
	w.claimed = w.o.epochs.Current()
	r.mu.Lock()
	r.claims[w.claimed]++
	r.mu.Unlock()
}

func (w *work) unclaim() {
	if w.claimed == 0 {
		return
	}
	r := &w.e.jobs.rolls
	r.mu.Lock()
	if r.claims[w.claimed]--; r.claims[w.claimed] == 0 {
		delete(r.claims, w.claimed)
	}
	r.mu.Unlock()
	w.claimed = 0
}

// claimed tells whether a secret may come to be stored under an epoch before another one.
func (r *rolls) claimed(before uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for epoch := range r.claims {
		if epoch < before {
			return true
		}
	}
	return false
}

// rollIfDue begins an epoch when the period of the one before is over, or when something was erased that is under it. older tells that there is
// something to end: older epochs, also of a roll that was interrupted, or receipts to be written.
func (e *Engine) rollIfDue(ctx context.Context, o *opened) (older bool, err error) {
	list := o.epochs.List()
	current := list[len(list)-1]
	due := current.Created.Add(e.cfg.EpochPeriod)
	first, awaited, err := o.firstAwaiting(ctx)
	if err != nil {
		return false, err
	}
	if paused := e.jobs.rolls.pausedUntil(); awaited && due.After(paused) {
		due = paused
	}
	e.jobs.set(jobEpoch, func(i *JobInfo) { i.NextRun = due.UTC() })
	if oldest := o.epochs.Oldest(); oldest < current.Number || awaited && first < oldest {
		return true, nil
	}
	if e.clock.Trusted().Before(due) {
		return false, nil
	}
	return true, e.beginEpoch(ctx, o, byItself)
}

func (r *rolls) pausedUntil() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.paused
}

// byItself is the call of what the server does on its own.
var byItself = kms.Call{Namespace: kms.SystemNamespace}

// beginEpoch makes a new epoch KEK, under which every secret is wrapped from then on.
func (e *Engine) beginEpoch(ctx context.Context, o *opened, c kms.Call) error {
	e.jobs.rolls.begin.Lock()
	defer e.jobs.rolls.begin.Unlock()
	n, err := o.epochs.Roll(o.config, e.clock.Trusted())
	if err != nil {
		return err
	}
	return e.direct(ctx, o, c, kms.RollEpoch, func(w *work, tx *records.Tx) error {
		w.rec.Detail = fmt.Sprintf("epoch %d begins", n)
		return tx.PutJob(records.Job{Name: jobEpoch, State: "running", Target: n, LastRun: w.now.UTC()})
	})
}

// endEpochs brings every shred row under the newest epoch and destroys the older ones, beside whatever else happens: with millions of keys it takes
// its time. What it answers is closed at the end. It needs no memory of how far it came: rows that are under the newest epoch are passed over.
func (e *Engine) endEpochs(c kms.Call) (ended <-chan struct{}) {
	r := &e.jobs.rolls
	r.mu.Lock()
	defer r.mu.Unlock()
	r.by = c
	if r.ended != nil { // it goes on until one epoch is left
		return r.ended
	}
	r.ended, r.failed = make(chan struct{}), nil
	over, before := r.ended, r.latest
	r.latest = over
	e.work.Go(func() {
		defer r.end(over)
		defer func() {
			if before != nil { // two at a time would write the same receipts
				<-before
			}
			e.do(jobReceipts, e.writeReceipts)
		}()
		began := e.clock.Trusted()
		e.do(jobEpoch, func() error {
			for {
				left, err := e.endOlder()
				r.mu.Lock()
				if err != nil || !left {
					ended := e.clock.Trusted()
					r.paused = ended.Add(max(rollPause, rollRuns*ended.Sub(began)))
					r.ended, r.failed = nil, err // who asks from here on starts anew
					r.mu.Unlock()
					return err
				}
				r.mu.Unlock()
			}
		})
	})
	return over
}

// end tells who waits, whatever the end was.
func (r *rolls) end(over chan struct{}) {
	r.mu.Lock()
	if r.ended == over {
		r.ended = nil
	}
	r.mu.Unlock()
	close(over)
}

// rolling tells whether older epochs are being ended.
func (e *Engine) rolling() bool {
	r := &e.jobs.rolls
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended != nil
}

// endOlder makes one pass over all rows, and if none was under an older epoch, destroys those. left tells that there is more to do.
func (e *Engine) endOlder() (left bool, err error) {
	r := &e.jobs.rolls
	o := e.open.Load()
	if o == nil {
		return false, nil
	}
	target := o.epochs.Current()
	if o.epochs.Oldest() == target {
		return false, nil
	}
	// What was wrapped under an older epoch before the roll began, and is not stored yet, has to be: no scan would find it.
	for r.claimed(target) {
		if !e.rest(claimWait) {
			return false, nil
		}
	}
	seen, older, err := e.passRows(target)
	if err != nil || seen < 0 || older > 0 {
		return older > 0 && err == nil, err
	}
	return e.retireEpochs(target, uint64(seen)) //nolint:gosec // G115: not negative
}

// rest pauses, and tells whether to go on.
func (e *Engine) rest(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return e.open.Load() != nil && !e.closed.Load()
	case <-e.jobs.rolls.quit:
		return false
	}
}

// passRows looks at every shred row and brings it under the newest epoch. older counts those that were not; seen is -1 if the server was sealed or
// stopped before the end.
func (e *Engine) passRows(target uint32) (seen, older int, err error) {
	var after []byte
	for page := 0; ; page++ {
		began := time.Now()
		n, changed, next, err := e.passPage(after, target)
		if err != nil || n < 0 {
			return -1, older, err
		}
		seen, older = seen+n, older+changed
		e.jobs.set(jobEpoch, func(i *JobInfo) {
			i.State, i.Done = "running", uint64(seen) //nolint:gosec // G115: not negative
			i.Total = max(i.Total, i.Done+1)          // as far as is known
		})
		if next == nil {
			return seen, older, nil
		}
		if page >= rollAtOnce && !e.rest(min(time.Since(began)*(rollShare-1), rollRests)) {
			return -1, older, nil
		}
		after = next
	}
}

// passPage looks at a page of rows. n is -1 if the server is sealed.
func (e *Engine) passPage(after []byte, target uint32) (n, older int, next []byte, err error) {
	if e.closed.Load() {
		return -1, 0, nil, nil
	}
	ctx := context.Background() // a page is short
	o, err := e.hold(ctx)
	if err != nil {
		return -1, 0, nil, nil //nolint:nilerr // sealed: after unsealing it goes on
	}
	defer o.release()
	rows, next, err := o.records.ShredRows(ctx, after, pageOfRows)
	if err != nil {
		return 0, 0, nil, err
	}
	var stale []records.ShredRow
	for _, row := range rows {
		epoch, err := seal.WrappedUnder(row.Row)
		if err != nil {
			return 0, 0, nil, err
		}
		if epoch < target {
			stale = append(stale, row)
		}
	}
	if len(stale) == 0 {
		return len(rows), 0, next, nil
	}
	gone, err := destroyedAmong(ctx, o, stale, func(row *records.ShredRow) kms.Namespace { return row.Namespace })
	if err != nil {
		return 0, 0, nil, err
	}
	_, _, err = o.records.Update(ctx, func(tx *records.Tx) error {
		for _, row := range stale {
			if gone[row.Namespace] {
				if err := tx.EraseShredRow(row); err != nil {
					return err
				}
				continue
			}
			out, _, err := o.epochs.Rewrap(row.Row, placeOf(row))
			if err != nil {
				return err
			}
			if _, err := tx.ReplaceShred(row, records.Shred{Row: out, Namespace: row.Namespace}); err != nil {
				return err
			}
		}
		return nil
	})
	return len(rows), len(stale), next, err
}

// destroyedAmong tells which namespaces of rows are destroyed: what their secrets wrap cannot be opened without the namespace's KEK, and they go.
func destroyedAmong[R any](ctx context.Context, o *opened, rows []R, of func(*R) kms.Namespace) (map[kms.Namespace]bool, error) {
	gone := make(map[kms.Namespace]bool)
	for i := range rows {
		ns := of(&rows[i])
		if _, known := gone[ns]; known {
			continue
		}
		n, err := o.records.Namespace(ctx, ns)
		if err != nil {
			return nil, err
		}
		gone[ns] = !n.Destroyed.IsZero()
	}
	return gone, nil
}

func placeOf(row records.ShredRow) []byte {
	if row.Archive {
		return seal.Place{Kind: seal.PlaceArchive, Namespace: row.Namespace}.Bytes()
	}
	if row.Secret {
		return seal.Place{Kind: seal.PlaceSecret, Namespace: row.Namespace, Key: row.Key}.Bytes()
	}
	if row.Key.IsZero() {
		return seal.Place{Kind: seal.PlaceNamespace, Namespace: row.Namespace}.Bytes()
	}
	return seal.Place{Kind: seal.PlaceVersion, Namespace: row.Namespace, Key: row.Key, Version: row.Version}.Bytes()
}

// retireEpochs destroys, at a confirmed head, the epochs before one under which all rows are now. left tells that a newer one has begun.
func (e *Engine) retireEpochs(target uint32, rows uint64) (left bool, err error) {
	ctx := context.Background()
	if _, err := e.cfg.Store.Confirm(ctx); err != nil {
		return false, kms.Errorf(kms.CodeStoreUnavailable, "the store does not answer").Because(err)
	}
	o := e.open.Load()
	if o == nil {
		return false, nil
	}
	r := &e.jobs.rolls
	r.mu.Lock()
	c := r.by
	r.mu.Unlock()
	for _, number := range o.epochs.Before(target) {
		if err := o.epochs.Retire(number, 0); err != nil {
			return false, err
		}
		err := e.direct(ctx, o, c, kms.RollEpoch, func(w *work, tx *records.Tx) error {
			w.rec.Detail = fmt.Sprintf("epoch %d destroyed: 0 rows are under it", number)
			return tx.PutJob(records.Job{Name: jobEpoch, State: "idle", Target: o.epochs.Current(), LastRun: w.now.UTC(), Done: rows, Total: rows})
		})
		if err != nil {
			return false, err
		}
	}
	e.jobs.set(jobEpoch, func(i *JobInfo) {
		i.Done, i.Total, i.LastNote = rows, rows, fmt.Sprintf("%d secrets under epoch %d", rows, target)
	})
	return o.epochs.Current() > target, nil
}
