package engine

import (
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
)

const (
	dialects = 8
	outcomes = int(audit.Replayed) + 1
)

// counters count operations by fixed index: no look-up, no label, no lock.
type counters [kms.ActionCount][dialects][outcomes]atomic.Uint64

func (c *counters) add(a kms.Action, d kms.Dialect, o audit.Outcome) {
	if int(a) < kms.ActionCount && d < dialects && int(o) < outcomes {
		c[a][d][o].Add(1)
	}
}

// Count is one counter that is not zero.
type Count struct {
	Action  kms.Action
	Dialect kms.Dialect
	Outcome audit.Outcome
	N       uint64
}

// Metrics answers every counter that is not zero.
func (e *Engine) Metrics() []Count {
	var all []Count
	for a := range e.counts {
		for d := range e.counts[a] {
			for o := range e.counts[a][d] {
				if n := e.counts[a][d][o].Load(); n > 0 {
					all = append(all, Count{kms.Action(a), kms.Dialect(d), audit.Outcome(o), n}) //nolint:gosec // G115: array indexes
				}
			}
		}
	}
	return all
}

// newID makes the id of a record.
func (e *Engine) newID(now time.Time) kms.ID {
	var r [10]byte
	rand.Read(r[:]) //nolint:errcheck // never fails since Go 1.24
	return kms.NewID(now, r)
}

// orderedID makes the id of something that is listed in order of creation: ids of one millisecond count up in the 12 bits
// behind it (RFC 9562 §6.2, method 1), and a millisecond that is used up borrows from the next.
func (e *Engine) orderedID(now time.Time) kms.ID {
	ms := uint64(now.UnixMilli()) //nolint:gosec // G115: times before 1970 do not occur
	for {
		last := e.stamp.Load()
		next := max(ms<<12, last+1)
		if e.stamp.CompareAndSwap(last, next) {
			var r [10]byte
			rand.Read(r[:]) //nolint:errcheck // never fails since Go 1.24
			r[0], r[1] = byte(next>>8), byte(next)
			return kms.NewID(time.UnixMilli(int64(next>>12)), r) //nolint:gosec // G115: 48 bits
		}
	}
}

// Limits of denials: a principal that is denied in a loop must not fill the audit log.
const (
	denialBurst   = 200 // denials within a window before a principal is slowed down
	denialWindow  = 10 * time.Second
	denialTracked = 4096 // principals
)

// denialLimiter refuses, unrecorded, the calls of a principal that was denied too often just now.
type denialLimiter struct {
	mu  sync.Mutex // guards by and since
	by  map[denialAt]int
	end time.Time
	any atomic.Bool // whether there is anything to look up
}

type denialAt struct {
	ns   kms.Namespace
	name string
}

func (l *denialLimiter) note(p *kms.Principal, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	if len(l.by) < denialTracked {
		l.by[denialAt{p.Namespace, p.Name}]++
		l.any.Store(true)
	}
}

func (l *denialLimiter) turn(now time.Time) {
	if l.by == nil || !now.Before(l.end) {
		l.by, l.end = map[denialAt]int{}, now.Add(denialWindow)
		l.any.Store(false)
	}
}

// slowed refuses the calls of a principal that was denied too often just now.
func (e *Engine) slowed(p *kms.Principal) error {
	if !e.denials.any.Load() {
		return nil
	}
	return e.denials.check(p, e.clock.Trusted())
}

func (l *denialLimiter) check(p *kms.Principal, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	if l.by[denialAt{p.Namespace, p.Name}] < denialBurst {
		return nil
	}
	err := kms.Errorf(kms.CodeRateLimited, "%s was denied %d times within %s", p.Name, denialBurst, denialWindow)
	err.RetryMS = l.end.Sub(now).Milliseconds()
	return err
}
