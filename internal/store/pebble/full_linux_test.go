package pebble

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/store"
)

const (
	envFull   = "KEYHOLD_STORE_TEST_FULL"
	diskBytes = 48 << 20
)

// TestAFullDiskStopsWritesAndNothingElse runs on a disk of 48 MiB that is really full. It is a tmpfs, mounted in a mount
// namespace of a process of its own, so that nothing is left behind.
func TestAFullDiskStopsWritesAndNothingElse(t *testing.T) {
	t.Parallel()
	if os.Getenv(envFull) != "" {
		fullDisk(t, os.Getenv(envFull))
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe, "-test.run=^"+t.Name()+"$")
	c.Env = append(os.Environ(), envFull+"="+t.TempDir())
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		c.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
	}
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("in a mount namespace of its own (this needs root, or unprivileged user namespaces): %v\n%s", err, out)
	}
}

// fill leaves so many bytes of the disk free.
func fill(t *testing.T, dir string, leave int) (ballast string) {
	t.Helper()
	ballast = filepath.Join(dir, "ballast")
	f, err := os.OpenFile(ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	chunk := make([]byte, 64<<10)
	for {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		free := int(st.Bavail) * int(st.Bsize)
		if free <= leave {
			return ballast
		}
		if _, err := f.Write(chunk[:min(len(chunk), free-leave)]); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
}

func fullDisk(t *testing.T, dir string) {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", diskBytes)); err != nil {
		t.Fatalf("mount a small tmpfs: %v", err)
	}
	c := Config{Dir: filepath.Join(dir, "store"), memTable: 512 << 10, MinFree: 8 << 20}
	t.Run("TheReserveIsKept", func(t *testing.T) {
		s := mustOpen(t, c)
		l := newLedger()
		l.load(t, s, "before", 4, 20)
		ballast := fill(t, dir, 6<<20)
		// What was known of the disk holds for a moment, and for a little that is written.
		for i, until := 0, time.Now().Add(2*spaceFor); len(l.refused) == 0; i++ {
			late := time.Now().After(until)
			if err := l.commit(t.Context(), s, l.txn(fmt.Sprintf("room/%d", i), 0)); err != nil {
				t.Fatal(err)
			}
			if late && len(l.refused) == 0 {
				t.Fatal("commit below the reserve: got no error, want ErrFull")
			}
		}
		clear(l.refused)
		if _, err := s.Commit(t.Context(), l.txn("full", 0)); !errors.Is(err, store.ErrFull) {
			t.Fatalf("commit below the reserve: got %v, want ErrFull", err)
		}
		if rs, _, err := s.Get(t.Context(), []byte("before/0/0")); err != nil || rs[0].Rev == 0 {
			t.Fatalf("get below the reserve: got %v, %v", rs, err)
		}
		if _, err := s.Confirm(t.Context()); err != nil {
			t.Fatalf("confirm below the reserve: got %v", err)
		}
		// It can be closed and opened below the reserve.
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, c)
		defer s.Close()
		if _, err := s.Commit(t.Context(), l.txn("full", 0)); !errors.Is(err, store.ErrFull) {
			t.Fatalf("commit after opening below the reserve: got %v, want ErrFull", err)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		l.load(t, s, "after", 4, 20)
		if len(l.refused) > 0 || len(l.unknown) > 0 {
			t.Fatalf("with room again: %d refused, %d unknown", len(l.refused), len(l.unknown))
		}
		l.audit(t, s)
	})
	if err := os.RemoveAll(c.Dir); err != nil {
		t.Fatal(err)
	}
	t.Run("WithoutAReserve", func(t *testing.T) {
		c.MinFree = 1
		s := mustOpen(t, c)
		defer s.Close()
		l := newLedger()
		refused := 0
		for round := range sized(4, 40) {
			l.load(t, s, fmt.Sprintf("%d/a", round), 4, 20)
			ballast := fill(t, dir, round%3*100<<10)
			l.load(t, s, fmt.Sprintf("%d/b", round), 8, 200)
			refused += len(l.refused) + len(l.unknown)
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			eventually(t, "write again", func() error {
				_, err := s.Commit(t.Context(), store.Txn{})
				return errors.Join(err, hasRoom(s))
			})
			l.audit(t, s)
		}
		if refused == 0 {
			t.Fatal("the disk was never full")
		}
	})
}
