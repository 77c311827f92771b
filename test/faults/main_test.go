package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
)

// The programs under test.
var keyhold, keyholdVerify string

// long tells whether the full sizes are wanted.
var long = os.Getenv("KEYHOLD_LONG") == "1"

// sized is how much of a thing to do: in make test, and with KEYHOLD_LONG.
func sized(small, full int) int {
	if long {
		return full
	}
	return small
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "keyhold-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	keyhold, keyholdVerify = filepath.Join(dir, "keyhold"), filepath.Join(dir, "keyhold-verify")
	build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "github.com/keyhold/keyhold/cmd/keyhold", "github.com/keyhold/keyhold/cmd/keyhold-verify")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		return 1
	}
	return m.Run()
}

// ready is how long a server may take to start; it takes less than a second on an idle machine.
const ready = 60 * time.Second

// process is a server that was started on a data directory.
type process struct {
	t     testing.TB
	dir   string
	cmd   *exec.Cmd
	log   *output
	ended chan struct{}
	err   error // of Wait; read it after ended
	env   map[string]string
}

// output collects what a process says.
type output struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// launch starts a development server without waiting for it. Settings have the form name=value, as in KEYHOLD_LIMITS_CONNECTIONS=3, or are flags.
func launch(t testing.TB, dir string, settings ...string) *process {
	t.Helper()
	p := &process{t: t, dir: dir, log: &output{}, ended: make(chan struct{})}
	p.cmd = exec.Command(keyhold, "server", "--dev", "--data", dir, "--listen", "127.0.0.1:0")
	var env []string
	for _, s := range settings {
		if strings.HasPrefix(s, "--") {
			p.cmd.Args = append(p.cmd.Args, s)
		} else {
			env = append(env, s)
		}
	}
	// Small segments and a small reserve: the log rolls often, and a new one is made quickly.
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "KEYHOLD_AUDIT_SEGMENT_BYTES=1MiB", "KEYHOLD_AUDIT_RESERVE_BYTES=1MiB", "KEYHOLD_STORE_MIN_FREE_BYTES=1MiB"},
		env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.err = p.cmd.Wait(); close(p.ended) }()
	t.Cleanup(p.kill)
	return p
}

// start starts a development server and waits until it can be used.
func start(t testing.TB, dir string, settings ...string) *process {
	t.Helper()
	env := filepath.Join(dir, "dev.env")
	if err := os.Remove(env); err != nil && !errors.Is(err, os.ErrNotExist) { // of a server that was killed
		t.Fatal(err)
	}
	p := launch(t, dir, settings...)
	deadline, tick := time.After(ready), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(env)
		if err == nil {
			p.env = make(map[string]string)
			for line := range strings.Lines(string(text)) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				p.env[name] = value
			}
			return p
		}
		select {
		case <-p.ended:
			t.Fatalf("the server ended before it was ready: %v\n%s", p.err, p.log)
		case <-deadline:
			t.Fatalf("the server was not ready after %s\n%s", ready, p.log)
		case <-tick.C:
		}
	}
}

// kill is SIGKILL.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// stop lets the server end in order.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(ready):
		p.t.Fatalf("the server did not stop\n%s", p.log)
	}
	if p.err != nil {
		p.t.Errorf("the server stopped with %v\n%s", p.err, p.log)
	}
}

// wholesome fails if the process has crashed by itself: a panic is never an answer.
func (p *process) wholesome() {
	p.t.Helper()
	select {
	case <-p.ended:
		if state, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); p.err != nil && (!ok || state.Signal() != syscall.SIGKILL) { // that was us
			p.t.Errorf("the server ended: %v", p.err)
		}
	default:
	}
	if log := p.log.String(); strings.Contains(log, "panic") || strings.Contains(log, "fatal error") || strings.Contains(log, "goroutine ") {
		p.t.Errorf("the server panicked:\n%s", log)
	}
}

func (p *process) config() client.Config {
	p.t.Helper()
	ca, err := os.ReadFile(p.env["KEYHOLD_CACERT"])
	if err != nil {
		p.t.Fatal(err)
	}
	return client.Config{Address: p.env["KEYHOLD_ADDR"], Token: p.env["KEYHOLD_TOKEN"], Namespace: p.env["KEYHOLD_NAMESPACE"], CACert: ca}
}

// client makes a client that tries once, unless told otherwise: what was acknowledged is what the test is about.
func (p *process) client(change ...func(*client.Config)) *client.Client {
	p.t.Helper()
	cfg := p.config()
	cfg.Retry.Attempts = 1
	for _, f := range change {
		f(&cfg)
	}
	c, err := client.New(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(c.Close)
	return c
}

// verify runs keyhold-verify on a data directory's log, under the key that was pinned when the server was first started.
func verify(ctx context.Context, dir string, anchors ...string) (string, error) {
	args := []string{"--key", filepath.Join(dir, "audit.pub")}
	for _, a := range anchors {
		args = append(args, "--anchor", a)
	}
	out, err := exec.CommandContext(ctx, keyholdVerify, append(args, filepath.Join(dir, "audit"))...).CombinedOutput()
	return string(out), err
}
