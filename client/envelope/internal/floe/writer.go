package floe

import (
	"crypto/cipher"
	"errors"
	"io"
)

// Writer encrypts a stream. It is not safe for concurrent use.
type Writer struct {
	s       *stream
	dst     io.Writer
	aead    cipher.AEAD
	n       uint64 // number of the next segment
	buf     []byte // plaintext: one byte more than a segment's shows that the segment is not the last
	sealed  []byte
	scratch scratch
	err     error
}

var errClosed = errors.New("the stream is closed")

// NewWriter writes the header of a new stream. A segment has MinSegment to MaxSegment bytes; the key has KeySize bytes and
// can be erased at once. The stream is complete, and can be read, only when Close was called.
func NewWriter(dst io.Writer, key, aad []byte, segment int) (*Writer, error) {
	s, header, err := create(key, aad, segment)
	if err != nil {
		return nil, err
	}
	w := &Writer{s: s, dst: dst, buf: make([]byte, 0, s.room()+1), sealed: make([]byte, 0, segment)}
	if w.aead, err = s.aead(0); err != nil {
		return nil, err
	}
	if _, err := dst.Write(header); err != nil {
		return nil, err
	}
	return w, nil
}

// Write encrypts p. What it does not fill a segment with is kept until there is more.
func (w *Writer) Write(p []byte) (int, error) {
	total := len(p)
	for w.err == nil && len(p) > 0 {
		if len(w.buf) == 0 && len(p) > w.s.room() { // whole segments need not be copied first
			w.emit(p[:w.s.room()], false)
			p = p[w.s.room():]
			continue
		}
		k := copy(w.buf[len(w.buf):cap(w.buf)], p)
		w.buf, p = w.buf[:len(w.buf)+k], p[k:]
		w.drain()
	}
	return total - len(p), w.err
}

// ReadFrom encrypts all that src gives, without a copy on the way. It does not end the stream.
func (w *Writer) ReadFrom(src io.Reader) (int64, error) {
	var total int64
	for empty := 0; w.err == nil; {
		k, err := src.Read(w.buf[len(w.buf):cap(w.buf)])
		total += int64(k)
		w.buf = w.buf[:len(w.buf)+k]
		w.drain()
		switch {
		case w.err != nil:
		case errors.Is(err, io.EOF):
			return total, nil
		case err != nil:
			return total, err
		case k > 0:
			empty = 0
		case empty == maxEmptyReads:
			return total, io.ErrNoProgress
		default:
			empty++
		}
	}
	return total, w.err
}

// maxEmptyReads is how often a source may give nothing and no error.
const maxEmptyReads = 100

// drain encrypts the buffer when it holds more than a segment.
func (w *Writer) drain() {
	if room := w.s.room(); len(w.buf) == room+1 {
		w.emit(w.buf[:room], false)
		w.buf[0] = w.buf[room]
		w.buf = w.buf[:1]
	}
}

func (w *Writer) emit(plaintext []byte, last bool) {
	if !last && w.n == maxSegments-1 {
		w.err = ErrTooLong
		return
	}
	if w.n > 0 && w.s.epoch(w.n) != w.s.epoch(w.n-1) {
		if w.aead, w.err = w.s.aead(w.s.epoch(w.n)); w.err != nil {
			return
		}
	}
	w.sealed = w.s.seal(w.sealed[:0], w.aead, &w.scratch, plaintext, w.n, last)
	w.n++
	_, w.err = w.dst.Write(w.sealed)
}

// Close writes the last segment and erases the keys. It does not close the destination. To give up a stream, Abort it: what was
// written of it cannot be read as a whole one.
func (w *Writer) Close() error {
	if errors.Is(w.err, errClosed) {
		return nil
	}
	if w.err == nil {
		w.emit(w.buf, true)
	}
	err := w.err
	w.Abort()
	return err
}

// Abort erases the keys without ending the stream.
func (w *Writer) Abort() {
	w.s.erase()
	clear(w.buf[:cap(w.buf)])
	w.aead, w.err = nil, errClosed
}
