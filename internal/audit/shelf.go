package audit

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"sync"

	"github.com/keyhold/keyhold/internal/audit/segment"
)

// Limits of the index of segments.
const (
	markEvery  = 64 << 10 // bytes between two marks
	shelfFiles = 64       // segments whose marks are kept
)

// mark is a place in a segment where a batch begins.
type mark = segment.Place

// marks is the sparse index of one segment, built by reading it once and extended while the segment grows.
type marks struct {
	mu   sync.Mutex // guards the fields below
	list []mark
	next uint64
	end  int64
	used uint64
}

// shelf keeps the indexes of the segments that were read lately.
type shelf struct {
	mu    sync.Mutex // guards the fields below
	files map[string]*marks
	clock uint64
}

func (s *shelf) init() { s.files = map[string]*marks{} }

func (s *shelf) get(file segment.File) *marks {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock++
	path := strings.TrimSuffix(file.Path, ".zst") // both forms have the same places
	m := s.files[path]
	if m == nil {
		if len(s.files) >= shelfFiles {
			oldest, at := "", s.clock
			for path, m := range s.files {
				if m.used < at {
					oldest, at = path, m.used
				}
			}
			delete(s.files, oldest)
		}
		m = &marks{next: file.First}
		s.files[path] = m
	}
	m.used = s.clock
	return m
}

// blocks gives the marks of a segment whose batches hold records below limit.
func (s *shelf) blocks(file segment.File, limit uint64) ([]mark, error) {
	m := s.get(file)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next < limit {
		src, err := segment.Open(file)
		if err != nil {
			return nil, err
		}
		defer src.Close()                                //nolint:errcheck // read only
		if places, next := src.Places(); places != nil { // its table is believed: what it leads to is checked when it is read
			m.list, m.next, m.end = places, next, src.Size()
		}
		r := segment.NewReader(src, m.end, src.Size(), m.next, segment.Tag{})
		r.Ahead(markEvery) // of a segment that grows little is new each time
		for r.Expect() < limit {
			b, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("record %d: %w", r.Expect(), err)
			}
			if n := len(m.list); n == 0 || b.Offset-m.list[n-1].Off >= markEvery {
				m.list = append(m.list, mark{First: b.First, Off: b.Offset})
			}
			m.next, m.end = b.Next(), r.Offset()
		}
	}
	n := sort.Search(len(m.list), func(i int) bool { return m.list[i].First >= limit })
	return m.list[:n:n], nil
}

// eachFrame calls see with the records [from, to) of an epoch until it gives false.
func eachFrame(dir string, from, to uint64, see func(seq uint64, f segment.Frame) bool) error {
	if from >= to {
		return nil
	}
	files, _, err := segment.List(dir)
	if err != nil {
		return err
	}
	start := sort.Search(len(files), func(i int) bool { return files[i].First > from }) - 1
	if start < 0 {
		return fmt.Errorf("record %d: its segment is not there", from)
	}
	for i := start; i < len(files) && files[i].First < to; i++ {
		stop := to
		if i+1 < len(files) {
			stop = min(stop, files[i+1].First)
		}
		more, err := framesOf(files[i], mark{First: files[i].First}, from, stop, see)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// framesOf calls see with the records [from, to) of one segment, reading from a mark on.
func framesOf(file segment.File, at mark, from, to uint64, see func(seq uint64, f segment.Frame) bool) (more bool, err error) {
	src, err := segment.Open(file)
	if err != nil {
		return false, err
	}
	defer src.Close() //nolint:errcheck // read only
	r := segment.NewReader(src, at.Off, src.Size(), at.First, segment.Tag{})
	r.Ahead(markEvery)
	for r.Expect() < to {
		b, err := r.Next()
		if err != nil {
			return false, fmt.Errorf("record %d: %w", r.Expect(), err)
		}
		rest := b.Raw[segment.HeaderSize:]
		for seq := b.First; seq < b.Next(); seq++ {
			var frame segment.Frame
			if frame, rest, err = segment.Cut(rest); err != nil {
				return false, fmt.Errorf("record %d: %w", seq, err)
			}
			if seq < from {
				continue
			}
			if seq >= to {
				return true, nil
			}
			if !see(seq, frame) {
				return false, nil
			}
		}
	}
	return true, nil
}
