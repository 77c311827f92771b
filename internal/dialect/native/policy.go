package native

import (
	"context"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

func policyMessage(p *engine.PolicyInfo) *keyholdv1.Policy {
	return &keyholdv1.Policy{Id: p.ID, Text: p.Text, ChangedAt: stamp(p.Changed), ChangedBy: p.By, Revision: uint64(p.Rev),
		Language: p.Language, Principals: p.Principals, Groups: p.Groups}
}

func policyAnswer(out engine.PolicyOutput, err error) (*connect.Response[keyholdv1.PolicyResponse], error) {
	return answer(&keyholdv1.PolicyResponse{Policy: policyMessage(&out.Policy)}, err)
}

// policyWords is a request that holds a policy.
type policyWords interface {
	GetId() string
	GetText() string
	GetLanguage() string
	GetPrincipals() []string
	GetGroups() []string
}

func policyInput(m policyWords) engine.PutPolicyInput {
	return engine.PutPolicyInput{ID: m.GetId(), Text: m.GetText(), Language: m.GetLanguage(), Principals: m.GetPrincipals(), Groups: m.GetGroups()}
}

func (s adminService) PutPolicy(ctx context.Context, r *connect.Request[keyholdv1.PutPolicyRequest]) (*connect.Response[keyholdv1.PolicyResponse], error) {
	return policyAnswer(s.engine.PutPolicy(ctx, callOf(ctx), policyInput(r.Msg)))
}

func (s adminService) CheckPolicy(ctx context.Context, r *connect.Request[keyholdv1.CheckPolicyRequest]) (*connect.Response[keyholdv1.PolicyResponse], error) {
	return policyAnswer(s.engine.CheckPolicy(ctx, callOf(ctx), policyInput(r.Msg)))
}

func (s adminService) GetPolicy(ctx context.Context, r *connect.Request[keyholdv1.GetPolicyRequest]) (*connect.Response[keyholdv1.PolicyResponse], error) {
	return policyAnswer(s.engine.GetPolicy(ctx, callOf(ctx), engine.PolicyInput{ID: r.Msg.GetId()}))
}

func (s adminService) DeletePolicy(ctx context.Context, r *connect.Request[keyholdv1.DeletePolicyRequest]) (*connect.Response[keyholdv1.PolicyResponse], error) {
	return policyAnswer(s.engine.DeletePolicy(ctx, callOf(ctx), engine.PolicyInput{ID: r.Msg.GetId()}))
}

func (s adminService) ListPolicies(ctx context.Context, r *connect.Request[keyholdv1.ListPoliciesRequest]) (*connect.Response[keyholdv1.ListPoliciesResponse], error) {
	out, err := s.engine.ListPolicies(ctx, callOf(ctx), page(r.Msg.GetPageSize(), r.Msg.GetPageToken()))
	return answer(&keyholdv1.ListPoliciesResponse{Policies: each(out.Policies, policyMessage), NextPageToken: out.Next}, err)
}

func (s adminService) CanI(ctx context.Context, r *connect.Request[keyholdv1.CanIRequest]) (*connect.Response[keyholdv1.ExplainResponse], error) {
	action, err := kms.ParseAction(r.Msg.GetAction())
	if err != nil {
		return nil, err
	}
	if r.Msg.GetPrincipal() == "" && len(r.Msg.GetRoles())+len(r.Msg.GetGroups()) > 0 {
		return nil, kms.Errorf(kms.CodeBadRequest, "roles and groups are asked about together with a principal; the caller's own are known")
	}
	in := engine.CanIInput{Action: action, Principal: r.Msg.GetPrincipal(), Roles: rolesOf(r.Msg.GetRoles()), Groups: r.Msg.GetGroups(), Context: r.Msg.GetContext()}
	if in.Key = kms.Ref(r.Msg.GetKey()); action.OnSecret() {
		in.Secret = r.Msg.GetKey()
	}
	out, err := s.engine.CanI(ctx, callOf(ctx), in)
	return explainAnswer("", &out, err)
}

func (s adminService) Explain(ctx context.Context, r *connect.Request[keyholdv1.ExplainRequest]) (*connect.Response[keyholdv1.ExplainResponse], error) {
	out, err := s.engine.Explain(ctx, callOf(ctx), engine.ExplainInput{Decision: r.Msg.GetDecision()})
	return explainAnswer(r.Msg.GetDecision(), &out, err)
}

func explainAnswer(decision string, out *engine.ExplainOutput, err error) (*connect.Response[keyholdv1.ExplainResponse], error) {
	if err != nil {
		return nil, err
	}
	m := &keyholdv1.ExplainResponse{Explanation: explanationMessage(out)}
	if out.Record != nil {
		m.Record = recordMessage(decision, &engine.AuditEntry{Record: *out.Record})
	}
	return connect.NewResponse(m), nil
}

func explanationMessage(out *engine.ExplainOutput) *keyholdv1.Explanation {
	e := &out.Explanation
	m := &keyholdv1.Explanation{
		Allowed: e.Allowed, Code: codeText(e.Code), Policies: e.Policies, Needs: e.Needs, PolicyRevision: uint64(e.PolicyRev),
	}
	m.Permits, m.Forbids, m.Failed = reasons(e.Permits), reasons(e.Forbids), reasons(e.Failed)
	m.Unmet, m.Manages = reasons(e.Unmet), reasons(e.Manages)
	return m
}

// reasons converts the statements that had a part in a decision. Their type is the policy package's, which a dialect does
// not import.
func reasons[R ~struct {
	Policy string
	Line   int
	Text   string
}](list []R) []*keyholdv1.PolicyReason {
	return each(list, func(r *R) *keyholdv1.PolicyReason {
		of := struct {
			Policy string
			Line   int
			Text   string
		}(*r)
		return &keyholdv1.PolicyReason{Policy: of.Policy, Line: int32(of.Line), Text: of.Text} //nolint:gosec // G115: a policy has at most 16 KiB
	})
}
