package audit

import (
	"context"

	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/kms"
)

// maxFollow bounds the bytes of encoded records that one Follow gives, unless a single one is larger.
const maxFollow = 4 << 20

// Follow gives the records behind a position, oldest first, over all boot epochs of this node: at most limit of them (and MaxPage, and 4 MiB). A zero
// position stands for the place before the oldest record there is. Only durable records are given; more tells whether there are further ones already.
//
// A reader that keeps the position of the last record it dealt with sees every record once. Records whose data was dropped are passed
// over: then the next position does not follow from the last one. Records behind damage in an epoch that an operator gave up are passed over, too.
// Errors: CodeNotFound for a position of another node or of an epoch to come, CodeCancelled, CodeLogAltered, CodeAuditUnavailable.
func (l *Log) Follow(ctx context.Context, after Position, limit int) (entries []Entry, more bool, err error) {
	if !after.IsZero() && (after.Node != l.cfg.Node || after.Epoch > l.epoch || after.Epoch == l.epoch && after.Seq >= l.Size()) {
		return nil, false, noRecord(after)
	}
	limit = min(max(limit, 1), MaxPage)
	epochs, err := listEpochs(l.node)
	if err != nil {
		return nil, false, failure("list boot epochs", err)
	}
	room := maxFollow
	for _, e := range epochs {
		if e < after.Epoch {
			continue
		}
		dir, size, ok, err := l.epochSize(e)
		if err != nil {
			return nil, false, unreadable(Position{l.cfg.Node, e, 0}, err)
		}
		if !ok {
			continue
		}
		var from uint64
		if e == after.Epoch {
			from = after.Seq + 1
		}
		if from >= size {
			continue
		}
		if len(entries) == limit || room <= 0 {
			return entries, true, nil
		}
		first, err := l.oldest(dir, size)
		if err != nil {
			return nil, false, unreadable(Position{l.cfg.Node, e, from}, err)
		}
		if from = max(from, first); from >= size {
			continue
		}
		got, left, err := l.follow(ctx, e, dir, from, size, limit-len(entries), &room)
		if err != nil {
			return nil, false, err
		}
		if entries == nil {
			entries = got
		} else {
			entries = append(entries, got...)
		}
		if left {
			return entries, true, nil
		}
	}
	return entries, false, nil
}

// Held counts the records over all boot epochs of this node whose data is there.
// Errors: CodeLogAltered, CodeAuditUnavailable.
func (l *Log) Held() (n uint64, err error) {
	epochs, err := listEpochs(l.node)
	if err != nil {
		return 0, failure("list boot epochs", err)
	}
	for _, e := range epochs {
		dir, size, ok, err := l.epochSize(e)
		if err != nil {
			return 0, unreadable(Position{l.cfg.Node, e, 0}, err)
		}
		if !ok {
			continue
		}
		first, err := l.oldest(dir, size)
		if err != nil {
			return 0, unreadable(Position{l.cfg.Node, e, 0}, err)
		}
		n += size - min(first, size)
	}
	return n, nil
}

// oldest is the number of the first record of an epoch whose data is there, or size if there is none.
func (l *Log) oldest(dir string, size uint64) (uint64, error) {
	files, err := l.catalog.segments(dir)
	if err != nil || len(files) == 0 {
		return size, err
	}
	return files[0].First, nil
}

// follow gives records [from, size) of an epoch, as many as there is room for.
func (l *Log) follow(ctx context.Context, epoch uint64, dir string, from, size uint64, limit int, room *int) (got []Entry, left bool, err error) {
	bad := error(nil)
	got = make([]Entry, 0, min(uint64(limit), size-from)) //nolint:gosec // G115: at most MaxPage
	err = l.eachFrom(dir, from, size, func(seq uint64, f segment.Frame) bool {
		at := Position{l.cfg.Node, epoch, seq}
		if ctx.Err() != nil {
			bad = kms.Errorf(kms.CodeCancelled, "reading the audit log was cancelled").Because(ctx.Err())
			return false
		}
		if len(got) == limit || *room <= 0 {
			left = true
			return false
		}
		got = append(got, Entry{Position: at}) // there is room: it is decoded in its place
		if err := decode(&got[len(got)-1].Record, f.Body(), f.Annex); err != nil {
			bad = unreadable(at, err)
			return false
		}
		*room -= segment.FrameSize + len(f.Body()) + len(f.Annex)
		return true
	})
	switch {
	case bad != nil:
		return nil, false, bad
	case err != nil:
		return nil, false, unreadable(Position{l.cfg.Node, epoch, from}, err)
	}
	return got, left, nil
}

// eachFrom calls see with the records [from, to) of an epoch until it gives false, beginning at the nearest mark.
func (l *Log) eachFrom(dir string, from, to uint64, see func(seq uint64, f segment.Frame) bool) error {
	files, err := l.catalog.segments(dir)
	if err != nil {
		return err
	}
	file, at, err := l.place(dir, from)
	if err != nil {
		return err
	}
	for i := segmentOf(files, file.First); i >= 0 && i < len(files) && files[i].First < to; i++ {
		if files[i].First != file.First {
			at = mark{First: files[i].First}
		}
		stop := to
		if i+1 < len(files) {
			stop = min(stop, files[i+1].First)
		}
		more, err := framesOf(files[i], at, from, stop, see)
		if err != nil || !more {
			return err
		}
	}
	return nil
}
