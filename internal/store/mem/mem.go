// Package mem is a store in memory, for tests and benches: it keeps every promise of the port but durability, and
// forgets everything when the process ends. It refuses nothing that another store accepts.
//
// Invariants: one mutex orders everything; a record, once stored, is never changed in place.
package mem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/keyhold/keyhold/internal/store"
)

// DefaultRetain is how many revisions of feed and tokens are kept.
const DefaultRetain = 1 << 16

// feedBatch is how many revisions one batch of the feed covers at most.
const feedBatch = 256

// Config says how a store in memory is made. The zero value is useful.
type Config struct {
	Retain int // revisions of feed and tokens to keep; 0: DefaultRetain
}

// Store is a store in memory.
type Store struct {
	retain int

	mu     sync.RWMutex // guards everything below
	data   table
	heads  []store.Head // heads[i] is the head at floor+i; the last one is now
	feed   []change     // feed[i] is what revision floor+1+i did
	floor  store.Rev    // the newest revision whose changes were pruned
	tokens map[store.Token]store.Rev
	closed bool
	turn   chan struct{} // closed and replaced when the head moves or the store closes
}

type change struct {
	events []store.Event
	token  store.Token
}

var _ store.Store = (*Store)(nil)

// Open makes an empty store.
func Open(c Config) *Store {
	if c.Retain <= 0 {
		c.Retain = DefaultRetain
	}
	return &Store{
		retain: c.Retain,
		heads:  []store.Head{{}},
		tokens: make(map[store.Token]store.Rev),
		turn:   make(chan struct{}),
	}
}

// Import makes a store from what Export wrote.
func Import(ctx context.Context, c Config, r io.Reader) (*Store, error) {
	s := Open(c)
	head, err := store.ReadCopy(ctx, r, func(rec store.Record) error {
		s.data.put(store.Record{Key: bytes.Clone(rec.Key), Rev: rec.Rev, Value: append([]byte{}, rec.Value...)})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	s.heads, s.floor = []store.Head{head}, head.Rev
	return s, nil
}

func (s *Store) head() store.Head { return s.heads[len(s.heads)-1] }

// enter takes the read lock, unless the context is done or the store closed.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return store.ErrClosed
	}
	return nil
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, keys ...[]byte) ([]store.Record, store.Rev, error) {
	if err := store.CheckGet(keys); err != nil {
		return nil, 0, err
	}
	if err := s.enter(ctx); err != nil {
		return nil, 0, err
	}
	defer s.mu.RUnlock()
	out := make([]store.Record, len(keys))
	for i, k := range keys {
		if r, ok := s.data.get(k); ok {
			out[i] = own(r)
		} else {
			out[i] = store.Record{Key: bytes.Clone(k)}
		}
	}
	return out, s.head().Rev, nil
}

// own is a copy that the caller may change.
func own(r store.Record) store.Record {
	return store.Record{Key: bytes.Clone(r.Key), Rev: r.Rev, Value: append([]byte{}, r.Value...)}
}

// Scan implements store.Store.
func (s *Store) Scan(ctx context.Context, prefix, after []byte, n int) ([]store.Record, store.Rev, error) {
	if err := store.CheckScan(prefix, after, n); err != nil {
		return nil, 0, err
	}
	if err := s.enter(ctx); err != nil {
		return nil, 0, err
	}
	defer s.mu.RUnlock()
	start := prefix
	if after != nil && bytes.Compare(after, prefix) >= 0 {
		start = append(bytes.Clone(after), 0)
	}
	var out []store.Record
	for r := range s.data.from(start) {
		if len(out) == n || !bytes.HasPrefix(r.Key, prefix) {
			break
		}
		out = append(out, own(r))
	}
	return out, s.head().Rev, nil
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, t store.Txn) (store.Rev, error) {
	if err := t.Check(); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	trace := t.Trace()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, store.ErrClosed
	}
	if rev, ok := s.tokens[t.Token]; ok && t.Token != (store.Token{}) {
		return rev, nil
	}
	for _, c := range t.If {
		if r, _ := s.data.get(c.Key); r.Rev != c.Rev {
			return 0, fmt.Errorf("%w: %q has revision %d, not %d", store.ErrConflict, c.Key, r.Rev, c.Rev)
		}
	}
	if len(t.Then) == 0 {
		return s.head().Rev, nil
	}
	next := s.head().Next(trace)
	ch := change{token: t.Token}
	for _, w := range t.Then {
		key := bytes.Clone(w.Key)
		ch.events = append(ch.events, store.Event{Key: key, Rev: next.Rev, Deleted: w.Delete})
		if w.Delete {
			s.data.remove(key)
		} else {
			s.data.put(store.Record{Key: key, Rev: next.Rev, Value: append([]byte{}, w.Value...)})
		}
	}
	if t.Token != (store.Token{}) {
		s.tokens[t.Token] = next.Rev
	}
	s.heads, s.feed = append(s.heads, next), append(s.feed, ch)
	s.prune()
	close(s.turn)
	s.turn = make(chan struct{})
	return next.Rev, nil
}

