package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/approval"
	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// ApprovalInput names a request for approval of the call's namespace.
type ApprovalInput struct{ ID kms.ID }

// GiveApprovalInput approves or refuses a request for approval of the call's namespace.
type GiveApprovalInput struct {
	ID      kms.ID
	Approve bool
	Digest  []byte // of what was looked at, 32 bytes; empty: not compared
}

// ApprovalsInput asks for one page of the namespace's requests.
type ApprovalsInput struct {
	Page  string
	Limit int    // 0: 100; at most 1000
	State string // only those that stand so; empty: all
}

// ApprovalTerm is one thing that is asked for, in words.
type ApprovalTerm = approval.Term

// ApprovalVote is what one principal said about a request.
type ApprovalVote = approval.Vote

// ApprovalInfo is a request for approval and how it stands.
type ApprovalInfo struct {
	approval.Request
	State approval.State
}

// ApprovalOutput is one request.
type ApprovalOutput struct{ Approval ApprovalInfo }

// ApprovalsOutput is one page.
type ApprovalsOutput struct {
	Approvals []ApprovalInfo
	Next      string
}

// GiveApproval approves or refuses what somebody else asked for.
func (e *Engine) GiveApproval(ctx context.Context, c kms.Call, in GiveApprovalInput) (ApprovalOutput, error) {
	return alter(ctx, e, c, &giveApproval, &in)
}

// WithdrawApproval takes back what the caller asked for.
func (e *Engine) WithdrawApproval(ctx context.Context, c kms.Call, in ApprovalInput) (ApprovalOutput, error) {
	return alter(ctx, e, c, &withdrawApproval, &in)
}

// DescribeApproval answers a request for approval.
func (e *Engine) DescribeApproval(ctx context.Context, c kms.Call, in ApprovalInput) (ApprovalOutput, error) {
	return use(ctx, e, c, &describeApproval, &in)
}

// ListApprovals pages through the namespace's requests for approval in order of creation.
func (e *Engine) ListApprovals(ctx context.Context, c kms.Call, in ApprovalsInput) (ApprovalsOutput, error) {
	return use(ctx, e, c, &listApprovals, &in)
}

// The descriptors of requests for approval.
var (
	giveApproval = change[GiveApprovalInput, ApprovalOutput]{
		name: kms.GiveApproval,
		check: func(in *GiveApprovalInput) error {
			if n := len(in.Digest); n != 0 && n != 32 {
				return kms.Errorf(kms.CodeBadRequest, "the digest of a request has 32 bytes, not %d", n)
			}
			return nil
		},
		do: doGiveApproval,
	}
	withdrawApproval = change[ApprovalInput, ApprovalOutput]{
		name: kms.WithdrawApproval,
		do: func(_ context.Context, w *work, tx *records.Tx, in *ApprovalInput) (ApprovalOutput, error) {
			a, err := w.openApproval(tx, in.ID)
			if err != nil {
				return ApprovalOutput{}, err
			}
			next, err := a.Withdraw(approval.PartyOf(w.call.Principal), w.now)
			return w.putVote(tx, &a, next, err, "withdrew")
		},
	}
	describeApproval = op[ApprovalInput, ApprovalOutput]{
		name: kms.ReadApproval,
		do: func(ctx context.Context, w *work, in *ApprovalInput) (ApprovalOutput, error) {
			w.rec.Resource = in.ID.String()
			a, err := w.o.records.Approval(ctx, w.call.Namespace, in.ID)
			if err == nil && a.Rev == 0 {
				err = w.noApproval(in.ID)
			}
			if err != nil {
				return ApprovalOutput{}, err
			}
			return ApprovalOutput{approvalInfo(&a.Request, w.now)}, nil
		},
	}
	listApprovals = op[ApprovalsInput, ApprovalsOutput]{
		name: kms.ReadApproval,
		check: func(in *ApprovalsInput) error {
			if in.State != "" {
				if _, err := approval.ParseState(in.State); err != nil {
					return err
				}
			}
			return checkLimit(&in.Limit)
		},
		do: doListApprovals,
	}
)

func approvalInfo(r *approval.Request, now time.Time) ApprovalInfo {
	return ApprovalInfo{Request: *r, State: r.StateAt(now)}
}

func (w *work) noApproval(id kms.ID) error {
	return kms.Errorf(kms.CodeNotFound, "there is no request for approval %s in namespace %q", id, w.call.Namespace)
}

func (w *work) openApproval(tx *records.Tx, id kms.ID) (records.Approval, error) {
	w.rec.Resource = id.String()
	a, there, err := tx.Approval(w.call.Namespace, id)
	if err == nil && !there {
		err = w.noApproval(id)
	}
	return a, err
}

// putVote writes what a vote, or withdrawing, made of a request.
func (w *work) putVote(tx *records.Tx, a *records.Approval, next approval.Request, err error, said string) (ApprovalOutput, error) {
	if err != nil {
		return ApprovalOutput{}, err
	}
	was := *a
	a.Request = next
	if next.End != approval.Open {
		if err := endInIndex(tx, &next); err != nil {
			return ApprovalOutput{}, err
		}
	}
	w.rec.Detail = clipTo(fmt.Sprintf("%s %s of %q: %s, %d of %d", said, next.Action, next.Resource, next.StateAt(w.now), next.Approvers(), next.Needed), audit.MaxDetail)
	w.onCommit(was.Change, func(leaf [32]byte) error {
		a.Change = leaf
		return tx.PutApproval(*a)
	})
	return ApprovalOutput{approvalInfo(&next, w.now)}, nil
}

func doGiveApproval(_ context.Context, w *work, tx *records.Tx, in *GiveApprovalInput) (ApprovalOutput, error) {
	a, err := w.openApproval(tx, in.ID)
	if err != nil {
		return ApprovalOutput{}, err
	}
	if len(in.Digest) > 0 && [32]byte(in.Digest) != a.Digest {
		return ApprovalOutput{}, kms.Errorf(kms.CodeNotApproved, "request %s is not the one that was looked at: its digest is another", in.ID)
	}
	said := "refused"
	if in.Approve {
		said = "approved"
	}
	next, err := a.Give(approval.PartyOf(w.call.Principal), in.Approve, w.call.Reason, w.now)
	return w.putVote(tx, &a, next, err, said)
}

func doListApprovals(ctx context.Context, w *work, in *ApprovalsInput) (ApprovalsOutput, error) {
	var after kms.ID
	if in.Page != "" {
		var ok bool
		if after, ok = pageID(in.Page); !ok {
			return ApprovalsOutput{}, badPage()
		}
	}
	var out ApprovalsOutput
	for { // a namespace holds maxApprovals at most
		page, next, err := w.o.records.Approvals(ctx, w.call.Namespace, after, pageOfRows)
		if err != nil {
			return ApprovalsOutput{}, err
		}
		for i := range page {
			info := approvalInfo(&page[i].Request, w.now)
			if in.State != "" && info.State.String() != in.State {
				continue
			}
			if len(out.Approvals) == in.Limit {
				out.Next = pageOf(out.Approvals[in.Limit-1].ID)
				return out, nil
			}
			out.Approvals = append(out.Approvals, info)
		}
		if next.IsZero() {
			return out, nil
		}
		after = next
	}
}
