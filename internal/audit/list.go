package audit

import (
	"context"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/kms"
)

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
			size = at.First
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
	_, err = framesOf(file, at, at.First, to, func(seq uint64, f segment.Frame) bool {
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
		return false, unreadable(q.at(epoch, at.First), err)
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
		if at.First > 0 || epoch > 1 {
			q.page.Next = q.at(epoch, at.First).String()
			if len(q.page.Entries) == q.limit {
				q.page.Next = q.page.Entries[q.limit-1].Position.String()
			}
		}
		return false, nil
	}
	return true, nil
}

func (q *listing) at(epoch, seq uint64) Position { return Position{q.l.cfg.Node, epoch, seq} }
