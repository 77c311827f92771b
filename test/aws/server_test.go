package awstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
)

// ready is how long a server may take to start, and to stop; both take less than a second on an idle machine.
const ready = 30 * time.Second

// The server that the tests share, the binary it runs, and a directory for what several tests build.
var (
	dev     *server
	binary  string
	scratch string
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "keyhold-aws-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	scratch, binary = dir, filepath.Join(dir, "keyhold")
	if err := goBuild("../..", binary, "./cmd/keyhold"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dev, err = startServer(filepath.Join(dir, "dev"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := dev.stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if code != 0 {
		fmt.Fprintf(os.Stderr, "the server said:\n%s", dev.log)
	}
	return code
}

// goBuild builds a program of the module in dir.
func goBuild(dir, out, pkg string) error {
	cmd := exec.Command("go", "build", "-o", out, pkg)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

// server is a running development server.
type server struct {
	cmd   *exec.Cmd
	log   *bytes.Buffer // what it wrote to standard error; to be read after it ended
	ended chan error
	env   map[string]string             // dev.env
	keys  map[string]awssdk.Credentials // of principals that tests made
}

// startServer starts a server on a directory and waits until it is ready.
func startServer(dir string) (*server, error) {
	s := &server{log: new(bytes.Buffer), ended: make(chan error, 1), keys: map[string]awssdk.Credentials{}}
	s.cmd = exec.Command(binary, "server", "--dev", "--data", dir, "--listen", "127.0.0.1:0")
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir} // nothing of the tests' own environment
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.ended <- s.cmd.Wait() }()
	deadline, tick := time.After(ready), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		env, err := readEnv(filepath.Join(dir, "dev.env"))
		if err == nil {
			s.env = env
			return s, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(err, s.stop())
		}
		select {
		case err := <-s.ended:
			return nil, fmt.Errorf("the server ended before it was ready: %w\n%s", err, s.log)
		case <-deadline:
			return nil, errors.Join(errors.New("the server is not ready"), s.stop())
		case <-tick.C:
		}
	}
}

// newServer is a server for one test.
func newServer(t *testing.T) *server {
	t.Helper()
	s, err := startServer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// stop ends the server as an operator would.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(os.Interrupt) // it may have ended by itself, which is told below
	select {
	case err := <-s.ended:
		if err != nil {
			return fmt.Errorf("the server ended: %w\n%s", err, s.log)
		}
		return nil
	case <-time.After(ready):
		_ = s.cmd.Process.Kill()
		return fmt.Errorf("the server did not stop: %w\n%s", <-s.ended, s.log)
	}
}

// readEnv reads the lines of dev.env.
func readEnv(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseEnv(string(text)), nil
}

// parseEnv reads lines of NAME=value.
func parseEnv(text string) map[string]string {
	env := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			env[name] = strings.Trim(value, `'"`)
		}
	}
	return env
}

// environ is the environment of a client: the server's dev.env, a home of its own, and nothing of the machine's AWS configuration.
func (s *server) environ(t testing.TB, more ...string) []string {
	t.Helper()
	home := t.TempDir()
	env := []string{
		"PATH=" + filepath.Dir(binary) + string(filepath.ListSeparator) + os.Getenv("PATH"), "HOME=" + home, "LANG=C.UTF-8",
		"AWS_CONFIG_FILE=" + filepath.Join(home, "none"), "AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(home, "none"),
		"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
	}
	for name, value := range s.env {
		env = append(env, name+"="+value)
	}
	return append(env, more...)
}

// setenv gives the test's own process the environment of a client, for libraries that read it.
func (s *server) setenv(t *testing.T) {
	t.Helper()
	for _, line := range s.environ(t) {
		if name, value, _ := strings.Cut(line, "="); name != "PATH" && name != "HOME" {
			t.Setenv(name, value)
		}
	}
}

// keyhold runs the command line against the server and gives its standard output.
func (s *server) keyhold(t testing.TB, args ...string) string {
	t.Helper()
	return command{dir: t.TempDir(), env: s.environ(t), args: append([]string{binary}, args...)}.ok(t)
}

// command is a client that runs as a program.
type command struct {
	dir  string
	env  []string
	in   string
	args []string
}

// patience is how long a client may take; the slowest start of an interpreter is a few seconds on a busy machine.
const patience = 2 * time.Minute

// run gives standard output, standard error, and whether it succeeded.
func (c command) run(t testing.TB) (out, problem string, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin = c.dir, c.env, strings.NewReader(c.in)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", c.args[0], err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s: not done after %s\n%s%s", strings.Join(c.args, " "), patience, &stdout, &stderr)
	}
	return stdout.String(), stderr.String(), err == nil
}

// ok runs it, wants it to succeed, and gives its standard output.
func (c command) ok(t testing.TB) string {
	t.Helper()
	out, problem, ok := c.run(t)
	if !ok {
		t.Fatalf("%s failed\n%s%s", strings.Join(c.args, " "), out, problem)
	}
	return out
}

// refused runs it, wants it to fail, and wants a text in what it says.
func (c command) refused(t testing.TB, want string) {
	t.Helper()
	out, problem, ok := c.run(t)
	if ok || !strings.Contains(problem+out, want) {
		t.Errorf("%s\nsucceeded: %v, said:\n%s%s\nwant a failure that says %q", strings.Join(c.args, " "), ok, out, problem, want)
	}
}
