package engine

import (
	"context"
	"errors"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/usage"
)

const (
	ledgerEvery = 10 * time.Second // how old the usage ledger gets while the server is idle enough to write it
	ledgerWait  = 10 * time.Second // how long an operation waits for it
	ledgerSkip  = 4096             // records without any use before it is noted that they were read
	ledgerChunk = 1 << 17          // records that are added up before they are written
	ledgerPage  = 128              // records that are read first; then twice as many each time: where every record is of another version few are needed
)

// ledger keeps the usage ledger: a projection of the audit log. It follows the log behind the operations' backs, so that they pay nothing for it.
type ledger struct {
	turn chan struct{} // who may read on has taken what is in it; guards rows
	rows int           // of the next transaction: fewer after one was too large
	wake chan struct{}
}

func (l *ledger) init() {
	l.turn, l.wake = make(chan struct{}, 1), make(chan struct{}, 1)
	l.rows = usage.MaxRows
}

// errMoved: somebody else has read on.
var errMoved = errors.New("the ledger was moved on by another")

// keepLedger runs for the engine's life.
func (e *Engine) keepLedger(ctx context.Context) {
	tick := time.NewTicker(ledgerEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-e.ledger.wake:
		}
		if o, ok := e.holds(); ok {
			o.shelf.tidy(e.now())
			o.release() // count takes it for a portion at a time: sealing does not wait for more
			e.do(jobLedger, func() error {
				err := e.count(ctx, nil)
				if kms.CodeOf(err) == kms.CodeSealed {
					return nil
				}
				return err
			})
		}
	}
}

// counted brings the ledger up to the last record that was durable when it was asked for, for an operation that goes by it. A dry run writes nothing, and goes
// by what is there.
func (w *work) counted(ctx context.Context) error {
	if w.e.cfg.Log == nil {
		return nil
	}
	if w.call.DryRun {
		_, again, err := w.o.records.UsageRebuild(ctx, w.e.cfg.Log.Node())
		if err == nil && again != 0 {
			err = uncounted("the usage ledger is being counted anew from the audit log")
		}
		return err
	}
	patience, cancel := context.WithTimeout(ctx, ledgerWait)
	defer cancel()
	err := w.e.count(patience, w.o)
	if err != nil && ctx.Err() == nil && patience.Err() != nil {
		return uncounted("the usage ledger is still reading the audit log")
	}
	return err
}

func uncounted(why string) error {
	busy := kms.Errorf(kms.CodeBusy, "%s", why)
	busy.RetryMS = ledgerEvery.Milliseconds()
	return busy
}

// count reads what the log has that the ledger has not. held is what the caller holds, nil if it is to be held while a portion is read.
func (e *Engine) count(ctx context.Context, held *opened) error {
	if e.cfg.Log == nil {
		return nil
	}
	end := audit.Position{Node: e.cfg.Log.Node(), Epoch: e.cfg.Log.Epoch(), Seq: e.cfg.Log.Size()}
	select {
	case e.ledger.turn <- struct{}{}:
	case <-ctx.Done():
		return kms.Errorf(kms.CodeCancelled, "others are reading the audit log").Because(ctx.Err())
	}
	defer func() { <-e.ledger.turn }()
	for more := true; more; {
		var err error
		switch more, err = e.countChunk(ctx, held, end); {
		case errors.Is(err, errMoved):
			more = true // from where it is now
		case err != nil:
			return err
		}
	}
	return nil
}

// countChunk does one transaction's worth, and tells whether there is more before end. While it runs the server is not sealed.
func (e *Engine) countChunk(ctx context.Context, o *opened, end audit.Position) (more bool, err error) {
	if o == nil {
		if o, err = e.hold(ctx); err != nil {
			return false, err
		}
		defer o.release()
	}
	again, rev, err := o.records.UsageRebuild(ctx, end.Node)
	switch {
	case err != nil:
		return false, err
	case rev == 0:
		return e.countOn(ctx, o, end, nil)
	case !again.Counting:
		return true, e.forgetUsage(ctx, o, end.Node)
	}
	if more, err = e.countOn(ctx, o, end, &again); more || err != nil {
		return more, err
	}
	return false, e.endRebuild(ctx, o, end.Node)
}

