package node_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/node"
)

const envFull = "KEYHOLD_NODE_TEST_FULL"

// A disk that is really full stops every operation with a named error; when space returns, the server goes on by itself.
// The disk is a tmpfs in a mount namespace of a process of its own, so that nothing is left behind.
func TestAFullDiskStopsOperationsUntilSpaceReturns(t *testing.T) {
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
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=96m"); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	r := start(t, data, node.Options{Dev: true}, []config.Override{
		{Name: "audit.segment_bytes", Value: "1MiB", Flag: "test"}, {Name: "audit.reserve_bytes", Value: "1MiB", Flag: "test"},
		{Name: "store.min_free_bytes", Value: "4MiB", Flag: "test"},
	}...)
	c := r.client(client.Config{Address: r.env()["KEYHOLD_ADDR"], Token: r.env()["KEYHOLD_TOKEN"], CACert: r.file("tls/ca.pem"), Retry: client.Retry{Attempts: 1}})
	if _, err := c.CreateKey(t.Context(), client.CreateKeyInput{Name: "k", Algorithm: "aes-256-gcm"}); err != nil {
		t.Fatal(err)
	}
	big := make([]client.EncryptInput, 1000)
	for i := range big {
		big[i] = client.EncryptInput{Key: "k", Plaintext: []byte("x")}
	}
	use := func() error { // a record of several kilobytes
		results, err := c.EncryptBatch(t.Context(), big)
		if err == nil && results[0].Err != nil {
			err = results[0].Err
		}
		return err
	}
	if err := use(); err != nil {
		t.Fatal(err)
	}

	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(chunk)
	}
	_ = f.Close()

	var stopped error
	for range 3000 { // what is left of the segments that are ready is used up first
		if stopped = use(); stopped != nil {
			break
		}
	}
	wantCode(t, stopped, kms.CodeDiskFull)
	_, err = c.CreateKey(t.Context(), client.CreateKeyInput{Name: "k2", Algorithm: "aes-256-gcm"})
	wantCode(t, err, kms.CodeDiskFull)

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for use() != nil {
		if time.Now().After(deadline) {
			t.Fatalf("still stopped after space returned: %v", use())
		}
		time.Sleep(50 * time.Millisecond)
	}
	if _, err := c.CreateKey(t.Context(), client.CreateKeyInput{Name: "k2", Algorithm: "aes-256-gcm"}); err != nil {
		t.Fatalf("a change after space returned: %v", err)
	}
	if rep, err := c.CheckStore(t.Context()); err != nil || rep.DamagedCount != 0 {
		t.Fatalf("the store afterwards: %+v %v", rep, err)
	}
}
