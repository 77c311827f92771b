package segment

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"testing"
	"time"
)

var tag = Tag{1, 2, 3, 4, 5, 6, 7, 8}

// build makes a sealed, padded batch.
func build(t testing.TB, first uint64, prev Hash, bodies ...string) ([]byte, Hash) {
	t.Helper()
	raw := make([]byte, HeaderSize)
	var leaves []byte
	for _, b := range bodies {
		raw = AppendFrame(raw, []byte(b), []byte("annex"))
		leaf := sha256.Sum256(append([]byte{0}, b...))
		leaves = append(leaves, leaf[:]...)
	}
	h := Header{
		Flags: Keyed, Tag: tag, First: first, Count: uint32(len(bodies)), Time: time.Unix(5, 6), KeyEpoch: 3, HeadRev: 9,
		HeadHash: Hash{7}, Prev: prev, Leaves: sha256.Sum256(leaves),
	}
	sum, err := Seal(raw, &h, func(Hash) (Hash, error) { return Hash{8}, nil })
	if err != nil {
		t.Fatal(err)
	}
	return append(raw, make([]byte, Padded(int64(len(raw)))-int64(len(raw)))...), sum
}

func TestAHeaderSurvivesItsEncoding(t *testing.T) {
	raw, sum := build(t, 5, Hash{9}, "one", "two")
	h, err := ParseHeader(raw)
	if err != nil {
		t.Fatal(err)
	}
	if h.First != 5 || h.Next() != 7 || h.Prev != (Hash{9}) || h.MAC != (Hash{8}) || h.KeyEpoch != 3 || h.HeadRev != 9 ||
		h.HeadHash != (Hash{7}) || h.Tag != tag || h.Size() != int64(len(raw)) || !h.Time.Equal(time.Unix(5, 6)) {
		t.Errorf("got %+v", h)
	}
	if HashOf(raw) != sum {
		t.Error("the hash of the batch is not the one that Seal gave")
	}
	again := bytes.Clone(raw[:HeaderSize+int(h.Length)])
	mac := h.MAC
	if _, err := Seal(again, &h, func(Hash) (Hash, error) { return mac, nil }); err != nil || !bytes.Equal(again, raw[:len(again)]) {
		t.Error("sealing the parsed header again gives other bytes")
	}
}

func TestTheHashCoversAllButAnnexMACAndChecksum(t *testing.T) {
	raw, sum := build(t, 5, Hash{}, "one", "two")
	h, _ := ParseHeader(raw)
	whole := raw[:HeaderSize+int(h.Length)]
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 1
		got, err := ParseHeader(bad)
		if err == nil && Check(bad, &got) == nil {
			t.Fatalf("byte %d: the checksum does not cover it", i)
		}
		if i < atMAC && HashOf(bad) == sum {
			t.Errorf("byte %d of the header: the hash does not cover it", i)
		}
		if i >= HeaderSize && err == nil {
			_, leaves := Leaves(nil, bad, &got)
			annex := i >= HeaderSize+FrameSize+3 && i < HeaderSize+FrameSize+8 || i >= HeaderSize+2*FrameSize+11
			if covered := leaves != nil; covered == annex {
				t.Errorf("byte %d of the frames: covered %v, annex %v", i, covered, annex)
			}
		}
	}
}

func file(t testing.TB) (data []byte, offs []int64) {
	t.Helper()
	var prev Hash
	next := uint64(0)
	for i := range 5 {
		offs = append(offs, int64(len(data)))
		bodies := []string{"a", "bb", "ccc"}[:1+i%3]
		raw, sum := build(t, next, prev, bodies...)
		data, prev, next = append(data, raw...), sum, next+uint64(len(bodies))
	}
	return data, append(offs, int64(len(data)))
}

