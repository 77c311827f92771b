package pebble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/keyhold/keyhold/internal/gather"
	"github.com/keyhold/keyhold/internal/store"
)

// breaker is a disk that fails where it is told to.
type breaker struct {
	mu    sync.Mutex // guards fail
	fail  func(errorfs.Op) error
	fails atomic.Int64
}

func (b *breaker) String() string { return "breaker" }

func (b *breaker) set(f func(errorfs.Op) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = f
	b.fails.Store(0)
}

func (b *breaker) MaybeError(op errorfs.Op) error {
	b.mu.Lock()
	f := b.fail
	b.mu.Unlock()
	if f == nil {
		return nil
	}
	err := f(op)
	if err != nil {
		b.fails.Add(1)
	}
	return err
}

// is makes a failure of some operations on files whose name contains a part.
func is(err error, part string, kinds ...errorfs.OpKind) func(errorfs.Op) error {
	return func(op errorfs.Op) error {
		if slices.Contains(kinds, op.Kind) && strings.Contains(vfs.Default.PathBase(op.Path), part) {
			return err
		}
		return nil
	}
}

func TestAFailingDiskLosesNothingAndHealsByItself(t *testing.T) {
	write, sync := errorfs.OpFileWrite, []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData}
	for name, fail := range map[string]func(errorfs.Op) error{
		"log write":           is(syscall.EIO, ".log", write),
		"log write, full":     is(syscall.ENOSPC, ".log", write),
		"log sync":            is(syscall.EIO, ".log", sync...),
		"log creation":        is(syscall.ENOSPC, ".log", errorfs.OpCreate, errorfs.OpReuseForWrite),
		"manifest write":      is(syscall.ENOSPC, "MANIFEST", write),
		"manifest sync":       is(syscall.EIO, "MANIFEST", sync...),
		"table creation":      is(syscall.ENOSPC, ".sst", errorfs.OpCreate),
		"table write":         is(syscall.ENOSPC, ".sst", write),
		"table sync":          is(syscall.EIO, ".sst", sync...),
		"directory sync":      is(syscall.EIO, "", errorfs.OpFileSync),
		"everything, full":    is(syscall.ENOSPC, "", write, errorfs.OpCreate),
		"removal":             is(syscall.EIO, "", errorfs.OpRemove),
		"everything for ever": is(syscall.EROFS, "", write, errorfs.OpCreate, errorfs.OpRename, errorfs.OpFileSyncData, errorfs.OpFileSync),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &breaker{}
			s := mustOpen(t, Config{Dir: "store", FS: errorfs.Wrap(vfs.NewMem(), b), memTable: 64 << 10})
			defer s.Close()
			l := newLedger()
			for round := range sized(2, 10) {
				l.load(t, s, fmt.Sprintf("%d/a", round), 8, 10)
				b.set(fail)
				l.load(t, s, fmt.Sprintf("%d/b", round), 8, 40)
				if _, err := s.Confirm(t.Context()); err != nil && !errors.Is(err, store.ErrFull) && !errors.Is(err, store.ErrClosed) && !errors.Is(err, store.ErrDamaged) {
					t.Fatalf("confirm on a failing disk: %v", err)
				}
				more := 0
				eventually(t, "the disk is asked for what fails", func() error {
					if b.fails.Load() > 0 {
						return nil
					}
					more++
					l.load(t, s, fmt.Sprintf("%d/more/%d", round, more), 8, 5)
					return errors.New("it is not")
				})
				b.set(nil)
				eventually(t, "commit again", func() error {
					_, err := s.Commit(t.Context(), store.Txn{})
					return err
				})
				x := l.txn(fmt.Sprintf("%d/c", round), 10)
				eventually(t, "write again", func() error {
					rev, err := s.Commit(t.Context(), x)
					if err == nil {
						l.acked[string(x.Then[0].Key)] = rev
					}
					return err
				})
				l.audit(t, s)
			}
		})
	}
}

