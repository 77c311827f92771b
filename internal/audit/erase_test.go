package audit

import (
	"bytes"
	"encoding/hex"
	"errors"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit/disk/disktest"
	"github.com/keyhold/keyhold/internal/kms"
)

func eraseRecord() *Record {
	r := typical()
	r.Action, r.Alias, r.Name = kms.EraseAudit, aliasOf(200), "the administrator"
	return &r
}

// TestErasureBlanksAPersonAndNothingElse erases one caller of a log of which a part is compressed, and looks for him on the disk.
func TestErasureBlanksAPersonAndNothingElse(t *testing.T) {
	cfg := unkeptConfig(t)
	cfg.CompressAfter = -1
	k, _ := testKeys(t)
	l, all := corpus(t, cfg, k, 2, 60)
	shut(t, l)
	cfg.Now = func() time.Time { return all[len(all)-1].Time.Add(time.Hour) }
	l = opened(t, cfg, k)
	full, err := l.keep.full()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range full[:3] {
		if err := l.keep.repack(f, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.keep.keep(true); err != nil { // indexes for some of it
		t.Fatal(err)
	}
	mine := varied(mrand.New(mrand.NewPCG(1, 1)), 1)
	mine.Alias, mine.Name = aliasOf(3), "svc/3"
	if _, err := l.Append(mine); err != nil {
		t.Fatal(err)
	}
	all = followAll(t, l)
	want := 0
	for i := range all {
		if all[i].Alias == aliasOf(3) {
			want++
		}
	}
	n, at, err := l.Erase(t.Context(), aliasOf(3), eraseRecord())
	if err != nil || int(n) != want || want < 20 {
		t.Fatalf("erased %d, want %d: %v", n, want, err)
	}
	id3 := aliasOf(3)
	if r, err := l.Read(at); err != nil || r.Action != kms.EraseAudit || r.Erased || r.Resource != hex.EncodeToString(id3[:]) {
		t.Errorf("the record that tells of it: %+v, %v", r, err)
	}
	check := func(l *Log) {
		t.Helper()
		for i, e := range followAll(t, l)[:len(all)] {
			if his := e.Alias == aliasOf(3); e.Erased != his || !his && e.Name != all[i].Name || his && (e.Name != "" || e.Remote.IsValid()) {
				t.Fatalf("%v: alias %x, erased %v, name %q", e.Position, e.Alias, e.Erased, e.Name)
			}
			if i%40 == 0 {
				if _, err := l.Prove(t.Context(), e.Position); err != nil {
					t.Fatalf("prove %v: %v", e.Position, err)
				}
			}
		}
	}
	check(l)
	if got := ask(t, l, Filter{Aliases: [][16]byte{aliasOf(3)}}, MaxPage); len(got) != want {
		t.Errorf("by alias: got %d records want %d", len(got), want)
	}
	if n, _, err := l.Erase(t.Context(), aliasOf(3), eraseRecord()); n != 0 || err != nil {
		t.Errorf("once more: erased %d, %v", n, err)
	}
	shut(t, l)
	err = filepath.WalkDir(cfg.Dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".log") {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte("svc/3\x07")) {
			t.Errorf("%s still has the name", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	l = opened(t, cfg, k)
	check(l)
}

// TestErasureSurvivesEveryFault lets the disk fail at each call. The log starts again, with every record, and the erasure is made again.
func TestErasureSurvivesEveryFault(t *testing.T) {
	cfg := unkeptConfig(t)
	cfg.CompressAfter = -1
	k, _ := testKeys(t)
	l, all := corpus(t, cfg, k, 1, 25)
	shut(t, l)
	for at := 0; ; at += stride() {
		var fs disktest.FS
		now := cfg
		now.Dir, now.FS = t.TempDir(), &fs
		now.Now = func() time.Time { return all[len(all)-1].Time.Add(time.Hour) }
		fs.Set(skipSyncs)
		if err := os.CopyFS(now.Dir, os.DirFS(cfg.Dir)); err != nil {
			t.Fatal(err)
		}
		l := opened(t, now, k)
		calls, hit := 0, false
		fs.Set(func(op disktest.Op, path string) *disktest.Fault {
			if !strings.Contains(path, epochFolder(1)) {
				return skipSyncs(op, path)
			}
			if calls++; calls-1 < at {
				return skipSyncs(op, path)
			}
			hit = true
			return &disktest.Fault{Err: errors.New("the disk is broken"), Persist: at%2 == 0 && calls-1 == at}
		})
		_, _, err := l.Erase(t.Context(), aliasOf(1), eraseRecord())
		fs.Set(skipSyncs)
		shut(t, l)
		if hit == (err == nil) {
			t.Fatalf("call %d: hit %v, %v", at, hit, err)
		}
		l = opened(t, now, k)
		if err := l.Keep(); err != nil {
			t.Fatalf("call %d: %v", at, err)
		}
		if _, _, err := l.Erase(t.Context(), aliasOf(1), eraseRecord()); err != nil {
			t.Fatalf("call %d: once more: %v", at, err)
		}
		got := followAll(t, l)
		for i := range all {
			if got[i].ID != all[i].ID || got[i].Erased != (all[i].Alias == aliasOf(1)) {
				t.Fatalf("call %d: record %d: erased %v", at, i, got[i].Erased)
			}
		}
		shut(t, l)
		if !hit {
			break
		}
	}
}
