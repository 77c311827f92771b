package client

import (
	"context"
	"iter"
	"time"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// Policy is a stored Cedar policy.
type Policy struct {
	ID        string    `json:"id"`
	Text      string    `json:"text"`
	ChangedAt time.Time `json:"changed_at,omitzero"`
	ChangedBy string    `json:"changed_by,omitempty"`
	Revision  uint64    `json:"revision"`

	Language   string   `json:"language,omitempty"`   // "cedar", "aws-iam": identity policies of AWS, or "vault-acl": ACL policies of Vault
	Principals []string `json:"principals,omitempty"` // whom a policy in another language than Cedar speaks about
	Groups     []string `json:"groups,omitempty"`
}

// PutPolicy stores a policy, new or in place of the one of that id.
func (c *Client) PutPolicy(ctx context.Context, id, text string, options ...Option) (Policy, error) {
	return policyOf(invoke(ctx, c, c.admin.PutPolicy, &keyholdv1.PutPolicyRequest{Id: id, Text: text}, changes, options))
}

// CheckPolicy validates a policy as PutPolicy does and stores nothing.
func (c *Client) CheckPolicy(ctx context.Context, id, text string, options ...Option) (Policy, error) {
	return policyOf(invoke(ctx, c, c.admin.CheckPolicy, &keyholdv1.CheckPolicyRequest{Id: id, Text: text}, reads, options))
}

// AttachedTo is whom a policy speaks about whose language does not say so itself.
type AttachedTo struct{ Principals, Groups []string }

// PutAWSPolicy stores an identity policy in AWS's language.
func (c *Client) PutAWSPolicy(ctx context.Context, id, text string, to AttachedTo, options ...Option) (Policy, error) {
	return policyOf(invoke(ctx, c, c.admin.PutPolicy, &keyholdv1.PutPolicyRequest{Id: id, Text: text, Language: "aws-iam", Principals: to.Principals, Groups: to.Groups}, changes, options))
}

// CheckAWSPolicy validates an identity policy as PutAWSPolicy does and stores nothing.
func (c *Client) CheckAWSPolicy(ctx context.Context, id, text string, to AttachedTo, options ...Option) (Policy, error) {
	return policyOf(invoke(ctx, c, c.admin.CheckPolicy, &keyholdv1.CheckPolicyRequest{Id: id, Text: text, Language: "aws-iam", Principals: to.Principals, Groups: to.Groups}, reads, options))
}

// PutVaultPolicy stores an ACL policy of Vault or OpenBao. It speaks about the group of its own name if it is attached to nobody else.
func (c *Client) PutVaultPolicy(ctx context.Context, id, text string, to AttachedTo, options ...Option) (Policy, error) {
	return policyOf(invoke(ctx, c, c.admin.PutPolicy, &keyholdv1.PutPolicyRequest{Id: id, Text: text, Language: "vault-acl", Principals: to.Principals, Groups: to.Groups}, changes, options))
}

// CheckVaultPolicy validates an ACL policy as PutVaultPolicy does and stores nothing.
func (c *Client) CheckVaultPolicy(ctx context.Context, id, text string, to AttachedTo, options ...Option) (Policy, error) {
	return policyOf(invoke(ctx, c, c.admin.CheckPolicy, &keyholdv1.CheckPolicyRequest{Id: id, Text: text, Language: "vault-acl", Principals: to.Principals, Groups: to.Groups}, reads, options))
}

// GetPolicy answers a policy.
func (c *Client) GetPolicy(ctx context.Context, id string, options ...Option) (Policy, error) {
	return policyOf(invoke(ctx, c, c.admin.GetPolicy, &keyholdv1.GetPolicyRequest{Id: id}, reads, options))
}

// DeletePolicy removes a policy.
func (c *Client) DeletePolicy(ctx context.Context, id string, options ...Option) (Policy, error) {
	return policyOf(invoke(ctx, c, c.admin.DeletePolicy, &keyholdv1.DeletePolicyRequest{Id: id}, changes, options))
}

// ListPolicies goes through the policies.
func (c *Client) ListPolicies(ctx context.Context, options ...Option) iter.Seq2[Policy, error] {
	return pages(func(token string) ([]Policy, string, error) {
		res, err := invoke(ctx, c, c.admin.ListPolicies, &keyholdv1.ListPoliciesRequest{PageToken: token}, reads, options)
		return each(res.GetPolicies(), toPolicy), res.GetNextPageToken(), err
	})
}

func policyOf(res *keyholdv1.PolicyResponse, err error) (Policy, error) {
	return toPolicy(res.GetPolicy()), err
}

func toPolicy(p *keyholdv1.Policy) Policy {
	return Policy{ID: p.GetId(), Text: p.GetText(), ChangedAt: timeOf(p.GetChangedAt()), ChangedBy: p.GetChangedBy(), Revision: p.GetRevision(),
		Language: p.GetLanguage(), Principals: p.GetPrincipals(), Groups: p.GetGroups()}
}

// CanIInput asks whether a principal may do something.
type CanIInput struct {
	Action    string // for example "Encrypt"
	Key       string // for actions on keys; for those on secrets the path of one, or of a folder, with / at its end
	Principal string // empty: the caller; asking about others needs the permission TestPolicy
	Roles     []string
	Groups    []string
	Context   Context
}

// Explanation is a decision with its reasons and, if it was a denial, what would be needed.
type Explanation struct {
	Allowed        bool           `json:"allowed"`
	Code           string         `json:"code,omitempty"` // of the refusal
	Policies       []string       `json:"policies,omitempty"`
	Permits        []PolicyReason `json:"permits,omitempty"`
	Forbids        []PolicyReason `json:"forbids,omitempty"`
	Failed         []PolicyReason `json:"failed,omitempty"`
	Unmet          []PolicyReason `json:"unmet,omitempty"`
	Manages        []PolicyReason `json:"manages,omitempty"`
	Needs          []string       `json:"needs,omitempty"`
	PolicyRevision uint64         `json:"policy_revision"`
	Record         *AuditRecord   `json:"record,omitempty"` // of the decision asked about; nil for CanI
}

// PolicyReason is one statement that had a part in a decision.
type PolicyReason struct {
	Policy string `json:"policy"`
	Line   int    `json:"line,omitempty"`
	Text   string `json:"text"`
}

// CanI tells whether a principal may do something, and why. It changes nothing.
func (c *Client) CanI(ctx context.Context, in CanIInput, options ...Option) (Explanation, error) {
	return explanationOf(invoke(ctx, c, c.admin.CanI, &keyholdv1.CanIRequest{
		Action: in.Action, Key: in.Key, Principal: in.Principal, Roles: in.Roles, Groups: in.Groups, Context: in.Context,
	}, reads, options))
}

// Explain tells why a past request was decided as it was. The id comes with the denial (Error.Decision).
func (c *Client) Explain(ctx context.Context, decision string, options ...Option) (Explanation, error) {
	return explanationOf(invoke(ctx, c, c.admin.Explain, &keyholdv1.ExplainRequest{Decision: decision}, reads, options))
}

func explanationOf(res *keyholdv1.ExplainResponse, err error) (Explanation, error) {
	if err != nil {
		return Explanation{}, err
	}
	p := res.GetExplanation()
	e := Explanation{
		Allowed: p.GetAllowed(), Code: p.GetCode(), Policies: p.GetPolicies(), Permits: each(p.GetPermits(), toReason),
		Forbids: each(p.GetForbids(), toReason), Failed: each(p.GetFailed(), toReason), Unmet: each(p.GetUnmet(), toReason),
		Manages: each(p.GetManages(), toReason), Needs: p.GetNeeds(), PolicyRevision: p.GetPolicyRevision(),
	}
	if res.GetRecord() != nil {
		r := toRecord(res.GetRecord())
		e.Record = &r
	}
	return e, nil
}

func toReason(r *keyholdv1.PolicyReason) PolicyReason {
	return PolicyReason{Policy: r.GetPolicy(), Line: int(r.GetLine()), Text: r.GetText()}
}
