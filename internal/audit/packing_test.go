package audit

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit/disk/disktest"
	"github.com/keyhold/keyhold/internal/audit/segment"
)

func packed(t testing.TB, cfg Config) (n, plain int) {
	t.Helper()
	for _, dir := range folders(t, cfg) {
		files, _, err := segment.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if f.Packed {
				n++
			} else {
				plain++
			}
		}
	}
	return n, plain
}

func folders(t testing.TB, cfg Config) (all []string) {
	t.Helper()
	epochs, err := listEpochs(filepath.Join(cfg.Dir, cfg.Node))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range epochs {
		all = append(all, filepath.Join(cfg.Dir, cfg.Node, epochFolder(e)))
	}
	return all
}

// TestACompressedLogIsTheSameLog compresses every full segment and reads, lists, proves, finds and recovers as before.
func TestACompressedLogIsTheSameLog(t *testing.T) {
	cfg := unkeptConfig(t)
	cfg.CompressAfter = time.Nanosecond
	k, _ := testKeys(t)
	l, all := corpus(t, cfg, k, 2, 120)
	l.cfg.Now = func() time.Time { return time.Now().Add(time.Hour) }
	keepNow(t, l)
	n, plain := packed(t, cfg)
	if n < 5 || plain != 1 {
		t.Fatalf("%d segments are compressed, %d are not", n, plain)
	}
	if again := followAll(t, l); len(again) != len(all) {
		t.Fatalf("got %d records want %d", len(again), len(all))
	}
	answers(t, l, all, 40, 8)
	hashes := map[[32]byte]struct{}{}
	for i := 0; i < len(all); i += 37 {
		got, err := l.Read(all[i].Position)
		if err != nil || got.RequestID != all[i].RequestID {
			t.Fatalf("read %v: %v, %v", all[i].Position, got.RequestID, err)
		}
		if _, err := l.Prove(t.Context(), all[i].Position); err != nil {
			t.Fatalf("prove %v: %v", all[i].Position, err)
		}
		leaf, err := all[i].LeafHash()
		if err != nil {
			t.Fatal(err)
		}
		hashes[leaf] = struct{}{}
	}
	found, err := l.Find(t.Context(), hashes, Position{})
	if err != nil || len(found) != len(hashes) {
		t.Fatalf("found %d of %d, %v", len(found), len(hashes), err)
	}
	shut(t, l)
	for _, dir := range folders(t, cfg) { // the tree is made anew from the segments
		if err := os.RemoveAll(filepath.Join(dir, "tile")); err != nil {
			t.Fatal(err)
		}
	}
	cfg.CompressAfter = -1
	l = opened(t, cfg, k)
	if again := followAll(t, l); len(again) != len(all)+1 {
		t.Fatalf("after a restart: got %d records want %d", len(again), len(all)+1)
	}
	shut(t, l)
	l = opened(t, cfg, k) // the last segment of an epoch is compressed, too
	l.cfg.CompressAfter, l.cfg.Now = 0, func() time.Time { return time.Now().Add(time.Hour) }
	keepNow(t, l)
	shut(t, l)
	l = opened(t, cfg, k)
	if again := followAll(t, l); len(again) != len(all)+3 {
		t.Fatalf("after another restart: got %d records want %d", len(again), len(all)+3)
	}
}

// stride is how many calls of the disk a test of faults lets pass before the next one that it lets fail.
func stride() int {
	if os.Getenv("KEYHOLD_LONG") == "1" {
		return 1
	}
	return 3
}

// skipSyncs is for tests of contents, not of durability.
func skipSyncs(op disktest.Op, _ string) *disktest.Fault {
	if op == disktest.Sync || op == disktest.SyncDir {
		return &disktest.Fault{Skip: true}
	}
	return nil
}

// TestCompressionNeverLosesARecord lets every call of the disk fail in turn, with and without its effect, during the compression of a log. What is
// on the disk then is a whole log, and the next round finishes the work.
func TestCompressionNeverLosesARecord(t *testing.T) {
	cfg := unkeptConfig(t)
	cfg.CompressAfter = -1
	k, _ := testKeys(t)
	l, all := corpus(t, cfg, k, 1, 25)
	shut(t, l)
	broken := errors.New("the disk is broken")
	for i, effect := range []bool{false, true} {
		for at := i; ; at += stride() {
			var fs disktest.FS
			now := cfg
			now.Dir, now.FS, now.CompressAfter = t.TempDir(), &fs, -1
			fs.Set(skipSyncs)
			if err := os.CopyFS(now.Dir, os.DirFS(cfg.Dir)); err != nil {
				t.Fatal(err)
			}
			l := open(t, now)
			l.cfg.CompressAfter = 0
			l.cfg.Now = func() time.Time { return time.Now().Add(time.Hour) }
			calls, hit, last := 0, false, ""
			fs.Set(func(op disktest.Op, path string) *disktest.Fault {
				if !strings.Contains(path, epochFolder(1)) {
					return nil
				}
				if calls++; calls-1 < at {
					return skipSyncs(op, path)
				}
				last = string(op) + " " + path
				hit = true // and whatever comes after it: the server is dead
				return &disktest.Fault{Err: broken, Persist: effect && calls-1 == at}
			})
			err := l.Keep()
			fs.Set(skipSyncs)
			if !hit {
				if err != nil {
					t.Fatalf("call %d: %v", at, err)
				}
				shut(t, l)
				break
			}
			if err == nil {
				t.Fatalf("call %d (%s) failed, and nobody was told", at, last)
			}
			shut(t, l)
			l = opened(t, now, k)
			if got := followAll(t, l); len(got) != len(all)+2 || !slices.EqualFunc(got[:len(all)], all, func(a, b Entry) bool { return a.ID == b.ID }) {
				t.Fatalf("call %d: %d records are left of %d", at, len(got)-2, len(all))
			}
			l.cfg.CompressAfter = 0
			l.cfg.Now = func() time.Time { return time.Now().Add(time.Hour) }
			keepNow(t, l)
			shut(t, l)
			if n, plain := packed(t, now); n < 2 || plain != 1 {
				t.Fatalf("call %d: %d segments are compressed, %d are not", at, n, plain)
			}
		}
	}
}

// TestADamagedSegmentIsNotCompressed changes a byte: the original stays as it is.
func TestADamagedSegmentIsNotCompressed(t *testing.T) {
	cfg := unkeptConfig(t)
	cfg.CompressAfter = -1
	k, _ := testKeys(t)
	l, _ := corpus(t, cfg, k, 1, 60)
	files, _, err := segment.List(folders(t, cfg)[0])
	if err != nil || len(files) < 4 {
		t.Fatal(len(files), err)
	}
	data, err := os.ReadFile(files[1].Path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(files[1].Path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	l.cfg.CompressAfter = 0
	l.cfg.Now = func() time.Time { return time.Now().Add(time.Hour) }
	if err := l.Keep(); !damaged(err) {
		t.Fatalf("got %v want what is damaged", err)
	}
	again, err := os.ReadFile(files[1].Path)
	if err != nil || !slices.Equal(again, data) {
		t.Errorf("the damaged segment is not what it was: %v", err)
	}
	if n, plain := packed(t, cfg); plain != 2 || n < 2 {
		t.Errorf("%d are compressed, %d are not", n, plain)
	}
	if err := l.Keep(); err != nil {
		t.Errorf("a second round says it again: %v", err)
	}
}
