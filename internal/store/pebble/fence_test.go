package pebble

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// TestATrippedFenceLeavesTheDiskAlone: after the first failure nothing changes the disk, and everything says it did.
func TestATrippedFenceLeavesTheDiskAlone(t *testing.T) {
	disk, b := vfs.NewMem(), &breaker{}
	f := newFence(errorfs.Wrap(disk, b))
	file, err := f.Create("a", "pebble-wal")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("before")); err != nil {
		t.Fatal(err)
	}
	b.set(is(syscall.EIO, "a", errorfs.OpFileWrite))
	if n, err := file.Write([]byte("lost")); n != 4 || err != nil {
		t.Fatalf("the failing write: got %d, %v; want success", n, err)
	}
	if !f.down.Load() || !errors.Is(f.cause, syscall.EIO) || !strings.Contains(f.cause.Error(), "write a") {
		t.Fatalf("the fence: got down %v, cause %v", f.down.Load(), f.cause)
	}
	b.set(nil)
	_, err = file.Write([]byte("after"))
	if err := errors.Join(err, file.Sync(), file.SyncData(), f.Rename("a", "b"), f.Link("a", "c"), f.Remove("a"),
		f.RemoveAll("a"), f.MkdirAll("d", 0o700), file.Close()); err != nil {
		t.Fatalf("behind a tripped fence: %v", err)
	}
	for what, open := range map[string]func() (vfs.File, error){
		"create": func() (vfs.File, error) { return f.Create("e", "pebble-manifest") },
		"reuse":  func() (vfs.File, error) { return f.ReuseForWrite("a", "f", "pebble-wal") },
		"open":   func() (vfs.File, error) { return f.OpenReadWrite("g", "pebble-manifest") },
	} {
		file, err := open()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if n, err := file.Write([]byte("x")); n != 1 || err != nil {
			t.Fatalf("%s: write: got %d, %v", what, n, err)
		}
		if _, err := file.Stat(); err != nil {
			t.Fatalf("%s: stat: %v", what, err)
		}
		if _, err := file.Read(make([]byte, 1)); err == nil {
			t.Fatalf("%s: reading what was never written works", what)
		}
		if err := file.Close(); err != nil {
			t.Fatalf("%s: close: %v", what, err)
		}
	}
	names, err := disk.List("")
	if err != nil || len(names) != 1 || names[0] != "a" {
		t.Fatalf("the disk: got %v, %v; want a alone", names, err)
	}
	left, err := disk.Open("a")
	if err != nil {
		t.Fatal(err)
	}
	defer left.Close()
	got := make([]byte, 20)
	if n, _ := left.Read(got); string(got[:n]) != "before" {
		t.Fatalf("the file: got %q, want what was there before", got[:n])
	}
}

// TestDrainWaitsForWhatHasBegun: the next opening must not meet a change of the one before.
func TestDrainWaitsForWhatHasBegun(t *testing.T) {
	b := &breaker{}
	f := newFence(errorfs.Wrap(vfs.NewMem(), b))
	begun, release := make(chan struct{}), make(chan struct{})
	b.set(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpRename {
			close(begun)
			<-release
		}
		return nil
	})
	go func() { _ = f.Rename("a", "b") }()
	<-begun
	f.trip(errors.New("a failure elsewhere"))
	drained := make(chan struct{})
	go func() { f.drain(); close(drained) }()
	if f.mu.TryLock() {
		t.Fatal("a change is under way and nothing holds the fence")
	}
	select {
	case <-drained:
		t.Fatal("drained while a change is under way")
	default:
	}
	close(release)
	<-drained
}

// TestReadingAndRemovingPassTheFence: their errors are the engine's business.
func TestReadingAndRemovingPassTheFence(t *testing.T) {
	f := newFence(vfs.NewMem())
	if _, err := f.Open("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("open: got %v, want not exist", err)
	}
	if err := f.Remove("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("remove: got %v, want not exist", err)
	}
	if f.down.Load() {
		t.Fatalf("the fence tripped: %v", f.cause)
	}
}
