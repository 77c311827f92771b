package audit

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/kms"
)

// Entry is a record and where it stands.
type Entry struct {
	Position
	Record
}

// epochSize is the number of acknowledged records of an epoch, and its folder. ok is false if there is no such epoch.
func (l *Log) epochSize(epoch uint64) (dir string, size uint64, ok bool, err error) {
	dir = filepath.Join(l.node, epochFolder(epoch))
	switch {
	case epoch == l.epoch:
		return l.home, l.Size(), true, nil
	case epoch > l.epoch || epoch == 0:
		return "", 0, false, nil
	case l.past != nil && epoch == l.past.epoch && l.past.altered == nil:
		return dir, l.past.size, true, nil
	}
	all, err := l.catalog.list(dir)
	files := all.files
	switch {
	case errors.Is(err, os.ErrNotExist), err == nil && len(files) == 0 && all.gone == nil:
		return dir, 0, false, nil
	case err != nil:
		return dir, 0, false, err
	case len(files) == 0:
		return dir, all.gone.Next, true, nil
	}
	last := files[len(files)-1]
	if next, ok := l.lookup.end(dir, files); ok {
		return dir, next, true, nil
	}
	m := l.shelf.get(last)
	if _, err := l.shelf.blocks(last, 1<<62); err != nil && !damaged(err) {
		return dir, 0, false, err
	}
	// Of an epoch that was sealed because it is damaged, what comes before the damage can be read.
	m.mu.Lock()
	defer m.mu.Unlock()
	return dir, m.next, true, nil
}

func noRecord(p Position) error {
	return kms.Errorf(kms.CodeNotFound, "there is no audit record %s", p)
}

// damaged tells whether an error is about what stands on the disk, not about reading it.
func damaged(err error) bool {
	for _, is := range []error{segment.ErrNotBatch, segment.ErrChecksum, segment.ErrFrames, segment.ErrTruncated, segment.ErrPacked, ErrRetired, ErrMalformed, ErrAnnex} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

func unreadable(p Position, err error) error {
	if damaged(err) {
		return kms.Errorf(kms.CodeLogAltered, "the audit record %s is damaged", p).Because(err)
	}
	return kms.Errorf(kms.CodeAuditUnavailable, "the audit record %s cannot be read", p).Because(err)
}

// Read gives one record. Errors: CodeNotFound, CodeLogAltered, CodeAuditUnavailable.
func (l *Log) Read(p Position) (Record, error) {
	body, annex, err := l.ReadEncoded(p)
	if err != nil {
		return Record{}, err
	}
	r, err := Decode(body, annex)
	if err != nil {
		return Record{}, unreadable(p, err)
	}
	return r, nil
}

// ReadEncoded gives the two parts of one record as they stand in the log. Errors are those of Read.
func (l *Log) ReadEncoded(p Position) (body, annex []byte, err error) {
	if p.Node != l.cfg.Node {
		return nil, nil, noRecord(p)
	}
	dir, size, ok, err := l.epochSize(p.Epoch)
	if err != nil {
		return nil, nil, unreadable(p, err)
	}
	if !ok || p.Seq >= size {
		return nil, nil, noRecord(p)
	}
	gone, err := l.catalog.gone(dir)
	if err != nil {
		return nil, nil, unreadable(p, err)
	}
	if gone != nil && p.Seq < gone.Next {
		if p.Seq == 0 { // what an epoch begins with is kept, without its annex
			return slices.Clone(gone.First), nil, nil
		}
		return nil, nil, kms.Errorf(kms.CodeNotFound, "the data of the audit record %s was dropped, as the record %s tells", p, gone.Record)
	}
	file, at, err := l.place(dir, p.Seq)
	if err != nil {
		return nil, nil, unreadable(p, err)
	}
	_, err = framesOf(file, at, p.Seq, p.Seq+1, func(_ uint64, f segment.Frame) bool {
		body, annex = slices.Clone(f.Body()), slices.Clone(f.Annex)
		return false
	})
	if err != nil {
		return nil, nil, unreadable(p, err)
	}
	if body == nil {
		return nil, nil, noRecord(p)
	}
	return body, annex, nil
}

// place finds the segment of a record and a mark at or before it.
func (l *Log) place(dir string, seq uint64) (segment.File, mark, error) {
	none := func(err error) (segment.File, mark, error) { return segment.File{}, mark{}, err }
	files, err := l.catalog.segments(dir)
	if err != nil {
		return none(err)
	}
	i := segmentOf(files, seq)
	if i < 0 {
		return none(segment.ErrNotBatch)
	}
	if p, _ := l.lookup.covering(dir, files, seq); p != nil {
		if at, ok := p.place(seq); ok {
			return files[i], at, nil
		}
	}
	blocks, err := l.shelf.blocks(files[i], seq+1)
	if err != nil {
		return none(err)
	}
	if len(blocks) == 0 {
		return none(segment.ErrNotBatch)
	}
	return files[i], blocks[len(blocks)-1], nil
}
