package cli_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write docs/cli.md and the golden files of the scripts")

// keyhold is the directory of the binary under test.
var keyhold string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "keyhold-cli-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "keyhold"), "github.com/keyhold/keyhold/cmd/keyhold")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build keyhold:", err)
		return 1
	}
	keyhold = dir
	return m.Run()
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", UpdateScripts: *update, RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", keyhold+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Setenv("TERM", "xterm")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"dev": startDev, "prod": startProd, "stop": stopServer, "capture": capture, "masked": masked, "state": state, "bytes": makeBytes, "mode": checkMode, "tty": onTerminal, "shown": shown, "final": final,
		},
	})
}

// ready is how long a server may take to start; it takes less than a second on an idle machine.
const ready = 30 * time.Second

// start starts a server and waits until a check passes.
func start(ts *testscript.TestScript, up func() bool, args ...string) {
	cmd := exec.Command(filepath.Join(keyhold, "keyhold"), append([]string{"server"}, args...)...)
	cmd.Dir = ts.Getenv("WORK")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	// Only what belongs to a server: the script's KEYHOLD_ variables are its clients'.
	cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("WORK")}
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop := func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(ready):
			_ = cmd.Process.Kill()
			<-ended
		}
	}
	ts.Setenv("SERVER_PID", fmt.Sprint(cmd.Process.Pid))
	deadline, tick := time.After(ready), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !up() {
		select {
		case err := <-ended:
			ts.Fatalf("the server ended before it was ready: %v\n%s", err, log.String())
		case <-deadline:
			stop()
			ts.Fatalf("the server was not ready after %s\n%s", ready, log.String())
		case <-tick.C:
		}
	}
	ts.Defer(func() { stop() })
}

// startDev starts a development server (dev DIR) and takes over its environment.
func startDev(ts *testscript.TestScript, _ bool, args []string) {
	env := ts.MkAbs(filepath.Join(args[0], "dev.env"))
	start(ts, func() bool { _, err := os.Stat(env); return err == nil }, "--dev", "--data", args[0], "--listen", "127.0.0.1:0")
	text, err := os.ReadFile(env)
	ts.Check(err)
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.HasPrefix(name, "KEYHOLD_") {
			ts.Setenv(name, strings.Trim(value, `'"`))
		}
	}
}

// final waits until a destruction (final key|namespace NAME) is irrecoverable.
func final(ts *testscript.TestScript, _ bool, args []string) {
	deadline, tick := time.After(ready), time.NewTicker(100*time.Millisecond)
	defer tick.Stop()
	run := func(args ...string) string {
		cmd := exec.Command(filepath.Join(keyhold, "keyhold"), args...)
		for _, name := range []string{"PATH", "HOME", "KEYHOLD_ADDR", "KEYHOLD_TOKEN", "KEYHOLD_CACERT", "KEYHOLD_NAMESPACE"} {
			cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			ts.Logf("%s: %v", out, err)
		}
		return string(out)
	}
	for {
		switch out := run(args[0], "receipt", args[1]); {
		case strings.Contains(out, "irrecoverable"):
			return
		case strings.Contains(out, "erased"): // epochs that nobody orders are a minute apart
			run("operator", "roll-epoch")
		}
		select {
		case <-deadline:
			ts.Fatalf("%s %s is not irrecoverable yet", args[0], args[1])
		case <-tick.C:
		}
	}
}

// startProd starts a server (prod CONFIG SOCKET): it is sealed.
func startProd(ts *testscript.TestScript, _ bool, args []string) {
	socket := ts.MkAbs(args[1])
	start(ts, func() bool { _, err := os.Stat(socket); return err == nil }, "--config", args[0])
	ts.Setenv("KEYHOLD_SOCKET", socket)
}

