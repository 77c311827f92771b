package engine

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// Limits of clearing the outbox.
const (
	clearWith     = 32              // rows that a change clears along the way
	clearMost     = 200             // rows that one transaction of its own clears
	clearAfter    = 2 * time.Second // how long rows may wait for a change to take them along
	owedRetry     = 250 * time.Millisecond
	recoverAtOnce = 1000 // rows looked up in the log together
)

// outbox is what is known of rows whose records are in the log (to be cleared lazily), and of committed changes whose
// records are not (to be appended before anything else is admitted).
type outbox struct {
	mu   sync.Mutex // guards both
	done []kms.ID
	owed []*committed
	wake chan struct{}
}

func (b *outbox) settled(ids ...kms.ID) {
	b.mu.Lock()
	b.done = append(b.done, ids...)
	b.mu.Unlock()
}

// take hands out rows to clear. A transaction that fails gives them back with settled.
func (b *outbox) take(n int) []kms.ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, len(b.done))
	ids := slices.Clone(b.done[:n])
	b.done = slices.Delete(b.done, 0, n)
	return ids
}

// outboxRow is the record of a change as it is stored with it, with where the log stands: its place cannot be before that.
func (w *work) outboxRow(p *committed) records.Outbox {
	row := records.Outbox{ID: p.id, Body: p.body, Annex: p.annex, Time: w.now}
	if l := w.e.cfg.Log; l != nil {
		row.Epoch, row.Seq = l.Epoch(), l.Size()
	}
	return row
}

// owe remembers a committed change whose record is not in the log. Until it is, nothing is admitted.
func (e *Engine) owe(p *committed, cause error) {
	e.outbox.mu.Lock()
	e.outbox.owed = append(e.outbox.owed, p)
	e.blocked.Store(kms.Errorf(kms.CodeAuditUnavailable, "the audit log has not taken the record of a committed change").Because(cause))
	e.outbox.mu.Unlock()
	select {
	case e.outbox.wake <- struct{}{}:
	default:
	}
}

// payOwed appends what is owed, and lifts the block when nothing is left.
func (e *Engine) payOwed() bool {
	e.outbox.mu.Lock()
	defer e.outbox.mu.Unlock()
	for len(e.outbox.owed) > 0 {
		p := e.outbox.owed[0]
		if _, err := e.rec.AppendEncoded(p.body, p.annex); err != nil {
			return false
		}
		e.outbox.owed = e.outbox.owed[1:]
		e.outbox.done = append(e.outbox.done, p.id)
	}
	e.blocked.Store(nil)
	return true
}

// settleOutbox runs for the engine's life: it pays what is owed and clears rows that no change takes along.
func (e *Engine) settleOutbox(ctx context.Context) {
	tick := time.NewTicker(clearAfter)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			e.flushOutbox(ctx)
		case <-e.outbox.wake:
			for !e.payOwed() {
				select {
				case <-ctx.Done():
					return
				case <-time.After(owedRetry):
				}
			}
		}
	}
}

// flushOutbox clears rows whose records are in the log.
func (e *Engine) flushOutbox(ctx context.Context) {
	o := e.open.Load()
	if o == nil {
		return
	}
	for {
		ids := e.outbox.take(clearMost)
		if len(ids) == 0 {
			return
		}
		_, _, err := o.records.Update(ctx, func(tx *records.Tx) error {
			tx.ClearOutbox(ids)
			return nil
		})
		if err != nil {
			e.log.Warn("outbox_not_cleared", "rows", len(ids), "error", err)
			e.outbox.settled(ids...)
			return
		}
	}
}

// recoverOutbox appends the records of changes that were committed and not recorded before a crash. It runs before the
// first operation is admitted.
func (e *Engine) recoverOutbox(ctx context.Context, r *records.Records) error {
	rows, appended := 0, 0
	for after := (kms.ID{}); ; {
		page, next, err := r.OutboxRows(ctx, after, recoverAtOnce)
		if err != nil {
			return err
		}
		n, err := e.recoverPage(ctx, page)
		if err != nil {
			return err
		}
		rows, appended = rows+len(page), appended+n
		if next.IsZero() {
			break
		}
		after = next
	}
	if rows > 0 {
		e.log.Info("outbox_recovered", "rows", rows, "appended", appended)
	}
	return nil
}

// recoverPage looks all rows up in the log at once, and appends those that are not there.
func (e *Engine) recoverPage(ctx context.Context, page []records.Outbox) (appended int, err error) {
	if len(page) == 0 {
		return 0, nil
	}
	want := make(map[[32]byte]struct{}, len(page))
	since := audit.Position{Epoch: page[0].Epoch, Seq: page[0].Seq}
	for _, row := range page {
		want[audit.LeafHash(row.Body)] = struct{}{}
		if row.Epoch < since.Epoch || row.Epoch == since.Epoch && row.Seq < since.Seq {
			since.Epoch, since.Seq = row.Epoch, row.Seq
		}
	}
	there, err := e.cfg.Log.Find(ctx, want, since)
	if err != nil {
		return 0, err
	}
	for _, row := range page {
		if _, ok := there[audit.LeafHash(row.Body)]; !ok {
			if _, err := e.rec.AppendEncoded(row.Body, row.Annex); err != nil {
				return appended, unrecordable(err)
			}
			appended++
		}
		e.outbox.settled(row.ID)
	}
	return appended, nil
}
