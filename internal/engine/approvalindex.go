package engine

import (
	"context"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/approval"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// Limits of the requests for approval of one namespace.
const (
	maxApprovals     = 400 // kept; those that are over make room for new ones
	maxOpenApprovals = 32  // of one principal that are not over
	approvalsKept    = 7 * 24 * time.Hour
	dropAtOnce       = 8
)

// forgetApprovalAt is when a request is forgotten, however it ended. The audit trail keeps what became of it.
func forgetApprovalAt(r *approval.Request) records.Due {
	return dueApproval(r.Namespace, r.ID, r.Expires.Unix())
}

func dueApproval(ns kms.Namespace, id kms.ID, expires int64) records.Due {
	return records.Due{Namespace: ns, Key: id, At: time.Unix(expires, 0).UTC().Add(approvalsKept), What: records.DueApproval}
}

// addToIndex makes a request one of its namespace's, if there is room.
func addToIndex(tx *records.Tx, r *approval.Request, now time.Time) error {
	x, err := tx.ApprovalIndex(r.Namespace)
	if err != nil {
		return err
	}
	open := 0
	for i := range x.Rows {
		if row := &x.Rows[i]; row.By == r.By.Alias && !row.OverAt(now) {
			open++
		}
	}
	if open >= maxOpenApprovals {
		err := kms.Errorf(kms.CodeRateLimited, "%d requests for approval of this principal are open in namespace %q, and no more can be", open, r.Namespace)
		err.Next = "use or withdraw some: keyhold approval list"
		return err
	}
	for drop := 0; len(x.Rows) >= maxApprovals && drop < dropAtOnce; drop++ {
		i := slices.IndexFunc(x.Rows, func(row records.ApprovalRow) bool { return row.OverAt(now) })
		if i < 0 {
			break
		}
		row := x.Rows[i]
		if err := tx.RemoveDue(dueApproval(r.Namespace, row.ID, row.Expires)); err != nil {
			return err
		}
		if err := tx.RemoveApproval(r.Namespace, row.ID); err != nil {
			return err
		}
		x.Rows = slices.Delete(x.Rows, i, i+1)
	}
	if len(x.Rows) >= maxApprovals {
		err := kms.Errorf(kms.CodeRateLimited, "%d requests for approval are open in namespace %q, and no more can be", len(x.Rows), r.Namespace)
		err.Next = "approve, refuse or withdraw some: keyhold approval list"
		return err
	}
	x.Rows = append(x.Rows, records.ApprovalRow{ID: r.ID, By: r.By.Alias, Expires: r.Expires.Unix()})
	return tx.PutApprovalIndex(r.Namespace, x)
}

// endInIndex notes that a request is over before its time.
func endInIndex(tx *records.Tx, r *approval.Request) error {
	x, err := tx.ApprovalIndex(r.Namespace)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(x.Rows, func(row records.ApprovalRow) bool { return row.ID == r.ID }); i >= 0 {
		x.Rows[i].Ended = true
		return tx.PutApprovalIndex(r.Namespace, x)
	}
	return nil
}

// forgetOldApproval forgets a request whose time passed a week ago. Nothing is decided by that, so that it is no change of its own in the trail.
func forgetOldApproval(ctx context.Context, t *task) error {
	_, _, err := t.o.records.Update(ctx, func(tx *records.Tx) error {
		if err := t.take(tx); err != nil {
			return err
		}
		x, err := tx.ApprovalIndex(t.Namespace)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(x.Rows, func(row records.ApprovalRow) bool { return row.ID == t.Key }); i >= 0 {
			x.Rows = slices.Delete(x.Rows, i, i+1)
			if err := tx.PutApprovalIndex(t.Namespace, x); err != nil {
				return err
			}
		}
		return tx.RemoveApproval(t.Namespace, t.Key)
	})
	return err
}
