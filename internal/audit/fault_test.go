package audit_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/audittest"
	"github.com/keyhold/keyhold/internal/audit/disk/disktest"
	"github.com/keyhold/keyhold/internal/audit/verify"
	"github.com/keyhold/keyhold/internal/kms"
)

// bench is a server whose disk can fail.
type bench struct {
	t    testing.TB
	fs   disktest.FS
	cfg  audit.Config
	keys audit.Keys
	pub  verify.Keys
	log  *audit.Log

	mu    sync.Mutex // guards acked
	acked map[audit.Position]string
	n     atomic.Int64
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{t: t, acked: map[audit.Position]string{}}
	keys, public := audittest.Keys(t)
	pub, err := verify.ParseKeys([]byte(public))
	if err != nil {
		t.Fatal(err)
	}
	b.keys, b.pub = keys, pub
	b.cfg = audit.Config{
		Dir: t.TempDir(), Node: "n1", Cluster: audittest.Cluster, SegmentBytes: audit.MinSegment, ReserveBytes: 32 << 10, FS: &b.fs,
		Head: func() (kms.Rev, [32]byte) { return 42, [32]byte{1} },
	}
	t.Cleanup(func() {
		b.fs.Set(nil)
		if b.log != nil {
			_ = b.log.Close()
		}
	})
	return b
}

func (b *bench) open() {
	b.t.Helper()
	l, err := audit.Open(b.cfg)
	if err != nil {
		b.t.Fatalf("open: %v (%v)", err, errors.Unwrap(err))
	}
	b.log = l
	if err := l.Keyed(b.keys); err != nil {
		b.t.Fatalf("keyed: %v", err)
	}
}

func (b *bench) close() {
	b.t.Helper()
	if err := b.log.Close(); err != nil {
		b.t.Fatalf("close: %v (%v)", err, errors.Unwrap(err))
	}
	b.log = nil
}

// append writes one record and remembers it if it was acknowledged.
func (b *bench) append(change func(*audit.Record)) error {
	r := audittest.Record(int(b.n.Add(1)))
	if change != nil {
		change(r)
	}
	p, err := b.log.Append(r)
	if err == nil {
		b.mu.Lock()
		b.acked[p] = r.RequestID
		b.mu.Unlock()
	} else if code := kms.CodeOf(err); code != kms.CodeAuditUnavailable && code != kms.CodeDiskFull {
		b.t.Errorf("a failed append: got %v", err)
	}
	return err
}

// whole checks that every acknowledged record is there.
func (b *bench) whole() {
	b.t.Helper()
	for p, want := range b.acked {
		r, err := b.log.Read(p)
		if err != nil {
			b.t.Fatalf("an acknowledged record is lost: %v: %v (%v)", p, err, errors.Unwrap(err))
		}
		if r.RequestID != want {
			b.t.Fatalf("record %v: got %s want %s", p, r.RequestID, want)
		}
	}
}

func (b *bench) verify(anchors ...[]byte) {
	b.t.Helper()
	o := verify.Options{Dir: b.cfg.Dir, Keys: b.pub}
	for _, a := range anchors {
		o.Anchors = append(append(o.Anchors, a...), '\n')
	}
	rep, err := verify.Dir(b.t.Context(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	if !rep.Verified {
		b.t.Fatalf("the log does not verify: %v", rep.Findings)
	}
}

// eventually waits for something that happens in the background.
func (b *bench) eventually(what string, is func() bool) {
	b.t.Helper()
	const most = 20 * time.Second
	for end := time.Now().Add(most); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("not within %v: %s", most, what)
		}
	}
}

