package client

import (
	"context"
	"iter"
	"time"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// WithApproval names the request under which others have approved exactly this change. It is used up by it.
func WithApproval(id string) Option { return func(s *settings) { s.approval = id } }

// AskApproval asks others to approve exactly this change instead of carrying it out. The call then ends with an *Error of
// CodeApprovalRequired whose Approval is the id of the request, for WithApproval. The request is open for a time of 1 minute to 7 days; 0: 24 hours.
func AskApproval(open time.Duration) Option {
	return func(s *settings) {
		s.ask = "true"
		if open > 0 {
			s.ask = open.String()
		}
	}
}

// ApprovalRule says of how many others an action needs the approval in a namespace.
type ApprovalRule struct {
	Action    string `json:"action"`    // for example "ScheduleKeyDestruction"
	Approvers uint32 `json:"approvers"` // 1 to 16; 0 in a change ends the rule
}

// Approval is a request for the approval of others.
type Approval struct {
	ID            string         `json:"id"`
	Namespace     string         `json:"namespace"`
	Action        string         `json:"action"`
	Resource      string         `json:"resource,omitempty"`
	Terms         []ApprovalTerm `json:"terms,omitempty"`  // everything that is asked for, in words
	Effect        string         `json:"effect,omitempty"` // what would be done, by the server's rehearsal
	Why           string         `json:"why"`              // approvals are needed
	Reason        string         `json:"reason,omitempty"` // of who asks
	Requester     string         `json:"requester"`
	RequesterHome string         `json:"requester_home"`
	Needed        uint32         `json:"needed"` // approvers
	Votes         []ApprovalVote `json:"votes,omitempty"`
	State         string         `json:"state"` // pending, approved, refused, withdrawn, expired or used
	CreatedAt     time.Time      `json:"created_at,omitzero"`
	ExpiresAt     time.Time      `json:"expires_at,omitzero"`
	EndedAt       time.Time      `json:"ended_at,omitzero"`
	Digest        []byte         `json:"digest"` // SHA-256 that stands for the exact request
}

// ApprovalTerm is one thing that is asked for.
type ApprovalTerm struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ApprovalVote is what one principal said.
type ApprovalVote struct {
	Principal string    `json:"principal"`
	Home      string    `json:"home"`
	Method    string    `json:"method"`
	Approves  bool      `json:"approves"`
	Reason    string    `json:"reason,omitempty"`
	At        time.Time `json:"at"`
}

// ListApprovals goes through the namespace's requests in a state, oldest first. "" is every state.
func (c *Client) ListApprovals(ctx context.Context, state string, options ...Option) iter.Seq2[Approval, error] {
	return pages(func(token string) ([]Approval, string, error) {
		res, err := invoke(ctx, c, c.approval.ListApprovals, &keyholdv1.ListApprovalsRequest{PageToken: token, State: state}, reads, options)
		return each(res.GetApprovals(), toApproval), res.GetNextPageToken(), err
	})
}

// DescribeApproval answers a request for approval.
func (c *Client) DescribeApproval(ctx context.Context, id string, options ...Option) (Approval, error) {
	res, err := invoke(ctx, c, c.approval.DescribeApproval, &keyholdv1.DescribeApprovalRequest{Id: id}, reads, options)
	return toApproval(res.GetApproval()), err
}

// Approve approves what somebody else asked for. digest, where it is not nil, is that of the request which was looked at: nothing else is approved.
func (c *Client) Approve(ctx context.Context, id string, digest []byte, options ...Option) (Approval, error) {
	res, err := invoke(ctx, c, c.approval.GiveApproval, &keyholdv1.GiveApprovalRequest{Id: id, Digest: digest}, changes, options)
	return toApproval(res.GetApproval()), err
}

// Refuse refuses, for good, what somebody else asked for.
func (c *Client) Refuse(ctx context.Context, id string, options ...Option) (Approval, error) {
	res, err := invoke(ctx, c, c.approval.GiveApproval, &keyholdv1.GiveApprovalRequest{Id: id, Refuse: true}, changes, options)
	return toApproval(res.GetApproval()), err
}

// WithdrawApproval takes back what the caller asked for.
func (c *Client) WithdrawApproval(ctx context.Context, id string, options ...Option) (Approval, error) {
	res, err := invoke(ctx, c, c.approval.WithdrawApproval, &keyholdv1.WithdrawApprovalRequest{Id: id}, changes, options)
	return toApproval(res.GetApproval()), err
}

func toApproval(a *keyholdv1.Approval) Approval {
	return Approval{
		ID: a.GetId(), Namespace: a.GetNamespace(), Action: a.GetAction(), Resource: a.GetResource(), Effect: a.GetEffect(), Why: a.GetWhy(), Reason: a.GetReason(),
		Requester: a.GetRequester(), RequesterHome: a.GetRequesterHome(), Needed: a.GetNeeded(), State: a.GetState(),
		CreatedAt: timeOf(a.GetCreatedAt()), ExpiresAt: timeOf(a.GetExpiresAt()), EndedAt: timeOf(a.GetEndedAt()), Digest: a.GetDigest(),
		Terms: each(a.GetTerms(), func(t *keyholdv1.ApprovalTerm) ApprovalTerm { return ApprovalTerm{t.GetName(), t.GetValue()} }),
		Votes: each(a.GetVotes(), func(v *keyholdv1.ApprovalVote) ApprovalVote {
			return ApprovalVote{v.GetPrincipal(), v.GetHome(), v.GetMethod(), v.GetApproves(), v.GetReason(), timeOf(v.GetAt())}
		}),
	}
}

func toRule(r *keyholdv1.ApprovalRule) ApprovalRule {
	return ApprovalRule{Action: r.GetAction(), Approvers: r.GetApprovers()}
}

func fromRules(rules []ApprovalRule) []*keyholdv1.ApprovalRule {
	return each(rules, func(r ApprovalRule) *keyholdv1.ApprovalRule {
		return &keyholdv1.ApprovalRule{Action: r.Action, Approvers: r.Approvers}
	})
}
