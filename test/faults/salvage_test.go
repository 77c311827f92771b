package faults

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/batchrepr"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider/soft"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/seal/keyfile"
	"github.com/keyhold/keyhold/internal/store"
	"github.com/keyhold/keyhold/internal/store/mem"
	"github.com/keyhold/keyhold/internal/store/pebble"
)

// salvage is every row that was ever found in a store's files, also in those that the store has deleted or overwritten since: what somebody has who reads
// old disks. Rows are as they lie in tables and logs, by their path in the store.
type salvage struct {
	files map[[32]byte]bool              // that were read, by content
	rows  map[string]map[string][]string // path → sealed value → kinds of files that it was found in
}

func newSalvage() *salvage {
	return &salvage{files: map[[32]byte]bool{}, rows: map[string]map[string][]string{}}
}

// gather reads every table and log below a directory. A file that goes away, or ends early because it is being written, gives what it has.
func (s *salvage) gather(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		if s.files[sum] {
			return nil
		}
		s.files[sum] = true
		switch filepath.Ext(path) {
		case ".sst":
			return s.table(data)
		case ".log":
			return s.log(path, data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The store's rows: 0x02 ‖ path → revision u64 ‖ value (docs/formats.md).
func (s *salvage) row(kind string, key, value []byte) {
	if len(key) < 2 || key[0] != 2 || len(value) <= 8 {
		return
	}
	path, sealed := string(key[1:]), string(value[8:])
	if s.rows[path] == nil {
		s.rows[path] = map[string][]string{}
	}
	if in := s.rows[path][sealed]; !slices.Contains(in, kind) {
		s.rows[path][sealed] = append(in, kind)
	}
}

// table reads all rows of a table, those that newer tables hide too. One that is half written is no table yet.
func (s *salvage) table(data []byte) error {
	mem := vfs.NewMem()
	f, err := mem.Create("t", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if f, err = mem.Open("t"); err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return err
	}
	r, err := sstable.NewReader(context.Background(), readable, sstable.ReaderOptions{})
	if err != nil {
		return errors.Join(readable.Close(), nil)
	}
	defer r.Close() //nolint:errcheck // in memory
	it, err := r.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		return err
	}
	defer it.Close() //nolint:errcheck // in memory
	for kv := it.First(); kv != nil; kv = it.Next() {
		value, _, err := kv.Value(nil)
		if err != nil {
			return err
		}
		s.row("table", kv.K.UserKey, value)
	}
	return it.Error()
}

// log reads the batches of a write-ahead log, up to where it ends.
func (s *salvage) log(path string, data []byte) error {
	var number uint64
	if _, err := fmt.Sscanf(filepath.Base(path), "%d.log", &number); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	r := numbered(record.NewReader, bytes.NewReader(data), number)
	for {
		one, err := r.Next()
		if err != nil {
			return nil //nolint:nilerr // the end, or what is not written yet
		}
		batch, err := io.ReadAll(one)
		if err != nil {
			return nil //nolint:nilerr // the same
		}
		rows := batchrepr.Read(batch)
		for {
			_, key, value, ok, err := rows.Next()
			if err != nil || !ok {
				break
			}
			s.row("log", key, value)
		}
	}
}

// numbered makes a reader with a number of a type that the engine does not export.
func numbered[N ~uint64](make func(io.Reader, N) *record.Reader, r io.Reader, n uint64) *record.Reader {
	return make(r, N(n))
}

// found tells in which kinds of files a path was seen.
func (s *salvage) found(path string) (values int, kinds []string) {
	for _, in := range s.rows[path] {
		kinds = append(kinds, in...)
	}
	slices.Sort(kinds)
	return len(s.rows[path]), slices.Compact(kinds)
}

// The paths of what a version's material is made of (docs/formats.md).
func versionPathOf(kind byte, id kms.ID, n uint32) string {
	return string(binary.BigEndian.AppendUint32(append([]byte{kind}, id[:]...), n))
}

func partsOf(ns kms.Namespace, id kms.ID, n uint32) []string {
	return []string{versionPathOf('V', id, n), versionPathOf('R', id, n), "N" + string(ns), "R\x00" + string(ns)}
}

// vault is what a data directory has beside its tables and logs: what opens them. It is a copy, so that nothing is changed by opening it.
type vault struct {
	root   *seal.Root
	chain  *seal.Keychain
	epochs *seal.Epochs
	id     kms.ID // of the cluster
}

// openVault opens everything in a data directory: the root key by its key file, the store keys, and the epoch keys that are left, in shred or in escrow.
func openVault(t *testing.T, dir string) *vault {
	t.Helper()
	dir = copiedDir(t, dir)
	st, err := pebble.Open(pebble.Config{Dir: filepath.Join(dir, "store")})
	if err != nil {
		t.Fatal(err)
	}
	sys, err := records.ReadSystem(t.Context(), st)
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	config, err := seal.ParseConfig(sys.Config)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := keyfile.Read(filepath.Join(dir, "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	private, err := config.WithSeed(seal.KindKeyFile, seed)
	if err != nil {
		t.Fatal(err)
	}
	v := &vault{id: config.Cluster()}
	if v.root, err = config.Open(private); err != nil {
		t.Fatal(err)
	}
	if v.chain, err = seal.OpenKeychain(v.root, sys.Keychain); err != nil {
		t.Fatal(err)
	}
	dirs := seal.Dirs{Shred: filepath.Join(dir, "shred"), Escrow: filepath.Join(dir, "escrow")}
	names, err := os.ReadDir(dirs.Escrow)
	if err != nil {
		t.Fatal(err)
	}
	escrows := 0
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dirs.Escrow, name.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := seal.OpenEscrow(dirs, config, private, data); err != nil && kms.CodeOf(err) != kms.CodeExists {
			t.Fatalf("%s: %v", name.Name(), err)
		}
		escrows++
	}
	if escrows == 0 {
		t.Fatal("no epoch is in escrow")
	}
	if v.epochs, err = seal.OpenEpochs(dirs, v.root, 0); err != nil {
		t.Fatal(err)
	}
	return v
}

// attack tries to open a version's material with a vault and every combination of the rows that were salvaged. It uses the server's own code, which
// verifies the check value: nil means that the material is there. Otherwise it tells how many combinations it tried, and what the last one met.
func (s *salvage) attack(t *testing.T, v *vault, ns kms.Namespace, id kms.ID) (tried int, err error) {
	t.Helper()
	provider, err := soft.New(soft.Config{})
	if err != nil {
		t.Fatal(err)
	}
	paths := partsOf(ns, id, 1)
	choices := [][]string{nil}
	for _, path := range paths {
		if len(s.rows[path]) == 0 {
			return 0, fmt.Errorf("no row %q was ever found", path)
		}
		var longer [][]string
		for _, had := range choices {
			for value := range s.rows[path] {
				longer = append(longer, append(slices.Clone(had), value))
			}
		}
		choices = longer
	}
	for _, values := range choices {
		st := mem.Open(mem.Config{})
		txn := store.Txn{}
		for i, value := range values {
			txn.Then = append(txn.Then, store.Write{Key: []byte(paths[i]), Value: []byte(value)})
		}
		if _, err := st.Commit(t.Context(), txn); err != nil {
			t.Fatal(err)
		}
		ring := keyring.New(keyring.Config{Records: records.New(st, v.chain, v.id), Provider: provider, Root: v.root, Epochs: v.epochs})
		version, failed := ring.Version(t.Context(), &keyring.Key{Key: kms.Key{Namespace: ns, ID: id}}, 1)
		if tried++; failed == nil {
			open := version.Handle != nil
			version.Release()
			if open {
				return tried, nil
			}
		} else {
			err = failed
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return tried, err
}
