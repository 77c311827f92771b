package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider/soft"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
	"github.com/keyhold/keyhold/internal/store/pebble"
)

// tape is the real log, and keeps what goes into it by request id.
type tape struct {
	*audit.Log
	mu  sync.Mutex // guards got
	got map[string][]audit.Record
}

func (t *tape) keep(r audit.Record) {
	r.Keys, r.Items = slices.Clone(r.Keys), slices.Clone(r.Items) // the engine uses what they stand in again
	t.mu.Lock()
	defer t.mu.Unlock()
	t.got[r.RequestID] = append(t.got[r.RequestID], r)
}

func (t *tape) Append(r *audit.Record) (audit.Position, error) {
	p, err := t.Log.Append(r)
	if err == nil {
		t.keep(*r)
	}
	return p, err
}

func (t *tape) AppendEncoded(body, annex []byte) (audit.Position, error) {
	p, err := t.Log.AppendEncoded(body, annex)
	if r, bad := audit.Decode(body, annex); err == nil && bad == nil {
		t.keep(r)
	}
	return p, err
}

// take hands out what was recorded of a request id since it was last asked.
func (t *tape) take(id string) []audit.Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	got := t.got[id]
	delete(t.got, id)
	return got
}

// machine is a whole server on a real disk, with a clock that is set by hand.
type machine struct {
	t      testing.TB
	root   string
	dir    string
	starts int
	store  *pebble.Store
	tape   *tape
	e      *engine.Engine
	shares []*secret.Bytes
	output *lockedText

	mu     sync.Mutex // guards the clock
	wall   time.Time
	passed time.Duration
}

// lockedText is what the server tells its operators.
type lockedText struct {
	mu sync.Mutex
	strings.Builder
}

func (l *lockedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.Write(b)
}

func newMachine(t testing.TB) *machine {
	m := &machine{t: t, root: t.TempDir(), wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), output: &lockedText{}}
	m.dir = filepath.Join(m.root, "0")
	m.start()
	out, err := m.e.Init(t.Context(), local(), engine.InitInput{Shares: 3, Threshold: 2, KeyFile: secret.Copy(bytes.Repeat([]byte{7}, 32))})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range out.Shares {
		m.shares = append(m.shares, secret.Copy(s.Wire(release.Wire{})))
	}
	return m
}

func (m *machine) now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wall
}

// pass lets time pass; skip sets the clock beside.
func (m *machine) pass(d, skip time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wall, m.passed = m.wall.Add(d+skip), m.passed+d
}

func (m *machine) start() {
	cluster := kms.ID{1, 2, 3, 4, 5, 6, 0x70, 8, 0x80, 10, 11, 12, 13, 14, 15, 16}
	st, err := pebble.Open(pebble.Config{Dir: filepath.Join(m.dir, "store"), MinFree: 1, CacheBytes: 1 << 20})
	if err != nil {
		m.t.Fatal(err)
	}
	l, err := audit.Open(audit.Config{Dir: filepath.Join(m.dir, "audit"), Node: "n1", Cluster: cluster.String(), SegmentBytes: 1 << 20, ReserveBytes: -1,
		Head: func() (kms.Rev, [32]byte) {
			h, err := st.Confirm(context.Background())
			if err != nil {
				return 0, [32]byte{}
			}
			return h.Rev, h.Hash
		}})
	if err != nil {
		m.t.Fatal(err)
	}
	p, err := soft.New(soft.Config{})
	if err != nil {
		m.t.Fatal(err)
	}
	m.store, m.tape = st, &tape{Log: l, got: map[string][]audit.Record{}}
	m.passed = 0
	m.starts++
	m.e, err = engine.New(engine.Config{Cluster: cluster, Store: st, Log: l, Recorder: m.tape, Provider: p,
		ShredDir: filepath.Join(m.dir, "shred"), EscrowDir: filepath.Join(m.dir, "escrow"), Logger: slog.New(slog.NewTextHandler(m.output, nil)),
		Now: m.now, Elapsed: func() time.Duration { m.mu.Lock(); defer m.mu.Unlock(); return m.passed }})
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) unseal(c kms.Call) error {
	for _, s := range m.shares[:2] {
		if _, err := m.e.Unseal(m.t.Context(), c, engine.UnsealInput{Share: s}); err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) close() error {
	return errors.Join(m.e.Close(context.Background()), m.tape.Close(), m.store.Close())
}

// kill leaves the server as it is and takes its files to where the next one is started: what was not on the disk is lost.
func (m *machine) kill() error {
	next := filepath.Join(m.root, strconv.Itoa(m.starts))
	if err := copyStill(m.dir, next); err != nil {
		return err
	}
	was := m.dir
	m.dir = next
	return errors.Join(m.close(), os.RemoveAll(was)) // what the old one still writes goes nowhere
}

// copyStill copies a directory in which nothing happens: if something did, it copies it again.
func copyStill(from, to string) error {
	for {
		before, err := listing(from)
		if err != nil {
			return err
		}
		err = copyTree(from, to)
		after, bad := listing(from)
		if bad != nil || err == nil && before == after {
			return bad
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
}

// copyTree copies folders and files with their modes.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		at := to + strings.TrimPrefix(path, from)
		if d.IsDir() {
			return os.Mkdir(at, i.Mode().Perm())
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(at, b, i.Mode().Perm())
	})
}

// listing is what shows that something happened in a directory.
func listing(dir string) (string, error) {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := d.Info()
		if err == nil && i.Mode().IsRegular() {
			fmt.Fprintln(&b, path, i.Size(), i.ModTime().UnixNano())
		}
		return err
	})
	return b.String(), err
}

// step is one operation of a stream: which, and the numbers that decide everything about it.
type step struct {
	kind int
	r    [4]uint32
}

// stream makes the operations of a seed.
func stream(seed uint64, n int, of []operation) []step {
	r := rand.New(rand.NewPCG(seed, 0x6b657968))
	total := 0
	for _, o := range of {
		total += o.weight
	}
	all := make([]step, n)
	for i := range all {
		at := r.IntN(total)
		for kind, o := range of {
			if at -= o.weight; at < 0 {
				all[i] = step{kind, [4]uint32{r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32()}}
				break
			}
		}
	}
	return all
}

// play runs a stream on a new server and tells where server and model part, if they do.
func play(t testing.TB, steps []step) (told []string, err error) {
	p := newPlayer(newMachine(t), "r0")
	defer func() {
		if bad := p.m.close(); err == nil {
			err = bad
		}
	}()
	if err := p.begin(); err != nil {
		return p.told, err
	}
	for i, s := range steps {
		if err := p.step(everything, s); err != nil {
			return p.told, fmt.Errorf("operation %d: %w", i, err)
		}
	}
	return p.told, p.end()
}

// shrink drops operations from a stream that fails as long as it still fails.
func shrink(steps []step, fails func([]step) bool) []step {
	tries := 200
	for size := len(steps) / 2; size > 0; {
		dropped := false
		for at := 0; at+size <= len(steps) && tries > 0; tries-- {
			less := append(append([]step{}, steps[:at]...), steps[at+size:]...)
			if fails(less) {
				steps, dropped = less, true
				continue
			}
			at += size
		}
		if !dropped || size > 1 {
			size /= 2
		}
		if tries <= 0 {
			break
		}
	}
	return steps
}
