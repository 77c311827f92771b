package storetest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyhold/keyhold/internal/store"
)

// hashed is the running hash as package store documents it, computed here once more, independently.
func hashed(h store.Head, rev store.Rev, x store.Txn) store.Head {
	b := append([]byte{}, h.Hash[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(rev))
	for _, w := range x.Then {
		b = binary.BigEndian.AppendUint16(b, uint16(len(w.Key)))
		b = append(b, w.Key...)
		if w.Delete {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
		sum := sha256.Sum256(w.Value)
		b = append(b, sum[:]...)
	}
	return store.Head{Rev: rev, Hash: sha256.Sum256(b)}
}

// call is one call of a history: when it began and ended on a common clock, and what it answered.
type call struct {
	begin, end int64
	txn        *store.Txn // of a Commit
	err        error
	rev        store.Rev // of the commit, or of the snapshot
	head       *store.Head
	read       []store.Record // of a Get; absent keys too
	scan       []store.Record // of a Scan of everything
}

// recorder makes calls and remembers them.
type recorder struct {
	s     store.Store
	clock atomic.Int64
	mu    sync.Mutex // guards calls
	calls []call
}

func (r *recorder) do(f func(c *call)) {
	c := call{begin: r.clock.Add(1)}
	f(&c)
	c.end = r.clock.Add(1)
	r.mu.Lock()
	r.calls = append(r.calls, c)
	r.mu.Unlock()
}

const historyKeys = 6

// histories: random compare-and-swaps, reads, scans and heads by many callers at once; then the whole history is
// checked against the order that the revisions claim.
func histories(t *testing.T, s store.Store) {
	const callers, each = 12, 120
	r := &recorder{s: s}
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() { r.wander(t, rand.New(rand.NewPCG(uint64(c), 7)), each) })
	}
	wg.Wait()
	if err := r.check(); err != nil {
		t.Fatal(err)
	}
	final := store.Rev(0)
	var events []store.Event
	for _, c := range r.sorted() {
		final = c.rev
		for _, w := range c.txn.Then {
			events = append(events, store.Event{Key: w.Key, Rev: c.rev, Deleted: w.Delete})
		}
	}
	if err := sameEvents(follow(t, s, 0, final), events); err != nil {
		t.Fatalf("feed: %v", err)
	}
}

func historyKey(i int) []byte { return fmt.Appendf(nil, "key/%d", i) }

// wander makes n random calls.
func (r *recorder) wander(t *testing.T, rng *rand.Rand, n int) {
	ctx := context.Background()
	known := make(map[string]store.Rev)
	for i := range n {
		switch rng.IntN(8) {
		case 0:
			r.do(func(c *call) {
				h, err := r.s.Confirm(ctx)
				c.head, c.rev, c.err = &h, h.Rev, err
			})
		case 1:
			r.do(func(c *call) {
				c.scan, c.rev, c.err = r.s.Scan(ctx, []byte("key/"), nil, 100)
				if c.scan == nil {
					c.scan = []store.Record{}
				}
			})
		case 2, 3, 4:
			r.do(func(c *call) {
				c.read, c.rev, c.err = r.s.Get(ctx, historyKey(rng.IntN(historyKeys)), historyKey(rng.IntN(historyKeys)))
				for _, rec := range c.read {
					known[string(rec.Key)] = rec.Rev
				}
			})
		default:
			x := r.invent(rng, known, i)
			r.do(func(c *call) {
				c.txn = &x
				c.rev, c.err = r.s.Commit(ctx, x)
				if c.err == nil {
					for _, w := range x.Then {
						known[string(w.Key)] = c.rev
						if w.Delete {
							known[string(w.Key)] = 0
						}
					}
				}
			})
		}
	}
}

