package clock_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/clock"
)

const day = 24 * time.Hour

// machine is a computer whose clock is set by hand while time passes.
type machine struct {
	mu   sync.Mutex
	wall time.Time
	up   time.Duration
}

var march = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func (m *machine) boot() *clock.Clock {
	m.up = 0
	return clock.New(clock.Config{Limit: day,
		Wall:    func() time.Time { m.mu.Lock(); defer m.mu.Unlock(); return m.wall },
		Elapsed: func() time.Duration { m.mu.Lock(); defer m.mu.Unlock(); return m.up }})
}

// pass lets time pass, on the clock as well.
func (m *machine) pass(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wall, m.up = m.wall.Add(d), m.up+d
}

// set sets the clock.
func (m *machine) set(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wall = t
}

func started(t *testing.T) (*machine, *clock.Clock) {
	t.Helper()
	m := &machine{wall: march}
	k := m.boot()
	k.Restore(clock.Mark{At: march})
	wants(t, k, march, march, false)
	return m, k
}

func wants(t *testing.T, k *clock.Clock, now, trusted time.Time, suspended bool) {
	t.Helper()
	r := k.Look()
	if !k.Now().Equal(now) || !r.Now.Equal(now) || !r.Trusted.Equal(trusted) || r.Suspended() != suspended {
		t.Fatalf("got now %s, trusted %s, suspended %v; want %s, %s, %v", k.Now().UTC(), r.Trusted.UTC(), r.Suspended(), now, trusted, suspended)
	}
}

func TestTimeFollowsAClockThatRuns(t *testing.T) {
	m, k := started(t)
	for range 100 {
		m.pass(time.Hour)
	}
	wants(t, k, march.Add(100*time.Hour), march.Add(100*time.Hour), false)
	m.set(march.Add(105 * time.Hour)) // 5 hours are within a day
	wants(t, k, march.Add(105*time.Hour), march.Add(105*time.Hour), false)
}

func TestAClockSetBackDoesNotTakeTimeBack(t *testing.T) {
	m, k := started(t)
	m.set(time.Unix(0, 0))
	wants(t, k, march, march, false)
	if r := k.Look(); !r.Late() || r.Behind != march.Sub(time.Unix(0, 0)) {
		t.Fatalf("got %+v", r)
	}
	m.pass(time.Hour) // the clock is of no use: time passes as it is seen to
	wants(t, k, march.Add(time.Hour), march.Add(time.Hour), false)

	// Near enough to be caught up with, time runs at half pace until it is.
	m.set(march.Add(-time.Hour))
	k.Look()
	m.pass(2 * time.Hour)
	wants(t, k, march.Add(2*time.Hour), march.Add(2*time.Hour), false)
	m.pass(2 * time.Hour)
	wants(t, k, march.Add(3*time.Hour), march.Add(3*time.Hour), false)
	m.pass(time.Hour)
	wants(t, k, march.Add(4*time.Hour), march.Add(4*time.Hour), false)
	if r := k.Look(); r.Behind != 0 {
		t.Fatalf("got %+v", r)
	}
}

func TestAJumpAheadIsNotBelieved(t *testing.T) {
	m, k := started(t)
	future := time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	m.set(future)
	wants(t, k, march, march, true)
	m.pass(40 * day) // waiting makes it no better
	wants(t, k, march.Add(40*day), march.Add(40*day), true)
	m.set(march.Add(40 * day))
	wants(t, k, march.Add(40*day), march.Add(40*day), false)
	m.pass(time.Hour)
	wants(t, k, march.Add(40*day+time.Hour), march.Add(40*day+time.Hour), false)
}

func TestAnOperatorsWordEndsAJump(t *testing.T) {
	m, k := started(t)
	later := march.Add(31 * day)
	m.set(later)
	wants(t, k, march, march, true)
	k.Confirm(later)
	wants(t, k, later, later, false)
	m.set(march) // what was confirmed is not taken back
	wants(t, k, later, later, false)
	if r := k.Confirm(march); !r.Trusted.Equal(later) {
		t.Fatalf("an operator's word took time back to %s", r.Trusted)
	}
}

