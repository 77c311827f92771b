package tree

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func leaf(i uint64) Hash {
	return Hash(tlog.RecordHash(binary.BigEndian.AppendUint64(nil, i)))
}

// reference is the tree by RFC 6962's own definition.
func reference(leaves []Hash) Hash {
	switch n := len(leaves); n {
	case 0:
		return EmptyRoot()
	case 1:
		return leaves[0]
	default:
		k := top(n - 1)
		return Hash(tlog.NodeHash(reference(leaves[:k]), reference(leaves[k:])))
	}
}

func TestRootsFollowTheDefinition(t *testing.T) {
	var leaves []Hash
	var r Range
	for n := uint64(0); n < 600; n++ {
		if got, want := r.Root(), reference(leaves); got != want {
			t.Fatalf("root of %d: got %x want %x", n, got, want)
		}
		leaves = append(leaves, leaf(n))
		r.Append(leaf(n), nil)
	}
}

func TestRangesMergeToTheSameRoot(t *testing.T) {
	const n = 777
	var want Range
	for i := uint64(0); i < n; i++ {
		want.Append(leaf(i), nil)
	}
	for _, step := range []uint64{1, 3, 64, 100, 256, 511} {
		var got Range
		for at := uint64(0); at < n; at += step {
			var part Range
			part.Reset(at)
			for i := at; i < min(at+step, n); i++ {
				part.Append(leaf(i), nil)
			}
			if err := got.Merge(&part); err != nil {
				t.Fatal(err)
			}
		}
		if got.Root() != want.Root() || got.Next != n {
			t.Errorf("in steps of %d: got %x want %x", step, got.Root(), want.Root())
		}
	}
	other := Range{First: 5, Next: 5}
	if err := want.Merge(&other); !errors.Is(err, ErrGap) {
		t.Errorf("a range that does not touch: got %v, want ErrGap", err)
	}
}

func grow(t *testing.T, n uint64) *Tree {
	t.Helper()
	tr := New(t.TempDir())
	for i := range n {
		tr.Append(leaf(i))
	}
	if err := tr.TileError(); err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestProofsVerifyAtEverySize(t *testing.T) {
	const n = 70_000 // three tile levels
	tr := grow(t, n)
	r := tr.Reader()
	var at Range
	for size := uint64(1); size <= n; size++ {
		at.Append(leaf(size-1), nil)
		if size > 600 && size%9973 != 0 && size < n-3 {
			continue
		}
		root, err := r.RootAt(size)
		if err != nil || root != at.Root() {
			t.Fatalf("root at %d: got %x, %v want %x", size, root, err, at.Root())
		}
		index := size * 7 % size
		proof, err := r.Include(size, index)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckInclusion(proof, size, root, index, leaf(index)); err != nil {
			t.Fatalf("record %d in %d: %v", index, size, err)
		}
		if CheckInclusion(proof, size, root, index, leaf(index+1)) == nil {
			t.Fatalf("another record was accepted at %d in %d", index, size)
		}
		prev := 1 + size/3
		ext, err := r.Extend(prev, size)
		if err != nil {
			t.Fatal(err)
		}
		old, err := r.RootAt(prev)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckExtension(ext, prev, old, size, root); err != nil {
			t.Fatalf("from %d to %d: %v", prev, size, err)
		}
	}
}

func TestATreeLoadsFromItsTiles(t *testing.T) {
	for _, n := range []uint64{0, 1, 255, 256, 257, 65_535, 65_536, 66_000} {
		tr := grow(t, n)
		tail := func(from uint64) (out []Hash, err error) {
			for i := from; i < n; i++ {
				out = append(out, leaf(i))
			}
			return out, nil
		}
		got, err := Load(tr.dir, n, tail)
		if err != nil {
			t.Fatalf("%d records: %v", n, err)
		}
		for i := n; i < n+300; i++ {
			if got.Root() != tr.Root() {
				t.Fatalf("%d records: loaded tree differs at %d", n, i)
			}
			got.Append(leaf(i))
			tr.Append(leaf(i))
		}
	}
	tr := grow(t, 600)
	if err := os.Remove(filepath.Join(tr.dir, "tile/0/001")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(tr.dir, 600, func(uint64) ([]Hash, error) { return make([]Hash, 88), nil }); !errors.Is(err, ErrTile) {
		t.Errorf("a missing tile: got %v, want ErrTile", err)
	}
}

func TestTilesAreWhereTheStandardPutsThem(t *testing.T) {
	for want, got := range map[string]string{
		"tile/0/000":               TilePath(0, 0, 256),
		"tile/1/x001/x234/067":     TilePath(1, 1234067, 256),
		"tile/2/x001/x234/067.p/5": TilePath(2, 1234067, 5),
		"tile/0/x001/000":          TilePath(0, 1000, 256),
	} {
		if got != want {
			t.Errorf("got %s want %s", got, want)
		}
	}
	tr := grow(t, 70_000)
	if err := tr.WriteEdge(); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"tile/0/000", "tile/0/272", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"} {
		if _, err := os.Stat(filepath.Join(tr.dir, p)); err != nil {
			t.Error(err)
		}
	}
}

func keys(t testing.TB) (note.Signer, note.Verifiers) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, "keyhold.test")
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return s, note.VerifierList(v)
}

