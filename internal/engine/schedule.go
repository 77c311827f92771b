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

// What is due is found through the index of dates: what is not due is never looked at. Whatever does it removes its row in the transaction that does it, so
// that it happens once, on however many nodes and after whatever crash. What fails is put ahead, with its history, and holds up nothing else.

// A duty says how one kind of what is due is done.
type duty struct {
	// final: it cannot be undone. It goes by the mark that time has surely reached, and waits while the machine's clock is not believed.
	final bool
	// long: it takes more than a few transactions. It runs beside everything else, on one node at a time.
	long bool
	// do does it. It calls take in the transaction that completes the work.
	do func(ctx context.Context, t *task) error
}

// allDuties are what can be due. A kind that is not here is left to a newer version of the program.
func allDuties() map[records.What]duty {
	return map[records.What]duty{
		records.DueRotate:    {do: rotateDue},
		records.DueDestroy:   {final: true, do: destroyDue},
		records.DueExpire:    {final: true, do: forgetMaterial},
		records.DueImport:    {final: true, do: forgetImport},
		records.DueApproval:  {final: true, do: forgetOldApproval},
		records.DueState:     {final: true, do: writeDate}, // what is written down stays; what is decided by date does not wait for it
		records.DueNamespace: {final: true, do: destroyNamespaceDue},
		records.DueReplica:   {final: true, do: deleteReplicas},
	}
}

// A task is one thing that is due, under way.
type task struct {
	e *Engine
	o *opened
	records.Due
	held *tenure // of long work
}

// errGone: what was due was done by another node, or is not wanted any more. It is no failure and has no record.
var errGone = errors.New("not due any more")

// take removes the row in the transaction that does the work.
func (t *task) take(tx *records.Tx) error {
	if err := t.fence(tx); err != nil {
		return err
	}
	there, err := tx.TakeDue(t.Due)
	if err == nil && !there {
		err = errGone
	}
	return err
}

// fence is for the other transactions of long work: they fail if another node has taken it over.
func (t *task) fence(tx *records.Tx) error {
	if t.held == nil {
		return nil
	}
	return t.held.fence(tx)
}

// goesOn tells whether the server is still as it was when the task began. Long work asks between its transactions.
func (t *task) goesOn(ctx context.Context) bool { return t.e.goesOn(ctx, t.o) }

// progress tells how far long work is; total 0: not known.
func (t *task) progress(done, total uint64) { t.e.due.progress(t.Place(), done, total) }

func (e *Engine) goesOn(ctx context.Context, o *opened) bool {
	return ctx.Err() == nil && e.open.Load() == o && e.blocked.Load() == nil && !e.closed.Load()
}

// Limits of one round, and of what runs beside it.
const (
	dueAtOnce = 100 // rows read together
	duePages  = 10  // of one round: then the other jobs have their turn
	dueHands  = 4   // short tasks under way together: their transactions share a sync
	longHands = 2   // long tasks under way together
)

// Backoff of what failed.
const (
	retryFirst = 10 * time.Second
	retryMost  = time.Hour
)

// retryIn is how long after its nth failure something is tried again.
func retryIn(failures uint32) time.Duration {
	return min(retryFirst<<min(failures, 10), retryMost)
}

// dueWork is what is due and under way on this node.
type dueWork struct {
	mu      sync.Mutex // guards what follows
	running map[string]*JobInfo
	hands   map[string]bool // long tasks, by place
	after   []byte          // where the next round goes on; nil: at the beginning
}

func (d *dueWork) begin(t *records.Due, long bool, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := t.Place()
	if d.running[at] != nil || long && len(d.hands) >= longHands {
		return false
	}
	j := dueInfo(t, t.At)
	j.State, j.LastRun = "running", now.UTC()
	d.running[at] = &j
	if long {
		d.hands[at] = true
	}
	return true
}

func (d *dueWork) end(t *records.Due) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.running, t.Place())
	delete(d.hands, t.Place())
}

func (d *dueWork) progress(at string, done, total uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if j := d.running[at]; j != nil {
		j.Done, j.Total = done, total
	}
}

// doDue does what is due, in the order of dates, from where the round before stopped.
func (e *Engine) doDue(ctx context.Context, o *opened, r *clock.Reading) error {
	var damaged error
	by := later(r.Now, r.Trusted)
	for range duePages {
		page, err := o.records.DueBy(ctx, by, e.due.after, dueAtOnce)
		if err != nil {
			return err
		}
		for _, place := range page.Damaged {
			damaged = kms.Errorf(kms.CodeRecordDamaged, "what is due at %s cannot be read; the rest is done", place)
		}
		err = e.doPage(ctx, o, r, page.Rows)
		if e.due.after = page.Next; page.Next == nil || err != nil || !e.goesOn(ctx, o) {
			return errors.Join(err, damaged)
		}
	}
	e.jobs.kick() // there is more
	return damaged
}

