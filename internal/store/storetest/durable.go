package storetest

import (
	"fmt"
	"testing"

	"github.com/keyhold/keyhold/internal/store"
)

// RunDurable runs Run, and then what must survive closing: open opens the store in a directory, which is empty at first.
func RunDurable(t *testing.T, open func(t *testing.T, dir string) store.Store) {
	Run(t, func(t *testing.T) store.Store { return open(t, t.TempDir()) })
	t.Run("EverythingSurvivesClosing", func(t *testing.T) { survives(t, open) })
	t.Run("ATokenSurvivesClosing", func(t *testing.T) { tokenSurvives(t, open) })
	t.Run("AnEmptyStoreSurvivesClosing", func(t *testing.T) {
		dir := t.TempDir()
		for range 3 {
			s := open(t, dir)
			emptyStore(t, s)
			shut(t, s)
		}
	})
}

func shut(t *testing.T, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func survives(t *testing.T, open func(t *testing.T, dir string) store.Store) {
	dir := t.TempDir()
	var want []store.Record
	var wantHead store.Head
	var wantEvents []store.Event
	for round := range 4 {
		s := open(t, dir)
		if got := head(t, s); got != wantHead {
			t.Fatalf("round %d: head: got %v, want %v", round, got, wantHead)
		}
		if err := same(everything(t, s, "", 13), want); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := sameEvents(follow(t, s, 0, wantHead.Rev), wantEvents); err != nil {
			t.Fatalf("round %d: feed: %v", round, err)
		}
		for i := range 30 {
			x := put(fmt.Sprintf("k%d", i), fmt.Sprint(round), nil)
			if (i+round)%4 == 0 {
				x = del(fmt.Sprintf("k%d", i))
			}
			rev := commit(t, s, x)
			wantEvents = append(wantEvents, store.Event{Key: x.Then[0].Key, Rev: rev, Deleted: x.Then[0].Delete})
		}
		want, wantHead = everything(t, s, "", 100), head(t, s)
		if wantHead.Rev != store.Rev(30*(round+1)) {
			t.Fatalf("round %d: head: got %d", round, wantHead.Rev)
		}
		shut(t, s)
	}
}

func tokenSurvives(t *testing.T, open func(t *testing.T, dir string) store.Store) {
	dir := t.TempDir()
	s := open(t, dir)
	x := put("k", "v", at(0))
	x.Token, x.Fresh = store.Token{7, 7, 7}, true
	commit(t, s, put("before", "v", nil))
	rev := commit(t, s, x)
	x.Fresh = false
	shut(t, s)
	s = open(t, dir)
	defer shut(t, s)
	if got := commit(t, s, x); got != rev {
		t.Fatalf("the same token after opening again: got %d, want %d", got, rev)
	}
	if h := head(t, s); h.Rev != rev {
		t.Fatalf("head: got %d, want %d", h.Rev, rev)
	}
}
