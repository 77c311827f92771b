package pebble

import (
	"errors"
	"io"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/keyhold/keyhold/internal/store"
	"github.com/keyhold/keyhold/internal/store/storetest"
)

func mustOpen(t testing.TB, c Config) *Store {
	t.Helper()
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openDir(t *testing.T, dir string) store.Store { return mustOpen(t, Config{Dir: dir}) }

func TestPebbleKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.RunDurable(t, openDir)
}

func TestPebbleForgetsItsFeed(t *testing.T) {
	t.Parallel()
	storetest.RunPruning(t, 32, func(t *testing.T) store.Store {
		return mustOpen(t, Config{Dir: t.TempDir(), Retain: 32, RetainFor: -1})
	})
}

func TestPebbleCopies(t *testing.T) {
	t.Parallel()
	storetest.RunCopy(t,
		func(t *testing.T) store.Store { return openDir(t, t.TempDir()) },
		func(t *testing.T, r io.Reader) (store.Store, error) {
			dir := t.TempDir()
			if _, err := Import(t.Context(), Config{Dir: dir}, r); err != nil {
				return nil, err
			}
			return openDir(t, dir), nil
		})
}

// TestTokensAndFeedAreKeptForTheirTime: what is young is kept beyond the number of revisions, but not for ever.
func TestTokensAndFeedAreKeptForTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const retain = 8
		s := mustOpen(t, Config{Dir: "store", FS: vfs.NewMem(), Retain: retain, RetainFor: time.Hour})
		defer s.Close()
		commit := func(n int) {
			for range n {
				if _, err := s.Commit(t.Context(), store.Txn{Then: []store.Write{{Key: []byte("k")}}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		floor := func() store.Rev {
			v, err := s.acquire()
			if err != nil {
				t.Fatal(err)
			}
			defer s.release(v)
			return v.at.floor
		}
		x := store.Txn{Then: []store.Write{{Key: []byte("t")}}, Token: store.Token{1}}
		if rev, err := s.Commit(t.Context(), x); err != nil || rev != 1 {
			t.Fatalf("commit: got %d, %v", rev, err)
		}
		commit(5 * retain)
		if got := floor(); got != 0 {
			t.Fatalf("young rows: pruned up to %d, want none", got)
		}
		time.Sleep(time.Hour + time.Second)
		if rev, err := s.Commit(t.Context(), x); err != nil || rev != 1 {
			t.Fatalf("the token, before a later group prunes it: got %d, %v", rev, err)
		}
		commit(1)
		if got := floor(); got != 5*retain+2-retain {
			t.Fatalf("old rows: pruned up to %d, want all but %d", got, retain)
		}
		if _, err := s.At(t.Context(), floor()+1); err != nil {
			t.Fatalf("a head that is kept: %v", err)
		}
		if _, err := s.At(t.Context(), floor()); !errors.Is(err, store.ErrPruned) {
			t.Fatalf("a head that is not: got %v, want ErrPruned", err)
		}
		commit(2 * retainMost * retain)
		if held := store.Rev(5*retain+2+2*retainMost*retain) - floor(); held > (retainMost+1)*retain {
			t.Fatalf("young rows: %d are held, at most %d may be", held, retainMost*retain)
		}
	})
}

func TestADatabaseThatLostItsEndIsNotOpenedAgain(t *testing.T) {
	was := position{head: store.Head{Rev: 5, Hash: [32]byte{5}}}
	for name, c := range map[string]struct {
		now position
		ok  bool
	}{
		"the same":         {was, true},
		"one more":         {position{head: store.Head{Rev: 6, Hash: [32]byte{6}}}, true},
		"one less":         {position{head: store.Head{Rev: 4, Hash: [32]byte{4}}}, false},
		"another of equal": {position{head: store.Head{Rev: 5, Hash: [32]byte{6}}}, false},
	} {
		if err := c.now.continues(was); (err == nil) != c.ok || err != nil && !errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestAReaderWhoStaysDoesNotHoldUpTheRecovery: an export is stuck in its writer while the disk fails and heals.
func TestAReaderWhoStaysDoesNotHoldUpTheRecovery(t *testing.T) {
	b := &breaker{}
	s := mustOpen(t, Config{Dir: "store", FS: errorfs.Wrap(vfs.NewMem(), b)})
	l := newLedger()
	l.load(t, s, "a", 4, 20)
	r, w := io.Pipe()
	exported := make(chan error, 1)
	go func() {
		_, err := s.Export(t.Context(), w)
		_ = w.CloseWithError(err)
		exported <- err
	}()
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	b.set(is(syscall.EIO, ".log", errorfs.OpFileSyncData))
	l.load(t, s, "b", 4, 1)
	b.set(nil)
	eventually(t, "open again", func() error { _, err := s.Confirm(t.Context()); return err })
	l.audit(t, s)
	_, _ = io.Copy(io.Discard, r) // its error is the exporter's
	if err := <-exported; !errors.Is(err, store.ErrClosed) {
		t.Fatalf("an export from a failed opening: got %v, want ErrClosed", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
