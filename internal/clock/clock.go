// Package clock gives the time that dates are decided by: a line that never goes back, kept beside the machine's clock.
//
// The line follows the machine's clock forward as long as that is plausible: by the time that was seen to pass (CLOCK_BOOTTIME,
// which nobody can set), and by a bounded amount more. A machine's clock that is behind does not pull the line back: the
// line goes on by the time that passes, and at half that pace while the clock is near enough to catch up. A clock that
// jumps ahead by more than the bound is a jump: nothing that cannot be undone may happen by date until an operator has
// confirmed the clock, or the clock has come back.
//
// The package decides on numbers it is given. It stores nothing (see Mark), logs nothing, and does not say who may confirm.
//
// Invariants:
//   - Trusted never goes back, whatever the clock does and however often the process starts, if each start restores the Mark of
//     the run before. Until an operator confirms more, it goes forward by at most Limit and twice the time seen to pass.
//   - Now never goes back either, but for one case: a process that found the jump at its start, and so has nothing but
//     the machine's clock to go by, shows that clock's time, provisionally, and forgets it when the clock is put right.
package clock

import (
	"sync"
	"sync/atomic"
	"time"
)

// DefaultLimit is how far the machine's clock may go ahead of the time that was seen to pass.
const DefaultLimit = 24 * time.Hour

// Tolerance is by how much the machine's clock may be behind the line before anybody is told.
const Tolerance = 5 * time.Second

// Floor is a moment before which no clock is right: this program is younger.
var Floor = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// settle is how much wall clock and passing time differ between two looks unless the clock was set.
const settle = int64(time.Millisecond)

// latest is the last moment that is told apart, the year 2250: 64 bits of nanoseconds end twelve years later. Times before 1970
// are taken for 1970.
var latest = time.Date(2250, 1, 1, 0, 0, 0, 0, time.UTC)

// Config says what a clock goes by.
type Config struct {
	Wall    func() time.Time     // the machine's clock; nil: time.Now
	Elapsed func() time.Duration // the time that passes, sleep included; never goes back. nil: CLOCK_BOOTTIME; with Wall given, Wall's own progress
	Limit   time.Duration        // 0: DefaultLimit
}

// Mark is what has to outlive the process: store it every few seconds, and with everything that is done by date and cannot be undone.
type Mark struct {
	At   time.Time     // Trusted
	Debt time.Duration // by how much the line went ahead of the time seen to pass; it is paid back by time that passes
}

// Jump is a step of the machine's clock that is not believed.
type Jump struct {
	From time.Time // where the line stood
	To   time.Time // where the machine's clock stood
}

// Reading is how things stand.
type Reading struct {
	Now         time.Time     // as Now
	Trusted     time.Time     // the line: what cannot be undone goes by it
	Wall        time.Time     // the machine's clock
	Behind      time.Duration // by how much the machine's clock is behind the line; 0: not
	Jump        *Jump         // nil: the clock is believed
	Provisional bool          // Now is the machine's clock, although it is not believed
}

// Suspended tells whether what cannot be undone must wait for an operator.
func (r *Reading) Suspended() bool { return r.Jump != nil }

// Late tells whether the machine's clock is so far behind the line that somebody should see to it.
func (r *Reading) Late() bool { return r.Behind > Tolerance }

// Clock gives the time. It is safe for concurrent use.
type Clock struct {
	source source
	limit  int64
	at     atomic.Pointer[course]

	mu     sync.Mutex // guards what follows
	known  bool       // a mark was restored: before that there is only the machine's clock
	agreed bool       // in this process, the machine's clock was at the line once: the line is where time is
	line   int64      // Unix nanoseconds at …
	lineAt int64      // … this much time passed
	slow   bool       // the line runs at half pace
	debt   int64      // at debtAt
	debtAt int64
	jump   *Jump
}

// course lets Now answer without the mutex as long as the clock runs as it did when somebody last looked.
type course struct {
	base   int64 // the line when the source's ticks were 0
	skew   int64 // machine's clock less line
	shown  int64 // what Now adds to the line
	steady bool
}

// New makes a clock. Until Restore it shows the machine's time.
func New(c Config) *Clock {
	k := &Clock{source: newSource(c), limit: int64(c.Limit)}
	if k.limit <= 0 {
		k.limit = int64(DefaultLimit)
	}
	k.Look()
	return k
}

