package vaultclients

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/node"
)

// ready is how long a server may take to start; it takes less than a second on an idle machine.
const ready = time.Minute

// server starts a development server, with settings, and sets the variables of its dev.env, as a shell does.
func server(t *testing.T, more ...config.Override) {
	t.Helper()
	dir := t.TempDir()
	set, err := config.Load("", nil, append(more, config.Override{Name: "data_dir", Value: dir, Flag: "--data"},
		config.Override{Name: "listen", Value: "127.0.0.1:0", Flag: "--listen"}, config.Override{Name: "shutdown.drain", Value: "0s", Flag: "--drain"})...)
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(t.Context(), node.Options{Settings: set, Version: "test", Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	env := filepath.Join(dir, "dev.env")
	for end := time.Now().Add(ready); ; time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile(env); err == nil {
			for line := range strings.Lines(string(b)) {
				if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
					t.Setenv(name, value)
				}
			}
			return
		}
		if time.Now().After(end) {
			t.Fatal("the server did not become ready")
		}
	}
}

// program is a client that runs as one.
type program struct {
	dir string
	env []string
}

// newProgram has what dev.env says for Vault's clients, a home of its own, and nothing else of the test's environment.
func newProgram(t *testing.T, more ...string) program {
	t.Helper()
	dir := t.TempDir()
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANG=C.UTF-8"}
	for _, name := range []string{"VAULT_ADDR", "VAULT_TOKEN", "VAULT_CACERT"} {
		env = append(env, name+"="+os.Getenv(name))
	}
	return program{dir, append(env, more...)}
}

// patience is how long a program may take; the slowest start of an interpreter is a few seconds on a busy machine.
const patience = 2 * time.Minute

// run gives what the program wrote to its standard output and to its standard error, and whether it succeeded.
func (p program) run(t *testing.T, args ...string) (out, problem string, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = p.dir, p.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", args[0], err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s: not done after %s\n%s%s", strings.Join(args, " "), patience, &stdout, &stderr)
	}
	return stdout.String(), stderr.String(), err == nil
}

// ok runs it, wants it to succeed, and gives its standard output.
func (p program) ok(t *testing.T, args ...string) string {
	t.Helper()
	out, problem, ok := p.run(t, args...)
	if !ok {
		t.Fatalf("%s failed\n%s%s", strings.Join(args, " "), out, problem)
	}
	return out
}

// refused runs it, wants it to fail, and wants a text in what it says.
func (p program) refused(t *testing.T, want string, args ...string) {
	t.Helper()
	out, problem, ok := p.run(t, args...)
	if ok || !strings.Contains(problem+out, want) {
		t.Errorf("%s\nsucceeded: %v, said:\n%s%s\nwant a failure that says %q", strings.Join(args, " "), ok, out, problem, want)
	}
}