// invent makes a transaction whose conditions come from what the caller has seen: some of them stale.
func (r *recorder) invent(rng *rand.Rand, known map[string]store.Rev, i int) (x store.Txn) {
	for _, k := range rng.Perm(historyKeys)[:1+rng.IntN(3)] {
		key := historyKey(k)
		if rng.IntN(4) > 0 {
			x.If = append(x.If, store.Cond{Key: key, Rev: known[string(key)]})
		}
		switch rng.IntN(5) {
		case 0:
			x.Then = append(x.Then, store.Write{Key: key, Delete: true})
		case 1: // only read
		default:
			x.Then = append(x.Then, store.Write{Key: key, Value: fmt.Appendf(nil, "%d/%d", i, rng.Uint32())})
		}
	}
	if len(x.Then) == 0 {
		x.Then = []store.Write{{Key: historyKey(rng.IntN(historyKeys)), Value: fmt.Appendf(nil, "%d", i)}}
	}
	return x
}

// sorted are the commits that happened, by revision.
func (r *recorder) sorted() []call {
	var done []call
	for _, c := range r.calls {
		if c.txn != nil && c.err == nil {
			done = append(done, c)
		}
	}
	slices.SortFunc(done, func(a, b call) int { return cmp.Compare(a.rev, b.rev) })
	return done
}

// state is what the store holds after one revision.
type state struct {
	recs map[string]store.Record
	head store.Head
}

func (s state) holds(conds []store.Cond) bool {
	for _, c := range conds {
		if s.recs[string(c.Key)].Rev != c.Rev {
			return false
		}
	}
	return true
}

// check replays the commits in the order of their revisions and holds every call against the states.
func (r *recorder) check() error {
	states := []state{{recs: map[string]store.Record{}}}
	done := r.sorted()
	for i, c := range done {
		before := states[i]
		if c.rev != store.Rev(i+1) {
			return fmt.Errorf("the revision after %d is %d: one was given twice or left out", i, c.rev)
		}
		if !before.holds(c.txn.If) {
			return fmt.Errorf("revision %d was committed though its conditions did not hold", c.rev)
		}
		next := state{recs: make(map[string]store.Record, len(before.recs)), head: hashed(before.head, c.rev, *c.txn)}
		for k, v := range before.recs {
			next.recs[k] = v
		}
		for _, w := range c.txn.Then {
			if w.Delete {
				delete(next.recs, string(w.Key))
			} else {
				next.recs[string(w.Key)] = store.Record{Key: w.Key, Rev: c.rev, Value: w.Value}
			}
		}
		states = append(states, next)
	}
	for _, c := range r.calls {
		// What had ended before the call began is in its past; what began after it had ended is not.
		low, high := store.Rev(0), store.Rev(0)
		for _, d := range done {
			if d.end < c.begin {
				low = max(low, d.rev)
			}
			if d.begin < c.end {
				high = max(high, d.rev)
			}
		}
		if err := explain(c, states, low, high); err != nil {
			return err
		}
	}
	return nil
}

// explain finds the state that justifies what a call answered, among those between low and high.
func explain(c call, states []state, low, high store.Rev) error {
	if c.err != nil {
		if c.txn == nil || !errors.Is(c.err, store.ErrConflict) {
			return fmt.Errorf("a call failed: %w", c.err)
		}
		for rev := low; rev <= high; rev++ {
			if !states[rev].holds(c.txn.If) {
				return nil
			}
		}
		return fmt.Errorf("a conflict between revisions %d and %d, where the conditions always held", low, high)
	}
	// Commits: real time. One that began after another had ended has the higher revision. Reads: the same.
	if c.rev < low || c.rev > high {
		return fmt.Errorf("a call answered revision %d, it can only be %d to %d", c.rev, low, high)
	}
	st := states[c.rev]
	if c.head != nil && *c.head != st.head {
		return fmt.Errorf("head at %d: got %x, want %x", c.rev, c.head.Hash, st.head.Hash)
	}
	for _, rec := range c.read {
		want := st.recs[string(rec.Key)]
		if rec.Rev != want.Rev || string(rec.Value) != string(want.Value) {
			return fmt.Errorf("get %q at %d: got %q at %d, want %q at %d", rec.Key, c.rev, rec.Value, rec.Rev, want.Value, want.Rev)
		}
	}
	if c.scan != nil {
		var want []store.Record
		for i := range historyKeys {
			if rec, ok := st.recs[string(historyKey(i))]; ok {
				want = append(want, rec)
			}
		}
		if err := same(c.scan, want); err != nil {
			return fmt.Errorf("scan at %d: %w", c.rev, err)
		}
	}
	return nil
}
