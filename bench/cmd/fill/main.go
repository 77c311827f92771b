//go:build fill

// Command fill makes a development store with many keys, or a key with many versions, for measurements: "go run -tags fill ./cmd/fill".
//
//	go run -tags fill ./cmd/fill -data DIR -keys 1000000
//	go run -tags fill ./cmd/fill -data DIR -versions 10000
//
// Every key is real: generated, wrapped, named and sealed by the server's own code, so that every one opens, "keyhold store check" passes and
// "keyhold-verify" accepts the log. They are named f-0000000000, f-0000000001, …, and are AES-256. What is not as in a server: forty keys share
// one transaction and one audit record, which is the change that each of them carries.
//
// A directory that holds a development store already goes on where it ended. No server may use it meanwhile.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/node"
	"github.com/keyhold/keyhold/internal/provider/soft"
	"github.com/keyhold/keyhold/internal/seal/keyfile"
	"github.com/keyhold/keyhold/internal/server"
	"github.com/keyhold/keyhold/internal/store/pebble"
)

// Names of what is made.
const (
	namePattern = "f-%010d"
	manyName    = "many" // the key with many versions
	fewName     = "few"  // the one that it is compared with
)

const (
	workers   = 8 // transactions under way at once, which share syncs
	readyTime = time.Minute
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fill:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	data := flag.String("data", "", "directory of the development store")
	keys := flag.Int("keys", 0, "keys that the store shall hold")
	versions := flag.Int("versions", 0, "versions that the key \"many\" shall have; a key \"few\" with one is made beside it")
	flag.Parse()
	if *data == "" || *keys < 0 || *versions < 0 || flag.NArg() > 0 {
		return errors.New("want -data DIR and -keys N or -versions N")
	}
	server.TuneMemory(os.Getenv)
	if err := found(ctx, *data); err != nil {
		return err
	}
	f, err := open(ctx, *data)
	if err != nil {
		return err
	}
	err = f.keys(ctx, *keys)
	if err == nil && *versions > 0 {
		err = f.versions(ctx, *versions)
	}
	return errors.Join(err, f.close(context.WithoutCancel(ctx)))
}

// found makes the store by a development server, which it stops again when it is ready.
func found(ctx context.Context, dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "root.key")); err == nil {
		return nil
	}
	set, err := settings(dir)
	if err != nil {
		return err
	}
	n, err := node.Open(ctx, node.Options{Settings: set, Dev: true, Version: "fill"})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	for {
		if _, err := os.Stat(filepath.Join(dir, "dev.env")); err == nil {
			cancel()
		}
		select {
		case err := <-ended:
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func settings(dir string) (*config.Config, error) {
	return config.Load("", nil, config.Override{Name: "data_dir", Value: dir}, config.Override{Name: "listen", Value: "127.0.0.1:0"},
		config.Override{Name: "local_socket", Value: "off"})
}

// filler is an engine without a server.
type filler struct {
	store  *pebble.Store
	log    *audit.Log
	engine *engine.Engine
}

// open assembles an engine as internal/node does, and unseals it from the key file of the development store.
func open(ctx context.Context, dir string) (f *filler, err error) {
	f = &filler{}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close(context.WithoutCancel(ctx)))
		}
	}()
	set, err := settings(dir)
	if err != nil {
		return f, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "cluster"))
	if err != nil {
		return f, err
	}
	cluster, ok := kms.ParseID(strings.TrimSpace(string(text)))
	if !ok {
		return f, errors.New("the file \"cluster\" holds no identity")
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if f.store, err = pebble.Open(pebble.Config{Dir: filepath.Join(dir, "store"), CacheBytes: set.Store.CacheBytes, Logger: logger}); err != nil {
		return f, err
	}
	head := func() (kms.Rev, [32]byte) {
		h, err := f.store.Confirm(context.Background())
		if err != nil {
			return 0, [32]byte{}
		}
		return h.Rev, h.Hash
	}
	if f.log, err = audit.Open(audit.Config{Dir: set.Audit.Dir, Node: "n1", Cluster: cluster.String(), SegmentBytes: set.Audit.SegmentBytes,
		ReserveBytes: set.Audit.ReserveBytes, Logger: logger, Head: head}); err != nil {
		return f, err
	}
	provider, err := soft.New(soft.Config{})
	if err != nil {
		return f, err
	}
	f.engine, err = engine.New(engine.Config{Cluster: cluster, Store: f.store, Log: f.log, Provider: provider, Dev: true, Logger: logger,
		ShredDir: filepath.Join(dir, "shred"), EscrowDir: filepath.Join(dir, "escrow"), EpochPeriod: 365 * 24 * time.Hour, Keys: 64, Versions: 64})
	if err != nil {
		return f, err
	}
	seed, err := keyfile.Read(filepath.Join(dir, "root.key"))
	if err != nil {
		return f, err
	}
	defer seed.Zero()
	if err := f.engine.Start(ctx); err != nil {
		return f, err
	}
	by := kms.Call{Namespace: kms.SystemNamespace, Principal: &kms.Principal{Name: "fill", Namespace: kms.SystemNamespace, Method: kms.AuthLocal}}
	_, err = f.engine.Unseal(ctx, by, engine.UnsealInput{KeyFile: seed})
	return f, err
}

