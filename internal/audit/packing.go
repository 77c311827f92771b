package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/keyhold/keyhold/internal/audit/disk"
	"github.com/keyhold/keyhold/internal/audit/segment"
)

// DefaultCompressAfter is the age at which a full segment is compressed.
const DefaultCompressAfter = time.Hour

// newEnd is the ending of a file that is not whole yet.
const newEnd = ".new"

// pack compresses a segment that is old enough. The original is removed only when the compressed file is synced, in place, and was read back and found to hold
// the same batches; a crash at any point leaves at least one good copy, and the next round goes on.
func (k *keeper) pack(s sealed) error {
	if s.Packed || k.l.cfg.CompressAfter < 0 || k.l.Healthy() != nil { // on a full disk nothing is written twice
		return nil //nolint:nilerr // what is wrong is said elsewhere
	}
	st, err := os.Stat(s.Path)
	if err != nil {
		return err
	}
	if k.l.cfg.Now().Sub(st.ModTime()) < k.l.cfg.CompressAfter && s.Twin == "" {
		return nil
	}
	if s.Twin != "" && k.compare(s, s.Twin, sameRecords) == nil { // the server stopped before the original was removed
		return k.remove(s)
	}
	if err := k.repack(s, nil); err != nil {
		return fmt.Errorf("compress %s: %w", filepath.Base(s.Path), err)
	}
	return nil
}

// remove removes the original of a segment whose compressed form is good.
func (k *keeper) remove(s sealed) error {
	defer k.l.catalog.forget(s.dir)
	return errors.Join(k.l.cfg.FS.Remove(s.Path), k.l.cfg.FS.SyncDir(s.dir))
}

// repack writes a segment anew in its compressed form, with the annexes blanked that a function chooses (nil: none), and removes what was there before.
func (k *keeper) repack(s sealed, blank func(f segment.Frame) bool) error {
	fs := k.l.cfg.FS
	path := filepath.Join(s.dir, segment.PackedName(s.First, s.Attempt))
	temp := path + newEnd
	_ = fs.Remove(temp)
	err := k.compress(s, temp, blank)
	if err == nil {
		err = k.compare(s, temp, func(was, got *segment.Batch) bool {
			if blank != nil && blankAnnexes(was, blank) != nil {
				return false
			}
			return bytes.Equal(was.Raw, got.Raw)
		})
	}
	if err != nil {
		_ = fs.Remove(temp)
		return err
	}
	if err := errors.Join(fs.Rename(temp, path), fs.SyncDir(s.dir)); err != nil {
		return err
	}
	if !s.Packed {
		return k.remove(s)
	}
	k.l.catalog.forget(s.dir)
	return nil
}

// compress writes the batches of a segment, each of which it checks, to a new file.
func (k *keeper) compress(s sealed, path string, blank func(segment.Frame) bool) (err error) {
	packer, err := segment.NewPacker()
	if err != nil {
		return err
	}
	f, err := k.l.cfg.FS.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := writer{f: f}
	err = k.eachBatch(s, func(b *segment.Batch) error {
		if blank != nil {
			if err := blankAnnexes(b, blank); err != nil {
				return err
			}
		}
		out.buf = packer.Add(out.buf, b)
		if len(out.buf) == 0 {
			return nil
		}
		return out.flush()
	})
	if err != nil {
		return err
	}
	out.buf = packer.Finish(out.buf)
	if err := out.flush(); err != nil {
		return err
	}
	return f.Sync()
}

// writer appends to a file.
type writer struct {
	f   disk.File
	buf []byte
	off int64
}

func (w *writer) flush() error {
	n, err := w.f.WriteAt(w.buf, w.off)
	if err == nil && n != len(w.buf) {
		err = io.ErrShortWrite
	}
	w.off += int64(n)
	w.buf = w.buf[:0]
	return err
}

// compare reads both forms and compares every batch.
func (k *keeper) compare(s sealed, path string, same func(was, got *segment.Batch) bool) error {
	src, err := segment.Open(segment.File{Path: path, First: s.First, Attempt: s.Attempt, Packed: true})
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // read only
	r := segment.NewReader(src, 0, src.Size(), s.First, segment.Tag{})
	err = k.eachBatch(s, func(b *segment.Batch) error {
		got, err := r.Next()
		if err != nil {
			return fmt.Errorf("read back: record %d: %w", b.First, err)
		}
		if !same(b, &got) {
			return fmt.Errorf("read back: the batch of record %d is another", b.First)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		return errors.New("read back: there is more than was written")
	}
	return nil
}

// sameRecords tells whether two batches are the same but for annexes that were blanked in the second.
func sameRecords(was, got *segment.Batch) bool {
	if segment.HashOf(was.Raw) != segment.HashOf(got.Raw) || was.MAC != got.MAC || len(was.Raw) != len(got.Raw) {
		return false
	}
	a, b := was.Raw[segment.HeaderSize:], got.Raw[segment.HeaderSize:]
	for range was.Count {
		f, restA, errA := segment.Cut(a)
		g, restB, errB := segment.Cut(b)
		if errA != nil || errB != nil || !bytes.Equal(f.Body(), g.Body()) || len(f.Annex) != len(g.Annex) {
			return false
		}
		if !bytes.Equal(f.Annex, g.Annex) && len(bytes.Trim(g.Annex, "\x00")) > 0 {
			return false
		}
		a, b = restA, restB
	}
	return true
}

// eachBatch reads the acknowledged batches of a segment and checks their checksums, hashes and chain. It rests now and then.
func (k *keeper) eachBatch(s sealed, see func(b *segment.Batch) error) error {
	src, err := segment.Open(s.File)
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // read only
	r := segment.NewReader(src, 0, src.Size(), s.First, segment.Tag{})
	var leaves []byte
	var prev segment.Hash
	rested, began := int64(0), time.Now()
	for r.Expect() < s.stop {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			err = segment.ErrTruncated
		}
		if err == nil && b.First > s.First && b.Prev != prev {
			err = fmt.Errorf("%w: the chain is broken", segment.ErrNotBatch)
		}
		if err == nil {
			leaves, err = segment.Leaves(leaves[:0], b.Raw, &b.Header)
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", r.Expect(), err)
		}
		prev = segment.HashOf(b.Raw)
		if err := see(&b); err != nil {
			return err
		}
		if r.Offset()-rested >= indexStep {
			if err := k.rest(began); err != nil {
				return err
			}
			rested, began = r.Offset(), time.Now()
		}
	}
	return nil
}

// blankAnnexes blanks the annexes of a batch that a function chooses, and mends the checksum, which is the only thing in a batch that covers them.
func blankAnnexes(b *segment.Batch, choose func(segment.Frame) bool) error {
	rest := b.Raw[segment.HeaderSize:]
	changed := false
	for range b.Count {
		f, tail, err := segment.Cut(rest)
		if err != nil {
			return err
		}
		if choose(f) {
			clear(f.Annex)
			changed = true
		}
		rest = tail
	}
	if changed {
		segment.Recheck(b.Raw)
	}
	return nil
}
