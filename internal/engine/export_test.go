package engine

import (
	"context"
	"runtime"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// Upkeep runs one round of the jobs, and what it began beside itself to the end, so that tests need not wait for one.
func (e *Engine) Upkeep(ctx context.Context) {
	e.upkeep(ctx, &agenda{})
	r := &e.jobs.rolls
	r.mu.Lock()
	ended := r.latest
	r.mu.Unlock()
	if ended != nil {
		<-ended
	}
	s := &e.campaigns
	s.mu.Lock()
	ended = s.ended
	s.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

// A Task is something that is due, under way in a test.
type Task = task

// Finish takes the row, as the last transaction of the work does.
func (t *task) Finish(ctx context.Context) error {
	_, _, err := t.o.records.Update(ctx, t.take)
	return err
}

// OnDue makes a test do what is due.
func (e *Engine) OnDue(what records.What, final, long bool, do func(context.Context, *Task) error) {
	e.duties[what] = duty{final: final, long: long, do: do}
}

// PutDue notes that something is due.
func (e *Engine) PutDue(ctx context.Context, d records.Due) error {
	_, _, err := e.open.Load().records.Update(ctx, func(tx *records.Tx) error { return tx.PutDue(d) })
	return err
}

// A Tenure is a lease that is held.
type Tenure = tenure

// ErrLeaseLost: another one has the lease.
var ErrLeaseLost = errLeaseLost

// TakeLease takes a lease: nil if it is not free.
func (e *Engine) TakeLease(ctx context.Context, name string) (*Tenure, error) {
	return e.takeLease(ctx, e.open.Load(), name)
}

// Write is a transaction of the work that a lease is held for.
func (t *tenure) Write(what records.Due) error {
	return t.update(func(tx *records.Tx) error { return tx.PutDue(what) })
}

// GiveBack ends it.
func (t *tenure) GiveBack() { t.giveBack() }

// Progress tells how far it is.
func (t *task) Progress(done, total uint64) { t.progress(done, total) }

// Part is a transaction of long work before its last one: it leaves a row, unless that is there. did is called once it stands.
func (t *task) Part(ctx context.Context, d records.Due, did func()) error {
	there := false
	_, _, err := t.o.records.Update(ctx, func(tx *records.Tx) error {
		if err := t.fence(tx); err != nil {
			return err
		}
		var err error
		if there, err = tx.TakeDue(d); err != nil {
			return err
		}
		return tx.PutDue(d)
	})
	if err == nil && !there {
		did()
	}
	return err
}

// Settle waits until nothing long is under way.
func (e *Engine) Settle() {
	for {
		e.due.mu.Lock()
		n := len(e.due.running)
		e.due.mu.Unlock()
		if n == 0 {
			return
		}
		runtime.Gosched()
	}
}

func (e *Engine) changeVersion(ctx context.Context, id kms.ID, n uint32, how func(*records.Version)) {
	_, _, err := e.open.Load().records.Update(ctx, func(tx *records.Tx) error {
		v, _, err := tx.Version(id, n)
		if err != nil {
			return err
		}
		how(&v)
		return tx.PutVersion(v)
	})
	if err != nil {
		panic(err)
	}
}

// CanaryOf is what a version made at its birth.
func (e *Engine) CanaryOf(ctx context.Context, id kms.ID, n uint32) []byte {
	v, err := e.open.Load().records.Version(ctx, id, n)
	if err != nil || len(v.Canary) == 0 {
		panic(err)
	}
	return v.Canary
}

// SetCanary puts another in its place.
func (e *Engine) SetCanary(ctx context.Context, id kms.ID, n uint32, canary []byte) {
	e.changeVersion(ctx, id, n, func(v *records.Version) { v.Canary = canary })
}

// SwapCheck makes a version's check value that of other material.
func (e *Engine) SwapCheck(ctx context.Context, id kms.ID, n uint32) {
	e.changeVersion(ctx, id, n, func(v *records.Version) { v.Check[0] ^= 1 })
}

// CountChunk does one transaction's worth of the usage ledger.
func (e *Engine) CountChunk(ctx context.Context) (more bool, err error) {
	end := audit.Position{Node: e.cfg.Log.Node(), Epoch: e.cfg.Log.Epoch(), Seq: e.cfg.Log.Size()}
	leave := e.HoldLedger()
	defer leave()
	return e.countChunk(ctx, nil, end)
}

// HoldLedger keeps others from reading on.
func (e *Engine) HoldLedger() (leave func()) {
	e.ledger.turn <- struct{}{}
	return func() { <-e.ledger.turn }
}