// At the start there is no evidence but the machine's clock.
func TestAJumpAtTheStart(t *testing.T) {
	m, k := started(t)
	mark := k.Mark()
	m.pass(21 * day) // switched off
	k = m.boot()
	k.Restore(mark)
	back := march.Add(21 * day)
	wants(t, k, back, march, true)
	if r := k.Look(); !r.Provisional || !r.Jump.From.Equal(march) || !r.Jump.To.Equal(back) {
		t.Fatalf("got %+v", r)
	}
	m.pass(time.Hour)
	wants(t, k, back.Add(time.Hour), march.Add(time.Hour), true)

	// The mark of such a run is no better for it.
	mark = k.Mark()
	k = m.boot()
	k.Restore(mark)
	wants(t, k, back.Add(time.Hour), march.Add(time.Hour), true)

	k.Confirm(back.Add(time.Hour))
	wants(t, k, back.Add(time.Hour), back.Add(time.Hour), false)
	mark = k.Mark()
	k = m.boot()
	k.Restore(mark)
	wants(t, k, back.Add(time.Hour), back.Add(time.Hour), false)
}

func TestAWrongClockAtTheStartThatIsPutRight(t *testing.T) {
	m, k := started(t)
	mark := k.Mark()
	m.set(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC))
	k = m.boot()
	k.Restore(mark)
	wants(t, k, m.wall, march, true)
	m.set(march.Add(time.Hour))
	wants(t, k, march.Add(time.Hour), march.Add(time.Hour), false)

	mark = k.Mark()
	m.set(time.Unix(1, 0)) // no battery
	k = m.boot()
	k.Restore(mark)
	wants(t, k, march.Add(time.Hour), march.Add(time.Hour), false)
	m.set(march.Add(3 * day)) // the network's time has come: the process never saw the clock and the line agree
	wants(t, k, march.Add(3*day), march.Add(time.Hour), true)
}

// TestManySmallJumpsAreOneLargeOne: the bound is not one for each step, and not one for each start.
func TestManySmallJumpsAreOneLargeOne(t *testing.T) {
	for _, restart := range []bool{false, true} {
		m, k := started(t)
		for range 31 {
			m.set(m.wall.Add(23 * time.Hour))
			if restart {
				mark := k.Mark()
				k = m.boot()
				k.Restore(mark)
			}
			k.Look()
		}
		if r := k.Look(); !r.Suspended() || r.Trusted.Sub(march) > day {
			t.Fatalf("restart %v: 31 jumps of 23 hours: %+v", restart, r)
		}
	}
	// Time that passes pays for time that was missed: a server that is off every night is not suspect.
	m, k := started(t)
	for range 30 {
		m.pass(14 * time.Hour)
		mark := k.Mark()
		m.pass(10 * time.Hour)
		k = m.boot()
		k.Restore(mark)
		wants(t, k, m.wall, m.wall, false)
	}
}

func TestASealedServerShowsTheMachinesClock(t *testing.T) {
	m := &machine{wall: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)}
	k := m.boot()
	if !k.Now().Equal(m.wall) {
		t.Fatalf("got %s want %s", k.Now(), m.wall)
	}
	m.set(march)
	if !k.Now().Equal(march) {
		t.Fatalf("got %s want %s", k.Now(), march)
	}
	m.set(time.Unix(0, 0))
	if !k.Now().Equal(clock.Floor) {
		t.Fatalf("got %s want %s", k.Now(), clock.Floor)
	}
	m.set(march)
	k.Restore(clock.Mark{}) // a store from before there were marks
	wants(t, k, march, march, false)
	// Unsealing again can only raise the line.
	k.Restore(clock.Mark{At: march.Add(-day)})
	wants(t, k, march, march, false)
	k.Restore(clock.Mark{At: march.Add(time.Hour)})
	wants(t, k, march.Add(time.Hour), march.Add(time.Hour), false)
}

func TestTimesOutOfReach(t *testing.T) {
	m, k := started(t)
	for _, at := range []time.Time{{}, time.Unix(-1<<40, 0), time.Unix(1<<40, 0), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), march} {
		m.set(at)
		wants(t, k, march, march, at.After(march))
	}
}