// doPage does a page, a few at a time. An error is one of the server's, which all that is due would meet.
func (e *Engine) doPage(ctx context.Context, o *opened, r *clock.Reading, rows []records.Due) (err error) {
	var all sync.WaitGroup
	var mu sync.Mutex // guards err
	hands := make(chan struct{}, dueHands)
	for i := range rows {
		d := rows[i]
		how, known := e.duties[d.What]
		if !known || how.final && (r.Suspended() || d.At.After(r.Trusted)) {
			continue
		}
		if !e.goesOn(ctx, o) || !e.due.begin(&d, how.long, e.now()) {
			continue
		}
		t := &task{e: e, o: o, Due: d}
		if how.long {
			e.work.Go(func() { e.doLong(ctx, t, how) })
			continue
		}
		hands <- struct{}{}
		all.Go(func() {
			defer func() { <-hands }()
			if failed := e.attempt(ctx, t, how); failed != nil {
				mu.Lock()
				err = failed
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return err
}

// doLong does what takes long under a lease, so that one node does it. Sealing waits for the transaction under way.
func (e *Engine) doLong(ctx context.Context, t *task, how duty) {
	t.o.users.Add(1)
	defer t.o.users.Add(-1)
	if !t.goesOn(ctx) {
		e.due.end(&t.Due)
		return
	}
	held, err := e.takeLease(ctx, t.o, "due/"+t.What.String()+"/"+t.Key.String()+"/"+string(t.Namespace))
	if err != nil || held == nil { // another node does it, or the store fails: the next round asks again
		e.due.end(&t.Due)
		return
	}
	t.held = held
	defer held.giveBack()
	if err := e.attempt(ctx, t, how); err != nil {
		e.log.Error("due_work_failed", "what", t.What.String(), "key", t.Key.String(), "error", err)
	}
}

// attempt does one thing that is due. What fails is put ahead. It answers an error only if the server itself cannot work now: then the row stays where it is.
func (e *Engine) attempt(ctx context.Context, t *task, how duty) error {
	defer e.due.end(&t.Due)
	err := e.safely(ctx, t, how)
	if err == nil || errors.Is(err, errGone) || errors.Is(err, errLeaseLost) || !e.goesOn(ctx, t.o) {
		return nil
	}
	k := kms.AsError(err)
	if k.Kind() == kms.KindUnavailable {
		return k
	}
	told := clipTo(k.Error(), 512)
	next := e.now().Add(retryIn(t.Attempts)).UTC()
	e.log.Error("due_work_failed", "what", t.What.String(), "namespace", string(t.Namespace), "key", t.Key.String(),
		"attempts", t.Attempts+1, "next", next, "error", err)
	_, _, err = t.o.records.Update(context.WithoutCancel(ctx), func(tx *records.Tx) error { return tx.MoveDue(t.Due, next, told) })
	return err
}

// safely turns a panic into an error: it is one row's, not the scheduler's.
func (e *Engine) safely(ctx context.Context, t *task, how duty) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = e.panicked(0, p)
		}
	}()
	return how.do(ctx, t)
}

// Limits of what is shown of what is due.
const (
	dueShown    = 20     // by default
	dueShowable = 1000   // at most
	dueSearched = 10_000 // rows that are looked at for failures: those are at most retryMost ahead
)

func dueInfo(d *records.Due, next time.Time) JobInfo {
	j := JobInfo{Name: d.What.String(), State: "due", Namespace: d.Namespace, Key: d.Key, Version: d.Version, NextRun: next.UTC(),
		Due: d.Date().UTC(), Attempts: d.Attempts, LastNote: d.Error}
	if d.Attempts > 0 {
		j.State = "failed"
	}
	return j
}

// shownDue answers what is under way, then what failed, then what is due next: n of the last two at most.
func (e *Engine) shownDue(ctx context.Context, o *opened, n int) (all []JobInfo, err error) {
	e.due.mu.Lock()
	running := make(map[string]bool, len(e.due.running))
	for at, j := range e.due.running {
		running[at] = true
		all = append(all, *j)
	}
	e.due.mu.Unlock()
	var failed, next []JobInfo
	soon := e.now().Add(retryMost)
	var after []byte
	for seen := 0; seen < dueSearched && len(failed) < n; {
		page, err := o.records.DueBy(ctx, farAhead, after, pageMost)
		if err != nil {
			return nil, err
		}
		past := false
		for i := range page.Rows {
			d := &page.Rows[i]
			switch past = d.At.After(soon); {
			case running[d.Place()]:
			case d.Attempts > 0 && len(failed) < n:
				failed = append(failed, dueInfo(d, d.At))
			case len(next) < n:
				next = append(next, dueInfo(d, d.At))
			}
		}
		seen += len(page.Rows) + len(page.Damaged)
		if after = page.Next; after == nil || past && len(next) >= n {
			break
		}
	}
	all = append(all, failed...)
	return append(all, next[:min(len(next), max(n-len(failed), 0))]...), nil
}

// farAhead is later than any date.
var farAhead = time.Unix(1<<40, 0)
