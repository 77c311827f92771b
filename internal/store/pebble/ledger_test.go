package pebble

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keyhold/keyhold/internal/store"
)

const patience = 20 * time.Second

// long tells whether the full sizes are asked for.
func long() bool { return os.Getenv("KEYHOLD_LONG") == "1" }

// sized is the full size or the small one.
func sized(small, full int) int {
	if long() {
		return full
	}
	return small
}

// eventually waits for what must become true.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if err = f(); err == nil {
			return
		}
		breathe()
	}
	t.Fatalf("%s: still %v", what, err)
}

// breathe keeps a loop that asks again and again from taking the processor.
func breathe() { <-time.NewTimer(2 * time.Millisecond).C }

// hasRoom tells why a store would refuse to write, if it would.
func hasRoom(s *Store) error {
	v, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release(v)
	return s.space(v.eng)
}

// ledger is what callers of a store were told, and so what it must hold.
type ledger struct {
	mu      sync.Mutex
	acked   map[string]store.Rev
	head    store.Rev // the newest revision anybody was told
	unknown []store.Txn
	refused map[string]int // errors of refusals
}

func newLedger() *ledger {
	return &ledger{acked: make(map[string]store.Rev), refused: make(map[string]int)}
}

var ledgerTokens atomic.Uint64

func (l *ledger) txn(key string, size int) store.Txn {
	x := store.Txn{If: []store.Cond{{Key: []byte(key)}}, Then: []store.Write{{Key: []byte(key), Value: []byte(key)}}}
	x.Then[0].Value = append(x.Then[0].Value, make([]byte, size)...)
	n := ledgerTokens.Add(1)
	for i := range 8 {
		x.Token[i] = byte(n >> (8 * i))
	}
	return x
}

// commit makes one commit and books the answer; a refusal that a failing disk does not explain is an error.
func (l *ledger) commit(ctx context.Context, s store.Store, x store.Txn) error {
	rev, err := s.Commit(ctx, x)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		if l.acked[string(x.Then[0].Key)] = rev; rev > l.head {
			l.head = rev
		}
	case errors.Is(err, store.ErrUnknown):
		l.unknown = append(l.unknown, x)
	case errors.Is(err, store.ErrFull), errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrDamaged):
		l.refused[string(x.Then[0].Key)]++
	default:
		return err
	}
	return nil
}

// audit holds a store against the ledger: what was acknowledged is there, what was refused is not, what is
// unknown is resolved by its token; then everything once more against the feed.
func (l *ledger) audit(t testing.TB, s *Store) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.unknown {
		rev, err := s.Commit(t.Context(), x)
		if err != nil {
			t.Fatalf("an unknown outcome is not resolved: %v", err)
		}
		l.acked[string(x.Then[0].Key)] = rev
	}
	l.unknown = nil
	head, err := s.Confirm(t.Context())
	if err != nil || head.Rev < l.head {
		t.Fatalf("head: got %d, %v; %d was acknowledged", head.Rev, err, l.head)
	}
	l.head = head.Rev
	found := make(map[string]store.Rev)
	err = s.Check(t.Context(), func(r store.Record) error {
		if !strings.HasPrefix(string(r.Value), string(r.Key)) {
			return fmt.Errorf("record %q has another's value", r.Key)
		}
		found[string(r.Key)] = r.Rev
		return nil
	})
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	if !maps.Equal(found, l.acked) {
		for k, rev := range l.acked {
			if found[k] != rev {
				t.Errorf("%q was acknowledged at %d, found at %d", k, rev, found[k])
			}
		}
		for k, rev := range found {
			if l.acked[k] == 0 {
				t.Errorf("%q is there at %d, but was refused", k, rev)
			}
		}
		t.FailNow()
	}
	if int(head.Rev) != len(found) {
		t.Fatalf("head: got %d, want %d: one revision for each record", head.Rev, len(found))
	}
}

// load commits from several callers at once.
func (l *ledger) load(t testing.TB, s store.Store, prefix string, callers, each int) {
	t.Helper()
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				if err := l.commit(t.Context(), s, l.txn(fmt.Sprintf("%s/%d/%d", prefix, c, i), 1000)); err != nil {
					t.Errorf("commit: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// reached waits until so many more commits are acknowledged.
func (l *ledger) reached(t testing.TB, more int) {
	l.mu.Lock()
	want := len(l.acked) + more
	l.mu.Unlock()
	eventually(t, "commits", func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.acked) < want {
			return errors.New("too few")
		}
		return nil
	})
}

// adopt books what a store holds beyond what was acknowledged: commits that were in flight when it was cut off.
func (l *ledger) adopt(t testing.TB, fs vfs.FS, inFlight int) {
	t.Helper()
	s := mustOpen(t, Config{Dir: "store", FS: fs, memTable: 64 << 10, Retain: 100, RetainFor: -1})
	defer s.Close()
	l.adoptFrom(t, s, inFlight)
}

func (l *ledger) adoptFrom(t testing.TB, s *Store, inFlight int) {
	t.Helper()
	n := 0
	err := s.Check(t.Context(), func(r store.Record) error {
		if l.acked[string(r.Key)] == 0 {
			l.acked[string(r.Key)] = r.Rev
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	if n > inFlight {
		t.Fatalf("%d records are there that were not acknowledged, only %d commits were in flight", n, inFlight)
	}
}
