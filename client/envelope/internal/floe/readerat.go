package floe

import (
	"crypto/cipher"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// ReaderAt decrypts any part of a stream. It is safe for concurrent use.
type ReaderAt struct {
	s        *stream
	src      io.ReaderAt
	segments uint64
	end      int // length of the last segment, encrypted
	size     int64
	closed   atomic.Bool

	mu    sync.Mutex
	epoch uint64 // guarded by mu: of aead
	aead  cipher.AEAD

	recent atomic.Pointer[page] // the segment that was used last, while nobody uses it
	free   sync.Pool            // of *page
}

// page is a decrypted segment.
type page struct {
	n       uint64
	sealed  []byte
	plain   []byte // nil: none
	scratch scratch
}

// NewReaderAt opens a stream of a known length, in bytes: its header, and its last segment, which authenticates the length.
func NewReaderAt(src io.ReaderAt, length int64, key, aad []byte) (*ReaderAt, error) {
	var header [HeaderSize]byte
	if length < HeaderSize+Overhead {
		return nil, ErrOpen
	}
	if err := readFull(src, header[:], 0); err != nil {
		return nil, err
	}
	s, err := open(header[:], key, aad)
	if err != nil {
		return nil, err
	}
	body, segment := uint64(length-HeaderSize), uint64(s.segment)
	r := &ReaderAt{s: s, src: src, segments: (body + segment - 1) / segment}
	r.end = int(body - (r.segments-1)*segment) //nolint:gosec // G115: at most MaxSegment
	r.size = int64(body - r.segments*Overhead) //nolint:gosec // G115: less than length
	r.free.New = func() any { return &page{sealed: make([]byte, s.segment)} }
	if r.end < Overhead || r.segments > maxSegments {
		s.erase()
		return nil, ErrOpen
	}
	if r.aead, err = s.aead(0); err != nil {
		return nil, err
	}
	p, err := r.page(r.segments - 1)
	if err != nil {
		s.erase()
		return nil, err
	}
	r.done(p)
	return r, nil
}

// readFull reads len(p) bytes at an offset; an end that comes too early is a failure to open.
func readFull(src io.ReaderAt, p []byte, at int64) error {
	k, err := src.ReadAt(p, at)
	switch {
	case k == len(p):
		return nil
	case err == nil:
		return io.ErrNoProgress
	}
	return cut(err)
}

// SegmentSize is the length of a segment, encrypted, in bytes.
func (r *ReaderAt) SegmentSize() int { return r.s.segment }

// Size is the number of bytes of plaintext.
func (r *ReaderAt) Size() int64 { return r.size }

// ReadAt gives authenticated plaintext from an offset: len(p) bytes, or fewer and io.EOF at the end. If one of the segments it
// needs is not what was encrypted: ErrOpen, and the number of bytes that came before.
func (r *ReaderAt) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 {
		return 0, fmt.Errorf("read at %d: the offset is negative", at)
	}
	done := 0
	for done < len(p) {
		if at >= r.size {
			return done, io.EOF
		}
		room := int64(r.s.room())
		pg, err := r.page(uint64(at / room)) //nolint:gosec // G115: not negative
		if err != nil {
			return done, err
		}
		k := copy(p[done:], pg.plain[at%room:])
		r.done(pg)
		done += k
		at += int64(k)
	}
	return done, nil
}

// page gives a decrypted segment to one user.
func (r *ReaderAt) page(n uint64) (*page, error) {
	if r.closed.Load() {
		return nil, errClosed
	}
	p := r.recent.Swap(nil)
	if p != nil && p.plain != nil && p.n == n {
		return p, nil
	}
	if p == nil {
		p, _ = r.free.Get().(*page) // there is nothing else in the pool
	}
	size, last := r.s.segment, n == r.segments-1
	if last {
		size = r.end
	}
	buf := p.plain
	p.plain = nil
	err := readFull(r.src, p.sealed[:size], HeaderSize+int64(n)*int64(r.s.segment)) //nolint:gosec // G115: less than the length
	var a cipher.AEAD
	if err == nil {
		a, err = r.cipher(r.s.epoch(n))
	}
	if err == nil {
		if buf == nil {
			buf = make([]byte, 0, r.s.room())
		}
		p.n = n
		p.plain, err = r.s.open(buf[:0], a, &p.scratch, p.sealed[:size], n, last)
	}
	if err != nil {
		return nil, err // the buffers go with it: failures are rare
	}
	return p, nil
}

// cipher is that of an epoch; the one used last is kept.
func (r *ReaderAt) cipher(epoch uint64) (cipher.AEAD, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed.Load() {
		return nil, errClosed
	}
	if r.epoch == epoch {
		return r.aead, nil
	}
	a, err := r.s.aead(epoch)
	if err != nil {
		return nil, err
	}
	r.epoch, r.aead = epoch, a
	return a, nil
}

// done gives a page back.
func (r *ReaderAt) done(p *page) {
	if old := r.recent.Swap(p); old != nil {
		old.erase()
		r.free.Put(old)
	}
	if r.closed.Load() {
		if p := r.recent.Swap(nil); p != nil {
			p.erase()
		}
	}
}

func (p *page) erase() {
	if p.plain != nil {
		clear(p.plain[:cap(p.plain)])
	}
}

// Close erases the keys and the plaintext that is held; reading afterwards is an error. It does not close the source.
func (r *ReaderAt) Close() error {
	r.closed.Store(true)
	r.mu.Lock()
	r.s.erase()
	r.aead = nil
	r.mu.Unlock()
	if p := r.recent.Swap(nil); p != nil {
		p.erase()
	}
	return nil
}
