package floe

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

var testKey = bytes.Repeat([]byte{7}, KeySize)

const testAAD = "where this belongs"

func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*131 + i>>8)
	}
	return b
}

// encrypt is a whole stream; rotate is 0 for that of the specification.
func encrypt(t testing.TB, plaintext []byte, segment int, rotate uint) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, testKey, []byte(testAAD), segment)
	if err != nil {
		t.Fatal(err)
	}
	if rotate > 0 {
		w.s.rotate = rotate
	}
	if _, err := w.Write(plaintext); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// decrypt reads as much as a stream gives.
func decrypt(stream, key []byte, aad string) ([]byte, error) {
	r, err := NewReader(bytes.NewReader(stream), key, []byte(aad))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// sizes around every edge of a segment with room for n bytes.
func sizes(n int) []int {
	return []int{0, 1, n - 1, n, n + 1, 2*n - 1, 2 * n, 2*n + 1, 5*n + 3}
}

func TestAnotherImplementationReadsAndWritesTheSame(t *testing.T) {
	for _, segment := range []int{MinSegment, 40, 64, 4096, 65536} {
		for _, mask := range []uint{rotation, 2} {
			for _, n := range sizes(segment - Overhead) {
				if n < 0 {
					continue
				}
				plaintext := text(n)
				ref := reference{key: testKey, aad: []byte(testAAD), segment: segment, mask: mask}
				stream := encrypt(t, plaintext, segment, mask)
				got, err := ref.unseal(stream)
				if err != nil || !bytes.Equal(got, plaintext) {
					t.Fatalf("segment %d, mask %d, %d bytes: the other cannot read it: %v", segment, mask, n, err)
				}
				if want, err := Size(int64(n), segment); err != nil || int64(len(stream)) != want {
					t.Errorf("segment %d, %d bytes: the stream has %d bytes, Size says %d %v", segment, n, len(stream), want, err)
				}
				for _, emptyLast := range []bool{false, true} {
					ref.iv = make([]byte, 32)
					rand.Read(ref.iv)
					stream := ref.seal(plaintext, emptyLast)
					r, err := NewReader(bytes.NewReader(stream), testKey, []byte(testAAD))
					if err != nil {
						t.Fatal(err)
					}
					r.s.rotate = mask
					got, err := io.ReadAll(r)
					if err != nil || !bytes.Equal(got, plaintext) {
						t.Fatalf("segment %d, mask %d, %d bytes: cannot read what the other wrote: %v", segment, mask, n, err)
					}
				}
			}
		}
	}
}

type vector struct {
	name                        string
	key, aad, plaintext, stream []byte
}

// vectors were made with fixed IVs and nonces by a program in another language (testdata/vectors.py).
func vectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var in []struct{ Name, Key, AAD, Plaintext, Stream string }
	if err := json.Unmarshal(b, &in); err != nil {
		t.Fatal(err)
	}
	var out []vector
	for _, v := range in {
		n := vector{name: v.Name}
		for to, from := range map[*[]byte]string{&n.key: v.Key, &n.aad: v.AAD, &n.plaintext: v.Plaintext, &n.stream: v.Stream} {
			if *to, err = hex.DecodeString(from); err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, n)
	}
	if len(out) < 6 {
		t.Fatalf("%d vectors", len(out))
	}
	return out
}

func TestKnownAnswers(t *testing.T) {
	for _, v := range vectors(t) {
		got, err := decrypt(v.stream, v.key, string(v.aad))
		if err != nil || !bytes.Equal(got, v.plaintext) {
			t.Errorf("%s: got %x %v, want %x", v.name, got, err, v.plaintext)
		}
		r, err := NewReaderAt(bytes.NewReader(v.stream), int64(len(v.stream)), v.key, v.aad)
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		got = make([]byte, r.Size())
		if _, err := r.ReadAt(got, 0); err != nil || !bytes.Equal(got, v.plaintext) {
			t.Errorf("%s, at any place: got %x %v, want %x", v.name, got, err, v.plaintext)
		}
	}
}

