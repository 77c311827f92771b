package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
)

// copyInto copies a tree for its owner alone, as the server wants it, without the socket that a killed server leaves.
func copyInto(t *testing.T, to, from string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		name = filepath.Join(to, name)
		switch {
		case d.IsDir():
			return os.MkdirAll(name, 0o700)
		case !d.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(name, data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// copiedDir is a copy of a whole data directory.
func copiedDir(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	copyInto(t, to, dir)
	return to
}

// withEpochs is what comes of an ordinary backup: a copy of everything but the epoch keys, beside those of a data directory as it is now.
func withEpochs(t *testing.T, backup, from string) string {
	t.Helper()
	to := copiedDir(t, backup)
	for _, name := range []string{"shred", "escrow"} {
		if err := os.RemoveAll(filepath.Join(to, name)); err != nil {
			t.Fatal(err)
		}
		copyInto(t, filepath.Join(to, name), filepath.Join(from, name))
	}
	return to
}

// tryStart starts a server on a directory. nil: it ended by itself; why tells what it said.
func tryStart(t *testing.T, dir string, settings ...string) (p *process, why string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "dev.env")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	p = launch(t, dir, settings...)
	deadline := time.Now().Add(ready)
	for time.Now().Before(deadline) {
		if _, err := os.Stat(filepath.Join(dir, "dev.env")); err == nil {
			p.kill()
			return start(t, dir, settings...), ""
		}
		select {
		case <-p.ended:
			return nil, p.log.String()
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatalf("the server neither started nor ended\n%s", p.log)
	return nil, ""
}

// TestNoBackupBringsBackADestroyedKey puts back every earlier copy of a server's files, without the epoch keys of its time, beside those of now. LIF-10, X3
func TestNoBackupBringsBackADestroyedKey(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	p := start(t, dir)
	c := p.client()
	sealed := map[string][]byte{}
	for _, name := range []string{"doomed", "kept"} {
		if _, err := c.CreateKey(ctx, client.CreateKeyInput{Name: name, Algorithm: "aes-256-gcm"}); err != nil {
			t.Fatal(err)
		}
		out, err := c.Encrypt(ctx, client.EncryptInput{Key: name, Plaintext: []byte("of " + name)})
		if err != nil {
			t.Fatal(err)
		}
		sealed[name] = out.Ciphertext
	}
	decrypt := func(p *process, name string) error {
		_, err := p.client().Decrypt(ctx, client.DecryptInput{Ciphertext: sealed[name]})
		return err
	}
	backups := map[string]string{}
	keep := func(when string) {
		p.stop()
		backups[when] = copiedDir(t, dir)
		p = start(t, dir)
		c = p.client()
	}
	keep("before")
	if _, err := c.AssessKey(ctx, "doomed"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ScheduleKeyDestruction(ctx, "doomed", 3*time.Second, client.Reason("test")); err != nil {
		t.Fatal(err)
	}
	keep("in the window")
	var r client.Receipt
	for end := time.Now().Add(ready); r.Destruction.State != "irrecoverable"; time.Sleep(50 * time.Millisecond) {
		var err error
		if r, err = c.ReadReceipt(ctx, "doomed"); err != nil || time.Now().After(end) {
			t.Fatalf("%+v %v", r.Destruction, err)
		}
	}
	receipt := filepath.Join(t.TempDir(), "doomed.receipt")
	if err := os.WriteFile(receipt, r.Note, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(ctx, keyholdVerify, "--key", filepath.Join(dir, "audit.pub"), "receipt", receipt).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "verified") {
		t.Errorf("keyhold-verify receipt: %v\n%s", err, out)
	}
	keep("after")
	p.stop()

	for when, backup := range backups {
		back, why := tryStart(t, withEpochs(t, backup, dir))
		if back == nil {
			if when == "after" || !strings.Contains(why, "the epoch KEK") {
				t.Errorf("%s: the server does not start: %s", when, why)
			}
			continue // of a time whose epoch keys are destroyed: nothing in it opens, and the server says why
		}
		if err := decrypt(back, "doomed"); err == nil {
			t.Errorf("%s: the destroyed key is back", when)
		}
		if when == "after" {
			if err := decrypt(back, "kept"); err != nil {
				t.Errorf("%s: the other key: %v", when, err)
			}
		}
		back.kill()
	}
	// The control: with the epoch keys of its time, which no ordinary backup has, the copy opens. Without it the test above would prove nothing.
	back, why := tryStart(t, copiedDir(t, backups["before"]))
	if back == nil {
		t.Fatal(why)
	}
	if err := decrypt(back, "doomed"); err != nil {
		t.Errorf("with its own epoch keys: %v", err)
	}
	back.kill()
}