func TestAReaderStopsAtWhatDoesNotFit(t *testing.T) {
	data, offs := file(t)
	read := func(data []byte) (n int, err error) {
		r := NewReader(bytes.NewReader(data), 0, int64(len(data)), 0, Tag{})
		for {
			if _, err = r.Next(); err != nil {
				if r.Offset() != offs[n] && !errors.Is(err, io.EOF) {
					t.Errorf("offset: got %d want %d", r.Offset(), offs[n])
				}
				return n, err
			}
			n++
		}
	}
	if n, err := read(data); n != 5 || !errors.Is(err, io.EOF) {
		t.Errorf("whole: got %d, %v", n, err)
	}
	if n, err := read(append(bytes.Clone(data), make([]byte, 4096)...)); n != 5 || !errors.Is(err, ErrNotBatch) {
		t.Errorf("zeros behind: got %d, %v", n, err)
	}
	if n, err := read(data[:offs[4]+200]); n != 4 || !errors.Is(err, ErrTruncated) {
		t.Errorf("cut: got %d, %v", n, err)
	}
	bad := bytes.Clone(data)
	bad[offs[2]+HeaderSize+6] ^= 1
	if n, err := read(bad); n != 2 || !errors.Is(err, ErrChecksum) {
		t.Errorf("changed: got %d, %v", n, err)
	}
	skip := append(bytes.Clone(data[:offs[1]]), data[offs[2]:]...)
	if n, err := read(skip); n != 1 || !errors.Is(err, ErrNotBatch) {
		t.Errorf("removed: got %d, %v", n, err)
	}
	other := bytes.Clone(data)
	other[offs[3]+atTag] ^= 1
	if n, err := read(other); n != 3 || !errors.Is(err, ErrNotBatch) {
		t.Errorf("of another log: got %d, %v", n, err)
	}
}

func TestZerosTornWritesAndDamageAreToldApart(t *testing.T) {
	data, offs := file(t)
	rest := func(data []byte, off int64, next uint64) (int64, bool) {
		dirty, later, err := Rest(bytes.NewReader(data), off, int64(len(data)), next, tag)
		if err != nil {
			t.Fatal(err)
		}
		return dirty, later != nil
	}
	clean := append(bytes.Clone(data), make([]byte, 3<<20)...)
	if dirty, later := rest(clean, offs[5], 9); dirty != -1 || later {
		t.Errorf("zeros: got %d, %v", dirty, later)
	}
	torn := bytes.Clone(clean)
	copy(torn[offs[5]:], data[offs[4]:offs[4]+100])
	if dirty, later := rest(torn, offs[5], 9); dirty < 0 || later {
		t.Errorf("a torn or stale batch: got %d, %v", dirty, later)
	}
	hole := bytes.Clone(clean)
	clear(hole[offs[2]:offs[3]])
	if dirty, later := rest(hole, offs[2], 3); dirty < 0 || !later {
		t.Errorf("a hole before a whole batch: got %d, %v, want a later batch", dirty, later)
	}
	far := bytes.Clone(clean)
	far[len(far)-1] = 7
	if dirty, later := rest(far, offs[5], 9); dirty != int64(len(far)-1) || later {
		t.Errorf("a byte far behind: got %d, %v", dirty, later)
	}
}

func TestNamesAreCanonical(t *testing.T) {
	for _, tc := range []struct {
		name    string
		first   uint64
		attempt int
		ok      bool
	}{
		{"00000000000000000000.log", 0, 0, true},
		{"00000000000000012345.log", 12345, 0, true},
		{"00000000000000012345.007.log", 12345, 7, true},
		{"00000000000000012345.000.log", 0, 0, false},
		{"12345.log", 0, 0, false},
		{"0000000000000001234x.log", 0, 0, false},
		{"99999999999999999999.log", 0, 0, false},
		{"spare", 0, 0, false},
	} {
		first, attempt, ok := ParseName(tc.name)
		if ok != tc.ok || ok && (first != tc.first || attempt != tc.attempt || Name(first, attempt) != tc.name) {
			t.Errorf("%s: got %d, %d, %v", tc.name, first, attempt, ok)
		}
	}
}

func FuzzReader(f *testing.F) {
	data, _ := file(f)
	f.Add(data)
	f.Add(append(data[:1024:1024], make([]byte, 600)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewReader(bytes.NewReader(data), 0, int64(len(data)), 0, Tag{})
		for {
			b, err := r.Next()
			if err != nil {
				break
			}
			if b.Next() <= b.First || r.Offset() <= b.Offset {
				t.Fatal("the reader does not advance")
			}
			_, _ = Leaves(nil, b.Raw, &b.Header)
		}
		if _, _, err := Rest(bytes.NewReader(data), r.Offset(), int64(len(data)), r.Expect(), Tag{}); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzCut(f *testing.F) {
	f.Add(AppendFrame(nil, []byte("body"), []byte("annex")))
	f.Fuzz(func(t *testing.T, data []byte) {
		frame, rest, err := Cut(data)
		if err != nil {
			return
		}
		if again := append(AppendFrame(nil, frame.Body(), frame.Annex), rest...); !bytes.Equal(again, data) {
			t.Fatalf("%x became %x", data, again)
		}
	})
}
