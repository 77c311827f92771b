package pebble

import (
	"context"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyhold/keyhold/internal/store"
)

// The size of one batch of the feed: it ends with the revision that reaches one of them.
const (
	feedRevs  = 256
	feedBytes = 256 << 10 // of rows
)

// Feed implements store.Store. It ends without an error when the context does, and with one when the store
// closes or cannot be read for now; a reader then starts again where he was.
func (s *Store) Feed(ctx context.Context, from store.Rev) iter.Seq2[store.Batch, error] {
	return func(yield func(store.Batch, error) bool) {
		for at := from; ctx.Err() == nil; {
			turn, moved := s.moved(at)
			if !moved {
				select {
				case <-turn:
				case <-ctx.Done():
				}
				continue
			}
			b, err := s.after(at)
			if err != nil {
				yield(store.Batch{}, err)
				return
			}
			if b.Through > at && !yield(b, nil) {
				return
			}
			at = b.Through
		}
	}
}

// moved tells whether there is something to say to a reader who knows a revision; if not, turn closes when
// there may be.
func (s *Store) moved(at store.Rev) (turn <-chan struct{}, moved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turn, s.cur == nil || s.cur.at.head.Rev != at || s.cur.at.floor > at
}

// after reads what follows a revision.
func (s *Store) after(at store.Rev) (store.Batch, error) {
	v, err := s.acquire()
	if err != nil {
		return store.Batch{}, err
	}
	defer s.release(v)
	switch {
	case at < v.at.floor:
		return store.Batch{}, fmt.Errorf("%w: %d, the feed begins after %d", store.ErrPruned, at, v.at.floor)
	case at > v.at.head.Rev:
		return store.Batch{}, fmt.Errorf("%w: %d, the head is %d", store.ErrPruned, at, v.at.head.Rev)
	}
	b := store.Batch{Through: at}
	size := 0
	for row, err := range v.feed(at+1, min(v.at.head.Rev, at+feedRevs)) {
		if err != nil {
			return store.Batch{}, err
		}
		b.Events = append(b.Events, row.events...)
		b.Through++
		for i := range row.events {
			size += len(row.events[i].Key)
		}
		if size >= feedBytes {
			break
		}
	}
	return b, nil
}

// feed yields the rows of the revisions from first to last: each of them, or an error.
func (v *view) feed(first, last store.Rev) iter.Seq2[feedRow, error] {
	return func(yield func(feedRow, error) bool) {
		if first > last {
			return
		}
		it, err := v.snap.NewIter(&pebble.IterOptions{LowerBound: feedKey(first), UpperBound: feedKey(last + 1)})
		if err != nil {
			yield(feedRow{}, fault(v, err))
			return
		}
		defer it.Close()
		next := first
		for ok := it.First(); ok; ok = it.Next() {
			rev, err := feedRev(it.Key())
			if err == nil && rev != next {
				err = damaged("the feed has no row for %d", next)
			}
			var row feedRow
			if err == nil {
				row, err = decodeFeed(rev, it.Value())
			}
			if !yield(row, err) || err != nil {
				return
			}
			next++
		}
		if err := it.Error(); err != nil {
			yield(feedRow{}, fault(v, err))
		} else if next <= last {
			yield(feedRow{}, damaged("the feed has no row for %d", next))
		}
	}
}

// At answers the head as it was at a revision, so that a past recorded elsewhere can be compared with this store's.
// store.ErrPruned: it is not known any more, or not yet.
func (s *Store) At(ctx context.Context, rev store.Rev) (store.Head, error) {
	if err := ctx.Err(); err != nil {
		return store.Head{}, err
	}
	v, err := s.acquire()
	if err != nil {
		return store.Head{}, err
	}
	defer s.release(v)
	switch {
	case rev == v.at.head.Rev:
		return v.at.head, nil
	case rev == 0 && v.at.floor == 0:
		return store.Head{}, nil
	case rev <= v.at.floor || rev > v.at.head.Rev:
		return store.Head{}, fmt.Errorf("%w: %d, the feed holds %d to %d", store.ErrPruned, rev, v.at.floor+1, v.at.head.Rev)
	}
	for row, err := range v.feed(rev, rev) {
		return store.Head{Rev: rev, Hash: row.hash}, err
	}
	return store.Head{}, damaged("the feed has no row for %d", rev)
}