// TestNothingAcknowledgedIsLostWhenTheDiskFails lets each kind of call fail, with and without its effect, under load. What was acknowledged
// stays, what was not does not block, the log recovers by itself, and the verifier accepts the result.
func TestNothingAcknowledgedIsLostWhenTheDiskFails(t *testing.T) {
	ops := []disktest.Op{disktest.Write, disktest.Sync, disktest.Create, disktest.Rename, disktest.SyncDir, disktest.Truncate, disktest.Open, disktest.Remove}
	kinds := map[string]disktest.Fault{
		"fails":               {},
		"fails but persisted": {Persist: true},
		"fails by half":       {Half: true},
		"no space":            {Err: syscall.ENOSPC},
		"no space, by half":   {Err: syscall.ENOSPC, Half: true},
	}
	for _, op := range ops {
		for kind, fault := range kinds {
			if fault.Half && op != disktest.Write {
				continue
			}
			t.Run(fmt.Sprintf("%s %s", op, kind), func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				b.open()
				every := int64(2)
				if op == disktest.Write || op == disktest.Sync {
					every = 5
				}
				var failed atomic.Int64
				var calls atomic.Int64
				b.fs.Set(func(o disktest.Op, path string) *disktest.Fault {
					// Now and then, ten times, then the disk is well again. A failed write is followed by a truncate that fails too.
					if failed.Load() < 10 && (o == op || op == disktest.Write && o == disktest.Truncate) && calls.Add(1)%every == 0 {
						failed.Add(1)
						f := fault
						return &f
					}
					return nil
				})
				var wg sync.WaitGroup
				for range 4 {
					wg.Go(func() {
						for n, end := 0, time.Now().Add(20*time.Second); n < 60 && time.Now().Before(end); {
							if b.append(func(r *audit.Record) { r.Detail = strings.Repeat("d", audit.MaxDetail) }) == nil {
								n++
							} else {
								time.Sleep(time.Millisecond)
							}
						}
					})
				}
				wg.Wait()
				b.fs.Set(nil)
				b.eventually("the log is healthy again", func() bool { return b.log.Healthy() == nil })
				if err := b.append(nil); err != nil {
					t.Fatalf("after the recovery: %v", err)
				}
				if len(b.acked) != 4*60+1 {
					t.Fatalf("only %d records were acknowledged", len(b.acked))
				}
				if failed.Load() == 0 && op != disktest.Open && op != disktest.Remove {
					t.Fatal("nothing failed")
				}
				b.whole()
				b.close()
				b.verify()
				b.open()
				b.whole()
				b.close()
				b.verify()
			})
		}
	}
}

// TestAPowerCutAfterAFaultLosesNothing takes the disk's state as it is in the middle of faults, without any clean-up.
func TestAPowerCutAfterAFaultLosesNothing(t *testing.T) {
	for _, persist := range []bool{false, true} {
		t.Run(fmt.Sprintf("persist %v", persist), func(t *testing.T) {
			b := newBench(t)
			b.open()
			for range 20 {
				_ = b.append(nil)
			}
			b.fs.Set(func(op disktest.Op, path string) *disktest.Fault {
				if op == disktest.Sync || op == disktest.Truncate || op == disktest.Remove {
					return &disktest.Fault{Persist: persist && op == disktest.Sync}
				}
				return nil
			})
			for range 3 {
				if b.append(nil) == nil {
					t.Fatal("a record was acknowledged though its sync failed")
				}
			}
			dir := b.snapshot()
			b.fs.Set(nil)
			b.close()
			b.cfg.Dir = dir
			b.open()
			b.whole()
			b.close()
			b.verify()
		})
	}
}

// snapshot copies the log's files while the log works on them. Where one goes meanwhile, such as the reserve that is being made anew,
// it copies once more.
func (b *bench) snapshot() string {
	b.t.Helper()
	for range 50 {
		dir := b.t.TempDir()
		err := os.CopyFS(dir, os.DirFS(b.cfg.Dir))
		if err == nil {
			return dir
		}
		if !errors.Is(err, fs.ErrNotExist) {
			b.t.Fatal(err)
		}
	}
	b.t.Fatal("the log's files keep going")
	return ""
}

// TestASegmentThatWasGivenUpNeverHidesALaterOne lets segments fail before their first batch, over and over, with files that cannot be removed.
func TestASegmentThatWasGivenUpNeverHidesALaterOne(t *testing.T) {
	b := newBench(t)
	b.open()
	for range 3 {
		if err := b.append(nil); err != nil {
			t.Fatal(err)
		}
		var syncs atomic.Int64
		b.fs.Set(func(op disktest.Op, path string) *disktest.Fault {
			if !strings.HasSuffix(path, ".log") {
				return nil
			}
			// The proof of a new segment succeeds, its first batch does not; every other file cannot be removed.
			if op == disktest.Sync && syncs.Add(1)%2 == 0 || op == disktest.Remove && syncs.Load()%4 != 0 {
				return &disktest.Fault{}
			}
			return nil
		})
		for range 6 {
			_ = b.append(nil)
			b.eventually("an attempt", func() bool { return b.log.Healthy() == nil || syncs.Load() > 12 })
		}
		b.fs.Set(nil)
		b.eventually("an append succeeds", func() bool { return b.append(nil) == nil })
	}
	b.whole()
	b.close()
	b.open()
	b.whole()
	b.close()
	b.verify()
}