// checkPrefix: what was released before an error is a prefix of the plaintext, of whole segments.
func checkPrefix(t *testing.T, what string, got, plaintext []byte, room int, err error) {
	t.Helper()
	if !errors.Is(err, ErrOpen) {
		t.Fatalf("%s: got %v, want %v", what, err, ErrOpen)
	}
	if !bytes.HasPrefix(plaintext, got) || len(got)%room != 0 || len(got) >= max(1, len(plaintext)) {
		t.Fatalf("%s: %d bytes were released that are not whole segments of the plaintext's beginning", what, len(got))
	}
}

func TestEveryFlippedBitIsRefused(t *testing.T) {
	const segment = 48
	plaintext := text(3*(segment-Overhead) + 5)
	stream := encrypt(t, plaintext, segment, 0)
	for i := range stream {
		for bit := range 8 {
			bad := bytes.Clone(stream)
			bad[i] ^= 1 << bit
			got, err := decrypt(bad, testKey, testAAD)
			what := fmt.Sprintf("bit %d of byte %d", bit, i)
			checkPrefix(t, what, got, plaintext, segment-Overhead, err)
			if i < HeaderSize && len(got) > 0 {
				t.Fatalf("%s of the header: %d bytes were released", what, len(got))
			}
			if want := max(0, i-HeaderSize) / segment * (segment - Overhead); len(got) > want {
				t.Fatalf("%s: %d bytes were released, the segments before it have %d", what, len(got), want)
			}
			r, err := NewReaderAt(bytes.NewReader(bad), int64(len(bad)), testKey, []byte(testAAD))
			if err == nil {
				all := make([]byte, r.Size())
				var n int
				n, err = r.ReadAt(all, 0)
				checkPrefix(t, what+" at any place", all[:n], plaintext, segment-Overhead, err)
			} else if !errors.Is(err, ErrOpen) {
				t.Fatalf("%s: got %v, want %v", what, err, ErrOpen)
			}
		}
	}
}

func TestEveryTruncationAndExtensionIsRefused(t *testing.T) {
	const segment = 48
	for _, n := range sizes(segment - Overhead) {
		plaintext := text(n)
		stream := encrypt(t, plaintext, segment, 0)
		var bad [][]byte
		for i := range stream {
			bad = append(bad, stream[:i])
		}
		for _, after := range [][]byte{{0}, stream[HeaderSize:], stream, make([]byte, segment), make([]byte, 5*segment)} {
			bad = append(bad, slices.Concat(stream, after))
		}
		for _, b := range bad {
			what := fmt.Sprintf("%d of %d bytes", len(b), len(stream))
			got, err := decrypt(b, testKey, testAAD)
			checkPrefix(t, what, got, plaintext, segment-Overhead, err)
			if _, err := NewReaderAt(bytes.NewReader(b), int64(len(b)), testKey, []byte(testAAD)); !errors.Is(err, ErrOpen) {
				t.Fatalf("%s at any place: got %v, want %v", what, err, ErrOpen)
			}
		}
	}
}