// stopServer ends the server that was started last.
func stopServer(ts *testscript.TestScript, _ bool, _ []string) {
	var pid int
	_, err := fmt.Sscan(ts.Getenv("SERVER_PID"), &pid)
	ts.Check(err)
	p, err := os.FindProcess(pid)
	ts.Check(err)
	ts.Check(p.Signal(os.Interrupt))
	for range 3000 {
		if errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("the server did not stop")
}

// capture sets a variable from the last standard output, or standard error: capture NAME REGEXP.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	re := regexp.MustCompile("(?m)" + args[1])
	for _, from := range []string{"stdout", "stderr"} {
		if m := re.FindStringSubmatch(ts.ReadFile(from)); m != nil {
			ts.Setenv(args[0], m[len(m)-1])
			return
		}
	}
	ts.Fatalf("nothing matches %q", args[1])
}

// masks hide what differs from run to run.
var masks = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "ID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z`), "TIME"},
	{regexp.MustCompile(`n1-\d{6}-\d+`), "POSITION"},
	{regexp.MustCompile(`"kind": "(memfd_secret|mlock|none)"`), `"kind": "MEMORY"`}, // what the kernel gives
	{regexp.MustCompile(`kh_[a-z2-7]{26}_[A-Za-z0-9_-]{43}`), "TOKEN"},
	{regexp.MustCompile(`"(ciphertext|plaintext|signature|mac|random|public_key|check_value|principal_alias|bundle|checkpoint|context_digest|root)": "[^"]*"`), `"$1": "BYTES"`},
	{regexp.MustCompile(`"(audit_key|verifier_key)": "[^"]*"`), `"$1": "KEY"`},
	{regexp.MustCompile(`"(fingerprint|remote|request_id|go|platform|revision|modified|origin_hash)": ("[^"]*"|true|false)`), `"$1": "X"`},
	{regexp.MustCompile(`"(revision|policy_revision|bytes|records)": \d+`), `"$1": 0`},
	{regexp.MustCompile(`\d+ secrets under epoch`), "N secrets under epoch"},
}

// masked writes the last standard output to a file without what differs from run to run.
func masked(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile("stdout")
	for _, m := range masks {
		text = m.what.ReplaceAllString(text, m.with)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// state writes all that can be changed on a server to a file: state FILE.
func state(ts *testscript.TestScript, _ bool, args []string) {
	var all bytes.Buffer
	for _, line := range []string{"key list", "policy list", "token list", "credential list", "namespace list", "operator status", "jobs"} {
		cmd := exec.Command(filepath.Join(keyhold, "keyhold"), append(strings.Fields(line), "-o", "json")...)
		for _, name := range []string{"KEYHOLD_ADDR", "KEYHOLD_TOKEN", "KEYHOLD_CACERT", "KEYHOLD_NAMESPACE"} {
			cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			ts.Fatalf("keyhold %s: %v\n%s", line, err, out)
		}
		if line == "jobs" { // they run by themselves: only what is asked for counts
			out = regexp.MustCompile(`(?m)^.*"(last_run|next_run|done|total|rate|eta)".*\n`).ReplaceAll(out, nil)
			out = bytes.ReplaceAll(out, []byte(",\n"), []byte("\n")) // of the line that is the last one now
		}
		all.Write(out)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), all.Bytes(), 0o600))
}

// makeBytes writes a file of a length: bytes FILE N. It is not text.
func makeBytes(ts *testscript.TestScript, _ bool, args []string) {
	var n int
	_, err := fmt.Sscan(args[1], &n)
	ts.Check(err)
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

// checkMode compares the mode of files: mode 0600 FILE….
func checkMode(ts *testscript.TestScript, _ bool, args []string) {
	for _, path := range args[1:] {
		st, err := os.Stat(ts.MkAbs(path))
		ts.Check(err)
		if got := fmt.Sprintf("%04o", st.Mode().Perm()); got != args[0] {
			ts.Fatalf("mode of %s: got %s, want %s", path, got, args[0])
		}
	}
}
