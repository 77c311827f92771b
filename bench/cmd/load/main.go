// Command load loads a key server on this machine with one operation after the other and tells what each cost.
//
//	taskset -c 1 load -target native -addr https://127.0.0.1:7443 -token "$KEYHOLD_TOKEN" -pid PID -op encrypt-32
//	taskset -c 1 load -target vault -addr https://127.0.0.1:8200 -token "$VAULT_TOKEN" -pid PID -op all -out results.jsonl
//
// See docs/performance.md for how to compare servers.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/keyhold/keyhold/bench/internal/api"
	"github.com/keyhold/keyhold/bench/internal/load"
	"github.com/keyhold/keyhold/bench/internal/results"
	"github.com/keyhold/keyhold/bench/internal/wire"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// credentials are those of every protocol. What the environment holds need not stand on the command line.
type credentials struct{ token, access, secret, region string }

func run() error {
	var who credentials
	p := load.Plan{}
	target := flag.String("target", "native", "protocol: native, vault (also the yardstick), aws")
	addr := flag.String("addr", "https://127.0.0.1:7443", "the server's URL, on this machine")
	ops := flag.String("op", "encrypt-32", "operations, separated by commas, or all")
	label := flag.String("server", "", "name of the server in the results")
	group := flag.Int("group", 0, "number of the group of runs that may be compared")
	out := flag.String("out", "", "append results to this file, as JSON lines")
	flag.StringVar(&who.token, "token", os.Getenv("BENCH_TOKEN"), "token of the native and vault protocols (default $BENCH_TOKEN)")
	flag.StringVar(&who.access, "access-key", os.Getenv("AWS_ACCESS_KEY_ID"), "of the aws protocol (default $AWS_ACCESS_KEY_ID)")
	flag.StringVar(&who.secret, "secret-key", os.Getenv("AWS_SECRET_ACCESS_KEY"), "of the aws protocol (default $AWS_SECRET_ACCESS_KEY)")
	flag.StringVar(&who.region, "region", cmp.Or(os.Getenv("AWS_REGION"), "us-east-1"), "of the aws protocol")
	flag.StringVar(&p.Key, "key", "", "a key that is there, instead of a new one; with -keys, what their names begin with")
	flag.Uint64Var(&p.Keys, "keys", 0, "load over this many keys, as fill makes them: -key f- -keys 1000000")
	flag.IntVar(&p.Conns, "conns", 16, "connections, each with one request under way")
	flag.BoolVar(&p.Reconnect, "reconnect", false, "a connection and a TLS handshake for each request")
	flag.DurationVar(&p.Warmup, "warmup", 500*time.Millisecond, "time before the window")
	flag.DurationVar(&p.Window, "window", 2*time.Second, "time that is measured")
	flag.IntVar(&p.PID, "pid", 0, "the server's process, for its CPU time, memory and bytes written")
	flag.Parse()

	var err error
	if p.Server, err = wire.Parse(*addr); err != nil {
		return err
	}
	if p.API, err = protocol(*target, *addr, who); err != nil {
		return err
	}
	list, err := operations(*ops)
	if err != nil {
		return err
	}
	for _, p.Op = range list {
		r, err := load.Run(context.Background(), p)
		if errors.Is(err, api.ErrUnsupported) {
			continue
		}
		if err != nil {
			return err
		}
		r.Server, r.Group = cmp.Or(*label, *target), *group
		show(r)
		if *out != "" {
			if err := results.Append(*out, results.Line{Run: r}); err != nil {
				return err
			}
		}
	}
	return nil
}

func protocol(name, addr string, who credentials) (api.API, error) {
	switch name {
	case "native":
		return api.Native{Token: who.token}, nil
	case "vault":
		return api.Vault{Token: who.token}, nil
	case "aws":
		u, err := url.Parse(addr)
		if err != nil {
			return nil, err
		}
		return api.AWS{Host: u.Host, AccessKey: who.access, SecretKey: who.secret, Region: who.region, Now: time.Now}, nil
	}
	return nil, fmt.Errorf("there is no protocol %q: native, vault or aws", name)
}

func operations(names string) ([]api.Op, error) {
	if names == "all" {
		return api.Ops, nil
	}
	var list []api.Op
	for name := range strings.SplitSeq(names, ",") {
		op, err := api.Find(name)
		if err != nil {
			return nil, err
		}
		list = append(list, op)
	}
	return list, nil
}

func show(r *results.Run) {
	fmt.Printf("%-17s %-20s %3d conns %9.0f op/s %8.1f µs CPU (user %.1f, sys %.1f; client %.1f) | p50 %.0f p99 %.0f p99.9 %.0f µs | %.0f bytes written | RSS %d MiB | other %.2f",
		r.Server, r.Op, r.Conns, r.PerSecond, r.CPU(), r.User, r.Sys, r.Client, r.P50, r.P99, r.P999, r.Written, r.RSS>>20, r.Other)
	if r.Errors > 0 {
		fmt.Printf(" | %d ERRORS: %s", r.Errors, r.Error)
	}
	fmt.Println()
}
