package clock

import (
	"sync/atomic"
	"time"
)

// source reads the machine's clock, and the time that passes. Nothing of it changes but asleep, which look alone writes, under the
// clock's mutex.
type source struct {
	wall    func() time.Time
	elapsed func() time.Duration // nil: the machine's own
	start   time.Time            // with a monotonic reading
	boot    time.Duration        // CLOCK_BOOTTIME at the start
	asleep  int64                // time that passed while the machine slept: Go's monotonic clock does not count it
	passed  int64                // as last seen
}

func newSource(c Config) source {
	s := source{wall: c.Wall, elapsed: c.Elapsed}
	switch {
	case s.wall == nil && s.elapsed == nil:
		s.start, s.boot = time.Now(), sinceBoot()
	case s.wall == nil:
		s.wall = time.Now
	case s.elapsed == nil:
		s.elapsed = progress(s.wall)
	}
	return s
}

// read answers the machine's clock in Unix nanoseconds, and ticks: nanoseconds of time that passed, less what the machine slept through.
func (s *source) read() (wall, ticks int64) {
	if s.elapsed == nil {
		t := time.Now()
		return nanos(t), int64(t.Sub(s.start))
	}
	return nanos(s.wall()), int64(s.elapsed())
}

// look is read, and the time that passed in all. That never goes back.
func (s *source) look() (wall, ticks, passed int64) {
	wall, ticks = s.read()
	if s.elapsed == nil && s.boot > 0 {
		s.asleep = max(s.asleep, int64(sinceBoot()-s.boot)-ticks)
	}
	s.passed = max(s.passed, ticks+s.asleep)
	return wall, ticks, s.passed
}

// progress takes a clock's own way forward for the time that passes.
func progress(wall func() time.Time) func() time.Duration {
	first := wall()
	var most atomic.Int64
	return func() time.Duration {
		d := int64(wall().Sub(first))
		for was := most.Load(); d > was; was = most.Load() {
			if most.CompareAndSwap(was, d) {
				return time.Duration(d)
			}
		}
		return time.Duration(most.Load())
	}
}