// TestTrustedTimeNeverGoesBack drives machines through random lives: time passes, the clock is set, the process is
// killed and started again, sometimes with a mark that is a little old, an operator confirms.
func TestTrustedTimeNeverGoesBack(t *testing.T) {
	lives := 300
	if os.Getenv("KEYHOLD_LONG") == "1" {
		lives = 30000
	}
	for seed := range uint64(lives) {
		if what := life(seed); what != "" {
			t.Fatalf("seed %d: %s", seed, what)
		}
	}
}

func life(seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 1))
	m := &machine{wall: march}
	k := m.boot()
	k.Restore(clock.Mark{At: march})
	trusted, now := march, march
	budget := march.Add(day) // the line may be no further: what was seen to pass counts twice
	var old []clock.Mark
	for step := range 200 {
		what := ""
		switch op := r.IntN(10); op {
		case 0, 1, 2:
			d := time.Duration(r.Int64N(int64(2 * time.Hour)))
			m.pass(d)
			budget = budget.Add(2 * d)
			what = "pass " + d.String()
		case 3:
			m.set(m.wall.Add(time.Duration(r.Int64N(int64(2*day))) - day))
			what = "step to " + m.wall.String()
		case 4:
			m.set(march.AddDate(0, 0, r.IntN(80000)-20000))
			what = "set to " + m.wall.String()
		case 5:
			m.set(m.wall.Add(time.Duration(r.IntN(4_000_000) - 2_000_000)))
			what = "set by less than 2 ms"
		case 6, 7:
			mark := k.Mark()
			if op == 7 && len(old) > 0 {
				mark = old[len(old)-1]
			}
			off := time.Duration(r.Int64N(int64(time.Hour)))
			m.pass(off)
			k = m.boot()
			k.Restore(mark)
			// Time may go back to the mark, by what was not stored; and it was seen to pass again.
			trusted, now = mark.At, time.Time{}
			budget = budget.Add(day / 1000)
			old, what = nil, fmt.Sprintf("restart with mark %s", mark.At)
		case 8:
			if r.IntN(10) == 0 {
				if to := k.Confirm(m.wall).Trusted.Add(day); to.After(budget) {
					budget = to
				}
				what = "confirm " + m.wall.String()
			}
		case 9:
			old, what = append(old, k.Mark()), "store the mark"
		}
		rd := k.Look()
		got := k.Now()
		switch {
		case rd.Trusted.Before(trusted):
			return fmt.Sprintf("step %d (%s): the line went back from %s to %s", step, what, trusted, rd.Trusted)
		case got.Before(now):
			return fmt.Sprintf("step %d (%s): time went back from %s to %s", step, what, now, got)
		case got.Before(rd.Trusted):
			return fmt.Sprintf("step %d (%s): time %s is behind the line %s", step, what, got, rd.Trusted)
		case !rd.Provisional && !got.Equal(rd.Trusted):
			return fmt.Sprintf("step %d (%s): time %s is not the line %s", step, what, got, rd.Trusted)
		case rd.Trusted.After(budget):
			return fmt.Sprintf("step %d (%s): the line is at %s, although no more than %s can be accounted for", step, what, rd.Trusted, budget)
		}
		trusted = rd.Trusted
		if now = got; rd.Provisional {
			now = rd.Trusted // what is shown provisionally may be forgotten
		}
	}
	return ""
}

// TestTheMachinesOwnClock runs on real time.
func TestTheMachinesOwnClock(t *testing.T) {
	k := clock.New(clock.Config{})
	k.Restore(clock.Mark{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			last := time.Time{}
			for i := range 20000 {
				now := k.Now()
				if now.Before(last) {
					t.Errorf("time went back by %s", last.Sub(now))
					return
				}
				if last = now; i%100 == 0 {
					k.Look()
				}
			}
		})
	}
	wg.Wait()
	if d := time.Until(k.Now()); d > time.Second || d < -time.Second {
		t.Fatalf("%s away from the machine's clock", d)
	}
}

func BenchmarkNow(b *testing.B) {
	k := clock.New(clock.Config{})
	k.Restore(clock.Mark{})
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			k.Now()
		}
	})
}
