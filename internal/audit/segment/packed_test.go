package segment

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// written makes a segment of batches of many sizes, and its compressed form.
func written(t testing.TB, batches int) (plain, packed []byte, next uint64) {
	t.Helper()
	rnd := mrand.New(mrand.NewPCG(1, 2))
	p, err := NewPacker()
	if err != nil {
		t.Fatal(err)
	}
	prev := Seed("keyhold.test/n1/1")
	for range batches {
		raw := make([]byte, HeaderSize)
		var leaves []byte
		h := Header{Tag: Tag{1}, First: next, Prev: prev}
		for range 1 + rnd.IntN(40) {
			body := make([]byte, 20+rnd.IntN(400))
			copy(body, "a body that repeats itself")
			leaf := sha256.Sum256(append([]byte{0}, body...))
			leaves = append(leaves, leaf[:]...)
			raw = AppendFrame(raw, body, []byte("an annex"))
			h.Count++
		}
		h.Leaves = sha256.Sum256(leaves)
		if prev, err = Seal(raw, &h, nil); err != nil {
			t.Fatal(err)
		}
		packed = p.Add(packed, &Batch{Header: h, Raw: raw})
		plain = append(plain, raw...)
		plain = append(plain, make([]byte, h.Size()-int64(len(raw)))...)
		next = h.Next()
	}
	return plain, p.Finish(packed), next
}

func write(t testing.TB, data []byte) File {
	t.Helper()
	path := filepath.Join(t.TempDir(), PackedName(0, 0))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return File{Path: path, Packed: true}
}

// TestACompressedSegmentIsReadLikeTheOriginal reads it from all places and in pieces of all sizes, and with an ordinary decompressor.
func TestACompressedSegmentIsReadLikeTheOriginal(t *testing.T) {
	plain, packed, next := written(t, 200)
	if len(packed) >= len(plain) {
		t.Errorf("%d bytes became %d", len(plain), len(packed))
	}
	d, err := zstd.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("an ordinary decompressor gives %d bytes, %v; want the %d of the segment", len(got), err, len(plain))
	}
	s, err := Open(write(t, packed))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // ends the test
	if s.Size() != int64(len(plain)) {
		t.Fatalf("got a size of %d want %d", s.Size(), len(plain))
	}
	rnd := mrand.New(mrand.NewPCG(3, 4))
	for range 500 {
		off := rnd.IntN(len(plain))
		buf := make([]byte, rnd.IntN(3*blockGoal))
		n, err := s.ReadAt(buf, int64(off))
		want := plain[off:min(off+len(buf), len(plain))]
		if !bytes.Equal(buf[:n], want) || n < len(buf) != errors.Is(err, io.EOF) || err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("%d bytes at %d: got %d, %v", len(buf), off, n, err)
		}
	}
	places, end := s.Places()
	if len(places) < 3 || end != next {
		t.Fatalf("%d places, up to record %d, want %d", len(places), end, next)
	}
	for _, at := range places {
		b, err := NewReader(s, at.Off, s.Size(), at.First, Tag{1}).Next()
		if err != nil || b.First != at.First {
			t.Fatalf("place %+v: %v", at, err)
		}
	}
}

// TestADamagedCompressedSegmentIsNamed flips bits of a small one, every one in a long run: whatever is read afterwards is what it was, or the damage is told.
func TestADamagedCompressedSegmentIsNamed(t *testing.T) {
	plain, packed, _ := written(t, 4)
	file := write(t, packed)
	step := 19
	if os.Getenv("KEYHOLD_LONG") == "1" {
		step = 1
	}
	for i := 0; i < 8*len(packed); i += step {
		bad := bytes.Clone(packed)
		bad[i/8] ^= 1 << (i % 8)
		if err := os.WriteFile(file.Path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readAll(file)
		if err == nil && !bytes.Equal(got, plain) {
			t.Fatalf("bit %d: other bytes, and no error", i)
		}
		if err != nil && !errors.Is(err, ErrPacked) {
			t.Fatalf("bit %d: got %v want %v", i, err, ErrPacked)
		}
	}
}

func readAll(file File) ([]byte, error) {
	s, err := Open(file)
	if err != nil {
		return nil, err
	}
	defer s.Close() //nolint:errcheck // read only
	out := make([]byte, min(s.Size(), 1<<26))
	_, err = s.ReadAt(out, 0)
	return out, err
}

// TestABombDoesNotGoOff has a table that names a small block, and a frame that holds far more.
func TestABombDoesNotGoOff(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	frame := enc.EncodeAll(make([]byte, 1<<30), nil)
	if len(frame) > maxPacked {
		t.Fatalf("the frame has %d bytes", len(frame))
	}
	p := Packer{table: table{next: 1}}
	p.table.append(0, 4096, len(frame))
	if _, err := readAll(write(t, p.Finish(frame))); !errors.Is(err, ErrPacked) {
		t.Fatalf("got %v want %v", err, ErrPacked)
	}
}

// FuzzPacked reads whatever there is: it may be refused, but not cost more memory than its table may say.
func FuzzPacked(f *testing.F) {
	_, packed, _ := written(f, 6)
	f.Add(packed, false)
	f.Add(packed[:len(packed)/2], true)
	empty := Packer{}
	f.Add(empty.Finish(nil), true)
	f.Fuzz(func(t *testing.T, data []byte, mend bool) {
		if n := len(data); mend && n > footerSize { // get past the table's checksum
			blocks := int(binary.BigEndian.Uint32(data[n-16:]) % maxBlocks)
			if at := n - footerSize - blocks*rowSize; at >= 0 {
				binary.BigEndian.PutUint32(data[n-8:], crc32.Checksum(data[at:n-8], castagnoli))
			}
		}
		file := write(t, data)
		s, err := Open(file)
		if err != nil {
			return
		}
		defer s.Close() //nolint:errcheck // read only
		buf := make([]byte, 1<<20)
		for off := int64(0); off < min(s.Size(), 1<<26); off += int64(len(buf)) {
			if _, err := s.ReadAt(buf, off); err != nil {
				break
			}
		}
	})
}

func BenchmarkUnpack(b *testing.B) {
	plain, packed, _ := written(b, 2000)
	s, err := Open(write(b, packed))
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		for off := int64(0); off < s.Size(); off += int64(len(buf)) {
			if _, err := s.ReadAt(buf, off); err != nil && !errors.Is(err, io.EOF) {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(len(plain))/float64(len(packed)), "ratio")
}
