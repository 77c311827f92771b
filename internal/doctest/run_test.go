package doctest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bin holds the programs, built once.
var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "keyhold-docs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	build := exec.Command("go", "build", "-o", dir+"/", "./cmd/keyhold", "./cmd/keyhold-verify")
	build.Dir, build.Stderr = root, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		return 1
	}
	bin = dir
	return m.Run()
}

// runnable are the blocks of a page that are marked "sh run": one script, from top to bottom.
var runnable = regexp.MustCompile("(?ms)^```sh run\n(.*?)^```$")

// longest is how long the commands of a page may take; they take seconds.
const longest = 2 * time.Minute

func TestPagesRunAsTheyStand(t *testing.T) {
	for page, text := range pages(t) {
		var script strings.Builder
		for _, m := range runnable.FindAllStringSubmatch(text, -1) {
			script.WriteString(m[1] + "\n")
		}
		if script.Len() == 0 {
			if page == "README.md" || page == "docs/operations.md" {
				t.Errorf("%s has no block marked as runnable", page)
			}
			continue
		}
		t.Run(page, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Symlink(bin, filepath.Join(dir, "bin")); err != nil {
				t.Fatal(err)
			}
			// Pages show the default port; here many servers run at once.
			text := strings.NewReplacer("7443", freePort(t), "7444", freePort(t)).Replace(script.String())
			out, err := shell(t, dir, text)
			if err != nil {
				t.Errorf("%s does not run as it stands: %v\n%s", page, err, out)
			}
		})
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// shell runs a script as a newcomer would, with nothing of this process's environment, and ends all that it started.
func shell(t *testing.T, dir, script string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-xeuo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "BIN=" + bin, "TMPDIR=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what a failed script left behind
	return out.String(), err
}

func TestTheDemo(t *testing.T) {
	repo, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	small, large := filepath.Join(t.TempDir(), "a file"), filepath.Join(t.TempDir(), "large")
	for path, size := range map[string]int{small: 64 << 10, large: 64<<10 + 1} {
		if err := os.WriteFile(path, bytes.Repeat([]byte{0, 'x', '\n'}, size)[:size], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, file string
		ok         bool
		says       []string
	}{
		{"the readme", "README.md", true, []string{"$ " + bin + "/keyhold key create demo", "the same bytes", "Encrypt", "Decrypt", "verified: it is one of the", " under an anchor", "# Done"}},
		{"the largest file", small, true, []string{"the same bytes"}},
		{"a file that is too large", large, false, []string{"65537 bytes", "data key"}},
		{"a file that is not there", filepath.Join(t.TempDir(), "nothing"), false, []string{"FILE="}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := shell(t, repo, fmt.Sprintf("set +x; scripts/demo.sh '%s'", c.file))
			if (err == nil) != c.ok {
				t.Fatalf("got error %v, want success %v\n%s", err, c.ok, out)
			}
			for _, want := range c.says {
				if !strings.Contains(out, want) {
					t.Errorf("the demo does not say %q:\n%s", want, out)
				}
			}
		})
	}
}
