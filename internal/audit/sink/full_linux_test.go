package sink

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

const envFull = "KEYHOLD_SINK_TEST_FULL"

// A folder on a disk that is really full holds up its own sink, visibly, and leaves no half file; when space returns everything comes.
// The disk is a tmpfs in a mount namespace of a process of its own, so that nothing is left behind.
func TestAFullFolderHoldsOneSinkOnly(t *testing.T) {
	if dir := os.Getenv(envFull); dir != "" {
		onFullDisk(t, dir)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe, "-test.run=^"+t.Name()+"$", "-test.v")
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

func onFullDisk(t *testing.T, dir string) {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 512<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	b, r := newBench(t), newReceiver(t, webhooks)
	b.write(800) // more than half a megabyte of lines
	s := Sink{Name: "archive", Kind: Directory, Folder: dir, BatchRecords: 100}
	set := b.ship(s, r.webhook("hook"))
	eventually(t, "a full disk", func() bool { return status(t, set, "archive").State == Failing })
	if st := status(t, set, "archive"); st.Lag == 0 || st.Error == "" {
		t.Errorf("got %+v", st)
	}
	shipped(t, set, "hook")
	before := len(archived(t, dir))
	if before == 0 || before >= b.written {
		t.Errorf("the full folder has %d of %d records", before, b.written)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	shipped(t, set, "archive")
	if got := len(archived(t, dir)); got != b.written {
		t.Errorf("got %d records, want %d", got, b.written)
	}
	if err := set.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*", "*", ".*")); err != nil || len(left) != 0 {
		t.Errorf("%v are left (%v)", left, err)
	}
}
