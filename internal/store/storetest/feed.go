package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/store"
)

// sameEvents tells how two runs of events differ.
func sameEvents(got, want []store.Event) error {
	if len(got) != len(want) {
		return fmt.Errorf("got %d events, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].Rev != want[i].Rev || got[i].Deleted != want[i].Deleted || !bytes.Equal(got[i].Key, want[i].Key) {
			return fmt.Errorf("event %d: got %v, want %v", i, got[i], want[i])
		}
	}
	return nil
}

// feedComplete: the feed from any revision is exactly the writes after it, in the order they were committed and named.
func feedComplete(t *testing.T, s store.Store) {
	var want []store.Event
	for i := range 400 {
		var x store.Txn
		for j := range 1 + i%3 {
			x.Then = append(x.Then, store.Write{Key: fmt.Appendf(nil, "k%d", (i*7+(2-j))%50), Delete: i%5 == 0})
		}
		rev := commit(t, s, x)
		for _, w := range x.Then {
			want = append(want, store.Event{Key: w.Key, Rev: rev, Deleted: w.Delete})
		}
	}
	for _, from := range []store.Rev{0, 1, 37, 255, 256, 257, 399, 400} {
		rest := want
		for len(rest) > 0 && rest[0].Rev <= from {
			rest = rest[1:]
		}
		if err := sameEvents(follow(t, s, from, 400), rest); err != nil {
			t.Fatalf("feed from %d: %v", from, err)
		}
	}
}

// feedWaits: readers that are waiting, or come late, get everything that concurrent writers commit, and never
// an event that could not be read yet.
func feedWaits(t *testing.T, s store.Store) {
	const writers, each, readers = 4, 40, 3
	got := make([][]store.Event, readers)
	var wg sync.WaitGroup
	for r := range readers {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for b, err := range s.Feed(ctx, 0) {
				if err != nil {
					t.Errorf("feed: %v", err)
					return
				}
				if _, rev, err := s.Get(ctx); err != nil || rev < b.Through {
					t.Errorf("a batch through %d while reads are at %d, %v", b.Through, rev, err)
					return
				}
				got[r] = append(got[r], b.Events...)
				if b.Through == writers*each {
					return
				}
			}
			t.Errorf("feed: it ended after %d events", len(got[r]))
		})
	}
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if _, err := s.Commit(t.Context(), put(fmt.Sprintf("%d/%d", w, i), "v", at(0))); err != nil {
					t.Errorf("commit: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	for r := range readers {
		if err := sameEvents(got[r], follow(t, s, 0, writers*each)); err != nil {
			t.Fatalf("reader %d: %v", r, err)
		}
	}
}

func feedEnds(t *testing.T, s store.Store) {
	commit(t, s, put("k", "v", nil))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		for _, err := range s.Feed(ctx, 0) {
			if err != nil {
				done <- err
				return
			}
			cancel()
		}
		done <- nil
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatalf("feed: got %v, want a silent end", err)
		}
	case <-time.After(patience):
		t.Fatal("the feed did not end with its context")
	}
	for range s.Feed(ctx, 0) {
		t.Fatal("a feed of a context that is over yields something")
	}
	for range s.Feed(t.Context(), 0) {
		break // a reader that leaves must not hold anything: Close would say so
	}
}

func feedFuture(t *testing.T, s store.Store) {
	commit(t, s, put("k", "v", nil))
	for _, err := range s.Feed(t.Context(), 2) {
		if !errors.Is(err, store.ErrPruned) {
			t.Fatalf("feed from the future: got %v, want ErrPruned", err)
		}
		return
	}
	t.Fatal("feed from the future: it ended without an error")
}

// RunPruning runs what concerns a store that forgets its feed: open makes an empty store that keeps at most kept
// revisions (and as many more as it likes to batch its pruning, up to ten times as many).
func RunPruning(t *testing.T, kept int, open func(t *testing.T) store.Store) {
	s := open(t)
	defer s.Close()
	total := 12 * kept
	first := put("k", "v", nil)
	first.Token = store.Token{1}
	commit(t, s, first)
	for range total - 1 {
		commit(t, s, put("k", "v", nil))
	}
	for _, err := range s.Feed(t.Context(), 0) {
		if !errors.Is(err, store.ErrPruned) {
			t.Fatalf("feed from 0: got %v, want ErrPruned", err)
		}
		break
	}
	from := store.Rev(total - kept)
	if es := follow(t, s, from, store.Rev(total)); len(es) != kept {
		t.Fatalf("feed of what is kept: got %d events, want %d", len(es), kept)
	}
	// The token of a pruned revision is forgotten with it, one of a kept revision is not.
	if rev := commit(t, s, first); rev != store.Rev(total+1) {
		t.Fatalf("a forgotten token: got %d, want %d", rev, total+1)
	}
	if rev := commit(t, s, first); rev != store.Rev(total+1) {
		t.Fatalf("a fresh token: got %d, want %d", rev, total+1)
	}
}
