package cli_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// screen keeps what a terminal shows.
type screen struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// awaitPrompt waits until the program asks, and, where it asks for a secret, until the terminal does not show what is typed.
func awaitPrompt(ts *testscript.TestScript, master *os.File, s *screen) {
	for range 3000 {
		switch text := s.String(); {
		case strings.HasSuffix(text, "[y/N] "):
			return
		case strings.HasSuffix(text, ": "):
			set, err := unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS)
			ts.Check(err)
			if set.Lflag&unix.ECHO == 0 {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("nothing was asked: %q", s.String())
}

// openPTY opens a pseudo-terminal: its master and its slave (pts(4)).
func openPTY() (master, slave *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err != nil {
		return nil, nil, err
	}
	if err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	return master, slave, err
}

// onTerminal runs keyhold with all three streams on a terminal, where a person types a line: [!] tty LINE ARGS….
// What the terminal showed is written to the file "tty".
func onTerminal(ts *testscript.TestScript, neg bool, args []string) {
	master, slave, err := openPTY()
	ts.Check(err)
	cmd := exec.Command(filepath.Join(keyhold, "keyhold"), args[1:]...)
	cmd.Dir = ts.Getenv("WORK")
	for _, name := range []string{"KEYHOLD_ADDR", "KEYHOLD_TOKEN", "KEYHOLD_CACERT", "KEYHOLD_NAMESPACE", "KEYHOLD_SOCKET", "NO_COLOR", "TERM", "PATH"} {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	ts.Check(cmd.Start())
	ts.Check(slave.Close())
	var shown screen
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&shown, master) // ends with EIO when the last slave is closed
	}()
	if args[0] != "" {
		awaitPrompt(ts, master, &shown)
		_, err = io.WriteString(master, args[0]+"\n")
		ts.Check(err)
	}
	err = cmd.Wait()
	<-read
	ts.Check(master.Close())
	text := strings.ReplaceAll(shown.String(), "\r\n", "\n")
	ts.Check(os.WriteFile(ts.MkAbs("tty"), []byte(text), 0o600))
	ts.Logf("[tty]\n%q", text)
	if failed := err != nil; failed != neg {
		ts.Fatalf("keyhold %v on a terminal: got %v", args[1:], err)
	}
}

// shown matches what the terminal showed: [!] shown REGEXP.
func shown(ts *testscript.TestScript, neg bool, args []string) {
	if regexp.MustCompile("(?m)"+args[0]).MatchString(ts.ReadFile("tty")) == neg {
		ts.Fatalf("the terminal showed %q", ts.ReadFile("tty"))
	}
}
