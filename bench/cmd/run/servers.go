package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/keyhold/keyhold/bench/internal/proc"
	"github.com/keyhold/keyhold/bench/internal/results"
)

const (
	readyTime = 30 * time.Second // for a server to start
	settle    = 3 * time.Second  // after which a server counts as idle
	memoryDir = "/dev/shm"
)

// server is one that runs.
type server struct {
	protocol, url, token string
	env                  []string // that the load wants beside the token
	pid                  int
	cmd                  *exec.Cmd     // nil: it ran before
	ended                chan struct{} // closed when it has ended
}

// prepare builds the programs, starts the servers that the steps need, and notes the machine.
func (b *bench) prepare(ctx context.Context, steps []step) (err error) {
	if err := b.build(ctx); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(filepath.Dir(b.out), "data-"); err != nil {
		return err
	}
	b.pin()
	if filesystem(memoryDir) == "tmpfs" {
		b.memory, err = os.MkdirTemp(memoryDir, "keyhold-bench-")
	}
	if err != nil || b.memory == "" {
		b.remark("the unsynced figures are missing, since " + memoryDir + " is no file system in memory that can be written")
	}
	if filesystem(b.dir) == "tmpfs" {
		b.remark("THE DATA IS IN MEMORY: nothing that is called durable here is")
	}
	for _, s := range steps {
		for _, name := range s.servers {
			if name == also || b.servers[name] != nil || strings.HasSuffix(name, unsyncedMark) && b.memory == "" {
				continue
			}
			if b.servers[name], err = b.start(ctx, name); err != nil {
				return fmt.Errorf("start %s: %w", name, err)
			}
		}
	}
	if err := b.other(steps); err != nil {
		return err
	}
	time.Sleep(settle)
	return results.Append(b.out, append([]results.Line{{Machine: b.machine(ctx)}}, b.idle()...)...)
}

func (b *bench) remark(text string) {
	if b.note != "" {
		b.note += "; "
	}
	b.note += text
	fmt.Fprintln(os.Stderr, "note:", text)
}