// TestADiskThatFailsNowAndThen: every change of the disk fails with some probability, also while the store recovers, while
// callers commit, read, follow and export. Nothing is lost, nothing hangs, nothing ends the process.
func TestADiskThatFailsNowAndThen(t *testing.T) {
	t.Parallel()
	b := &breaker{}
	s := mustOpen(t, Config{Dir: "store", FS: errorfs.Wrap(vfs.NewMem(), b), memTable: 64 << 10, Retain: 64, RetainFor: -1})
	defer s.Close()
	l := newLedger()
	for round := range sized(3, 100) {
		var mu sync.Mutex // guards dice
		dice := rand.New(rand.NewPCG(uint64(round), 4))
		odds := []int{200, 3, 20, 2000}[round%4]
		b.set(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsRead || op.Kind == errorfs.OpLock {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			if dice.IntN(odds) > 0 {
				return nil
			}
			return []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT}[dice.IntN(3)]
		})
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			for ; ctx.Err() == nil; breathe() {
				_, _, _ = s.Get(ctx, []byte("0/0/0"))
				_, _, _ = s.Scan(ctx, nil, nil, 100)
				_, _ = s.Export(ctx, io.Discard)
			}
		})
		wg.Go(func() {
			for from := store.Rev(0); ctx.Err() == nil; breathe() {
				for b, err := range s.Feed(ctx, from) {
					if errors.Is(err, store.ErrPruned) {
						h, err := s.Confirm(ctx)
						if err == nil {
							from = h.Rev
						}
						break
					}
					if err != nil {
						break
					}
					from = b.Through
				}
			}
		})
		l.load(t, s, fmt.Sprint(round), 8, 25)
		b.set(nil)
		eventually(t, "write again", func() error {
			_, err := s.Commit(t.Context(), store.Txn{})
			return errors.Join(err, hasRoom(s))
		})
		stop()
		wg.Wait()
		l.audit(t, s)
	}
}

// TestAPowerCutLosesNothingAcknowledged cuts the power at random moments: what was written and not synced is there or not,
// at random.
func TestAPowerCutLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	const callers = 6
	rng := rand.New(rand.NewPCG(5, 6))
	fs := vfs.NewCrashableMem()
	l := newLedger()
	for round := range sized(12, 300) {
		s := mustOpen(t, Config{Dir: "store", FS: fs, memTable: 64 << 10, Retain: 100, RetainFor: -1})
		l.audit(t, s)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					if err := l.commit(t.Context(), s, l.txn(fmt.Sprintf("%d/%d/%d", round, c, i), 200)); err != nil {
						t.Errorf("commit: %v", err)
						return
					}
				}
			})
		}
		l.reached(t, 20+rng.IntN(200))
		// Booked before the cut: these must be on the disk.
		l.mu.Lock()
		before := newLedger()
		before.acked, before.head = maps.Clone(l.acked), l.head
		cut := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		l.mu.Unlock()
		close(stop)
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		fs = cut
		before.adopt(t, fs, callers)
		l = before
	}
}