func TestAProofIsSelfContained(t *testing.T) {
	s, v := keys(t)
	tr := grow(t, 1000)
	c := Checkpoint{Origin: "keyhold.test/n1/1", Size: 900}
	r := tr.Reader()
	c.Root, _ = r.RootAt(c.Size)
	msg, err := c.Sign(s)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proof{Extra: []byte("the record"), Index: 321, Checkpoint: msg}
	if p.Hashes, err = r.Include(c.Size, p.Index); err != nil {
		t.Fatal(err)
	}
	got, err := ParseProof(p.Text())
	if err != nil {
		t.Fatal(err)
	}
	if at, err := got.Check(leaf(321), v); err != nil || at != c {
		t.Errorf("got %+v, %v", at, err)
	}
	if _, err := got.Check(leaf(322), v); !errors.Is(err, ErrProof) {
		t.Errorf("another record: got %v, want ErrProof", err)
	}
	_, stranger := keys(t)
	if _, err := got.Check(leaf(321), stranger); err == nil {
		t.Error("a proof under another key was accepted")
	}
}

func TestNotesStandOneAfterTheOther(t *testing.T) {
	s, v := keys(t)
	var file bytes.Buffer
	for i := range uint64(3) {
		msg, err := Checkpoint{Origin: "keyhold.test/n1/1", Size: i}.Sign(s)
		if err != nil {
			t.Fatal(err)
		}
		file.Write(append(msg, '\n'))
	}
	whole := file.Len()
	file.WriteString("keyhold.test/n1/1\n4\nAAAA")
	n := NewNotes(&file)
	for i := range uint64(3) {
		msg, err := n.Next()
		if err != nil {
			t.Fatal(err)
		}
		if c, err := Open(msg, v); err != nil || c.Size != i {
			t.Fatalf("note %d: got %+v, %v", i, c, err)
		}
		if c, err := Unverified(msg); err != nil || c.Size != i {
			t.Fatalf("note %d unverified: got %+v, %v", i, c, err)
		}
	}
	if _, err := n.Next(); !errors.Is(err, ErrCheckpoint) || n.End() != int64(whole) {
		t.Errorf("a torn note: got %v at %d, want ErrCheckpoint at %d", err, n.End(), whole)
	}
	if _, err := NewNotes(strings.NewReader("")).Next(); !errors.Is(err, io.EOF) {
		t.Errorf("no notes: got %v, want io.EOF", err)
	}
}

func FuzzProof(f *testing.F) {
	s, v := keys(f)
	msg, _ := Checkpoint{Origin: "keyhold.test/n1/1", Size: 5}.Sign(s)
	f.Add((&Proof{Extra: []byte("x"), Index: 3, Hashes: make([]Hash, 2), Checkpoint: msg}).Text())
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParseProof(text)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Text(), text) {
			t.Fatalf("%q became %q", text, p.Text())
		}
		_, _ = p.Check(Hash{}, v)
	})
}

func FuzzCheckpoint(f *testing.F) {
	s, v := keys(f)
	msg, _ := Checkpoint{Origin: "keyhold.test/n1/1", Size: 5}.Sign(s)
	f.Add(msg)
	f.Fuzz(func(t *testing.T, msg []byte) {
		if c, err := Unverified(msg); err == nil {
			if again, err := ParseText(c.Text()); err != nil || again != c {
				t.Fatalf("%+v became %+v, %v", c, again, err)
			}
		}
		_, _ = Open(msg, v)
		n := NewNotes(bytes.NewReader(msg))
		for {
			if _, err := n.Next(); err != nil {
				break
			}
		}
	})
}