// Now is the time. In the common case it costs a look at the machine's clock and one atomic read.
func (c *Clock) Now() time.Time {
	k := c.at.Load()
	wall, ticks := c.source.read()
	line := k.base + ticks
	if d := wall - line - k.skew; k.steady && -settle < d && d < settle {
		return time.Unix(0, line+k.shown)
	}
	r := c.Look()
	return r.Now
}

// Trusted is the line: the moment by which what cannot be undone may be decided, unless the Reading says Suspended.
func (c *Clock) Trusted() time.Time {
	r := c.Look()
	return r.Trusted
}

// Look compares the machine's clock with the line. It has to be called every few seconds, whether or not anybody asks for the time.
func (c *Clock) Look() Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.look()
}

// Restore tells what mark was stored: zero if there was none. The first call of a process decides whether the clock is believed; later ones
// can only raise the line.
func (c *Clock) Restore(m Mark) Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, _, passed := c.source.look()
	switch at := nanos(m.At); {
	case !c.known && m.At.IsZero():
		c.set(max(wall, nanos(Floor)), passed)
		c.agreed = wall >= nanos(Floor)
	case !c.known:
		c.set(at, passed)
		c.debt, c.debtAt = max(int64(m.Debt), 0), passed
	case at > c.now(passed):
		c.set(at, passed)
	}
	c.known = true
	return c.look()
}

// Confirm takes an operator's word that the machine's clock was right when it stood at to: the line goes there if that is ahead, and
// the jump is over.
func (c *Clock) Confirm(to time.Time) Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _, passed := c.source.look()
	c.set(max(c.now(passed), nanos(to)), passed)
	c.debt, c.jump, c.agreed = 0, nil, true
	return c.look()
}

// Mark is what to store now.
func (c *Clock) Mark() Mark {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.look()
	return Mark{At: r.Trusted.UTC(), Debt: time.Duration(c.owed(c.lineAt))}
}

func (c *Clock) set(line, passed int64) { c.line, c.lineAt, c.slow = line, passed, false }

// now is the line when so much time has passed.
func (c *Clock) now(passed int64) int64 {
	d := passed - c.lineAt
	if c.slow {
		d /= 2
	}
	return c.line + d
}

// owed is what is left of the debt.
func (c *Clock) owed(passed int64) int64 { return max(0, c.debt-(passed-c.debtAt)) }

// look is Look, under the mutex.
func (c *Clock) look() Reading {
	wall, ticks, passed := c.source.look()
	if !c.known { // sealed: nothing is decided yet, and nothing known
		now := moment(max(wall, nanos(Floor)))
		c.at.Store(&course{})
		return Reading{Now: now, Trusted: now, Wall: moment(wall)}
	}
	line := c.now(passed)
	debt, slow := c.owed(passed), false
	switch ahead := wall - line; {
	case ahead < 0:
		c.jump, slow = nil, -ahead > int64(Tolerance) && -ahead <= c.limit
		c.agreed = c.agreed || -ahead <= int64(Tolerance)
	case ahead <= c.limit-debt:
		line, debt, c.jump, c.agreed = wall, debt+ahead, nil, true
	case c.jump == nil:
		c.jump = &Jump{From: moment(line), To: moment(wall)}
	}
	c.line, c.lineAt, c.slow = line, passed, slow
	c.debt, c.debtAt = debt, passed

	r := Reading{Now: moment(line), Trusted: moment(line), Wall: moment(wall), Behind: time.Duration(max(line-wall, 0)),
		Jump: c.jump, Provisional: c.jump != nil && !c.agreed}
	k := course{base: line - ticks, skew: wall - line, steady: !slow}
	if r.Provisional {
		k.shown, r.Now = wall-line, r.Wall
	}
	if was := c.at.Load(); was == nil || *was != k {
		c.at.Store(&k)
	}
	return r
}

func moment(nanos int64) time.Time { return time.Unix(0, nanos) }

// nanos are Unix nanoseconds, within bounds that leave room to calculate.
func nanos(t time.Time) int64 {
	switch s := t.Unix(); {
	case s < 0:
		return 0
	case s >= latest.Unix():
		return latest.UnixNano()
	}
	return t.UnixNano()
}