// TestAFailedSyncIsNotTrustedLater: after a failed sync the pages may be clean in memory and missing on the disk. What is
// acknowledged after the recovery must not rest on them: a power cut that keeps only what was synced takes nothing back.
func TestAFailedSyncIsNotTrustedLater(t *testing.T) {
	t.Parallel()
	disk, b := vfs.NewCrashableMem(), &breaker{}
	s := mustOpen(t, Config{Dir: "store", FS: errorfs.Wrap(disk, b), memTable: 256 << 10})
	l := newLedger()
	for round := range sized(5, 50) {
		l.load(t, s, fmt.Sprintf("%d/a", round), 4, 5)
		b.set(is(syscall.EIO, ".log", errorfs.OpFileSyncData))
		l.load(t, s, fmt.Sprintf("%d/b", round), 4, 1)
		if len(l.unknown) == 0 {
			t.Fatal("no outcome is unknown though the sync failed")
		}
		b.set(nil)
		eventually(t, "open again", func() error { _, err := s.Confirm(t.Context()); return err })
		l.audit(t, s)
	}
	cut := disk.CrashClone(vfs.CrashCloneCfg{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, Config{Dir: "store", FS: cut})
	defer s.Close()
	l.audit(t, s)
}

// crowdedDisk has no room for the output of compactions.
type crowdedDisk struct {
	vfs.FS
	full atomic.Bool
	hits atomic.Int64
}

func (c *crowdedDisk) Create(name string, cat vfs.DiskWriteCategory) (vfs.File, error) {
	if cat == categoryCompaction && c.full.Load() {
		c.hits.Add(1)
		return nil, syscall.ENOSPC
	}
	return c.FS.Create(name, cat)
}

// TestNoRoomForCompactionsRefusesWritesOnly: reads go on, writes are refused, and neither is once there is room.
func TestNoRoomForCompactionsRefusesWritesOnly(t *testing.T) {
	t.Parallel()
	disk := &crowdedDisk{FS: vfs.NewMem()}
	s := mustOpen(t, Config{Dir: "store", FS: disk, memTable: 64 << 10})
	defer s.Close()
	l := newLedger()
	l.load(t, s, "before", 4, 5)
	disk.full.Store(true)
	round := 0
	eventually(t, "a full disk", func() error {
		round++
		l.load(t, s, fmt.Sprint(round), 4, 50)
		if len(l.refused) == 0 {
			return errors.New("nothing is refused")
		}
		return nil
	})
	for range 10 {
		if _, err := s.Confirm(t.Context()); err != nil {
			t.Fatalf("confirm: got %v", err)
		}
		if rs, _, err := s.Get(t.Context(), []byte("before/0/0")); err != nil || rs[0].Rev == 0 {
			t.Fatalf("get: got %v, %v", rs, err)
		}
	}
	disk.full.Store(false)
	eventually(t, "room", func() error {
		_, err := s.Commit(t.Context(), store.Txn{Then: []store.Write{{Key: []byte("x")}}})
		if err == nil {
			_, err = s.Commit(t.Context(), store.Txn{Then: []store.Write{{Key: []byte("x"), Delete: true}}})
		}
		return err
	})
	if n := disk.hits.Load(); n > 30 {
		t.Fatalf("a compaction without room was tried %d times: it is not held back", n)
	}
	for k := range l.acked {
		if rs, _, err := s.Get(t.Context(), []byte(k)); err != nil || rs[0].Rev == 0 {
			t.Fatalf("get %q: got %v, %v", k, rs, err)
		}
	}
}

// TestNothingIsReadableBeforeItIsDurable holds up the sync of a commit and looks at everything meanwhile.
func TestNothingIsReadableBeforeItIsDurable(t *testing.T) {
	b := &breaker{}
	s := mustOpen(t, Config{Dir: "store", FS: errorfs.Wrap(vfs.NewMem(), b)})
	defer s.Close()
	if _, err := s.Commit(t.Context(), store.Txn{Then: []store.Write{{Key: []byte("k"), Value: []byte("old")}}}); err != nil {
		t.Fatal(err)
	}
	syncing, release := make(chan struct{}), make(chan struct{})
	b.set(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log") {
			syncing <- struct{}{}
			<-release
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	fed := make(chan store.Batch, 8)
	go func() {
		for b := range s.Feed(ctx, 1) {
			fed <- b
		}
	}()
	done := make(chan error, 1)
	go func() {
		_, err := s.Commit(t.Context(), store.Txn{Then: []store.Write{{Key: []byte("k"), Value: []byte("new")}}})
		done <- err
	}()
	<-syncing
	for range 20 {
		rs, rev, err := s.Get(t.Context(), []byte("k"))
		if err != nil || string(rs[0].Value) != "old" || rev != 1 {
			t.Fatalf("get before the sync: got %q at %d, %v", rs[0].Value, rev, err)
		}
		rs, rev, err = s.Scan(t.Context(), nil, nil, 10)
		if err != nil || len(rs) != 1 || string(rs[0].Value) != "old" || rev != 1 {
			t.Fatalf("scan before the sync: got %v at %d, %v", rs, rev, err)
		}
		if h, err := s.Confirm(t.Context()); err != nil || h.Rev != 1 {
			t.Fatalf("confirm before the sync: got %d, %v", h.Rev, err)
		}
		if rev, err := s.Export(t.Context(), io.Discard); err != nil || rev != 1 {
			t.Fatalf("export before the sync: got %d, %v", rev, err)
		}
	}
	select {
	case b := <-fed:
		t.Fatalf("feed before the sync: got a batch through %d", b.Through)
	case err := <-done:
		t.Fatalf("commit before the sync: got %v", err)
	default:
	}
	b.set(nil)
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if b := <-fed; b.Through != 2 {
		t.Fatalf("feed: got a batch through %d, want 2", b.Through)
	}
	rs, rev, err := s.Get(t.Context(), []byte("k"))
	if err != nil || string(rs[0].Value) != "new" || rev != 2 {
		t.Fatalf("get: got %q at %d, %v", rs[0].Value, rev, err)
	}
}

// TestAStalledDiskIsNotWaitedForForEver: a caller whose context has ended is told that the outcome is unknown, and
// its token tells the outcome later.
func TestAStalledDiskIsNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &breaker{}
		s := mustOpen(t, Config{Dir: "store", FS: errorfs.Wrap(vfs.NewMem(), b)})
		defer s.Close()
		release := make(chan struct{})
		b.set(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log") {
				<-release
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l := newLedger()
		begin := time.Now()
		if _, err := s.Commit(ctx, l.txn("k", 0)); !errors.Is(err, store.ErrUnknown) {
			t.Fatalf("commit: got %v, want ErrUnknown", err)
		}
		if took := time.Since(begin); took != time.Second+stallMax {
			t.Fatalf("it took %v, want %v", took, time.Second+stallMax)
		}
		b.set(nil)
		close(release)
		x := l.txn("other", 0)
		if err := l.commit(t.Context(), s, x); err != nil {
			t.Fatal(err)
		}
		l.acked["k"] = 1
		l.audit(t, s)
	})
}