// countOn adds records up. again is set while the ledger is being made anew.
func (e *Engine) countOn(ctx context.Context, o *opened, end audit.Position, again *records.UsageRebuild) (more bool, err error) {
	from, _, err := o.records.UsageEnd(ctx, end.Node)
	if err != nil {
		return false, err
	}
	p := portion{fold: usage.New(e.ledger.rows), from: from, to: from, again: again}
	if more, err = p.read(ctx, e.cfg.Log, end); err != nil {
		return false, err
	}
	if p.fold.Empty() && !p.erased && p.seen < ledgerSkip && !more {
		return false, nil // nothing to write: these few are read again
	}
	if p.erased {
		if err := e.forgetName(ctx, o, p.forget); err != nil {
			return false, err
		}
	}
	if again != nil {
		again.Done += uint64(p.seen) //nolint:gosec // G115: a count
	}
	switch err = p.write(ctx, o.records, end.Node); kms.CodeOf(err) {
	case 0:
		e.ledger.rows = min(2*e.ledger.rows, usage.MaxRows)
		e.showRebuild(again, p.to.Time)
	case kms.CodeTooLarge: // many rows with many users each
		if e.ledger.rows > 1 {
			e.ledger.rows /= 2
			return true, nil
		}
	}
	return more, err
}

// portion is what is read of the log and written to the ledger at once.
type portion struct {
	fold     *usage.Fold
	from, to records.UsageEnd
	seen     int
	again    *records.UsageRebuild // the ledger is being made anew; nil: it is not

	// Of a portion of one record that tells of an erasure: whose names are to be forgotten.
	erased bool
	forget [16]byte
}

// read adds records up until the portion is full or the log ends, and tells whether there is more before end.
func (p *portion) read(ctx context.Context, log *audit.Log, end audit.Position) (more bool, err error) {
	after, since := p.after(end.Node), time.Time{}
	for limit := ledgerPage; ; limit = min(2*limit, audit.MaxPage) {
		page, left, err := log.Follow(ctx, after, limit)
		if kms.CodeOf(err) == kms.CodeNotFound && since.IsZero() {
			// The log is another than the one that was read, or was put back to an earlier state. What is later than all that was read is new.
			after, since = audit.Position{}, p.from.Time
			continue
		}
		if err != nil {
			return false, err
		}
		for i := range page {
			at, r := page[i].Position, &page[i].Record
			alias, erased := audit.Erased(r)
			if erased && p.seen > 0 {
				return true, nil // a portion of its own: it is done when all before is written
			}
			p.to.Epoch, p.to.Seq, p.to.Time = at.Epoch, at.Seq, later(p.to.Time, r.Time)
			p.to.Begun = first(p.to.Begun, r.Time)
			after = at
			p.seen++
			if since.IsZero() || r.Time.After(since) {
				if p.to.Part = p.fold.Add(r, p.begun(at, since)); p.to.Part > 0 {
					return true, nil
				}
			}
			if p.erased, p.forget = erased, alias; erased || p.fold.Full() || p.seen == ledgerChunk {
				return at.Before(audit.Position{Epoch: end.Epoch, Seq: end.Seq - min(end.Seq, 1)}), nil
			}
		}
		if !left || !after.Before(end) {
			return false, nil
		}
	}
}

// begun is how many parts of a record are in the ledger already.
func (p *portion) begun(at audit.Position, since time.Time) int {
	if at.Epoch == p.from.Epoch && at.Seq == p.from.Seq && since.IsZero() {
		return p.from.Part
	}
	return 0
}

// after is the position that the portion goes on from. A record of which a part is missing is read again; the first of an epoch never is.
func (p *portion) after(node string) audit.Position {
	if p.from.Epoch == 0 {
		return audit.Position{}
	}
	if p.from.Part > 0 && p.from.Seq > 0 {
		return audit.Position{Node: node, Epoch: p.from.Epoch, Seq: p.from.Seq - 1}
	}
	return audit.Position{Node: node, Epoch: p.from.Epoch, Seq: p.from.Seq}
}

// write adds the portion to the rows and moves the end, in one transaction.
func (p *portion) write(ctx context.Context, r *records.Records, node string) error {
	_, _, err := r.Update(context.WithoutCancel(ctx), func(tx *records.Tx) error {
		now, err := tx.UsageEnd(node)
		if err != nil {
			return err
		}
		if now != p.from {
			return errMoved
		}
		for _, at := range p.fold.Rows() {
			row, err := tx.Usage(at.Key, at.Version)
			if err != nil {
				return err
			}
			p.fold.Into(&row)
			if err := tx.PutUsage(row); err != nil {
				return err
			}
		}
		if p.again != nil {
			now, asked, err := tx.UsageRebuild(node)
			if err != nil {
				return err
			}
			if !asked || !now.Counting || !now.Asked.Equal(p.again.Asked) {
				return errMoved // it was asked for once more
			}
			if err := tx.PutUsageRebuild(node, *p.again); err != nil {
				return err
			}
		}
		return tx.PutUsageEnd(node, p.to)
	})
	return err
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
