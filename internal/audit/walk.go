package audit

import (
	"errors"
	"io"

	"github.com/keyhold/keyhold/internal/audit/segment"
)

// walk reads segments in order and checks that they are what was acknowledged.
type walk struct {
	p     *past
	files []segment.File
	gone  *Retired // what comes before the first file
	from  int      // index of the first file to read

	next  uint64 // number of the record after the last batch
	prev  segment.Hash
	tag   segment.Tag
	known bool // prev is known
	end   int64
	size  int64 // of the last segment read
	dirty int64 // last byte that is not zero behind the end, or -1
}

// run calls see with every batch and its leaf hashes; a nil see skips the hashing of all but the last segment.
func (w *walk) run(see func(b *segment.Batch, sum segment.Hash, leaves []byte) error) error {
	w.next = w.files[w.from].First
	if w.from == 0 {
		first := uint64(0)
		w.prev, w.known = segment.Seed(w.p.origin), true
		if w.gone != nil {
			first, w.prev = w.gone.Next, w.gone.Chain
		}
		if w.next != first {
			return w.p.altersAt(w.files[0].Path, first, "the first segment begins with record %d", w.next)
		}
	}
	for i := w.from; i < len(w.files); i++ {
		if w.files[i].First != w.next {
			return w.p.altersAt(w.files[i].Path, w.next, "the segment begins with record %d, but the one before ends with %d: records are missing or damaged", w.files[i].First, w.next)
		}
		stop := uint64(1) << 62
		if i+1 < len(w.files) {
			stop = w.files[i+1].First
		}
		if err := w.file(w.files[i], stop, i+1 == len(w.files), see); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) file(file segment.File, stop uint64, last bool, see func(*segment.Batch, segment.Hash, []byte) error) error {
	src, err := segment.Open(file)
	if errors.Is(err, segment.ErrPacked) {
		return w.p.altersAt(file.Path, w.next, "%v", err)
	}
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // read only
	w.size = src.Size()
	r := segment.NewReader(src, 0, w.size, w.next, w.tag)
	var leaves []byte
	for r.Expect() < stop {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, segment.ErrPacked) || file.Packed && err != nil { // only what was whole is compressed
			return w.p.altersAt(file.Path, r.Expect(), "%v", err)
		}
		if err != nil {
			return w.tail(src, file, r, last, err)
		}
		sum := segment.HashOf(b.Raw)
		if w.known && b.Prev != w.prev {
			return w.p.altersAt(file.Path, b.First, "the batch does not follow from the one before")
		}
		if see != nil || last {
			if leaves, err = segment.Leaves(leaves[:0], b.Raw, &b.Header); err != nil {
				return w.p.altersAt(file.Path, b.First, "%v", err)
			}
		}
		if see != nil {
			if err := see(&b, sum, leaves); err != nil {
				return err
			}
		}
		w.prev, w.known, w.tag, w.next = sum, true, b.Tag, b.Next()
	}
	w.end, w.dirty = min(r.Offset(), w.size), -1
	return nil
}

// tail judges what follows the last batch that fits.
func (w *walk) tail(src io.ReaderAt, file segment.File, r *segment.Reader, last bool, why error) error {
	if !errors.Is(why, segment.ErrNotBatch) && !errors.Is(why, segment.ErrTruncated) && !errors.Is(why, segment.ErrChecksum) {
		return why
	}
	w.end = r.Offset()
	var later *segment.Header
	var err error
	if w.dirty, later, err = segment.Rest(src, r.Offset(), w.size, r.Expect(), w.tag); err != nil {
		return err
	}
	if later != nil && last {
		return w.p.altersAt(file.Path, r.Expect(), "%v, yet a later batch begins with record %d", why, later.First)
	}
	return nil // in an earlier segment the next one's number shows whether something is missing
}
