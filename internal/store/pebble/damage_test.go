package pebble

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyhold/keyhold/internal/store"
)

const (
	builtTxns = 150
	builtEach = 4 // records in each transaction
)

// builtKey is the i-th key in the order in which they are committed.
func builtKey(i int) string { return fmt.Sprintf("key/%04d", i) }

// build makes a store with several files and a log, and answers what it holds.
func build(t *testing.T, dir string) map[string]string {
	t.Helper()
	s := mustOpen(t, Config{Dir: dir, memTable: 128 << 10})
	want := make(map[string]string)
	rng := rand.New(rand.NewPCG(1, 9))
	for i := range builtTxns {
		var x store.Txn
		for j := range builtEach {
			k := builtKey(i*builtEach + j)
			want[k] = string(randomBytes(rng, 700))
			x.Then = append(x.Then, store.Write{Key: []byte(k), Value: []byte(want[k])})
		}
		if _, err := s.Commit(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return want
}

// replica copies a directory of plain files.
func replica(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// files are the files of a store whose name fits a pattern.
func files(t *testing.T, dir, pattern string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(all) == 0 {
		t.Fatalf("no file fits %s: %v", pattern, err)
	}
	return all
}

// readAll reads every key, and everything in order. It answers the first error; what is read without one must be right.
func readAll(t *testing.T, dir string, want map[string]string) error {
	t.Helper()
	s, err := Open(Config{Dir: dir})
	if err != nil {
		return err
	}
	defer s.Close()
	head, err := s.Confirm(t.Context())
	if err != nil {
		return err
	}
	if head.Rev != builtTxns {
		t.Fatalf("head: got %d, and no error; want %d", head.Rev, builtTxns)
	}
	for k, v := range want {
		rs, _, err := s.Get(t.Context(), []byte(k))
		if err != nil {
			return err
		}
		if string(rs[0].Value) != v {
			t.Fatalf("get %q: got %d bytes at %d, and no error", k, len(rs[0].Value), rs[0].Rev)
		}
	}
	seen := 0
	err = s.Check(t.Context(), func(r store.Record) error {
		if want[string(r.Key)] != string(r.Value) {
			t.Fatalf("check: %q has another value, and no error", r.Key)
		}
		seen++
		return nil
	})
	if err == nil && seen != len(want) {
		t.Fatalf("check: got %d records, and no error", seen)
	}
	return err
}

// One bit of a file is flipped while the store is closed.
func TestADamagedFileIsNamedAndNeverRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := build(t, dir)
	if err := readAll(t, replica(t, dir), want); err != nil {
		t.Fatalf("undamaged: %v", err)
	}
	rng := rand.New(rand.NewPCG(3, 1))
	for _, pattern := range []string{"*.sst", "MANIFEST-*", "*.log", markName} {
		t.Run(pattern, func(t *testing.T) {
			found := 0
			for range sized(15, 300) {
				d := replica(t, dir)
				all := files(t, d, pattern)
				name := all[rng.IntN(len(all))]
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if len(b) == 0 {
					continue
				}
				b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
				if err := os.WriteFile(name, b, 0o600); err != nil {
					t.Fatal(err)
				}
				if err = readAll(t, d, want); err == nil {
					if pattern == "*.sst" {
						t.Fatalf("a bit of %s is another, and nobody says so", filepath.Base(name))
					}
					continue // a byte that carries nothing
				}
				found++
				if !errors.Is(err, store.ErrDamaged) {
					t.Fatalf("%s: got %v, want ErrDamaged", filepath.Base(name), err)
				}
				// Damage at the end of a log or a manifest shows by what is missing.
				said := strings.ReplaceAll(err.Error(), d, "")
				if num := strings.TrimSuffix(filepath.Base(name), filepath.Ext(name)); !strings.Contains(said, num) &&
					!strings.Contains(said, "its head is") && !strings.HasPrefix(pattern, "MANIFEST") {
					t.Fatalf("%s is damaged, the error does not name it: %v", filepath.Base(name), err)
				}
			}
			if found == 0 {
				t.Fatal("no damage was found")
			}
		})
	}
}

func TestAMissingFileIsDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := build(t, dir)
	for _, pattern := range []string{"*.sst", "MANIFEST-*"} {
		d := replica(t, dir)
		name := files(t, d, pattern)[0]
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if err := readAll(t, d, want); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), strings.TrimSuffix(filepath.Base(name), ".sst")) {
			t.Errorf("without %s: got %v, want ErrDamaged and the name", filepath.Base(name), err)
		}
	}
}

// plant changes rows behind the store's back.
func plant(t *testing.T, dir string, change func(b *pebble.Batch) error) {
	t.Helper()
	c, err := Config{Dir: dir}.complete()
	if err != nil {
		t.Fatal(err)
	}
	e, err := launch(&c)
	if err != nil {
		t.Fatal(err)
	}
	b := e.db.NewBatch()
	if err := errors.Join(change(b), e.write(b, pebble.Sync), b.Close(), e.close()); err != nil {
		t.Fatal(err)
	}
}

func TestWrongRowsAreDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := build(t, dir)
	wide := binary.BigEndian.AppendUint64(nil, 1<<40)
	for name, change := range map[string]func(b *pebble.Batch) error{
		"a short record":        func(b *pebble.Batch) error { return b.Set([]byte("\x02key/0007"), []byte{1}, nil) },
		"a record of tomorrow":  func(b *pebble.Batch) error { return b.Set([]byte("\x02zzz"), wide, nil) },
		"a hole in the feed":    func(b *pebble.Batch) error { return b.Delete(feedKey(77), nil) },
		"a wrong feed row":      func(b *pebble.Batch) error { return b.Set(feedKey(78), []byte("?"), nil) },
		"a wrong head":          func(b *pebble.Batch) error { return b.Set(feedKey(builtTxns+1), []byte("?"), nil) },
		"a feed key too long":   func(b *pebble.Batch) error { return b.Set(append(feedKey(builtTxns+1), 0), nil, nil) },
		"a floor over the head": func(b *pebble.Batch) error { return b.Set(keyFloor, wide, nil) },
		"a short floor":         func(b *pebble.Batch) error { return b.Set(keyFloor, []byte{1}, nil) },
		"a format of one byte":  func(b *pebble.Batch) error { return b.Set(keyFormat, []byte{1}, nil) },
		"no format":             func(b *pebble.Batch) error { return b.Delete(keyFormat, nil) },
	} {
		d := replica(t, dir)
		plant(t, d, change)
		if err := readAll(t, d, want); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: got %v, want ErrDamaged", name, err)
		}
	}
}

// Files of two moments: the database of the first, the mark of the second.
func TestAnOlderDatabaseIsFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	build(t, dir)
	old := replica(t, dir)
	s := mustOpen(t, Config{Dir: dir})
	if _, err := s.Commit(t.Context(), store.Txn{Then: []store.Write{{Key: []byte("new")}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	newer, err := os.ReadFile(filepath.Join(dir, markName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(old, markName), newer, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: old}); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "its head is 150, and was 151") {
		t.Fatalf("an older database: got %v, want ErrDamaged", err)
	}
	// The same length, another past.
	s = mustOpen(t, Config{Dir: removeMark(t, old)})
	if _, err := s.Commit(t.Context(), store.Txn{Then: []store.Write{{Key: []byte("other")}}}); err != nil {
		t.Fatal(err)
	}
	other := s.cfg.Dir
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, markName), newer, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: other}); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "its past is not") {
		t.Fatalf("another past: got %v, want ErrDamaged", err)
	}
}

// A manifest that lost its end, as the engine takes a damaged one: it is cut after every of its bytes. The tables and logs that it no
// longer names may be there or not. Nothing is missing silently.
func TestAManifestThatLostItsEndIsFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := build(t, dir)
	name := files(t, dir, "MANIFEST-*")[0]
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for n := 0; n < len(whole); n += sized(16, 1) {
		d := replica(t, dir)
		if err := os.WriteFile(filepath.Join(d, filepath.Base(name)), whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := readAll(t, d, want); err != nil {
			found++
			if !errors.Is(err, store.ErrDamaged) {
				t.Fatalf("cut after %d bytes: got %v, want ErrDamaged", n, err)
			}
		}
	}
	if found == 0 {
		t.Fatal("no cut was found")
	}
}

// removeMark removes the mark from a directory, and answers the directory.
func removeMark(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, markName)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestANewerFormatIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	build(t, dir)
	plant(t, dir, func(b *pebble.Batch) error { return b.Set(keyFormat, []byte{0, formatVersion + 1}, nil) })
	_, err := Open(Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "format version 2") || errors.Is(err, store.ErrDamaged) {
		t.Fatalf("open: got %v, want an error that names the version and does not speak of damage", err)
	}
}

func TestAnUnfinishedImportIsNotAStore(t *testing.T) {
	t.Parallel()
	from := mustOpen(t, Config{Dir: t.TempDir()})
	defer from.Close()
	for i := range 50 {
		x := store.Txn{Then: []store.Write{{Key: fmt.Appendf(nil, "%d", i), Value: make([]byte, store.MaxValue)}}}
		if _, err := from.Commit(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
	var copied bytes.Buffer
	if _, err := from.Export(t.Context(), &copied); err != nil {
		t.Fatal(err)
	}
	whole := copied.Bytes()
	dir := t.TempDir()
	for range 2 {
		if _, err := Import(t.Context(), Config{Dir: dir}, bytes.NewReader(whole[:len(whole)-10])); !errors.Is(err, store.ErrDamaged) {
			t.Fatalf("import of a part: got %v, want ErrDamaged", err)
		}
		if _, err := Open(Config{Dir: dir}); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "did not finish") {
			t.Fatalf("open: got %v, want an error that tells of the import", err)
		}
	}
	if _, err := Import(t.Context(), Config{Dir: dir}, bytes.NewReader(whole)); err != nil {
		t.Fatalf("import again: %v", err)
	}
	if _, err := Import(t.Context(), Config{Dir: dir}, bytes.NewReader(whole)); err == nil || !strings.Contains(err.Error(), "already") {
		t.Fatalf("import into a store: got %v, want a refusal", err)
	}
	s := mustOpen(t, Config{Dir: dir})
	defer s.Close()
	n := 0
	if err := s.Check(t.Context(), func(store.Record) error { n++; return nil }); err != nil || n != 50 {
		t.Fatalf("check: got %d records, %v", n, err)
	}
}
