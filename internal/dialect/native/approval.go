package native

import (
	"context"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// approvalService is keyhold.v1.ApprovalService.
type approvalService struct{ engine *engine.Engine }

func approvalAnswer(out engine.ApprovalOutput, err error) (*connect.Response[keyholdv1.ApprovalResponse], error) {
	return answer(&keyholdv1.ApprovalResponse{Approval: approvalMessage(&out.Approval)}, err)
}

func approvalMessage(a *engine.ApprovalInfo) *keyholdv1.Approval {
	return &keyholdv1.Approval{
		Id: a.ID.String(), Namespace: string(a.Namespace), Action: a.Action.String(), Resource: a.Resource, Effect: a.Effect, Why: a.Why, Reason: a.Reason,
		Requester: a.By.Name, RequesterHome: string(a.By.Home), Needed: uint32(a.Needed), State: a.State.String(), //nolint:gosec // G115: at most 16
		Terms: each(a.Terms, func(t *engine.ApprovalTerm) *keyholdv1.ApprovalTerm {
			return &keyholdv1.ApprovalTerm{Name: t.Name, Value: t.Value}
		}),
		Votes:     each(a.Votes, voteMessage),
		CreatedAt: stamp(a.Created), ExpiresAt: stamp(a.Expires), EndedAt: stamp(a.Ended), Digest: a.Digest[:],
	}
}

func voteMessage(v *engine.ApprovalVote) *keyholdv1.ApprovalVote {
	return &keyholdv1.ApprovalVote{
		Principal: v.By.Name, Home: string(v.By.Home), Method: v.By.Method.String(), Approves: v.For, Reason: v.Reason, At: stamp(v.At),
	}
}

func ruleMessage(r *engine.ApprovalRule) *keyholdv1.ApprovalRule {
	return &keyholdv1.ApprovalRule{Action: r.Action.String(), Approvers: uint32(r.Approvers)} //nolint:gosec // G115: at most 16
}

// rulesOf reads rules; the engine checks them.
func rulesOf(given []*keyholdv1.ApprovalRule) ([]engine.ApprovalRule, error) {
	if len(given) > kms.ActionCount {
		return nil, kms.Errorf(kms.CodeTooLarge, "there are %d rules, and %d actions", len(given), kms.ActionCount)
	}
	var rules []engine.ApprovalRule
	for _, g := range given {
		a, err := kms.ParseAction(g.GetAction())
		if err != nil {
			return nil, err
		}
		rules = append(rules, engine.ApprovalRule{Action: a, Approvers: int(min(g.GetApprovers(), 1<<16))})
	}
	return rules, nil
}

func approvalID(s string) (kms.ID, error) {
	id, ok := kms.ParseID(s)
	if !ok {
		return id, kms.Errorf(kms.CodeBadRequest, "%q is not the id of a request for approval: want a UUID", clip(s))
	}
	return id, nil
}

func (s approvalService) ListApprovals(ctx context.Context, r *connect.Request[keyholdv1.ListApprovalsRequest]) (*connect.Response[keyholdv1.ListApprovalsResponse], error) {
	out, err := s.engine.ListApprovals(ctx, callOf(ctx), engine.ApprovalsInput{Page: r.Msg.GetPageToken(), Limit: int(r.Msg.GetPageSize()), State: r.Msg.GetState()})
	return answer(&keyholdv1.ListApprovalsResponse{Approvals: each(out.Approvals, approvalMessage), NextPageToken: out.Next}, err)
}

func (s approvalService) DescribeApproval(ctx context.Context, r *connect.Request[keyholdv1.DescribeApprovalRequest]) (*connect.Response[keyholdv1.ApprovalResponse], error) {
	id, err := approvalID(r.Msg.GetId())
	if err != nil {
		return nil, err
	}
	return approvalAnswer(s.engine.DescribeApproval(ctx, callOf(ctx), engine.ApprovalInput{ID: id}))
}

func (s approvalService) GiveApproval(ctx context.Context, r *connect.Request[keyholdv1.GiveApprovalRequest]) (*connect.Response[keyholdv1.ApprovalResponse], error) {
	id, err := approvalID(r.Msg.GetId())
	if err != nil {
		return nil, err
	}
	return approvalAnswer(s.engine.GiveApproval(ctx, callOf(ctx), engine.GiveApprovalInput{ID: id, Approve: !r.Msg.GetRefuse(), Digest: r.Msg.GetDigest()}))
}

func (s approvalService) WithdrawApproval(ctx context.Context, r *connect.Request[keyholdv1.WithdrawApprovalRequest]) (*connect.Response[keyholdv1.ApprovalResponse], error) {
	id, err := approvalID(r.Msg.GetId())
	if err != nil {
		return nil, err
	}
	return approvalAnswer(s.engine.WithdrawApproval(ctx, callOf(ctx), engine.ApprovalInput{ID: id}))
}
