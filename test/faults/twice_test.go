package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
)

// TestOneServerHasTheDataDirectory starts a second server where one runs: it refuses, says why, and hurts nothing. A server that is killed releases the
// directory; what it leaves does not keep the next from starting.
func TestOneServerHasTheDataDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, dir)
	c := first.client()
	if _, err := c.CreateKey(t.Context(), client.CreateKeyInput{Name: "k", Algorithm: "aes-256-gcm"}); err != nil {
		t.Fatal(err)
	}
	env, err := os.ReadFile(filepath.Join(dir, "dev.env"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // being refused releases nothing
		second := launch(t, dir)
		select {
		case <-second.ended:
		case <-time.After(ready):
			t.Fatalf("a second server runs on the same directory\n%s", second.log)
		}
		said := second.log.String()
		if second.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(said, "KH1406") || !strings.Contains(said, dir) || !strings.Contains(said, "another server") {
			t.Errorf("the second server ended with %d and said\n%s", second.cmd.ProcessState.ExitCode(), said)
		}
	}
	if now, err := os.ReadFile(filepath.Join(dir, "dev.env")); err != nil || string(now) != string(env) {
		t.Errorf("the refused server touched dev.env: %v", err)
	}
	if _, err := c.DescribeKey(t.Context(), "k"); err != nil {
		t.Errorf("the first server: %v", err)
	}
	first.kill()
	third := start(t, dir)
	if _, err := third.client().DescribeKey(t.Context(), "k"); err != nil {
		t.Errorf("after a kill: %v", err)
	}
	third.stop()
	third.wholesome()
}
