// Command run measures Keyhold beside the yardstick, operation by operation and in turn, and prints the tables of docs/performance.md. It
// builds what it needs, starts development servers in new directories, and removes them when it is done. Run it in the folder bench.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/keyhold/keyhold/bench/internal/report"
	"github.com/keyhold/keyhold/bench/internal/results"
)

// leastGroups is how many groups a check wants, of those that count.
const leastGroups = 5

// options are the flags.
type options struct {
	groups         int
	warmup, window time.Duration
	ops, servers   string
	also           string
	out, page      string
	check          float64
}

func main() {
	var o options
	flag.IntVar(&o.groups, "groups", 5, "how often everything is measured")
	flag.DurationVar(&o.warmup, "warmup", 300*time.Millisecond, "time before each window")
	flag.DurationVar(&o.window, "window", 1500*time.Millisecond, "time that is measured; CPU time is accounted in steps of 10 ms")
	flag.StringVar(&o.ops, "ops", "all", "operations, separated by commas")
	flag.StringVar(&o.servers, "servers", "all", "servers, separated by commas: "+strings.Join(own, ", "))
	flag.StringVar(&o.also, "also", "", "another server that runs: NAME,PROTOCOL,URL,PID; its token or AWS credentials are in the environment, as cmd/load wants them")
	flag.StringVar(&o.out, "out", "", "file of the results (default results/TIME.jsonl)")
	flag.StringVar(&o.page, "write", "", "put the tables into this page as well")
	flag.Float64Var(&o.check, "check", 0, "fail if a bar on CPU time is exceeded by more than this factor")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	steps, err := plan(o.ops, o.servers)
	if err != nil {
		return err
	}
	if o.out == "" {
		o.out = filepath.Join("results", time.Now().UTC().Format("20060102-150405")+".jsonl")
	}
	if err := os.MkdirAll(filepath.Dir(o.out), 0o755); err != nil {
		return err
	}
	b := &bench{options: o, bin: filepath.Join("..", "bin", "bench"), servers: map[string]*server{}}
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.prepare(ctx, steps); err != nil {
		return err
	}
	runs := 0
	for _, s := range steps {
		runs += len(s.servers)
	}
	fmt.Printf("%d groups of %d runs: about %v. Results: %s\n", o.groups, runs,
		(time.Duration(o.groups*runs) * (o.warmup + o.window + 250*time.Millisecond)).Round(10*time.Second), o.out)
	for g := range o.groups {
		for _, s := range steps {
			if err := b.step(ctx, g+1, s); err != nil {
				return err
			}
		}
	}
	return b.report()
}

// bench is what a run has under way.
type bench struct {
	options
	bin         string // of the programs
	dir, memory string // of the servers' data, on a disk and in memory; empty: there is none
	cores       []int  // of server and client; empty: not pinned
	note        string
	servers     map[string]*server
}

// step runs one shape on each of its servers, one after the other.
func (b *bench) step(ctx context.Context, group int, s step) error {
	if s.conns == 1 { // latencies on one connection are compared with those of the disk
		if err := b.tool(ctx, 0, nil, "fsync", "-dir", b.dir, "-each", b.window.String(), "-group", fmt.Sprint(group), "-out", b.out); err != nil {
			return err
		}
	}
	for _, name := range s.servers {
		on := b.servers[name]
		if on == nil { // could not be started here: the note says why
			continue
		}
		args := []string{"-server", label(name), "-target", on.protocol, "-addr", on.url, "-pid", fmt.Sprint(on.pid), "-op", s.op, "-conns", fmt.Sprint(s.conns),
			"-warmup", b.warmup.String(), "-window", b.window.String(), "-group", fmt.Sprint(group), "-out", b.out}
		if s.reconnect {
			args = append(args, "-reconnect")
		}
		var env []string
		if on.cmd != nil { // the token in the environment is another server's
			env = slices.Concat(on.env, []string{"BENCH_TOKEN=" + on.token})
		}
		if err := b.tool(ctx, 1, env, "load", args...); err != nil {
			return fmt.Errorf("%s on %s: %w", s.op, name, err)
		}
	}
	return nil
}

// tool runs one of the bench's programs on the core of the servers (0) or of the client (1).
func (b *bench) tool(ctx context.Context, core int, env []string, name string, args ...string) error {
	cmd := b.command(ctx, core, filepath.Join(b.bin, name), args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// command makes a command that is pinned, if anything is.
func (b *bench) command(ctx context.Context, core int, name string, args ...string) *exec.Cmd {
	if len(b.cores) > 0 {
		args = append([]string{"-c", fmt.Sprint(b.cores[core]), name}, args...)
		name = "taskset"
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

func (b *bench) report() error {
	f, err := os.Open(b.out)
	if err != nil {
		return err
	}
	lines, err := results.Read(f)
	f.Close()
	if err != nil {
		return err
	}
	d := report.Gather(lines)
	fmt.Print("\n", d.Markdown())
	if b.page != "" {
		text, err := os.ReadFile(b.page)
		if err != nil {
			return err
		}
		with, err := report.Insert(string(text), d.Markdown())
		if err != nil {
			return err
		}
		if err := os.WriteFile(b.page, []byte(with), 0o644); err != nil {
			return err
		}
	}
	if b.check > 0 {
		return d.Check(b.check, min(b.groups, leastGroups))
	}
	return nil
}

// list reads names separated by commas, and refuses those that are not known.
func list(names string, known []string) ([]string, error) {
	if names == "all" {
		return known, nil
	}
	all := strings.Split(names, ",")
	for _, n := range all {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("%q is none of %s", n, strings.Join(known, ", "))
		}
	}
	return all, nil
}
