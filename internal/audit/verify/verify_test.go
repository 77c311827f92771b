package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/audittest"
	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/audit/tree"
)

func long() bool { return os.Getenv("KEYHOLD_LONG") == "1" }

// server is what writes the logs of these tests.
type server struct {
	keys  audit.Keys
	pub   Keys
	dir   string
	bytes int64
}

func newServer(t testing.TB, dir string) *server {
	t.Helper()
	keys, vkey := audittest.Keys(t)
	pub, err := ParseKeys([]byte("# audit key\n" + vkey + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return &server{keys: keys, pub: pub, dir: dir, bytes: audit.MinSegment}
}

func record(i int) *audit.Record { return audittest.Record(i) }

// boot runs the server once: records before unsealing, then groups of records.
func (s *server) boot(t testing.TB, sealed, groups, each int) {
	t.Helper()
	l, err := audit.Open(audit.Config{Dir: s.dir, Node: "n1", Cluster: "test", SegmentBytes: s.bytes, ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		if _, err := l.Append(record(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Keyed(s.keys); err != nil {
		t.Fatal(err)
	}
	for g := range groups {
		var rs []*audit.Record
		for i := range 1 + g%each {
			rs = append(rs, record(g*1000+i))
		}
		if _, err := l.AppendAll(rs); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func (s *server) checkpoint(t testing.TB, epoch uint64) []byte {
	t.Helper()
	msg, err := os.ReadFile(filepath.Join(s.dir, "n1", folderName(epoch), checkpointFile))
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func verifyDir(t testing.TB, dir string, k Keys, anchors ...[]byte) *Report {
	t.Helper()
	rep, err := Dir(t.Context(), Options{Dir: dir, Keys: k, Anchors: bytes.Join(anchors, []byte("\n"))})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func wholeLog(t testing.TB) *server {
	t.Helper()
	s := newServer(t, t.TempDir())
	s.boot(t, 2, 60, 12)
	s.boot(t, 0, 10, 3)
	s.boot(t, 1, 120, 10)
	return s
}

func TestAWholeLogVerifies(t *testing.T) {
	s := wholeLog(t)
	for _, dir := range []string{s.dir, filepath.Join(s.dir, "n1")} {
		rep := verifyDir(t, dir, s.pub, s.checkpoint(t, 3), s.checkpoint(t, 1))
		if !rep.Verified || !rep.Anchored || len(rep.Epochs) != 3 || rep.Tail != 0 {
			t.Fatalf("got %+v", rep)
		}
		for _, e := range rep.Epochs {
			if e.Signed != e.Records || e.Checkpoints < 2 || e.Records == 0 {
				t.Errorf("epoch %d: %+v", e.Epoch, e)
			}
		}
		if rep.Epochs[0].Unkeyed < 3 || rep.Epochs[0].Segments < 2 {
			t.Errorf("first epoch: %+v", rep.Epochs[0])
		}
	}
	if rep := verifyDir(t, s.dir, s.pub); !rep.Verified || rep.Anchored {
		t.Errorf("without an anchor: got verified %v, anchored %v", rep.Verified, rep.Anchored)
	}
	stranger := newServer(t, t.TempDir())
	if rep := verifyDir(t, s.dir, stranger.pub); rep.Verified {
		t.Error("a log verified under another key")
	}
	if _, err := Dir(t.Context(), Options{Dir: t.TempDir(), Keys: s.pub}); !errors.Is(err, ErrNoLog) {
		t.Errorf("an empty folder: got %v, want ErrNoLog", err)
	}
}

// batchAt is where a batch stands.
type batchAt struct {
	off, size int64
	h         segment.Header
}

func batches(t testing.TB, data []byte, first uint64) (all []batchAt) {
	t.Helper()
	r := segment.NewReader(bytes.NewReader(data), 0, int64(len(data)), first, segment.Tag{})
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, batchAt{b.Offset, b.Size(), b.Header})
	}
}

// reseal makes an edited batch consistent again, as far as that goes without keys: records, list of hashes, chain, checksum.
func reseal(raw []byte, h segment.Header, prev segment.Hash) segment.Hash {
	h.Prev = prev
	var leaves []byte
	rest := raw[segment.HeaderSize:]
	for len(rest) > 0 {
		f, tail, err := segment.Cut(rest)
		if err != nil {
			break
		}
		leaf := f.Leaf()
		leaves, rest = append(leaves, leaf[:]...), tail
	}
	h.Leaves = sha256.Sum256(leaves)
	mac := h.MAC
	sum, _ := segment.Seal(raw, &h, func(segment.Hash) (segment.Hash, error) { return mac, nil })
	return sum
}

// fixCRC recomputes a batch's checksum.
func fixCRC(raw []byte) {
	table := crc32.MakeTable(crc32.Castagnoli)
	crc := crc32.Update(0, table, raw[:180])
	binary.BigEndian.PutUint32(raw[180:], crc32.Update(crc, table, raw[segment.HeaderSize:]))
}

// editor damages one segment of a copy of the log.
type editor struct {
	t     *testing.T
	rnd   *mrand.Rand
	data  []byte
	first uint64
	all   []batchAt
}

func (e *editor) raw(i int) []byte {
	b := e.all[i]
	return e.data[b.off : b.off+segment.HeaderSize+int64(b.h.Length)]
}

// rechain makes everything from batch i on consistent, with new numbers.
func (e *editor) rechain(i int) {
	prev := segment.Hash{}
	next := e.first
	var out []byte
	for k := range e.all {
		raw := e.raw(k)
		h := e.all[k].h
		if k == 0 {
			prev = h.Prev
		}
		h.First = next
		next += uint64(h.Count)
		if k >= i {
			prev = reseal(raw, h, prev)
		} else {
			prev = segment.HashOf(raw)
		}
		out = append(out, raw...)
		out = append(out, make([]byte, segment.Padded(int64(len(raw)))-int64(len(raw)))...)
	}
	e.data = out
}

// frameOf picks a record of a batch: where its body and its annex stand.
func (e *editor) frameOf(i int) (body, annex []byte) {
	rest := e.raw(i)[segment.HeaderSize:]
	for range e.rnd.IntN(int(e.all[i].h.Count)) {
		_, rest, _ = segment.Cut(rest)
	}
	f, _, err := segment.Cut(rest)
	if err != nil {
		e.t.Fatal(err)
	}
	return f.Body(), f.Annex
}

// mutations of one segment. Each changes something for sure.
var mutations = map[string]func(e *editor){
	"flip a bit": func(e *editor) { e.data[e.rnd.IntN(len(e.data))] ^= 1 << e.rnd.IntN(8) },
	"flip a bit of a body, mend the checksum": func(e *editor) {
		i := e.rnd.IntN(len(e.all))
		body, _ := e.frameOf(i)
		body[e.rnd.IntN(len(body))] ^= 1 << e.rnd.IntN(8)
		fixCRC(e.raw(i))
	},
	"flip a bit of an annex, mend the checksum": func(e *editor) {
		i := e.rnd.IntN(len(e.all))
		_, annex := e.frameOf(i)
		annex[e.rnd.IntN(len(annex))] ^= 1 << e.rnd.IntN(8)
		fixCRC(e.raw(i))
	},
	"change a record, mend everything": func(e *editor) {
		i := e.rnd.IntN(len(e.all))
		body, _ := e.frameOf(i)
		body[34+e.rnd.IntN(4)] ^= 1
		e.rechain(i)
	},
	"change a batch's time, mend everything": func(e *editor) {
		i := e.rnd.IntN(len(e.all) - 1)
		e.all[i].h.Time = e.all[i].h.Time.Add(time.Hour)
		raw := e.raw(i)
		reseal(raw, e.all[i].h, e.all[i].h.Prev)
	},
	"change the store's head": func(e *editor) {
		i := e.rnd.IntN(len(e.all) - 1)
		raw := e.raw(i)
		raw[44+e.rnd.IntN(40)] ^= 1
		fixCRC(raw)
	},
	"remove a batch": func(e *editor) {
		b := e.all[e.rnd.IntN(len(e.all))]
		e.data = append(e.data[:b.off:b.off], e.data[b.off+b.size:]...)
	},
	"remove a batch, mend everything": func(e *editor) {
		i := e.rnd.IntN(len(e.all))
		e.all = append(e.all[:i:i], e.all[i+1:]...)
		if len(e.all) == 0 {
			e.data = nil
			return
		}
		e.rechain(0)
	},
	"swap two batches": func(e *editor) {
		i, k := e.rnd.IntN(len(e.all)), e.rnd.IntN(len(e.all))
		if i == k {
			k = (i + 1) % len(e.all)
		}
		e.all[i], e.all[k] = e.all[k], e.all[i]
		var out []byte
		for n := range e.all {
			b := e.all[n]
			out = append(out, e.data[b.off:b.off+b.size]...)
		}
		e.data = out
	},
	"swap two records, mend everything": func(e *editor) {
		for i := range e.all {
			if e.all[i].h.Count < 2 {
				continue
			}
			raw := e.raw(i)
			a, rest, _ := segment.Cut(raw[segment.HeaderSize:])
			b, rest, _ := segment.Cut(rest)
			frames := segment.AppendFrame(nil, b.Body(), b.Annex)
			frames = segment.AppendFrame(frames, a.Body(), a.Annex)
			copy(raw[segment.HeaderSize:], append(frames, rest...))
			e.rechain(i)
			return
		}
	},
	"repeat a batch": func(e *editor) { // behind the end of a segment it would be bytes that nobody was told of
		b, at := e.all[e.rnd.IntN(len(e.all))], e.all[e.rnd.IntN(len(e.all))].off
		e.data = append(e.data[:at:at], append(bytes.Clone(e.data[b.off:b.off+b.size]), e.data[at:]...)...)
	},
	"zero a sector": func(e *editor) {
		at := e.rnd.IntN(len(e.data)/512) * 512
		if bytes.Equal(e.data[at:at+512], make([]byte, 512)) {
			e.data[at] = 1
			return
		}
		clear(e.data[at : at+512])
	},
	"cut at a batch": func(e *editor) { e.data = e.data[:e.all[e.rnd.IntN(len(e.all))].off] },
	"cut anywhere":   func(e *editor) { e.data = e.data[:e.rnd.IntN(len(e.data)-512)] },
	"put bytes in": func(e *editor) {
		at := e.rnd.IntN(int(e.all[len(e.all)-1].off)) // zeros behind the last batch are nothing
		e.data = append(e.data[:at:at], append(make([]byte, 512), e.data[at:]...)...)
	},
}

func copyTree(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// TestEveryMutationIsFound changes a real log in random ways, most of them made consistent as far as that goes without the server's keys,
// and holds the checkpoint of the end against it.
func TestEveryMutationIsFound(t *testing.T) {
	rounds := 20
	if long() {
		rounds = 10_000/len(mutations) + 1
	}
	s := wholeLog(t)
	anchor := s.checkpoint(t, 3)
	var files []string
	for e := uint64(1); e <= 3; e++ {
		found, _, err := segment.List(filepath.Join(s.dir, "n1", folderName(e)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			files = append(files, f.Path)
		}
	}
	if rep := verifyDir(t, s.dir, s.pub, anchor); !rep.Verified {
		t.Fatalf("before any change: %+v", rep)
	}
	for name, mutate := range mutations {
		t.Run(name, func(t *testing.T) {
			for round := range rounds {
				rnd := mrand.New(mrand.NewPCG(uint64(round), 7))
				path := files[rnd.IntN(len(files))]
				was, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				first, _, _ := segment.ParseName(filepath.Base(path))
				e := &editor{t: t, rnd: rnd, data: bytes.Clone(was), first: first, all: batches(t, was, first)}
				if len(e.all) < 2 {
					continue
				}
				mutate(e)
				if bytes.Equal(e.data, was) {
					t.Fatalf("round %d: nothing was changed", round)
				}
				if err := os.WriteFile(path, e.data, 0o600); err != nil {
					t.Fatal(err)
				}
				rep := verifyDir(t, s.dir, s.pub, anchor)
				if err := os.WriteFile(path, was, 0o600); err != nil {
					t.Fatal(err)
				}
				if rep.Verified || len(rep.Findings) == 0 {
					t.Fatalf("round %d in %s: not found", round, path)
				}
				if f := rep.Findings[0]; f.File == "" || f.What == "" || f.Epoch == 0 {
					t.Fatalf("round %d: a finding that names nothing: %+v", round, f)
				}
			}
		})
	}
	if rep := verifyDir(t, s.dir, s.pub, anchor); !rep.Verified {
		t.Fatalf("after all changes were undone: %+v", rep)
	}
}

// TestEveryChangeOfFilesIsFound removes, exchanges and forks whole files and epochs.
func TestEveryChangeOfFilesIsFound(t *testing.T) {
	s := wholeLog(t)
	anchor := s.checkpoint(t, 3)
	epoch := func(dir string, n uint64) string { return filepath.Join(dir, "n1", folderName(n)) }
	segments := func(t *testing.T, dir string, n uint64) []segment.File {
		files, _, err := segment.List(epoch(dir, n))
		if err != nil || len(files) < 2 {
			t.Fatalf("%d segments, %v", len(files), err)
		}
		return files
	}
	do := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	changes := map[string]func(t *testing.T, dir string){
		"remove the first epoch":   func(t *testing.T, dir string) { do(t, os.RemoveAll(epoch(dir, 1))) },
		"remove the middle epoch":  func(t *testing.T, dir string) { do(t, os.RemoveAll(epoch(dir, 2))) },
		"remove the last epoch":    func(t *testing.T, dir string) { do(t, os.RemoveAll(epoch(dir, 3))) },
		"remove the first segment": func(t *testing.T, dir string) { do(t, os.Remove(segments(t, dir, 1)[0].Path)) },
		"remove a segment":         func(t *testing.T, dir string) { do(t, os.Remove(segments(t, dir, 3)[1].Path)) },
		"remove the last segment":  func(t *testing.T, dir string) { f := segments(t, dir, 3); do(t, os.Remove(f[len(f)-1].Path)) },
		"exchange two segments": func(t *testing.T, dir string) {
			f := segments(t, dir, 3)
			do(t, os.Rename(f[0].Path, f[0].Path+".x"))
			do(t, os.Rename(f[1].Path, f[0].Path))
			do(t, os.Rename(f[0].Path+".x", f[1].Path))
		},
		"rename a segment": func(t *testing.T, dir string) {
			f := segments(t, dir, 3)[1]
			do(t, os.Rename(f.Path, filepath.Join(filepath.Dir(f.Path), segment.Name(f.First+1, 0))))
		},
		"plant a later attempt": func(t *testing.T, dir string) {
			f := segments(t, dir, 3)[1]
			do(t, os.WriteFile(filepath.Join(filepath.Dir(f.Path), segment.Name(f.First, 5)), make([]byte, 1024), 0o600))
		},
		"exchange two epochs": func(t *testing.T, dir string) {
			do(t, os.Rename(epoch(dir, 1), epoch(dir, 9)))
			do(t, os.Rename(epoch(dir, 3), epoch(dir, 1)))
			do(t, os.Rename(epoch(dir, 9), epoch(dir, 3)))
		},
		"repeat an epoch": func(t *testing.T, dir string) { copyTree(t, epoch(dir, 3), epoch(dir, 4)) },
		"fork the last epoch with the server's own keys": func(t *testing.T, dir string) {
			do(t, os.RemoveAll(epoch(dir, 3)))
			fork := *s
			fork.dir = dir
			fork.boot(t, 1, 120, 10)
		},
		"fork everything with the server's own keys": func(t *testing.T, dir string) {
			do(t, os.RemoveAll(filepath.Join(dir, "n1")))
			fork := *s
			fork.dir = dir
			fork.boot(t, 2, 60, 12)
			fork.boot(t, 0, 10, 3)
			fork.boot(t, 1, 120, 10)
		},
		"forge a checkpoint": func(t *testing.T, dir string) {
			forger := newServer(t, dir)
			msg, err := tree.Checkpoint{Origin: audit.Origin("test", "n1", 2), Size: 3}.Sign(forger.keys.Signer)
			do(t, err)
			do(t, os.WriteFile(filepath.Join(epoch(dir, 2), checkpointFile), msg, 0o600))
		},
		"change a checkpoint": func(t *testing.T, dir string) {
			path := filepath.Join(epoch(dir, 1), checkpointsFile)
			data, err := os.ReadFile(path)
			do(t, err)
			lines := strings.SplitN(string(data), "\n", 3)
			lines[1] = "1"
			do(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600))
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

func TestErasureVerifies(t *testing.T) {
	s := wholeLog(t)
	files, _, err := segment.List(filepath.Join(s.dir, "n1", folderName(3)))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(files[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	e := &editor{t: t, rnd: mrand.New(mrand.NewPCG(1, 1)), data: data, all: batches(t, data, 0)}
	for i := range 5 {
		_, annex := e.frameOf(i + 3)
		clear(annex)
		fixCRC(e.raw(i + 3))
	}
	if err := os.WriteFile(files[0].Path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	rep := verifyDir(t, s.dir, s.pub, s.checkpoint(t, 3))
	if !rep.Verified || rep.Erased != 5 {
		t.Errorf("got verified %v, %d erased: %v", rep.Verified, rep.Erased, rep.Findings)
	}
}

func TestRecordsBehindTheLastCheckpointAreReported(t *testing.T) {
	s := newServer(t, t.TempDir())
	s.boot(t, 0, 10, 3)
	l, err := audit.Open(audit.Config{Dir: s.dir, Node: "n1", Cluster: "test", SegmentBytes: audit.MinSegment})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // ends the test
	for i := range 5 {
		if _, err := l.Append(record(i)); err != nil {
			t.Fatal(err)
		}
	}
	rep := verifyDir(t, s.dir, s.pub)
	if !rep.Verified || rep.Tail != 6 {
		t.Errorf("got verified %v, a tail of %d, want 6: %v", rep.Verified, rep.Tail, rep.Findings)
	}
}

func TestAProofNeedsThePublicKeyAlone(t *testing.T) {
	s := newServer(t, t.TempDir())
	s.boot(t, 1, 100, 9)
	l, err := audit.Open(audit.Config{Dir: s.dir, Node: "n1", Cluster: "test", SegmentBytes: audit.MinSegment})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // ends the test
	if err := l.Keyed(s.keys); err != nil {
		t.Fatal(err)
	}
	mine := record(77)
	here, err := l.Append(mine)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []audit.Position{here, {Node: "n1", Epoch: 1, Seq: 0}, {Node: "n1", Epoch: 1, Seq: 300}} {
		text, err := l.Prove(t.Context(), p)
		if err != nil {
			t.Fatalf("%v: %v (%v)", p, err, errors.Unwrap(err))
		}
		got, err := Proof(text, s.pub)
		if err != nil {
			t.Fatalf("%v: %v", p, err)
		}
		if got.Position != p {
			t.Errorf("got %v want %v", got.Position, p)
		}
		if p == here && got.Record.RequestID != mine.RequestID {
			t.Errorf("got %+v", got.Record)
		}
		for i := range text {
			bad := bytes.Clone(text)
			bad[i] ^= 1
			// The last base64 character of a signature has bits that stand for nothing: then it proves the same.
			if wrong, err := Proof(bad, s.pub); err == nil && !reflect.DeepEqual(wrong, got) {
				t.Fatalf("byte %d changed, and it proves %+v", i, wrong)
			}
		}
	}
}

func FuzzProof(f *testing.F) {
	s := newServer(f, f.TempDir())
	f.Add([]byte("c2sp.org/tlog-proof@v1\nextra AAAA\nindex 0\n\nx"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := Proof(text, s.pub); err == nil {
			t.Fatal("a proof out of nothing")
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	s := newServer(b, b.TempDir())
	s.bytes = audit.DefaultSegment
	s.boot(b, 0, 400, 2000)
	benchmarkVerify(b, s, "")
	l, err := audit.Open(audit.Config{
		Dir: s.dir, Node: "n1", Cluster: "test", SegmentBytes: s.bytes, ReserveBytes: -1, CompressAfter: time.Nanosecond,
		Now: func() time.Time { return time.Now().Add(time.Hour) },
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(l.Keyed(s.keys), l.Keep(), l.Close()); err != nil {
		b.Fatal(err)
	}
	benchmarkVerify(b, s, "compressed/")
}

func benchmarkVerify(b *testing.B, s *server, form string) {
	b.Helper()
	var records uint64
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("%sworkers=%d", form, workers), func(b *testing.B) {
			began := cpu(b)
			for b.Loop() {
				rep, err := Dir(b.Context(), Options{Dir: s.dir, Keys: s.pub, Workers: workers})
				if err != nil || !rep.Verified {
					b.Fatal(rep, err)
				}
				records += rep.Records
			}
			used := cpu(b) - began
			b.ReportMetric(float64(records)/used.Seconds(), "records/cpu-s")
			b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
			records = 0
		})
	}
}
