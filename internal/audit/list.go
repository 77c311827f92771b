package audit

import (
	"context"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/audit/index"
	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/kms"
)

// Filter chooses records. Zero fields choose all.
type Filter struct {
	Key       kms.ID
	Aliases   [][16]byte // keyed hashes of principals' names, any of them; at most maxAliases of them are looked up in an index
	Name      string     // display name of the principal; finds nothing in records whose annex was erased. It is in no index: give the aliases with it
	Action    kms.Action
	Outcome   Outcome
	Code      kms.Code
	Dialect   kms.Dialect
	Namespace kms.Namespace
	Resource  string
	RequestID string
	Since     time.Time // inclusive
	Until     time.Time // exclusive
	Changes   bool      // only records of changes
}

func (f *Filter) keeps(r *Record) bool {
	switch {
	case f.Action != 0 && r.Action != f.Action,
		f.Outcome != 0 && r.Outcome != f.Outcome,
		f.Code != 0 && r.Code != f.Code,
		f.Dialect != 0 && r.Dialect != f.Dialect,
		f.Namespace != "" && r.Namespace != f.Namespace,
		f.Resource != "" && r.Resource != f.Resource,
		len(f.Aliases) > 0 && !slices.Contains(f.Aliases, r.Alias),
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
//
// Indexes tell which parts of sealed segments to look at; what has none yet is looked at whole.
// Errors: CodeBadToken, CodeCancelled, CodeLogAltered, CodeAuditUnavailable.
func (l *Log) List(ctx context.Context, f Filter, cursor string, limit int) (Page, error) {
	q := listing{l: l, ctx: ctx, filter: f, limit: min(max(limit, 1), MaxPage), budget: MaxScan, terms: f.terms(), glance: f.glance()}
	q.since, q.until = f.span()
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
		q.epoch, q.dir = e, dir
		more, err := q.list(size)
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
	l            *Log
	ctx          context.Context //nolint:containedctx // of this call alone
	filter       Filter
	since, until int64
	terms        [][]index.Term
	glance       glance
	limit        int
	budget       int
	page         Page

	epoch uint64 // that is being looked at
	dir   string
}

// partCost is what asking an index costs, in records looked at.
const partCost = 128

// list lists the records of an epoch below size, newest first. It tells whether to go on with the epoch before.
func (q *listing) list(size uint64) (more bool, err error) {
	files, err := q.l.catalog.segments(q.dir)
	if err != nil {
		return false, unreadable(q.at(size), err)
	}
	for i, file := range slices.Backward(files) {
		if i+1 < len(files) {
			size = min(size, files[i+1].First)
		}
		for size > file.First {
			var more bool
			p, from := q.l.lookup.covering(q.dir, files, size-1)
			if p != nil {
				more, err = q.indexed(p, file, size)
			} else {
				from = max(from, file.First)
				more, err = q.scanned(file, from, size)
			}
			if err != nil || !more {
				return false, err
			}
			if p == nil || p.good() { // otherwise the same again, without the index
				size = max(from, file.First)
			}
		}
	}
	return true, nil
}

// indexed looks at the blocks that an index names, below a number.
func (q *listing) indexed(p *part, file segment.File, to uint64) (more bool, err error) {
	if since := q.filter.Since; !since.IsZero() && time.Unix(0, p.header.Newest).Before(since.Add(-clockSlack)) {
		return false, nil // and so is all that is older
	}
	blocks, err := p.find(q.since, q.until, q.terms)
	if err != nil {
		q.l.keep.mend(p, err)
		return true, nil
	}
	for _, b := range slices.Backward(blocks) {
		if b.First >= to {
			continue
		}
		if more, err := q.block(file, mark{First: b.First, Off: b.Off}, min(b.Next, to)); err != nil || !more {
			return false, err
		}
	}
	return q.spend(partCost, max(p.header.First, file.First)), nil
}

// scanned looks at all records [from, to) of a segment.
func (q *listing) scanned(file segment.File, from, to uint64) (more bool, err error) {
	blocks, err := q.l.shelf.blocks(file, to)
	if err != nil {
		return false, unreadable(q.at(file.First), err)
	}
	for _, at := range slices.Backward(blocks) {
		if to <= from {
			break
		}
		if more, err := q.block(file, at, to); err != nil || !more {
			return false, err
		}
		to = at.First
	}
	return true, nil
}

// block lists the records between a mark and a number.
func (q *listing) block(file segment.File, at mark, to uint64) (more bool, err error) {
	if q.ctx.Err() != nil {
		return false, kms.Errorf(kms.CodeCancelled, "the listing was cancelled").Because(q.ctx.Err())
	}
	var found []Entry
	var bad error
	var seen int
	horizon := q.filter.Since.Add(-clockSlack).UnixNano()
	old := !q.filter.Since.IsZero()
	_, err = framesOf(file, at, at.First, to, func(seq uint64, f segment.Frame) bool {
		seen++
		body := f.Body()
		old = old && len(body) >= minBody && timeOf(body) < horizon
		if !q.glance.may(body) {
			return true
		}
		var r Record
		if r, bad = Decode(body, f.Annex); bad != nil {
			bad = unreadable(q.at(seq), bad)
			return false
		}
		if q.filter.keeps(&r) {
			found = append(found, Entry{q.at(seq), r})
		}
		return true
	})
	if bad != nil {
		return false, bad
	}
	if err != nil {
		return false, unreadable(q.at(at.First), err)
	}
	for _, e := range slices.Backward(found) {
		q.page.Entries = append(q.page.Entries, e)
		if len(q.page.Entries) == q.limit {
			q.page.Next = e.Position.String()
			return false, nil
		}
	}
	if old {
		return false, nil
	}
	return q.spend(seen, at.First), nil
}

// spend counts what was looked at, everything from a number on. When it is too much the page ends there.
func (q *listing) spend(n int, from uint64) (more bool) {
	if q.budget -= n; q.budget > 0 {
		return true
	}
	if from > 0 || q.epoch > 1 {
		q.page.Next = q.at(from).String()
	}
	return false
}

func (q *listing) at(seq uint64) Position { return Position{q.l.cfg.Node, q.epoch, seq} }
