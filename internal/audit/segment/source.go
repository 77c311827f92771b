package segment

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
)

// Source is a segment that is open for reading. Offsets are those of the segment uncompressed, whichever form the file has. It is not safe for concurrent use.
type Source struct {
	f    *os.File
	size int64
	rows []row // of a compressed segment
	next uint64

	packed []byte // room for a block of the file
	block  []byte // the block that was read in part last
	held   int    // its row, or -1
}

// Open opens a segment in either form, and in the compressed one if the original was replaced since it was listed. Errors: ErrPacked, and those of reading.
func Open(file File) (*Source, error) {
	f, err := os.Open(file.Path)
	if errors.Is(err, os.ErrNotExist) && !file.Packed {
		if p, again := os.Open(file.Path + packedEnd); again == nil {
			f, err, file.Packed = p, nil, true
		}
	}
	if err != nil {
		return nil, err
	}
	s := &Source{f: f, held: -1}
	st, err := f.Stat()
	if err == nil {
		s.size = st.Size()
	}
	if err == nil && file.Packed {
		var t *table
		if t, err = readTable(f, s.size); err == nil {
			s.rows, s.next, s.size = t.rows, t.next, t.size
			if len(s.rows) > 0 && s.rows[0].first != file.First {
				err = fmt.Errorf("%w: it begins with record %d", ErrPacked, s.rows[0].first)
			}
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

// Size is the length of the segment in bytes, uncompressed. A segment that is being written has zeros at its end.
func (s *Source) Size() int64 { return s.size }

// Close closes the file.
func (s *Source) Close() error { return s.f.Close() }

// Place is where a run of batches begins: the number of its first record and its offset in the segment.
type Place struct {
	First uint64
	Off   int64
}

// Places are the places that a compressed segment can be read from without reading what is before, and the number of the record after its last; of a
// segment that is not compressed there is nothing to tell.
func (s *Source) Places() (all []Place, next uint64) {
	for i := range s.rows {
		all = append(all, Place{s.rows[i].first, s.rows[i].off})
	}
	return all, s.next
}

// ReadAt reads from the segment.
func (s *Source) ReadAt(p []byte, off int64) (n int, err error) {
	if s.rows == nil {
		return s.f.ReadAt(p, off)
	}
	if off < 0 {
		return 0, errors.New("read segment: a negative offset")
	}
	i := sort.Search(len(s.rows), func(i int) bool { return s.rows[i].off > off }) - 1
	for ; n < len(p); i++ {
		if i < 0 || i >= len(s.rows) {
			return n, io.EOF
		}
		r := &s.rows[i]
		at := int(off + int64(n) - r.off)
		if at >= r.size {
			return n, io.EOF
		}
		if at == 0 && len(p)-n >= r.size { // the whole block is wanted
			if err := s.unpack(r, p[n:n+r.size]); err != nil {
				return n, err
			}
			n += r.size
			continue
		}
		if s.held != i {
			if cap(s.block) < r.size {
				s.block = make([]byte, r.size)
			}
			s.block, s.held = s.block[:r.size], -1
			if err := s.unpack(r, s.block); err != nil {
				return n, err
			}
			s.held = i
		}
		n += copy(p[n:], s.block[at:])
	}
	return n, nil
}

func (s *Source) unpack(r *row, dst []byte) error {
	if cap(s.packed) < r.written {
		s.packed = make([]byte, r.written)
	}
	if err := readFull(s.f, s.packed[:r.written], r.at); err != nil {
		return err
	}
	return unpack(dst, s.packed[:r.written])
}
