package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

const (
	forgetRows = 200 // rows that are removed in one transaction
	nameRows   = 200 // that are looked through for a name at once
)

// RebuildUsageOutput says what a ledger that is made anew knows. What was counted from Was until From is forgotten, if that is later: the log has no records
// of it any more.
type RebuildUsageOutput struct {
	Was  time.Time // of the first audit record that the ledger counted; zero: it could not be read
	From time.Time // of the oldest audit record there is
}

// The descriptor of making the ledger anew. Of each row it is not known which records it counts, so that a damaged one is not mended by itself.
var rebuildUsage = change[struct{}, RebuildUsageOutput]{
	name: kms.RebuildUsage,
	do: func(ctx context.Context, w *work, tx *records.Tx, _ *struct{}) (out RebuildUsageOutput, err error) {
		log := w.e.cfg.Log
		if log == nil {
			return out, kms.Errorf(kms.CodeAuditUnavailable, "there is no audit log to count from")
		}
		if end, _, err := w.o.records.UsageEnd(ctx, log.Node()); err == nil {
			out.Was = end.Begun
		} else if kms.CodeOf(err) != kms.CodeRecordDamaged {
			return out, err
		}
		oldest, _, err := log.Follow(ctx, audit.Position{}, 1)
		if err != nil {
			return out, err
		}
		if len(oldest) > 0 {
			out.From = oldest[0].Time
		}
		w.rec.Detail = "counted from " + spelt(out.From) + " on"
		if !out.Was.IsZero() && out.Was.Before(out.From) {
			w.rec.Detail += "; forgotten: from " + spelt(out.Was) + " on"
		}
		w.onCommit([32]byte{}, func([32]byte) error {
			return tx.AskUsageRebuild(log.Node(), records.UsageRebuild{Asked: w.now.UTC()})
		})
		return out, nil
	},
}

// RebuildUsage forgets the usage ledger and counts it anew from all the audit records there are. Until that is done, what goes by the ledger is refused as busy.
func (e *Engine) RebuildUsage(ctx context.Context, c kms.Call) (RebuildUsageOutput, error) {
	out, err := alter(ctx, e, c, &rebuildUsage, &struct{}{})
	if err == nil && !c.DryRun {
		select {
		case e.ledger.wake <- struct{}{}:
		default:
		}
	}
	return out, err
}

// forgetUsage removes some of the ledger, whether or not it can be read; when nothing is left, counting may begin.
func (e *Engine) forgetUsage(ctx context.Context, o *opened, node string) error {
	paths, err := o.records.UsagePaths(ctx, forgetRows)
	if err != nil {
		return err
	}
	_, _, err = o.records.Update(context.WithoutCancel(ctx), func(tx *records.Tx) error {
		now, asked, err := tx.UsageRebuild(node)
		if err != nil || !asked || now.Counting {
			return err
		}
		tx.DropPaths(paths)
		now.Counting = len(paths) == 0
		return tx.PutUsageRebuild(node, now)
	})
	e.jobs.set(jobLedger, func(i *JobInfo) {
		i.State, i.Done, i.Total, i.LastNote = "running", 0, 0, "forgetting what was counted"
	})
	return err
}

// endRebuild: the ledger has everything again.
func (e *Engine) endRebuild(ctx context.Context, o *opened, node string) error {
	_, _, err := o.records.Update(context.WithoutCancel(ctx), func(tx *records.Tx) error {
		now, asked, err := tx.UsageRebuild(node)
		if err == nil && asked && !now.Counting {
			return errMoved // it was asked for once more
		}
		if err != nil || !asked {
			return err
		}
		return tx.EndUsageRebuild(node)
	})
	if err == nil {
		e.jobs.set(jobLedger, func(i *JobInfo) { i.State, i.LastNote = "idle", fmt.Sprintf("counted anew: %d records", i.Done) })
	}
	return err
}

// showRebuild tells how far it is.
func (e *Engine) showRebuild(again *records.UsageRebuild, through time.Time) {
	if again == nil {
		return
	}
	total, err := e.cfg.Log.Held()
	if err != nil {
		total = 0 // it is shown only
	}
	e.jobs.set(jobLedger, func(i *JobInfo) {
		i.State, i.Done, i.Total, i.LastNote = "running", again.Done, max(total, again.Done), "counting anew: through "+spelt(through)
	})
}

// forgetName removes the name of a principal from every row, after its erasure from the log. It may be done again.
func (e *Engine) forgetName(ctx context.Context, o *opened, alias [16]byte) error {
	for after := []byte(nil); ; {
		if err := ctx.Err(); err != nil {
			return kms.Errorf(kms.CodeCancelled, "a name was not forgotten everywhere").Because(err)
		}
		rows, next, err := o.records.AllUsage(ctx, after, nameRows)
		if err != nil {
			return err
		}
		for i := range rows {
			if !names(&rows[i], alias) {
				continue
			}
			_, _, err := o.records.Update(context.WithoutCancel(ctx), func(tx *records.Tx) error {
				row, err := tx.Usage(rows[i].Key, rows[i].Version)
				if err != nil {
					return err
				}
				for u := range row.Users {
					if row.Users[u].Alias == alias {
						row.Users[u].Name, row.Users[u].Home = "", ""
					}
				}
				return tx.PutUsage(row)
			})
			if err != nil {
				return err
			}
		}
		if next == nil {
			return nil
		}
		after = next
	}
}

// names tells whether a row names a principal.
func names(row *records.Usage, alias [16]byte) bool {
	for i := range row.Users {
		if u := &row.Users[i]; u.Alias == alias && (u.Name != "" || u.Home != "") {
			return true
		}
	}
	return false
}

// knownEnd is how far the ledger is, as it stands: zero, as if nothing were known, while it is being made anew.
func (w *work) knownEnd(ctx context.Context) (records.UsageEnd, error) {
	node := w.e.cfg.Log.Node()
	_, again, err := w.o.records.UsageRebuild(ctx, node)
	if err != nil || again != 0 {
		return records.UsageEnd{}, err
	}
	end, _, err := w.o.records.UsageEnd(ctx, node)
	return end, err
}