func (f *filler) close(ctx context.Context) error {
	var errs []error
	if f.engine != nil {
		errs = append(errs, f.engine.Close(ctx))
	}
	if f.log != nil {
		errs = append(errs, f.log.Close())
	}
	if f.store != nil {
		errs = append(errs, f.store.Close())
	}
	return errors.Join(errs...)
}

// caller is who looks and rotates: somebody with the rights that development gives.
func caller() kms.Call {
	return kms.Call{Namespace: kms.DefaultNamespace, Principal: &kms.Principal{Name: "fill", Namespace: kms.DefaultNamespace,
		Roles: []kms.Role{kms.RoleAdmin}, Method: kms.AuthSystem}}
}

func (f *filler) has(ctx context.Context, name string) (bool, error) {
	_, err := f.engine.DescribeKey(ctx, caller(), engine.KeyInput{Key: kms.Ref(name)})
	if kms.CodeOf(err) == kms.CodeKeyNotFound {
		return false, nil
	}
	return err == nil, err
}

// made counts the keys that are there: they were made in order, but for the last transactions of a run that was interrupted.
func (f *filler) made(ctx context.Context, n int) (int, error) {
	low, high := 0, n
	for low < high {
		mid := (low + high) / 2
		there, err := f.has(ctx, fmt.Sprintf(namePattern, mid))
		if err != nil {
			return 0, err
		}
		if there {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, nil
}

// keys makes what is missing of n keys.
func (f *filler) keys(ctx context.Context, n int) error {
	from, err := f.made(ctx, n)
	if err != nil {
		return err
	}
	var next, done atomic.Int64
	next.Store(int64(from))
	done.Store(int64(from))
	stop := progress(&done, n)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for ctx.Err() == nil {
				first := int(next.Add(engine.FillMost)) - engine.FillMost
				if first >= n {
					return
				}
				if err := f.some(ctx, first, min(engine.FillMost, n-first)); err != nil {
					cancel(err)
				}
				done.Add(int64(min(engine.FillMost, n-first)))
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// some makes a few keys.
func (f *filler) some(ctx context.Context, first, n int) error {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf(namePattern, first+i)
	}
	if err := f.engine.Fill(ctx, kms.DefaultNamespace, kms.AES256GCM, names); err != nil {
		return fmt.Errorf("keys from %s: %w", names[0], err)
	}
	return nil
}

// versions makes the two keys that are compared.
func (f *filler) versions(ctx context.Context, n int) error {
	for _, name := range []string{fewName, manyName} {
		there, err := f.has(ctx, name)
		if err != nil {
			return err
		}
		if !there {
			if err := f.engine.Fill(ctx, kms.DefaultNamespace, kms.AES256GCM, []string{name}); err != nil {
				return err
			}
		}
	}
	k, err := f.engine.DescribeKey(ctx, caller(), engine.KeyInput{Key: manyName})
	if err != nil {
		return err
	}
	var done atomic.Int64
	done.Store(int64(k.Key.Latest))
	stop := progress(&done, n)
	defer stop()
	for v := int(k.Key.Latest); v < n; v++ {
		if _, err := f.engine.RotateKey(ctx, caller(), engine.RotateKeyInput{Key: manyName}); err != nil {
			return err
		}
		done.Add(1)
	}
	return nil
}

// progress tells every few seconds how far it is.
func progress(done *atomic.Int64, n int) (stop func()) {
	began, first := time.Now(), done.Load()
	tell := func() {
		d := done.Load()
		fmt.Fprintf(os.Stderr, "%d of %d, %.0f a second\n", d, n, float64(d-first)/time.Since(began).Seconds())
	}
	tick, ended := time.NewTicker(5*time.Second), make(chan struct{})
	go func() {
		for {
			select {
			case <-tick.C:
				tell()
			case <-ended:
				return
			}
		}
	}()
	return func() { tick.Stop(); close(ended); tell() }
}