// fullDisk makes a disk on which only what is allocated already can be written: the reserve, once it is a segment.
func fullDisk(b *bench) {
	var mu sync.Mutex
	spared := map[string]bool{}
	b.fs.Set(func(op disktest.Op, path string) *disktest.Fault {
		mu.Lock()
		defer mu.Unlock()
		switch op {
		case disktest.Rename:
			spared[path] = true
		case disktest.Create:
			return &disktest.Fault{Err: syscall.ENOSPC}
		case disktest.Write:
			if !spared[path] {
				return &disktest.Fault{Err: syscall.ENOSPC}
			}
		}
		return nil
	})
}

func TestOnAFullDiskAdministratorsCanStillAct(t *testing.T) {
	b := newBench(t)
	b.open()
	reserve := filepath.Join(b.cfg.Dir, "n1", "reserve")
	there := func() bool {
		st, err := os.Stat(reserve)
		return b.log.Stats().Reserve && err == nil && st.Size() == b.cfg.ReserveBytes
	}
	b.eventually("the reserve is there", there)
	for range 5 {
		if err := b.append(nil); err != nil {
			t.Fatal(err)
		}
	}
	fullDisk(b)
	if err := b.append(nil); kms.CodeOf(err) != kms.CodeDiskFull {
		t.Fatalf("a use of a key on a full disk: got %v, want %v", err, kms.CodeDiskFull)
	}
	if kms.CodeOf(b.log.Healthy()) != kms.CodeDiskFull {
		t.Errorf("health: got %v", b.log.Healthy())
	}
	admin := func(r *audit.Record) { r.Action = kms.RevokeToken }
	for i := range 10 {
		if err := b.append(admin); err != nil {
			t.Fatalf("an administrator's record %d on a full disk: %v (%v)", i, err, errors.Unwrap(err))
		}
		if err := b.append(nil); kms.CodeOf(err) != kms.CodeDiskFull {
			t.Fatalf("a use of a key beside it: got %v, want %v", err, kms.CodeDiskFull)
		}
	}
	// The reserve is finite, and then the answer is the same for all.
	i := 0
	for ; b.append(admin) == nil; i++ {
		if i > 1000 {
			t.Fatal("the reserve does not end")
		}
	}
	if there() {
		t.Error("the reserve is still there")
	}
	b.whole()
	b.fs.Set(nil) // space returns
	b.eventually("the log is healthy again", func() bool { return b.log.Healthy() == nil })
	if err := b.append(nil); err != nil {
		t.Fatal(err)
	}
	b.eventually("the reserve is there again", there)
	b.whole()
	b.close()
	b.verify()
	b.open()
	b.whole()
}

func TestAnAdministratorsRecordSurvivesTheMomentTheDiskFills(t *testing.T) {
	b := newBench(t)
	b.open()
	b.eventually("the reserve is there", func() bool { return b.log.Stats().Reserve })
	fullDisk(b)
	if err := b.append(func(r *audit.Record) { r.Action = kms.SealServer }); err != nil {
		t.Fatalf("got %v (%v)", err, errors.Unwrap(err))
	}
	b.fs.Set(nil)
	b.whole()
}

func TestTheNextAppendFindsThatTheDiskIsWellAgain(t *testing.T) {
	b := newBench(t)
	b.open()
	b.fs.Set(func(op disktest.Op, path string) *disktest.Fault {
		if strings.HasSuffix(path, ".log") {
			return &disktest.Fault{}
		}
		return nil
	})
	for range 10 { // the probes back off
		if err := b.append(nil); kms.CodeOf(err) != kms.CodeAuditUnavailable {
			t.Fatalf("got %v, want %v", err, kms.CodeAuditUnavailable)
		}
	}
	b.fs.Set(nil)
	b.eventually("an append succeeds", func() bool { return b.append(nil) == nil })
	b.whole()
	b.close()
	b.verify()
}

func TestAKeyThatFailsStopsRecordsNotTheDisk(t *testing.T) {
	b := newBench(t)
	b.open()
	var fail atomic.Bool
	k := b.keys
	inner := k.MAC
	k.MAC = func(e uint32, msg []byte) ([32]byte, error) {
		if fail.Load() {
			return [32]byte{}, errors.New("the module is gone")
		}
		return inner(e, msg)
	}
	if err := b.log.Keyed(k); err != nil {
		t.Fatal(err)
	}
	fail.Store(true)
	if err := b.append(nil); kms.CodeOf(err) != kms.CodeAuditUnavailable {
		t.Fatalf("got %v, want %v", err, kms.CodeAuditUnavailable)
	}
	fail.Store(false)
	if err := b.append(nil); err != nil {
		t.Fatal(err)
	}
	b.whole()
	b.close()
	b.verify()
}