// build builds the server as "make build" does, with what erases short-lived keys where the toolchain has it: that costs time, which belongs
// to what is measured.
func (b *bench) build(ctx context.Context) error {
	erasing := "GOEXPERIMENT=runtimesecret"
	if golang(ctx, []string{erasing}, "list", "runtime/secret") != nil {
		erasing = "GOEXPERIMENT="
		b.remark("the toolchain has no runtime/secret: the server erases less than one that is released")
	}
	return errors.Join(
		golang(ctx, []string{"CGO_ENABLED=0", erasing}, "-C", "..", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", "bin/keyhold", "./cmd/keyhold"),
		golang(ctx, []string{"CGO_ENABLED=0"}, "build", "-o", b.bin+"/", "./cmd/load", "./cmd/bare", "./cmd/fsync"))
}

// golang runs the go command.
func golang(ctx context.Context, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// pin takes the first two cores that there are: one for the servers, one for the clients.
func (b *bench) pin() {
	self, err := proc.Read(os.Getpid())
	_, missing := exec.LookPath("taskset")
	if err != nil || missing != nil || len(self.Cores) < 2 {
		b.remark("nothing is pinned: that takes two cores and the command taskset")
		return
	}
	b.cores = self.Cores[:2]
}

// start starts a server and waits until it is ready.
func (b *bench) start(ctx context.Context, name string) (*server, error) {
	dir := filepath.Join(b.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	switch label(name) {
	case bareOff:
		return b.printing(ctx, dir, "bare")
	case bareUnsynced:
		return b.printing(ctx, dir, "bare", "-audit", "unsynced", "-file", filepath.Join(dir, "log"))
	case bareDurable:
		return b.printing(ctx, dir, "bare", "-audit", "durable", "-file", filepath.Join(dir, "log"))
	case unsynced, awsUnsynced, vaultUnsynced:
		return b.keyhold(ctx, dir, dialects[name], "KEYHOLD_AUDIT_DIR="+filepath.Join(b.memory, name))
	default:
		return b.keyhold(ctx, dir, dialects[label(name)])
	}
}

// keyhold starts a development server, and reads what it tells its clients.
func (b *bench) keyhold(ctx context.Context, dir, dialect string, env ...string) (*server, error) {
	data := filepath.Join(dir, "data")
	cmd := b.command(ctx, 0, filepath.Join("..", "bin", "keyhold"), "server", "--dev", "--data", data, "--listen", "127.0.0.1:0")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KEYHOLD_") }), env...)
	s := &server{protocol: dialect, cmd: cmd}
	err := s.launch(dir, func() bool {
		text, err := os.ReadFile(filepath.Join(data, "dev.env"))
		for line := range strings.Lines(string(text)) {
			switch name, value, _ := strings.Cut(strings.TrimSpace(line), "="); name {
			case "KEYHOLD_ADDR":
				s.url = value
			case "KEYHOLD_TOKEN":
				s.token = value
			case "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION":
				s.env = append(s.env, name+"="+value)
			}
		}
		return err == nil
	})
	return s, err
}

// printing starts one of the bench's own servers, which print their URL when they are ready.
func (b *bench) printing(ctx context.Context, dir, name string, args ...string) (*server, error) {
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	s := &server{protocol: "vault", cmd: b.command(ctx, 0, filepath.Join(b.bin, name), args...)}
	s.cmd.Stdout = out
	err = s.launch(dir, func() bool {
		text, _ := os.ReadFile(out.Name())
		lines := strings.Split(string(text), "\n")
		if len(lines) < 2 {
			return false
		}
		s.url = lines[0]
		return true
	})
	return s, err
}

func (s *server) launch(dir string, ready func() bool) error {
	complaints, err := os.Create(filepath.Join(dir, "err"))
	if err != nil {
		return err
	}
	defer complaints.Close()
	s.cmd.Stderr = complaints
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.pid = s.cmd.Process.Pid // taskset becomes the server
	s.ended = make(chan struct{})
	go func() {
		_ = s.cmd.Wait() // the yardstick ends by a signal, which is no failure
		close(s.ended)
	}()
	for until := time.Now().Add(readyTime); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if ready() {
			return nil
		}
		select {
		case <-s.ended:
			said, _ := os.ReadFile(complaints.Name())
			return fmt.Errorf("it ended and said: %s", said)
		default:
		}
	}
	s.stop()
	return fmt.Errorf("it was not ready within %v", readyTime)
}

// stop asks a server to end and waits for it.
func (s *server) stop() {
	if s == nil || s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-s.ended:
	case <-time.After(readyTime):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
}

// stop ends what was started and removes its data.
func (b *bench) stop() error {
	for _, s := range b.servers {
		s.stop()
	}
	var errs []error
	for _, dir := range []string{b.dir, b.memory} {
		if dir != "" {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}

// other adds the server of -also to the steps, or takes its place in them away.
func (b *bench) other(steps []step) error {
	f := strings.Split(b.also, ",")
	if b.also != "" {
		pid, err := strconv.Atoi(f[len(f)-1])
		if len(f) != 4 || err != nil {
			return fmt.Errorf("-also %q: want NAME,PROTOCOL,URL,PID", b.also)
		}
		b.servers[f[0]] = &server{protocol: f[1], url: f[2], pid: pid}
	}
	for i := range steps {
		at := slices.Index(steps[i].servers, also)
		switch {
		case at < 0:
		case b.also == "":
			steps[i].servers = slices.Delete(steps[i].servers, at, at+1)
		default:
			steps[i].servers[at] = f[0]
		}
	}
	return nil
}

// idle tells what each server holds in memory before it was asked for anything.
func (b *bench) idle() []results.Line {
	var all []results.Line
	for name, s := range b.servers {
		if now, err := proc.Read(s.pid); err == nil && s.cmd != nil && name == label(name) {
			all = append(all, results.Line{Run: &results.Run{Server: name, Op: results.Idle, RSS: now.RSS, Peak: now.Peak}})
		}
	}
	return all
}

// machine describes where this runs, without a name.
func (b *bench) machine(ctx context.Context) *results.Machine {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	version, _ := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output()
	return &results.Machine{Date: time.Now().UTC().Format(time.DateOnly), Version: strings.TrimSpace(string(version)), CPU: model(), Cores: runtime.NumCPU(),
		Pinned: len(b.cores) > 0, Kernel: strings.TrimSpace(string(kernel)), Filesystem: filesystem(b.dir), Go: runtime.Version(), Note: b.note}
}

func model() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		if name, value, _ := strings.Cut(in.Text(), ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// filesystem names the file system of a directory, statfs(2).
func filesystem(dir string) string {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return "unknown file system"
	}
	names := map[int64]string{0xef53: "ext4", 0x58465342: "XFS", 0x9123683e: "Btrfs", 0x01021994: "tmpfs", 0x794c7630: "overlay", 0x2fc12fc1: "ZFS"}
	if name := names[int64(s.Type)]; name != "" {
		return name
	}
	return fmt.Sprintf("file system %#x", s.Type)
}