func TestAWithdrawnCommitNeverHappens(t *testing.T) {
	b := &breaker{}
	s := mustOpen(t, Config{Dir: "store", FS: errorfs.Wrap(vfs.NewMem(), b)})
	defer s.Close()
	syncing, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.set(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log") {
			once.Do(func() { close(syncing) })
			<-release
		}
		return nil
	})
	l := newLedger()
	first := make(chan error, 1)
	go func() { first <- l.commit(t.Context(), s, l.txn("first", 0)) }()
	<-syncing
	// This one waits behind the first, and its caller gives up.
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() { _, err := s.Commit(ctx, l.txn("second", 0)); second <- err }()
	eventually(t, "queued", func() error {
		if len(s.queue) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Fatalf("withdrawn: got %v, want context.Canceled", err)
	}
	b.set(nil)
	close(release)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if err := l.commit(t.Context(), s, l.txn("third", 0)); err != nil {
		t.Fatal(err)
	}
	l.audit(t, s)
}

// TestAGroupIsOneSync: transactions that come while a commit is under way share the next one, and each is judged by itself.
func TestAGroupIsOneSync(t *testing.T) {
	b := &breaker{}
	var syncs atomic.Int64
	s := mustOpen(t, Config{Dir: "store", FS: errorfs.Wrap(vfs.NewMem(), b)})
	defer s.Close()
	release := make(chan struct{})
	syncing := make(chan struct{}, 1)
	b.set(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log") {
			if syncs.Add(1) == 1 {
				syncing <- struct{}{}
				<-release
			}
		}
		return nil
	})
	put := func(k string, at store.Rev) store.Txn {
		return store.Txn{If: []store.Cond{{Key: []byte(k), Rev: at}}, Then: []store.Write{{Key: []byte(k)}}}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := s.Commit(t.Context(), put("first", 0)); err != nil {
			t.Errorf("commit: %v", err)
		}
	})
	<-syncing
	const n = 50
	var won, lost atomic.Int64
	for i := range n {
		wg.Go(func() {
			_, err := s.Commit(t.Context(), put(fmt.Sprint(i%25), 0))
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, store.ErrConflict):
				lost.Add(1)
			default:
				t.Errorf("commit: %v", err)
			}
		})
	}
	eventually(t, "queued", func() error {
		if len(s.queue) < n {
			return errors.New("not yet")
		}
		return nil
	})
	close(release)
	wg.Wait()
	if won.Load() != 25 || lost.Load() != 25 {
		t.Fatalf("got %d winners and %d conflicts, want 25 of each", won.Load(), lost.Load())
	}
	if syncs.Load() != 2 {
		t.Fatalf("got %d syncs, want 2: one for the first, one for all the others", syncs.Load())
	}
}

// TestCallersWhoComeBackShareOneSync: callers who do something else between two commits are waited for, instead of falling into halves that sync in turns.
func TestCallersWhoComeBackShareOneSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers, rounds, write = 8, 50, time.Millisecond
		b := &breaker{}
		s := mustOpen(t, Config{Dir: "store", FS: errorfs.Wrap(vfs.NewMem(), b)})
		defer s.Close()
		var syncs atomic.Int64
		b.set(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log") {
				syncs.Add(1)
				time.Sleep(write)
			}
			return nil
		})
		put := func(k string) {
			if _, err := s.Commit(t.Context(), store.Txn{Then: []store.Write{{Key: []byte(k)}}}); err != nil {
				t.Error(err)
			}
		}
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * write / 5) // they do not begin together
				for range rounds {
					put(fmt.Sprint(i))
					time.Sleep(write + time.Duration(i)*write/25) // another write, and what a caller takes for its next request
				}
			})
		}
		wg.Wait()
		if got, most := syncs.Load(), int64(rounds+callers); got > most {
			t.Errorf("%d callers who commit %d times each took %d syncs, want %d at most", callers, rounds, got, most)
		}
		begin := time.Now()
		put("alone, after many") // waits once for those who do not come
		if took, most := time.Since(begin), write+time.Duration(forCallers*gather.Patience(write)); took > most {
			t.Errorf("the first one after many took %v, want %v at most", took, most)
		}
		for range 10 {
			begin := time.Now()
			if put("alone"); time.Since(begin) > write {
				t.Errorf("one who is alone took %v, want %v", time.Since(begin), write)
			}
		}
	})
}
