package segment

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// chunk is how much is read from a file at once, unless the reader was told otherwise.
const chunk = 1 << 20

// Batch is a batch in memory. It is valid until the next call of the reader.
type Batch struct {
	Header
	Offset int64
	Raw    []byte // header and frames
}

// Reader reads the batches of a file in order. It checks headers, checksums, tag and numbering, not chain or hashes.
type Reader struct {
	src  io.ReaderAt
	size int64
	off  int64 // of the next batch

	buf   []byte // a window of the file
	start int64  // of the window

	ahead  int64 // bytes to read at once
	tag    Tag
	tagged bool
	next   uint64
}

// NewReader reads from a place on; next is the number of the first record there. A zero tag accepts any and then holds to the first.
func NewReader(src io.ReaderAt, off, size int64, next uint64, tag Tag) *Reader {
	return &Reader{src: src, off: off, size: size, ahead: chunk, next: next, tag: tag, tagged: tag != Tag{}}
}

// Ahead says how many bytes to read from the file at once: few where little is wanted.
func (r *Reader) Ahead(n int64) { r.ahead = n }

// Offset is the end of the last whole batch.
func (r *Reader) Offset() int64 { return r.off }

// Expect is the number of the next record.
func (r *Reader) Expect() uint64 { return r.next }

// Next reads a batch. io.EOF says that the file ends exactly here. Every other error says what is wrong at Offset.
func (r *Reader) Next() (Batch, error) {
	if r.off >= r.size {
		return Batch{}, io.EOF
	}
	raw, err := r.window(HeaderSize)
	if err != nil {
		return Batch{}, err
	}
	h, err := ParseHeader(raw)
	if err != nil {
		return Batch{}, err
	}
	if r.tagged && h.Tag != r.tag {
		return Batch{}, fmt.Errorf("%w of this log", ErrNotBatch)
	}
	if h.First != r.next {
		return Batch{}, fmt.Errorf("%w: it starts with record %d, record %d was expected", ErrNotBatch, h.First, r.next)
	}
	if raw, err = r.window(HeaderSize + int(h.Length)); err != nil {
		return Batch{}, err
	}
	if err := Check(raw, &h); err != nil {
		return Batch{}, err
	}
	b := Batch{Header: h, Offset: r.off, Raw: raw}
	r.tag, r.tagged = h.Tag, true
	r.off += h.Size()
	r.next = h.Next()
	return b, nil
}

// window gives n bytes at the reader's place.
func (r *Reader) window(n int) ([]byte, error) {
	if r.off+int64(n) > r.size {
		return nil, ErrTruncated
	}
	if at := r.off - r.start; at >= 0 && at+int64(n) <= int64(len(r.buf)) {
		return r.buf[at : at+int64(n)], nil
	}
	want := min(max(int64(n), r.ahead), r.size-r.off)
	if int64(cap(r.buf)) < want {
		r.buf = make([]byte, want)
	}
	r.buf = r.buf[:want]
	r.start = r.off
	got, err := r.src.ReadAt(r.buf, r.off)
	if got < n {
		r.buf = r.buf[:0]
		if err == nil || errors.Is(err, io.EOF) {
			return nil, ErrTruncated
		}
		return nil, fmt.Errorf("read segment: %w", err)
	}
	r.buf = r.buf[:got]
	return r.buf[:n], nil
}

// Rest looks at what follows the last whole batch of a file. It tells where the last byte that is not zero stands (-1: all is
// zero), and finds a whole batch of the same log (any log, for a zero tag) that starts with record next or a later one.
func Rest(src io.ReaderAt, off, size int64, next uint64, tag Tag) (dirty int64, later *Header, err error) {
	dirty = -1
	off = Padded(off)
	buf := make([]byte, max(0, min(chunk, size-off)))
	zero := make([]byte, Align)
	for at := off; at < size; at += int64(len(buf)) {
		n, err := src.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return dirty, later, fmt.Errorf("read segment: %w", err)
		}
		for p := 0; p < n; p += Align {
			sector := buf[p:min(p+Align, n)]
			if bytes.Equal(sector, zero[:len(sector)]) {
				continue
			}
			dirty = at + int64(p) + int64(len(bytes.TrimRight(sector, "\x00"))) - 1
			if later != nil {
				continue
			}
			h, err := ParseHeader(sector)
			if err != nil || h.First < next || tag != (Tag{}) && h.Tag != tag {
				continue
			}
			if at+int64(p)+HeaderSize+int64(h.Length) > size {
				continue
			}
			raw := make([]byte, HeaderSize+int(h.Length))
			if got, _ := src.ReadAt(raw, at+int64(p)); got == len(raw) && Check(raw, &h) == nil {
				later = &h
			}
		}
		if n == 0 {
			break
		}
	}
	return dirty, later, nil
}

// File is a segment in a folder.
type File struct {
	Path    string
	First   uint64
	Attempt int
	Packed  bool   // compressed
	Twin    string // the compressed file of the same segment, whose original, this one, was not removed yet
}

// List gives the segments of an epoch's folder in the order of their records. Of several files with the same first record only the
// last attempt counts: the others were given up before anything in them was acknowledged. They are in the second result.
func List(dir string) (live, given []File, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("list segments: %w", err)
	}
	for _, e := range entries {
		first, attempt, ok := ParseName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		live = append(live, File{Path: filepath.Join(dir, e.Name()), First: first, Attempt: attempt, Packed: strings.HasSuffix(e.Name(), packedEnd)})
	}
	slices.SortFunc(live, func(a, b File) int { // of two forms, the original first
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Attempt, b.Attempt), cmp.Compare(len(a.Path), len(b.Path)))
	})
	n := 0
	for _, f := range live {
		if n > 0 && live[n-1].First == f.First {
			if last := &live[n-1]; last.Attempt == f.Attempt {
				last.Twin = f.Path
				continue
			}
			n--
			given = append(given, live[n])
		}
		live[n] = f
		n++
	}
	return live[:n], given, nil
}
