package authn

import (
	"cmp"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// LockOut says when a credential is refused without being looked at. It counts a credential's id and the source together,
// so that a stranger who knows an id cannot lock its owner out.
type LockOut struct {
	Failures int           // this many …; 0: 10
	Window   time.Duration // … in so much time; 0: 15 minutes
	First    time.Duration // length of the first lock, doubled by every further one; 0: 1 minute
	Most     time.Duration // no lock is longer; 0: 1 hour
}

// Bounds of the table.
const (
	maxPairs          = 1 << 15
	maxPairsPerSource = 16 // a source that fails with more credentials loses its own oldest counts, nobody else's
	pairsSampled      = 16 // looked at to find one to drop
)

// Lock is a lock-out that began.
type Lock struct {
	Principal  *kms.Principal // whose credential it is; nil: not known
	Method     kms.AuthMethod
	Credential string // its public id or subject; it may name nothing
	Remote     netip.AddrPort
	Failures   int
	Until      time.Time
}

// pair is what is counted: one credential from one source.
type pair struct {
	id      kms.ID // of a token; zero: a certificate
	subject string // of a certificate
	source  netip.Addr
}

func (p pair) credential() string {
	if p.subject != "" {
		return p.subject
	}
	return p.id.String()
}

// tally is what is known of a pair.
type tally struct {
	failures int // since began
	began    time.Time
	last     time.Time // latest failure
	locks    int       // so far: the next is 2^locks as long as the first
	until    time.Time // end of the latest lock
}

// lockout is the table of pairs that failed. It is bounded, and a pair under lock is never dropped to make room: a table full of
// locks takes no more counts (and says so), which an attacker pays for with maxPairs × LockOut.Failures failures,
// each slowed by its source's bucket, from at least maxPairs / maxPairsPerSource sources.
type lockout struct {
	rule LockOut

	known atomic.Int64 // number of pairs; 0 spares a good request the mutex

	mu        sync.RWMutex // guards what follows
	pairs     map[pair]*tally
	bySource  map[netip.Addr][]pair // oldest first, at most maxPairsPerSource
	locks     uint64
	uncounted uint64
}

func (l *lockout) init(rule LockOut) {
	rule = LockOut{
		Failures: cmp.Or(rule.Failures, 10),
		Window:   cmp.Or(rule.Window, 15*time.Minute),
		First:    cmp.Or(rule.First, time.Minute),
		Most:     cmp.Or(rule.Most, time.Hour),
	}
	rule.Most = max(rule.Most, rule.First)
	l.rule = rule
	l.pairs = make(map[pair]*tally)
	l.bySource = make(map[netip.Addr][]pair)
}

// check refuses a pair that is under lock. It does not count. The first result tells whether the pair has failures to forgive.
func (l *lockout) check(p pair, now time.Time) (failed bool, _ *kms.Error) {
	if l.known.Load() == 0 {
		return false, nil
	}
	l.mu.RLock()
	t, failed := l.pairs[p]
	var until time.Time
	if failed {
		until = t.until
	}
	l.mu.RUnlock()
	if !now.Before(until) {
		return failed, nil
	}
	left := until.Sub(now)
	err := kms.Errorf(kms.CodeLockedOut, "too many failed authentications with this credential from this address; retry in %s", (left + time.Second - 1).Truncate(time.Second))
	err.RetryMS = max(1, left.Milliseconds())
	return failed, err
}

// fail counts a failure; the result tells whether it began a lock. After a lock the pair is on probation for one window: a single
// further failure locks it again, for twice as long.
func (l *lockout) fail(p pair, now time.Time) (Lock, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, ok := l.pairs[p]
	if !ok {
		if !l.makeRoom(p.source, now) {
			l.uncounted++
			return Lock{}, false
		}
		t = &tally{began: now}
		l.pairs[p] = t
		l.bySource[p.source] = append(l.bySource[p.source], p)
		l.known.Add(1)
	}
	if l.over(t, now) {
		*t = tally{began: now}
	}
	t.last = now
	t.failures++
	if now.Before(t.until) { // counted by a request that passed check before the lock began
		return Lock{}, false
	}
	if t.locks == 0 && t.failures < l.rule.Failures {
		return Lock{}, false
	}
	length := l.rule.Most
	if t.locks < 32 && l.rule.First<<t.locks < l.rule.Most && l.rule.First<<t.locks > 0 {
		length = l.rule.First << t.locks
	}
	t.locks++
	t.until = now.Add(length)
	l.locks++
	return Lock{Failures: t.failures, Until: t.until}, true
}

// over tells whether what a tally knows is too old to matter.
func (l *lockout) over(t *tally, now time.Time) bool {
	if t.locks > 0 {
		return now.Sub(t.until) > l.rule.Window
	}
	return now.Sub(t.began) > l.rule.Window
}

// forgive forgets a pair's failures because the credential was proven.
func (l *lockout) forgive(p pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.pairs[p]; ok {
		l.drop(p)
	}
}

// makeRoom drops a pair if there is no room for one more of a source, and tells whether there is room now.
func (l *lockout) makeRoom(from netip.Addr, now time.Time) bool {
	if own := l.bySource[from]; len(own) >= maxPairsPerSource {
		return l.dropOne(own, now)
	}
	if len(l.pairs) < maxPairs {
		return true
	}
	some := make([]pair, 0, pairsSampled)
	for p := range l.pairs { // begins at a random place
		if some = append(some, p); len(some) == pairsSampled {
			break
		}
	}
	return l.dropOne(some, now)
}

// dropOne drops the first that is over, else the one with the fewest failures, but none that is under lock.
func (l *lockout) dropOne(of []pair, now time.Time) bool {
	var victim pair
	fewest := -1
	for _, p := range of {
		t := l.pairs[p]
		if l.over(t, now) {
			l.drop(p)
			return true
		}
		if !now.Before(t.until) && (fewest < 0 || t.failures < fewest) {
			victim, fewest = p, t.failures
		}
	}
	if fewest < 0 {
		return false
	}
	l.drop(victim)
	return true
}

func (l *lockout) drop(p pair) {
	delete(l.pairs, p)
	l.known.Add(-1)
	own := l.bySource[p.source]
	for i := range own {
		if own[i] == p {
			own = append(own[:i:i], own[i+1:]...)
			break
		}
	}
	if len(own) == 0 {
		delete(l.bySource, p.source)
		return
	}
	l.bySource[p.source] = own
}

func (l *lockout) figures() (locks, uncounted uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.locks, l.uncounted
}
