package records

import (
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/approval"
	"github.com/keyhold/keyhold/internal/kms"
)

// Approval is a request for approval as stored.
type Approval struct {
	approval.Request
	Change [32]byte `json:"change"`

	Rev kms.Rev `json:"-"`
}

// ApprovalIndex is what a namespace keeps of its requests in one record, so that how many there are is part of every transaction that adds one.
type ApprovalIndex struct {
	Rows []ApprovalRow `json:"rows,omitempty"` // in order of creation
}

// ApprovalRow is one request in the index.
type ApprovalRow struct {
	ID      kms.ID   `json:"id"`
	By      [16]byte `json:"by"`      // alias of who asked
	Expires int64    `json:"expires"` // seconds since 1970
	Ended   bool     `json:"ended,omitempty"`
}

// OverAt tells whether nothing more can come of the request.
func (r *ApprovalRow) OverAt(now time.Time) bool { return r.Ended || now.Unix() >= r.Expires }

// approvalPrefix is also the path of the namespace's index, which comes before all requests.
func approvalPrefix(ns kms.Namespace) []byte {
	b := append([]byte{byte(kindApproval)}, ns...)
	return append(b, 0)
}

func approvalPath(ns kms.Namespace, id kms.ID) []byte { return append(approvalPrefix(ns), id[:]...) }

// Approval reads a request; a zero Rev means there is none.
func (r *Records) Approval(ctx context.Context, ns kms.Namespace, id kms.ID) (Approval, error) {
	a, rev, err := load[Approval](ctx, r, approvalPath(ns, id))
	a.Rev = rev
	return a, err
}

// Approvals reads a page of a namespace's requests in order of creation.
func (r *Records) Approvals(ctx context.Context, ns kms.Namespace, after kms.ID, n int) (all []Approval, next kms.ID, err error) {
	from := approvalPrefix(ns)
	if !after.IsZero() {
		from = approvalPath(ns, after)
	}
	more, err := scan(ctx, r, approvalPrefix(ns), from, n, func(_ []byte, a Approval, rev kms.Rev) {
		a.Rev = rev
		all = append(all, a)
	})
	if err == nil && more != nil {
		next = all[len(all)-1].ID
	}
	return all, next, err
}

// Approval reads a request within the transaction.
func (tx *Tx) Approval(ns kms.Namespace, id kms.ID) (Approval, bool, error) {
	a, rev, ok, err := fetch[Approval](tx, approvalPath(ns, id))
	a.Rev = rev
	return a, ok, err
}

// PutApproval writes a request.
func (tx *Tx) PutApproval(a Approval) error { return tx.put(approvalPath(a.Namespace, a.ID), a) }

// RemoveApproval forgets a request.
func (tx *Tx) RemoveApproval(ns kms.Namespace, id kms.ID) error {
	return tx.remove(approvalPath(ns, id))
}

// ApprovalIndex reads the index of a namespace's requests.
func (tx *Tx) ApprovalIndex(ns kms.Namespace) (ApprovalIndex, error) {
	x, _, _, err := fetch[ApprovalIndex](tx, approvalPrefix(ns))
	return x, err
}

// PutApprovalIndex writes it.
func (tx *Tx) PutApprovalIndex(ns kms.Namespace, x ApprovalIndex) error {
	return tx.put(approvalPrefix(ns), x)
}
