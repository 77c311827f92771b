package verify

import (
	"bytes"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/kms"
)

// aged is a log of three boots whose segments are compressed, and whose oldest ones are dropped up to a record.
func aged(t testing.TB, keep func(last audit.Position) bool) (s *server, anchor []byte) {
	t.Helper()
	s = wholeLog(t)
	anchor = s.checkpoint(t, 3)
	l, err := audit.Open(audit.Config{
		Dir: s.dir, Node: "n1", Cluster: "test", SegmentBytes: s.bytes, ReserveBytes: -1, CompressAfter: time.Nanosecond, Retention: time.Hour,
		MayDrop: func(last audit.Position) bool { return !keep(last) },
		Now:     func() time.Time { return time.Unix(1_900_000_000, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Keyed(s.keys); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the records of what was dropped fill segments, too
		if err := l.Keep(); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return s, anchor
}

func everything(audit.Position) bool { return true }

func names(t testing.TB, dir string, epoch uint64) (all []segment.File) {
	t.Helper()
	all, _, err := segment.List(filepath.Join(dir, "n1", folderName(epoch)))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestACompressedLogVerifies(t *testing.T) {
	s, anchor := aged(t, everything)
	for epoch := uint64(1); epoch <= 3; epoch++ {
		for _, f := range names(t, s.dir, epoch) {
			if !f.Packed {
				t.Errorf("%s is not compressed", f.Path)
			}
		}
	}
	if rep := verifyDir(t, s.dir, s.pub, anchor, s.checkpoint(t, 4)); !rep.Verified || rep.Retired != 0 || len(rep.Epochs) != 4 {
		t.Fatalf("got %+v", rep)
	}
}

// TestRetentionLeavesAProvableLog drops the oldest records in every place: in the middle of an epoch, at its end, over several.
func TestRetentionLeavesAProvableLog(t *testing.T) {
	whole, _ := aged(t, everything)
	for epoch := uint64(1); epoch <= 3; epoch++ {
		files := names(t, whole.dir, epoch)
		for i := range files {
			first := files[i].First
			keep := func(last audit.Position) bool { return last.Epoch > epoch || last.Epoch == epoch && last.Seq >= first }
			s, anchor := aged(t, keep)
			rep := verifyDir(t, s.dir, s.pub, anchor, s.checkpoint(t, 1), s.checkpoint(t, 4))
			if !rep.Verified {
				t.Fatalf("before record %d of epoch %d: %+v", first, epoch, rep.Findings)
			}
			var want uint64
			for _, e := range rep.Epochs {
				switch {
				case e.Epoch < epoch:
					want += e.Records
				case e.Epoch == epoch:
					want += first
				}
				if e.Retired > 0 && len(e.Notes) == 0 {
					t.Errorf("epoch %d: nothing is said of %d dropped records", e.Epoch, e.Retired)
				}
			}
			if rep.Retired != want {
				t.Fatalf("before record %d of epoch %d: got %d dropped want %d", first, epoch, rep.Retired, want)
			}
			proveWhatIsLeft(t, s, rep)
		}
	}
}

// proveWhatIsLeft starts the server again: it recovers, proves what is left, and says of the rest that it was dropped.
func proveWhatIsLeft(t *testing.T, s *server, rep *Report) {
	t.Helper()
	l, err := audit.Open(audit.Config{Dir: s.dir, Node: "n1", Cluster: "test", SegmentBytes: s.bytes, ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // ends the test
	if err := l.Keyed(s.keys); err != nil {
		t.Fatal(err)
	}
	for _, e := range rep.Epochs {
		for _, seq := range []uint64{e.Retired, e.Records - 1} {
			if seq >= e.Records {
				continue
			}
			text, err := l.Prove(t.Context(), audit.Position{Node: "n1", Epoch: e.Epoch, Seq: seq})
			if e.Retired > seq {
				if kms.CodeOf(err) != kms.CodeNotFound {
					t.Fatalf("record %d of epoch %d was dropped: got %v", seq, e.Epoch, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("record %d of epoch %d: %v", seq, e.Epoch, err)
			}
			if _, err := Proof(text, s.pub); err != nil {
				t.Fatalf("record %d of epoch %d: %v", seq, e.Epoch, err)
			}
		}
		if e.Retired > 1 {
			if _, err := l.Read(audit.Position{Node: "n1", Epoch: e.Epoch, Seq: e.Retired - 1}); kms.CodeOf(err) != kms.CodeNotFound {
				t.Errorf("the last dropped record of epoch %d: got %v", e.Epoch, err)
			}
		}
	}
	var after audit.Position
	var n uint64
	for {
		page, more, err := l.Follow(t.Context(), after, audit.MaxPage)
		if err != nil {
			t.Fatal(err)
		}
		if n += uint64(len(page)); !more {
			break
		}
		after = page[len(page)-1].Position
	}
	if want := rep.Records - rep.Retired + 1; n != want {
		t.Errorf("got %d records by following the log want %d", n, want)
	}
}

// TestWhatIsGoneWithoutARecordIsFound drops records as the server would, by hand, and changes what is left of those that were dropped.
func TestWhatIsGoneWithoutARecordIsFound(t *testing.T) {
	at := audit.Position{Node: "n1", Epoch: 3, Seq: 300}
	s, anchor := aged(t, func(last audit.Position) bool { return !last.Before(at) })
	if rep := verifyDir(t, s.dir, s.pub, anchor); !rep.Verified || rep.Retired == 0 || len(names(t, s.dir, 3)) < 2 {
		t.Fatalf("before any change: %+v", rep)
	}
	epoch := func(dir string, n uint64) string { return filepath.Join(dir, "n1", folderName(n)) }
	edit := func(t *testing.T, dir string, n uint64, change func(r *audit.Retired)) {
		t.Helper()
		r, err := audit.ReadRetired(epoch(dir, n))
		if err != nil || r == nil {
			t.Fatal(r, err)
		}
		change(r)
		do(t, os.WriteFile(filepath.Join(epoch(dir, n), "retired"), r.Text(), 0o600))
	}
	tile := func(t *testing.T, dir string, n uint64, name string) {
		path := filepath.Join(epoch(dir, n), "tile", "0", name)
		data, err := os.ReadFile(path)
		do(t, err)
		data[len(data)/2] ^= 1
		do(t, os.WriteFile(path, data, 0o600))
	}
	changes := map[string]func(t *testing.T, dir string){
		"remove the note":         func(t *testing.T, dir string) { do(t, os.Remove(filepath.Join(epoch(dir, 3), "retired"))) },
		"remove one more segment": func(t *testing.T, dir string) { do(t, os.Remove(names(t, dir, 3)[0].Path)) },
		"remove one more segment, mend the note": func(t *testing.T, dir string) {
			files := names(t, dir, 3)
			src, err := segment.Open(files[0])
			do(t, err)
			defer src.Close() //nolint:errcheck // read only
			r := segment.NewReader(src, 0, src.Size(), files[0].First, segment.Tag{})
			edit(t, dir, 3, func(gone *audit.Retired) {
				for r.Expect() < files[1].First {
					b, err := r.Next()
					do(t, err)
					gone.Chain = segment.HashOf(b.Raw)
				}
				gone.Next = files[1].First
				var whole tree.Range
				do(t, tree.Leaves(epoch(dir, 3), 0, gone.Next, func(_ uint64, leaves []byte) error {
					for ; len(leaves) > 0; leaves = leaves[32:] {
						whole.Append(tree.Hash(leaves), nil)
					}
					return nil
				}))
				gone.Root = whole.Root()
			})
			do(t, os.Remove(files[0].Path))
		},
		"change a leaf hash":        func(t *testing.T, dir string) { tile(t, dir, 3, "000") },
		"change an older leaf hash": func(t *testing.T, dir string) { tile(t, dir, 1, "000") },
		"remove a tile":             func(t *testing.T, dir string) { do(t, os.Remove(filepath.Join(epoch(dir, 1), "tile", "0", "000"))) },
		"change the root":           func(t *testing.T, dir string) { edit(t, dir, 3, func(r *audit.Retired) { r.Root[5] ^= 1 }) },
		"change the chain":          func(t *testing.T, dir string) { edit(t, dir, 3, func(r *audit.Retired) { r.Chain[5] ^= 1 }) },
		"change the first record":   func(t *testing.T, dir string) { edit(t, dir, 1, func(r *audit.Retired) { r.First[40] ^= 1 }) },
		"change the origin": func(t *testing.T, dir string) {
			edit(t, dir, 3, func(r *audit.Retired) { r.Origin = audit.Origin("test", "n1", 2) })
		},
		"say less": func(t *testing.T, dir string) { edit(t, dir, 3, func(r *audit.Retired) { r.Next-- }) },
		"say more": func(t *testing.T, dir string) { edit(t, dir, 3, func(r *audit.Retired) { r.Next++ }) },
		"remove the epoch of the record that tells of it": func(t *testing.T, dir string) { do(t, os.RemoveAll(epoch(dir, 4))) },
		"remove an epoch whose records were all dropped":  func(t *testing.T, dir string) { do(t, os.RemoveAll(epoch(dir, 1))) },
		"garble the note": func(t *testing.T, dir string) {
			do(t, os.WriteFile(filepath.Join(epoch(dir, 2), "retired"), []byte("nothing was dropped\n"), 0o600))
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			copyTree(t, s.dir, dir)
			change(t, dir)
			rep := verifyDir(t, dir, s.pub, anchor)
			if rep.Verified || len(rep.Findings) == 0 {
				t.Fatalf("not found: %+v", rep)
			}
			t.Log(rep.Findings[0])
		})
	}
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestIndexesProveNothing changes and removes every index: the verifier does not care.
func TestIndexesProveNothing(t *testing.T) {
	s, anchor := aged(t, everything)
	paths, err := filepath.Glob(filepath.Join(s.dir, "n1", "*", "index", "*.idx"))
	if err != nil || len(paths) < 5 {
		t.Fatal(paths, err)
	}
	for i, path := range paths {
		data, err := os.ReadFile(path)
		do(t, err)
		if i%2 == 0 {
			do(t, os.Remove(path))
			continue
		}
		do(t, os.WriteFile(path, bytes.Repeat([]byte(strings.Repeat("x", 1+i)), len(data)), 0o600))
	}
	if rep := verifyDir(t, s.dir, s.pub, anchor); !rep.Verified {
		t.Fatalf("got %+v", rep)
	}
}

func FuzzRetired(f *testing.F) {
	s, _ := aged(f, func(last audit.Position) bool { return last.Epoch > 1 })
	text, err := os.ReadFile(filepath.Join(s.dir, "n1", folderName(1), "retired"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("keyhold/audit/retired/v1\n\n1\n\n\n\n\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := audit.ParseRetired(text)
		if err == nil && !bytes.Equal(r.Text(), text) {
			t.Fatalf("%q is written as %q", text, r.Text())
		}
	})
}

// unpacked is what a compressed segment holds.
func unpacked(t testing.TB, f segment.File) ([]byte, error) {
	t.Helper()
	src, err := segment.Open(f)
	if err != nil {
		return nil, err
	}
	defer src.Close() //nolint:errcheck // read only
	data := make([]byte, src.Size())
	_, err = src.ReadAt(data, 0)
	return data, err
}

// repacked compresses whatever bytes somebody might put into a segment.
func repacked(t testing.TB, first uint64, data []byte) []byte {
	t.Helper()
	p, err := segment.NewPacker()
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	if len(data) > 0 {
		out = p.Add(out, &segment.Batch{Header: segment.Header{First: first, Count: 1 << 20}, Raw: data})
	}
	return p.Finish(out)
}

// TestEveryMutationOfACompressedLogIsFound changes compressed segments: what they hold, in all the ways of the plain ones, and their own bytes.
func TestEveryMutationOfACompressedLogIsFound(t *testing.T) {
	rounds := 10
	if long() {
		rounds = 10_000/len(mutations) + 1
	}
	s, anchor := aged(t, everything)
	var files []segment.File
	for epoch := uint64(1); epoch <= 3; epoch++ {
		files = append(files, names(t, s.dir, epoch)...)
	}
	try := func(t *testing.T, f segment.File, data []byte) *Report {
		t.Helper()
		was, err := os.ReadFile(f.Path)
		do(t, err)
		do(t, os.WriteFile(f.Path, data, 0o600))
		rep := verifyDir(t, s.dir, s.pub, anchor)
		do(t, os.WriteFile(f.Path, was, 0o600))
		return rep
	}
	for name, mutate := range mutations {
		t.Run(name, func(t *testing.T) {
			for round := range rounds {
				rnd := mrand.New(mrand.NewPCG(uint64(round), 11))
				f := files[rnd.IntN(len(files))]
				was, err := unpacked(t, f)
				do(t, err)
				e := &editor{t: t, rnd: rnd, data: bytes.Clone(was), first: f.First, all: batches(t, was, f.First)}
				if len(e.all) < 2 {
					continue
				}
				mutate(e)
				if rep := try(t, f, repacked(t, f.First, e.data)); rep.Verified || len(rep.Findings) == 0 || rep.Findings[0].File == "" {
					t.Fatalf("round %d in %s: not found", round, f.Path)
				}
			}
		})
	}
	t.Run("the file itself", func(t *testing.T) {
		for round := range 20 * rounds {
			rnd := mrand.New(mrand.NewPCG(uint64(round), 12))
			f := files[rnd.IntN(len(files))]
			data, err := os.ReadFile(f.Path)
			do(t, err)
			was, err := unpacked(t, f)
			do(t, err)
			switch at := rnd.IntN(len(data)); rnd.IntN(4) {
			case 0:
				data = data[:at]
			case 1:
				data = append(data[:at:at], append([]byte{0}, data[at:]...)...)
			default:
				data[at] ^= 1 << rnd.IntN(8)
			}
			copied := segment.File{Path: filepath.Join(t.TempDir(), "x"), First: f.First, Packed: true}
			do(t, os.WriteFile(copied.Path, data, 0o600))
			if now, err := unpacked(t, copied); err == nil && bytes.Equal(now, was) {
				continue // a bit that stands for nothing
			}
			if rep := try(t, f, data); rep.Verified {
				t.Fatalf("round %d in %s: not found", round, f.Path)
			}
		}
	})
	if rep := verifyDir(t, s.dir, s.pub, anchor); !rep.Verified {
		t.Fatalf("after all changes were undone: %+v", rep)
	}
}

// TestEveryChangeOfADroppedRecordsHashIsFound flips bits of the leaf hashes that stand for dropped records.
func TestEveryChangeOfADroppedRecordsHashIsFound(t *testing.T) {
	rounds := 60
	if long() {
		rounds = 5000
	}
	s, anchor := aged(t, func(last audit.Position) bool { return !last.Before(audit.Position{Node: "n1", Epoch: 3, Seq: 600}) })
	rep := verifyDir(t, s.dir, s.pub, anchor)
	if !rep.Verified {
		t.Fatalf("before any change: %+v", rep)
	}
	for round := range rounds {
		rnd := mrand.New(mrand.NewPCG(uint64(round), 13))
		e := rep.Epochs[rnd.IntN(3)]
		seq := rnd.Uint64N(e.Retired)
		dir := filepath.Join(s.dir, "n1", folderName(e.Epoch))
		full := filepath.Join(dir, tree.TilePath(0, seq/256, 256))
		all, err := filepath.Glob(full + ".p/*") // of a tile that is not full there may be several
		do(t, err)
		if _, err := os.Stat(full); err == nil {
			all = append(all, full)
		}
		at, bit := int(seq%256)*32+rnd.IntN(32), byte(1)<<rnd.IntN(8)
		flip := func() {
			for _, path := range all {
				data, err := os.ReadFile(path)
				do(t, err)
				if at < len(data) {
					data[at] ^= bit
					do(t, os.WriteFile(path, data, 0o600))
				}
			}
		}
		flip()
		now := verifyDir(t, s.dir, s.pub, anchor)
		flip()
		if now.Verified {
			t.Fatalf("round %d: record %d of epoch %d: not found", round, seq, e.Epoch)
		}
	}
}
