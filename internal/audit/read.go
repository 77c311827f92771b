package audit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"time"

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
	files, _, err := segment.List(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(files) == 0 {
		return dir, 0, false, nil
	}
	if err != nil {
		return dir, 0, false, err
	}
	last := files[len(files)-1]
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
	for _, is := range []error{segment.ErrNotBatch, segment.ErrChecksum, segment.ErrFrames, segment.ErrTruncated, ErrMalformed, ErrAnnex} {
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
	files, _, err := segment.List(dir)
	if err != nil {
		return segment.File{}, mark{}, err
	}
	i := sort.Search(len(files), func(i int) bool { return files[i].First > seq }) - 1
	if i < 0 {
		return segment.File{}, mark{}, segment.ErrNotBatch
	}
	blocks, err := l.shelf.blocks(files[i], seq+1)
	if err != nil {
		return segment.File{}, mark{}, err
	}
	if len(blocks) == 0 {
		return segment.File{}, mark{}, segment.ErrNotBatch
	}
	return files[i], blocks[len(blocks)-1], nil
}

// Filter chooses records. Zero fields choose all.
type Filter struct {
	Key       kms.ID
	Alias     [16]byte // keyed hash of the principal's name
	Name      string   // display name of the principal; finds nothing in records whose annex was erased
	Action    kms.Action
	Outcome   Outcome
	Namespace kms.Namespace
	RequestID string
	Since     time.Time // inclusive
	Until     time.Time // exclusive
	Changes   bool      // only records of changes
}

func (f *Filter) keeps(r *Record) bool {
	switch {
	case f.Action != 0 && r.Action != f.Action,
		f.Outcome != 0 && r.Outcome != f.Outcome,
		f.Namespace != "" && r.Namespace != f.Namespace,
		f.Alias != [16]byte{} && r.Alias != f.Alias,
		f.Name != "" && r.Name != f.Name,
		f.RequestID != "" && r.RequestID != f.RequestID,
		f.Changes && !r.Change,
		!f.Since.IsZero() && r.Time.Before(f.Since),
		!f.Until.IsZero() && !r.Time.Before(f.Until):
		return false
	}
	if f.Key.IsZero() {
		return true
	}
	return slices.ContainsFunc(r.Keys, func(u KeyUse) bool { return u.Key == f.Key })
}

// clockSlack is how far clocks are believed to have gone back between records.
const clockSlack = 10 * time.Minute

// Page is a part of a listing.
type Page struct {
	Entries []Entry
	Next    string // cursor of the next page; empty: that was all
}

// List gives the records that a filter chooses, newest first, over all boot epochs that are on this node's disk: at most limit (and MaxPage) of them,
// after the ones that cursor stands for. A page may be short, or empty, and still have a next one: a call looks at MaxScan records at most.
// Errors: CodeBadToken, CodeCancelled, CodeLogAltered, CodeAuditUnavailable.
func (l *Log) List(ctx context.Context, f Filter, cursor string, limit int) (Page, error) {
	q := listing{l: l, filter: f, limit: min(max(limit, 1), MaxPage), budget: MaxScan}
	epoch, before := l.epoch, l.Size()
	if cursor != "" {
		p, err := ParsePosition(cursor)
		if err != nil || p.Node != l.cfg.Node || p.Epoch > l.epoch {
			return Page{}, kms.Errorf(kms.CodeBadToken, "the page token is not one of this audit log")
		}
		epoch, before = p.Epoch, p.Seq
	}
	epochs, err := listEpochs(l.node)
	if err != nil {
		return Page{}, failure("list boot epochs", err)
	}
	for _, e := range slices.Backward(epochs) {
		if e > epoch {
			continue
		}
		dir, size, ok, err := l.epochSize(e)
		if err != nil {
			return Page{}, unreadable(Position{l.cfg.Node, e, 0}, err)
		}
		if !ok {
			continue
		}
		if e == epoch {
			size = min(size, before)
		}
		more, err := q.epoch(ctx, e, dir, size)
		if err != nil {
			return Page{}, err
		}
		if !more {
			break
		}
	}
	return q.page, nil
}

// listing is one call of List.
type listing struct {
	l      *Log
	filter Filter
	limit  int
	budget int
	page   Page
}

// epoch lists the records of an epoch below size, newest first.
func (q *listing) epoch(ctx context.Context, epoch uint64, dir string, size uint64) (more bool, err error) {
	files, _, err := segment.List(dir)
	if err != nil {
		return false, unreadable(q.at(epoch, size), err)
	}
	for i, file := range slices.Backward(files) {
		if i+1 < len(files) {
			size = min(size, files[i+1].First)
		}
		if file.First >= size {
			continue
		}
		blocks, err := q.l.shelf.blocks(file, size)
		if err != nil {
			return false, unreadable(q.at(epoch, file.First), err)
		}
		for _, at := range slices.Backward(blocks) {
			if ctx.Err() != nil {
				return false, kms.Errorf(kms.CodeCancelled, "the listing was cancelled").Because(ctx.Err())
			}
			if more, err := q.block(epoch, file, at, size); err != nil || !more {
				return false, err
			}
			size = at.first
		}
	}
	return true, nil
}

// block lists the records between a mark and a number.
func (q *listing) block(epoch uint64, file segment.File, at mark, to uint64) (more bool, err error) {
	var found []Entry
	var bad error
	var seen int
	old := true
	_, err = framesOf(file, at, at.first, to, func(seq uint64, f segment.Frame) bool {
		var r Record
		seen++
		if r, bad = Decode(f.Body(), f.Annex); bad != nil {
			bad = unreadable(q.at(epoch, seq), bad)
			return false
		}
		old = old && r.Time.Before(q.filter.Since.Add(-clockSlack))
		if q.filter.keeps(&r) {
			found = append(found, Entry{q.at(epoch, seq), r})
		}
		return true
	})
	if bad != nil {
		return false, bad
	}
	if err != nil {
		return false, unreadable(q.at(epoch, at.first), err)
	}
	for _, e := range slices.Backward(found) {
		if len(q.page.Entries) == q.limit {
			q.page.Next = q.page.Entries[q.limit-1].Position.String()
			return false, nil
		}
		q.page.Entries = append(q.page.Entries, e)
	}
	if !q.filter.Since.IsZero() && old {
		q.page.Next = ""
		return false, nil
	}
	if q.budget -= seen; q.budget <= 0 || len(q.page.Entries) == q.limit {
		if at.first > 0 || epoch > 1 {
			q.page.Next = q.at(epoch, at.first).String()
			if len(q.page.Entries) == q.limit {
				q.page.Next = q.page.Entries[q.limit-1].Position.String()
			}
		}
		return false, nil
	}
	return true, nil
}

func (q *listing) at(epoch, seq uint64) Position { return Position{q.l.cfg.Node, epoch, seq} }

// Find tells which leaf hashes are in the log, and where: which records of an outbox need not be appended again. It reads back over segments
// and boot epochs until everything is found or what it reads is older than since, less a slack for clocks. At most MaxFind hashes at once.
func (l *Log) Find(ctx context.Context, hashes map[[32]byte]struct{}, since time.Time) (map[[32]byte]Position, error) {
	if len(hashes) > MaxFind {
		return nil, kms.Errorf(kms.CodeTooLarge, "%d hashes are more than the %d that can be looked for at once", len(hashes), MaxFind)
	}
	found := make(map[[32]byte]Position, len(hashes))
	if len(hashes) == 0 {
		return found, nil
	}
	epochs, err := listEpochs(l.node)
	if err != nil {
		return nil, failure("list boot epochs", err)
	}
	oldest := since.Add(-clockSlack)
	for _, e := range slices.Backward(epochs) {
		dir, size, ok, err := l.epochSize(e)
		if err != nil {
			return nil, unreadable(Position{l.cfg.Node, e, 0}, err)
		}
		if !ok {
			continue
		}
		files, _, err := segment.List(dir)
		if err != nil {
			return nil, unreadable(Position{l.cfg.Node, e, 0}, err)
		}
		for i, file := range slices.Backward(files) {
			to := size
			if i+1 < len(files) {
				to = min(to, files[i+1].First)
			}
			begins := time.Time{}
			_, err := framesOf(file, mark{first: file.First}, file.First, to, func(seq uint64, f segment.Frame) bool {
				leaf := f.Leaf()
				if _, wanted := hashes[leaf]; wanted {
					found[leaf] = Position{l.cfg.Node, e, seq}
				}
				if begins.IsZero() {
					if r, err := DecodeBody(f.Body()); err == nil {
						begins = r.Time
					}
				}
				return ctx.Err() == nil
			})
			if ctx.Err() != nil {
				return nil, kms.Errorf(kms.CodeCancelled, "the search of the audit log was cancelled").Because(ctx.Err())
			}
			if err != nil {
				return nil, unreadable(Position{l.cfg.Node, e, file.First}, err)
			}
			if len(found) == len(hashes) || !begins.IsZero() && begins.Before(oldest) {
				return found, nil
			}
		}
	}
	return found, nil
}