func TestSegmentsKeepTheirPlaces(t *testing.T) {
	const segment, count = 48, 5
	const room = segment - Overhead
	plaintext := text(count * room) // the last segment is as long as the others
	stream := encrypt(t, plaintext, segment, 1)
	other := encrypt(t, plaintext, segment, 1)
	cut := func(s []byte, i int) []byte { return s[HeaderSize+i*segment:][:segment] }
	build := func(segments ...[]byte) []byte {
		return slices.Concat(append([][]byte{stream[:HeaderSize]}, segments...)...)
	}
	refuse := func(what string, bad []byte) {
		t.Helper()
		r, err := NewReader(bytes.NewReader(bad), testKey, []byte(testAAD))
		if err != nil {
			t.Fatal(err)
		}
		r.s.rotate = 1
		got, err := io.ReadAll(r)
		checkPrefix(t, what, got, plaintext, room, err)
	}
	all := func() [][]byte {
		var out [][]byte
		for i := range count {
			out = append(out, cut(stream, i))
		}
		return out
	}
	for i := range count {
		for j := range count {
			if i != j {
				s := all()
				s[i], s[j] = s[j], s[i]
				refuse(fmt.Sprintf("%d and %d swapped", i, j), build(s...))
				s = all()
				s[i] = s[j]
				refuse(fmt.Sprintf("%d in the place of %d", j, i), build(s...))
			}
			refuse(fmt.Sprintf("%d twice", i), build(slices.Insert(all(), j, cut(stream, i))...))
		}
		refuse(fmt.Sprintf("without %d", i), build(slices.Delete(all(), i, i+1)...))
		s := all()
		s[i] = cut(other, i)
		refuse(fmt.Sprintf("%d of another stream", i), build(s...))
		// An inner segment that says it is the last, with every length.
		last := bytes.Clone(cut(stream, i))
		copy(last, []byte{0, 0, 0, segment})
		refuse(fmt.Sprintf("%d as the last", i), build(append(all()[:i], last)...)[:HeaderSize+(i+1)*segment-btoi(i == count-1)])
	}
	if got, err := decrypt(append(bytes.Clone(other[:HeaderSize]), stream[HeaderSize:]...), testKey, testAAD); !errors.Is(err, ErrOpen) || len(got) > 0 {
		t.Errorf("the segments of one stream under the header of another: got %d bytes, %v", len(got), err)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestOneKeyAndOneContextOnly(t *testing.T) {
	stream := encrypt(t, text(100), 64, 0)
	wrong := bytes.Clone(testKey)
	wrong[31] ^= 1
	for what, try := range map[string]func() ([]byte, error){
		"another key":        func() ([]byte, error) { return decrypt(stream, wrong, testAAD) },
		"another context":    func() ([]byte, error) { return decrypt(stream, testKey, testAAD+"x") },
		"no context":         func() ([]byte, error) { return decrypt(stream, testKey, "") },
		"nothing":            func() ([]byte, error) { return decrypt(nil, testKey, testAAD) },
		"the header alone":   func() ([]byte, error) { return decrypt(stream[:HeaderSize], testKey, testAAD) },
		"a header cut short": func() ([]byte, error) { return decrypt(stream[:HeaderSize-1], testKey, testAAD) },
	} {
		if got, err := try(); !errors.Is(err, ErrOpen) || len(got) > 0 {
			t.Errorf("%s: got %d bytes, %v", what, len(got), err)
		}
	}
	for _, key := range [][]byte{nil, testKey[:31], append(bytes.Clone(testKey), 0)} {
		if _, err := NewWriter(io.Discard, key, nil, 64); err == nil {
			t.Errorf("a key of %d bytes is taken to encrypt", len(key))
		}
		if _, err := decrypt(stream, key, testAAD); err == nil || errors.Is(err, ErrOpen) {
			t.Errorf("a key of %d bytes: got %v", len(key), err)
		}
	}
	for _, segment := range []int{-1, 0, Overhead, MaxSegment + 1, 1 << 40} {
		if _, err := NewWriter(io.Discard, testKey, nil, segment); err == nil {
			t.Errorf("a segment of %d bytes is taken", segment)
		}
	}
}

// Other parameters are refused even with a header tag that fits them.
func TestOtherParametersAreRefused(t *testing.T) {
	good := encrypt(t, nil, 64, 0)
	for at, values := range map[int][]byte{0: {1, 255}, 1: {1, 255}, 2: {1, 255}, 3: {0x11, 0xff}, 5: {0, 32}, 6: {1}, 9: {0, 31, 33}} {
		for _, v := range values {
			bad := bytes.Clone(good)
			bad[at] = v
			s := &stream{aad: []byte(testAAD)}
			copy(s.prefix[:], bad)
			tag, err := s.keys(testKey)
			if err != nil {
				t.Fatal(err)
			}
			copy(bad[paramsSize+ivSize:], tag)
			if _, err := decrypt(bad, testKey, testAAD); !errors.Is(err, ErrOpen) {
				t.Errorf("byte %d of the parameters is %d: got %v", at, v, err)
			}
			if _, err := Check(bad[:HeaderSize], testKey, []byte(testAAD)); !errors.Is(err, ErrOpen) {
				t.Errorf("byte %d of the parameters is %d: Check says %v", at, v, err)
			}
		}
	}
	if n, err := Check(good[:HeaderSize], testKey, []byte(testAAD)); n != 64 || err != nil {
		t.Errorf("Check of a good header: got %d %v", n, err)
	}
}

func TestPiecesOfAnySizeGiveTheSameStream(t *testing.T) {
	const segment = 100
	const room = segment - Overhead
	plaintext := text(7*room + 3)
	sources := map[string]func(io.Reader) io.Reader{
		"as it is": func(r io.Reader) io.Reader { return r }, "one byte": iotest.OneByteReader, "halves": iotest.HalfReader, "end with data": iotest.DataErrReader,
	}
	for name, source := range sources {
		for _, n := range []int{0, 1, room, 2 * room, len(plaintext)} {
			var b bytes.Buffer
			w, err := NewWriter(&b, testKey, nil, segment)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := w.ReadFrom(source(bytes.NewReader(plaintext[:n]))); got != int64(n) || err != nil {
				t.Fatalf("%s: read %d of %d bytes: %v", name, got, n, err)
			}
			if err := errors.Join(w.Close(), w.Close()); err != nil {
				t.Fatal(err)
			}
			if want, _ := Size(int64(n), segment); int64(b.Len()) != want {
				t.Errorf("%s, %d bytes: the stream has %d bytes, want %d", name, n, b.Len(), want)
			}
			r, err := NewReader(source(&b), testKey, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := iotest.TestReader(r, plaintext[:n]); err != nil {
				t.Errorf("%s, %d bytes: %v", name, n, err)
			}
		}
	}
	for step := 1; step < 3*room; step += 13 {
		var b, out bytes.Buffer
		w, err := NewWriter(&b, testKey, nil, segment)
		if err != nil {
			t.Fatal(err)
		}
		for piece := range slices.Chunk(plaintext, step) {
			if n, err := w.Write(piece); n != len(piece) || err != nil {
				t.Fatalf("wrote %d of %d: %v", n, len(piece), err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := NewReader(&b, testKey, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := r.WriteTo(&out); n != int64(len(plaintext)) || err != nil || !bytes.Equal(out.Bytes(), plaintext) {
			t.Errorf("pieces of %d: %d bytes, %v", step, n, err)
		}
	}
}

func TestAnyPartCanBeRead(t *testing.T) {
	const segment = 64
	const room = segment - Overhead
	for _, n := range sizes(room) {
		plaintext := text(n)
		stream := encrypt(t, plaintext, segment, 0)
		r, err := NewReaderAt(bytes.NewReader(stream), int64(len(stream)), testKey, []byte(testAAD))
		if err != nil {
			t.Fatal(err)
		}
		if r.Size() != int64(n) || r.SegmentSize() != segment {
			t.Fatalf("size: got %d in segments of %d, want %d", r.Size(), r.SegmentSize(), n)
		}
		want := bytes.NewReader(plaintext)
		var wg sync.WaitGroup
		for from := range n + 2 {
			wg.Go(func() {
				for _, size := range []int{0, 1, room - 1, room, room + 1, n, n + 7} {
					a, b := make([]byte, size), make([]byte, size)
					an, aerr := r.ReadAt(a, int64(from))
					bn, berr := want.ReadAt(b, int64(from))
					if size == 0 {
						aerr, berr = nil, nil // a read of nothing at the end: both are right
					}
					if an != bn || !errors.Is(aerr, berr) || !bytes.Equal(a, b) {
						t.Errorf("%d bytes at %d of %d: got %d %v, want %d %v", size, from, n, an, aerr, bn, berr)
					}
				}
			})
		}
		wg.Wait()
		if _, err := r.ReadAt(make([]byte, 1), -1); err == nil {
			t.Error("a negative offset is taken")
		}
		if err := iotest.TestReader(io.NewSectionReader(r, 0, r.Size()), plaintext); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if k, err := r.ReadAt(make([]byte, 1), 0); k != 0 || err == nil || n > 0 && errors.Is(err, io.EOF) {
			t.Errorf("after Close: got %d %v", k, err)
		}
	}
}

func TestFailuresToReadAndWriteStayWhatTheyAre(t *testing.T) {
	broken := errors.New("the disk is gone")
	stream := encrypt(t, text(300), 64, 0)
	for n := range len(stream) + 1 {
		src := io.MultiReader(bytes.NewReader(stream[:n]), iotest.ErrReader(broken))
		r, err := NewReader(src, testKey, []byte(testAAD))
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if !errors.Is(err, broken) {
			t.Fatalf("the source fails after %d bytes: got %v", n, err)
		}
	}
	for n := range len(stream) {
		dst := &limited{n: n, err: broken}
		w, err := NewWriter(dst, testKey, nil, 64)
		if err == nil {
			_, err = w.Write(text(300))
		}
		if err == nil {
			err = w.Close()
		}
		if !errors.Is(err, broken) {
			t.Fatalf("the destination fails after %d bytes: got %v", n, err)
		}
	}
	w, err := NewWriter(io.Discard, testKey, nil, 64)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.ReadFrom(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken))); n != 3 || !errors.Is(err, broken) {
		t.Errorf("the source of an encryption fails: got %d %v", n, err)
	}
	w.Abort()
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("a stream that was given up takes more")
	}
	if !bytes.Equal(w.s.message, make([]byte, messageKeySize)) || !bytes.Equal(w.buf[:cap(w.buf)], make([]byte, cap(w.buf))) {
		t.Error("keys and plaintext are not erased")
	}
	if _, err := w.ReadFrom(stuck{}); err == nil {
		t.Error("a closed stream reads")
	}
	w, err = NewWriter(io.Discard, testKey, nil, 64)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.ReadFrom(stuck{}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a source that gives nothing: got %v", err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// limited takes n bytes.
type limited struct {
	n   int
	err error
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.n {
		return l.n, l.err
	}
	l.n -= len(p)
	return len(p), nil
}

// AEAD_MAX_SEGMENTS: nobody waits for 2^40 of them.
func TestAStreamHasAnEnd(t *testing.T) {
	w, err := NewWriter(io.Discard, testKey, nil, MinSegment)
	if err != nil {
		t.Fatal(err)
	}
	w.n = maxSegments - 2
	if _, err := w.Write([]byte("ab")); err != nil {
		t.Fatalf("the last segment but one: %v", err)
	}
	if _, err := w.Write([]byte("c")); !errors.Is(err, ErrTooLong) {
		t.Errorf("one segment too many: got %v", err)
	}
	if _, err := Size(maxSegments+1, MinSegment); !errors.Is(err, ErrTooLong) {
		t.Errorf("size: got %v", err)
	}
	if n, err := Size(maxSegments, MinSegment); err != nil || n != HeaderSize+maxSegments*MinSegment {
		t.Errorf("size: got %d %v", n, err)
	}
	if _, err := Size(-1, MinSegment); err == nil {
		t.Error("a negative size is taken")
	}
	// A segment past the end, rightly sealed, is refused.
	s, header, err := create(testKey, nil, MinSegment)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(bytes.NewReader(header), testKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.aead(s.epoch(maxSegments - 1))
	if err != nil {
		t.Fatal(err)
	}
	r.n, r.src = maxSegments-1, bytes.NewReader(s.seal(nil, a, new(scratch), []byte("x"), maxSegments-1, false))
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, ErrOpen) {
		t.Errorf("one segment too many: got %v", err)
	}
}

// zeros gives n zero bytes.
type zeros struct{ n int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.n == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.n)
	clear(p[:n])
	z.n -= n
	return int(n), nil
}

func TestMemoryDoesNotGrow(t *testing.T) {
	run := func(n int64) float64 {
		return testing.AllocsPerRun(1, func() {
			pr, pw := io.Pipe()
			go func() {
				w, err := NewWriter(pw, testKey, nil, 4096)
				if err == nil {
					_, err = w.ReadFrom(&zeros{n})
				}
				if err == nil {
					err = w.Close()
				}
				pw.CloseWithError(err)
			}()
			r, err := NewReader(pr, testKey, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := r.WriteTo(io.Discard); got != n || err != nil {
				t.Errorf("%d of %d bytes: %v", got, n, err)
			}
		})
	}
	small, large := run(4096), run(8<<20)
	if large > small+100 { // 2000 segments more
		t.Errorf("%v allocations for 4 KiB, %v for 8 MiB", small, large)
	}
}