// prune forgets the oldest revisions once twice as many are held as must be: copying is then paid once per revision.
func (s *Store) prune() {
	if len(s.feed) < 2*s.retain {
		return
	}
	n := len(s.feed) - s.retain
	for _, c := range s.feed[:n] {
		delete(s.tokens, c.token)
	}
	s.feed = append([]change(nil), s.feed[n:]...)
	s.heads = append([]store.Head(nil), s.heads[n:]...)
	s.floor += store.Rev(n)
}

// Feed implements store.Store. It ends without an error when the context does.
func (s *Store) Feed(ctx context.Context, from store.Rev) iter.Seq2[store.Batch, error] {
	return func(yield func(store.Batch, error) bool) {
		for at := from; ; {
			b, turn, err := s.after(at)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(store.Batch{}, err)
				return
			}
			if b.Through > at {
				if !yield(b, nil) {
					return
				}
				at = b.Through
				continue
			}
			select {
			case <-turn:
			case <-ctx.Done():
				return
			}
		}
	}
}

// after answers what follows a revision, or the channel that closes when something does.
func (s *Store) after(at store.Rev) (store.Batch, <-chan struct{}, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.closed:
		return store.Batch{}, nil, store.ErrClosed
	case at < s.floor:
		return store.Batch{}, nil, fmt.Errorf("%w: %d, the feed begins after %d", store.ErrPruned, at, s.floor)
	case at > s.head().Rev:
		return store.Batch{}, nil, fmt.Errorf("%w: %d, the head is %d", store.ErrPruned, at, s.head().Rev)
	}
	changes := s.feed[at-s.floor:]
	changes = changes[:min(len(changes), feedBatch)]
	b := store.Batch{Through: at + store.Rev(len(changes))}
	for _, c := range changes {
		for _, e := range c.events {
			e.Key = bytes.Clone(e.Key)
			b.Events = append(b.Events, e)
		}
	}
	return b, s.turn, nil
}

// Confirm implements store.Store.
func (s *Store) Confirm(ctx context.Context) (store.Head, error) {
	if err := s.enter(ctx); err != nil {
		return store.Head{}, err
	}
	defer s.mu.RUnlock()
	return s.head(), nil
}

// At answers the head as it was at a revision, so that a past recorded elsewhere can be compared with this store's.
// ErrPruned: it is not known any more, or not yet.
func (s *Store) At(ctx context.Context, rev store.Rev) (store.Head, error) {
	if err := s.enter(ctx); err != nil {
		return store.Head{}, err
	}
	defer s.mu.RUnlock()
	if rev < s.floor || rev > s.head().Rev {
		return store.Head{}, fmt.Errorf("%w: %d", store.ErrPruned, rev)
	}
	return s.heads[rev-s.floor], nil
}

// Export implements store.Store.
func (s *Store) Export(ctx context.Context, w io.Writer) (store.Rev, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	head := s.head()
	all := make([]store.Record, 0, s.data.n)
	for r := range s.data.from(nil) {
		all = append(all, r)
	}
	s.mu.RUnlock()
	err := store.WriteCopy(ctx, w, head, func(yield func(store.Record, error) bool) {
		for _, r := range all {
			if !yield(r, nil) {
				return
			}
		}
	})
	if err != nil {
		return 0, err
	}
	return head.Rev, nil
}

// Close implements store.Store. What waits on the feed is told; a second Close does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.turn)
	}
	return nil
}
