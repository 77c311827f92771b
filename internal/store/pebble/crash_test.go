package pebble

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/store"
)

// A test that needs a second process runs this test binary again, with a role and a directory.
const (
	envRole = "KEYHOLD_STORE_TEST_ROLE"
	envDir  = "KEYHOLD_STORE_TEST_DIR"

	roleWriter = "writer" // commits until it is killed, and says what was acknowledged
	roleHolder = "holder" // holds the store open until its input ends
	roleOpener = "opener" // opens the store and says how that went
)

func TestMain(m *testing.M) {
	roles := map[string]func(dir string) error{roleWriter: writeUntilKilled, roleHolder: hold, roleOpener: tryOpen}
	if role, ok := roles[os.Getenv(envRole)]; ok {
		if err := role(os.Getenv(envDir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child starts this binary in a role; its errors go to this test's.
func child(t *testing.T, role, dir string) (c *exec.Cmd, in io.WriteCloser, out *bufio.Reader) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c = exec.Command(exe)
	c.Env = append(os.Environ(), envRole+"="+role, envDir+"="+dir)
	c.Stderr = os.Stderr
	if in, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c, in, bufio.NewReader(stdout)
}

// crashConfig makes the engine flush and compact often.
func crashConfig(dir string) Config {
	return Config{Dir: dir, memTable: 256 << 10, Retain: 1 << 20}
}

const crashWriters = 8

// crashValue is what a key of the crash test holds.
func crashValue(key string) []byte { return []byte(strings.Repeat(key+"=", 20)) }

func writeUntilKilled(dir string) error {
	s, err := Open(crashConfig(dir))
	if err != nil {
		return err
	}
	run := os.Getpid()
	var wg sync.WaitGroup
	for w := range crashWriters {
		wg.Go(func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%d/%d/%d", run, w, i)
				x := store.Txn{If: []store.Cond{{Key: []byte(key)}}, Then: []store.Write{{Key: []byte(key), Value: crashValue(key)}}}
				copy(x.Token[:], fmt.Sprintf("%08x%02x%06x", run, w, i))
				rev, err := s.Commit(context.Background(), x)
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				// One write for each line: a killed process leaves no half of one that matters.
				if _, err := os.Stdout.WriteString(fmt.Sprintf("%s %d\n", key, rev)); err != nil {
					os.Exit(1)
				}
			}
		})
	}
	wg.Wait()
	return nil
}

func TestKilledProcessesLoseNothingAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	acked := make(map[string]store.Rev)
	last := store.Head{}
	for kill := range sized(6, 200) {
		c, _, out := child(t, roleWriter, dir)
		lines := make(chan string, 1<<16)
		go func() {
			defer close(lines)
			for {
				line, err := out.ReadString('\n')
				if err != nil {
					return
				}
				lines <- line
			}
		}()
		book := func(line string) {
			key, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			rev, err := strconv.ParseUint(rest, 10, 64)
			if err != nil {
				t.Fatalf("the writer says %q", line)
			}
			acked[key] = store.Rev(rev)
		}
		first, ok := <-lines
		if !ok {
			t.Fatal("the writer ended by itself")
		}
		book(first)
		pause := time.NewTimer(time.Duration(rng.IntN(120)) * time.Millisecond)
		<-pause.C
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for line := range lines {
			book(line)
		}
		_ = c.Wait() // it says "killed"
		last = verifyCrashed(t, kill, dir, acked, last)
	}
	t.Logf("%d commits acknowledged, head %d", len(acked), last.Rev)
}

// verifyCrashed opens the store after a crash and holds it against what was acknowledged; then it computes the running
// hash over the whole feed again.
func verifyCrashed(t *testing.T, kill int, dir string, acked map[string]store.Rev, before store.Head) store.Head {
	t.Helper()
	s := mustOpen(t, crashConfig(dir))
	defer s.Close()
	head, err := s.Confirm(t.Context())
	if err != nil || head.Rev < before.Rev {
		t.Fatalf("kill %d: head: got %d, %v; it was %d", kill, head.Rev, err, before.Rev)
	}
	if at, err := s.At(t.Context(), before.Rev); err != nil || at != before {
		t.Fatalf("kill %d: the head at %d was %x, now %x, %v", kill, before.Rev, before.Hash, at.Hash, err)
	}
	present := make(map[string]store.Rev)
	err = s.Check(t.Context(), func(r store.Record) error {
		if string(r.Value) != string(crashValue(string(r.Key))) {
			return fmt.Errorf("%q has another's value", r.Key)
		}
		present[string(r.Key)] = r.Rev
		return nil
	})
	if err != nil {
		t.Fatalf("kill %d: check: %v", kill, err)
	}
	for key, rev := range acked {
		if present[key] != rev {
			t.Fatalf("kill %d: %q was acknowledged at %d, found at %d", kill, key, rev, present[key])
		}
	}
	if extra := len(present) - len(acked); extra > crashWriters*(kill+1) {
		t.Fatalf("kill %d: %d records more than were acknowledged", kill, extra)
	}
	h := store.Head{}
	for b, err := range s.Feed(t.Context(), 0) {
		if err != nil {
			t.Fatalf("kill %d: feed: %v", kill, err)
		}
		for _, e := range b.Events {
			x := store.Txn{Then: []store.Write{{Key: e.Key, Value: crashValue(string(e.Key))}}}
			h = h.Next(x.Trace())
			if h.Rev != e.Rev || present[string(e.Key)] != e.Rev {
				t.Fatalf("kill %d: event %q of %d, the record is of %d", kill, e.Key, e.Rev, present[string(e.Key)])
			}
		}
		if b.Through == head.Rev {
			break
		}
	}
	if h != head {
		t.Fatalf("kill %d: the hash over the feed is %x, the head's %x", kill, h.Hash, head.Hash)
	}
	return head
}

func hold(dir string) error {
	s, err := Open(Config{Dir: dir})
	if err != nil {
		return err
	}
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return s.Close()
}

func tryOpen(dir string) error {
	s, err := Open(Config{Dir: dir})
	switch {
	case err == nil:
		fmt.Println("open")
		return s.Close()
	case errors.Is(err, store.ErrInUse):
		fmt.Println("in use")
		return nil
	}
	return err
}

func TestOneProcessHasTheStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ask := func(want string) {
		t.Helper()
		c, _, out := child(t, roleOpener, dir)
		line, _ := out.ReadString('\n')
		if err := c.Wait(); err != nil || line != want+"\n" {
			t.Fatalf("another process: got %q, %v; want %q", line, err, want)
		}
	}
	s := mustOpen(t, Config{Dir: dir})
	ask("in use")
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, store.ErrInUse) {
		t.Fatalf("the same process: got %v, want ErrInUse", err)
	}
	if _, err := Import(t.Context(), Config{Dir: dir}, strings.NewReader("")); !errors.Is(err, store.ErrInUse) {
		t.Fatalf("import: got %v, want ErrInUse", err)
	}
	ask("in use") // being refused has not released it
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ask("open")

	c, in, out := child(t, roleHolder, dir)
	if line, _ := out.ReadString('\n'); line != "open\n" {
		t.Fatalf("the holder says %q", line)
	}
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, store.ErrInUse) {
		t.Fatalf("held by another process: got %v, want ErrInUse", err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, Config{Dir: dir})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
