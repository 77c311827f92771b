package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/keyhold/keyhold/internal/clock"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

const (
	markEvery     = 15 * time.Second // a crash loses at most so much of the high-water mark; what is destroyed by date stores it with itself
	confirmWithin = 5 * time.Minute  // how near the operator's clock has to be to the server's
)

// timekeeper is the engine's clock, and what is known of it elsewhere.
type timekeeper struct {
	*clock.Clock

	mu     sync.Mutex // guards both
	stored time.Time  // the mark in the store
	told   clock.Reading
}

// ClockStatus is how the time by which dates take effect stands to the machine's clock.
type ClockStatus struct {
	Time      time.Time     // by which dates take effect
	Wall      time.Time     // of the machine
	Behind    time.Duration // by how much the machine's clock is behind the high-water mark; 0: not, or not worth a word
	Suspended bool          // the machine's clock jumped ahead: nothing is destroyed by date until an operator confirms it
	Trusted   time.Time     // the high-water mark: what is destroyed goes by it
}

// ConfirmClockInput is an operator's word that the server's clock is right.
type ConfirmClockInput struct {
	Time time.Time // by the operator's own clock; zero: not compared

	to time.Time // what was confirmed
}

// ConfirmClockOutput says what was confirmed.
type ConfirmClockOutput struct {
	From time.Time // where the high-water mark stood
	To   time.Time // where it stands; zero: there was nothing to confirm
}

// The descriptor of confirming the clock.
var confirmClock = change[ConfirmClockInput, ConfirmClockOutput]{name: kms.ConfirmClock, do: doConfirmClock}

// ConfirmClock takes an operator's word that the machine's clock is right after it jumped: time is what it says, and
// scheduled destruction goes on. There is no way to confirm a clock that is behind: time does not go back.
func (e *Engine) ConfirmClock(ctx context.Context, c kms.Call, in ConfirmClockInput) (ConfirmClockOutput, error) {
	out, err := alter(ctx, e, c, &confirmClock, &in)
	if err == nil && !c.DryRun && !in.to.IsZero() {
		e.clock.Confirm(in.to)
		e.jobs.kick()
	}
	return out, err
}

func doConfirmClock(_ context.Context, w *work, tx *records.Tx, in *ConfirmClockInput) (ConfirmClockOutput, error) {
	in.to = time.Time{}
	r := w.e.clock.Look()
	if d := in.Time.Sub(r.Wall); !in.Time.IsZero() && (d > confirmWithin || d < -confirmWithin) {
		return ConfirmClockOutput{}, kms.Errorf(kms.CodeClock, "the server's clock says %s, yours %s", spelt(r.Wall), spelt(in.Time))
	}
	if r.Late() {
		return ConfirmClockOutput{}, kms.Errorf(kms.CodeClock, "the server's clock says %s, and time was at %s already: it does not go back", spelt(r.Wall), spelt(r.Trusted))
	}
	if !r.Suspended() {
		w.rec.Detail = "nothing to do"
		return ConfirmClockOutput{}, nil
	}
	c, err := tx.Clock()
	if err != nil {
		return ConfirmClockOutput{}, err
	}
	in.to = r.Wall
	w.rec.Detail = fmt.Sprintf("from %s to %s", spelt(r.Trusted), spelt(r.Wall))
	c.Mark, c.Debt = r.Wall.UTC(), 0
	w.onCommit(c.Change, func(leaf [32]byte) error {
		c.Change = leaf
		return tx.PutClock(c)
	})
	return ConfirmClockOutput{From: r.Trusted.UTC(), To: r.Wall.UTC()}, nil
}

func spelt(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Clock tells how time stands.
func (e *Engine) Clock() ClockStatus {
	r := e.clock.Look()
	s := ClockStatus{Time: r.Now.UTC(), Wall: r.Wall.UTC(), Suspended: r.Suspended(), Trusted: r.Trusted.UTC()}
	if r.Late() {
		s.Behind = r.Behind
	}
	return s
}

// Now is the time by which dates take effect.
func (e *Engine) Now() time.Time { return e.clock.Now() }

// restoreTime goes on from the stored mark. It comes before everything that looks at a date.
func (e *Engine) restoreTime(ctx context.Context, o *opened) error {
	c, _, err := o.records.Clock(ctx)
	if err != nil {
		return err
	}
	e.clock.Restore(clock.Mark{At: c.Mark, Debt: time.Duration(c.Debt)})
	e.clock.mu.Lock()
	e.clock.stored = c.Mark
	e.clock.mu.Unlock()
	return nil
}

// putTime stores the mark with what a transaction does, unless a later one is there.
func (e *Engine) putTime(tx *records.Tx) error {
	c, err := tx.Clock()
	if err != nil {
		return err
	}
	m := e.clock.Mark()
	if !m.At.After(c.Mark) {
		return nil
	}
	c.Mark, c.Debt = m.At, int64(m.Debt)
	return tx.PutClock(c)
}

// keepTime looks at the clock, tells operators what is new, and stores the mark when it has moved enough.
func (e *Engine) keepTime(ctx context.Context, o *opened) (r clock.Reading, err error) {
	e.clock.mu.Lock()
	defer e.clock.mu.Unlock()
	r = e.clock.Look()
	e.tellTime(&r)
	if r.Trusted.Sub(e.clock.stored) < markEvery {
		return r, nil
	}
	return r, e.storeTime(ctx, o, r.Trusted)
}

func (e *Engine) storeTime(ctx context.Context, o *opened, at time.Time) error {
	if _, _, err := o.records.Update(ctx, e.putTime); err != nil {
		return err
	}
	e.clock.stored = at
	return nil
}

// tellTime logs what changed since it was last told.
func (e *Engine) tellTime(r *clock.Reading) {
	was := e.clock.told
	e.clock.told = *r
	switch {
	case r.Suspended() && !was.Suspended():
		e.log.Error("clock_jumped_ahead", "from", r.Trusted.UTC(), "clock", r.Wall.UTC(), "next", "nothing is destroyed by date until the clock is put right, or confirmed: keyhold operator confirm-clock")
	case was.Suspended() && !r.Suspended():
		e.log.Info("clock_believed", "time", r.Now.UTC())
	}
	switch {
	case r.Late() && !was.Late():
		e.log.Error("clock_behind", "time", r.Now.UTC(), "clock", r.Wall.UTC(), "behind", r.Behind.String())
	case was.Late() && !r.Late():
		e.log.Info("clock_caught_up", "time", r.Now.UTC())
	}
	if was.Provisional && !r.Provisional {
		e.tell([]Touch{{Kind: records.TouchAll}}) // credentials that were made, or ended, by a time that is forgotten
	}
}

// closeTime stores the mark before the keys that seal it are gone.
func (e *Engine) closeTime(ctx context.Context, o *opened) {
	e.clock.mu.Lock()
	defer e.clock.mu.Unlock()
	if err := e.storeTime(ctx, o, e.clock.Trusted()); err != nil {
		e.log.Warn("clock_not_stored", "error", err)
	}
}
