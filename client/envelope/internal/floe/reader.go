package floe

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"io"
)

// Reader decrypts a stream from its beginning to its end. It is not safe for concurrent use.
type Reader struct {
	s       *stream
	src     io.Reader
	aead    cipher.AEAD
	n       uint64 // number of the next segment
	sealed  []byte
	plain   []byte
	pending []byte // of plain: authenticated, and not given out yet
	scratch scratch
	err     error
}

// NewReader reads the header of a stream and refuses it with ErrOpen unless it was made with this key and associated data.
// The key can be erased at once. The stream must end where src ends.
func NewReader(src io.Reader, key, aad []byte) (*Reader, error) {
	var header [HeaderSize]byte
	if _, err := io.ReadFull(src, header[:]); err != nil {
		return nil, cut(err)
	}
	s, err := open(header[:], key, aad)
	if err != nil {
		return nil, err
	}
	r := &Reader{s: s, src: src, sealed: make([]byte, s.segment), plain: make([]byte, 0, s.room())}
	if r.aead, err = s.aead(0); err != nil {
		return nil, err
	}
	return r, nil
}

// cut makes an end that comes too early a failure to open; a failure to read stays what it is.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrOpen
	}
	return err
}

// SegmentSize is the length of a segment, encrypted, in bytes.
func (r *Reader) SegmentSize() int { return r.s.segment }

// Read gives authenticated plaintext. After the last of it: io.EOF. If the rest of the stream is not what was encrypted:
// ErrOpen, and then again with every call.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.pending) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.next()
	}
	k := copy(p, r.pending)
	r.pending = r.pending[k:]
	return k, nil
}

// WriteTo gives all the plaintext, a segment at a time, without a copy on the way.
func (r *Reader) WriteTo(dst io.Writer) (int64, error) {
	var total int64
	for {
		if len(r.pending) > 0 {
			k, err := dst.Write(r.pending)
			total += int64(k)
			r.pending = r.pending[k:]
			if err == nil && len(r.pending) > 0 {
				err = io.ErrShortWrite
			}
			if err != nil {
				return total, err
			}
		}
		if errors.Is(r.err, io.EOF) {
			return total, nil
		}
		if r.err != nil {
			return total, r.err
		}
		r.next()
	}
}

// next opens the next segment: afterwards there is plaintext, or an error, or both at the end.
func (r *Reader) next() {
	segment, last, err := r.fetch()
	if err == nil && r.n > 0 && r.s.epoch(r.n) != r.s.epoch(r.n-1) {
		r.aead, err = r.s.aead(r.s.epoch(r.n))
	}
	if err == nil {
		r.pending, err = r.s.open(r.plain[:0], r.aead, &r.scratch, segment, r.n, last)
	}
	r.n++
	switch {
	case err != nil:
		r.pending, r.err = nil, err
	case last:
		r.err = io.EOF
	}
	if r.err != nil {
		r.s.erase()
		r.aead = nil
	}
}

// fetch reads a segment; after the last one the source must be at its end.
func (r *Reader) fetch() (segment []byte, last bool, err error) {
	if _, err := io.ReadFull(r.src, r.sealed[:lengthSize]); err != nil {
		return nil, false, cut(err)
	}
	size := r.s.segment
	if n := binary.BigEndian.Uint32(r.sealed); n != notLast {
		if n < Overhead || n > uint32(r.s.segment) { //nolint:gosec // G115: at most MaxSegment
			return nil, false, ErrOpen
		}
		size, last = int(n), true
	}
	if !last && r.n >= maxSegments-1 {
		return nil, false, ErrOpen
	}
	if _, err := io.ReadFull(r.src, r.sealed[lengthSize:size]); err != nil {
		return nil, false, cut(err)
	}
	if last {
		var after [1]byte
		if k, err := io.ReadFull(r.src, after[:]); k > 0 {
			return nil, false, ErrOpen
		} else if !errors.Is(err, io.EOF) {
			return nil, false, err
		}
	}
	return r.sealed[:size], last, nil
}

// Close erases the keys and the plaintext that is held. It does not close the source.
func (r *Reader) Close() {
	r.s.erase()
	clear(r.plain[:cap(r.plain)])
	r.aead, r.pending, r.err = nil, nil, errClosed
}

// Check tells whether a header of HeaderSize bytes was made with this key and associated data, and answers the segment size.
func Check(header, key, aad []byte) (segment int, err error) {
	s, err := open(header, key, aad)
	if err != nil {
		return 0, err
	}
	s.erase()
	return s.segment, nil
}
