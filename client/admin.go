package client

import (
	"context"
	"iter"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// NamespaceInfo describes a namespace.
type NamespaceInfo struct {
	Name               string         `json:"name"`
	Description        string         `json:"description,omitempty"`
	SeparationOfDuties bool           `json:"separation_of_duties"`
	Approvals          []ApprovalRule `json:"approvals,omitempty"`
	Required           []string       `json:"required,omitempty"` // metadata that every new key must carry
	CreatedAt          time.Time      `json:"created_at,omitzero"`
	DestroyAt          time.Time      `json:"destroy_at,omitzero"` // while its destruction is pending, and after it
	DestroyedAt        time.Time      `json:"destroyed_at,omitzero"`
	IrrecoverableAt    time.Time      `json:"irrecoverable_at,omitzero"` // since when no copy of the store brings it back
	Revision           uint64         `json:"revision"`
}

// NamespaceInput creates or changes a namespace. Nil fields leave things as they are, or take the default.
type NamespaceInput struct {
	Name               string
	Description        *string
	SeparationOfDuties *bool          // nil for a new namespace: on
	Approvals          []ApprovalRule // of the actions that are named
	Required           *[]string      // metadata that every new key must carry: "description", "class", "template", or names of labels
}

// CreateNamespace makes a namespace.
func (c *Client) CreateNamespace(ctx context.Context, in NamespaceInput, options ...Option) (NamespaceInfo, error) {
	res, err := invoke(ctx, c, c.admin.CreateNamespace, &keyholdv1.CreateNamespaceRequest{
		Name: in.Name, Description: in.Description, SeparationOfDuties: in.SeparationOfDuties, Approvals: fromRules(in.Approvals), Required: requiredMessage(in.Required),
	}, changes, options)
	return toNamespace(res.GetNamespace()), err
}

// UpdateNamespace changes a namespace.
func (c *Client) UpdateNamespace(ctx context.Context, in NamespaceInput, options ...Option) (NamespaceInfo, error) {
	res, err := invoke(ctx, c, c.admin.UpdateNamespace, &keyholdv1.UpdateNamespaceRequest{
		Name: in.Name, Description: in.Description, SeparationOfDuties: in.SeparationOfDuties, Approvals: fromRules(in.Approvals), Required: requiredMessage(in.Required),
	}, changes, options)
	return toNamespace(res.GetNamespace()), err
}

// DescribeNamespace answers a namespace.
func (c *Client) DescribeNamespace(ctx context.Context, name string, options ...Option) (NamespaceInfo, error) {
	res, err := invoke(ctx, c, c.admin.DescribeNamespace, &keyholdv1.DescribeNamespaceRequest{Name: name}, reads, options)
	return toNamespace(res.GetNamespace()), err
}

// ListNamespaces goes through the namespaces.
func (c *Client) ListNamespaces(ctx context.Context, options ...Option) iter.Seq2[NamespaceInfo, error] {
	return pages(func(token string) ([]NamespaceInfo, string, error) {
		res, err := invoke(ctx, c, c.admin.ListNamespaces, &keyholdv1.ListNamespacesRequest{PageToken: token}, reads, options)
		return each(res.GetNamespaces(), toNamespace), res.GetNextPageToken(), err
	})
}

func toNamespace(n *keyholdv1.Namespace) NamespaceInfo {
	return NamespaceInfo{
		Name: n.GetName(), Description: n.GetDescription(), SeparationOfDuties: n.GetSeparationOfDuties(), Approvals: each(n.GetApprovals(), toRule),
		Required: n.GetRequired(), CreatedAt: timeOf(n.GetCreatedAt()), Revision: n.GetRevision(),
		DestroyAt: timeOf(n.GetDestroyAt()), DestroyedAt: timeOf(n.GetDestroyedAt()), IrrecoverableAt: timeOf(n.GetIrrecoverableAt()),
	}
}

func requiredMessage(names *[]string) *keyholdv1.Required {
	if names == nil {
		return nil
	}
	return &keyholdv1.Required{Names: *names}
}

// Identity is who the server takes the caller for.
type Identity struct {
	Principal  string    `json:"principal"`
	Home       string    `json:"home"`
	Namespace  string    `json:"namespace"` // of the call
	Roles      []string  `json:"roles,omitempty"`
	Groups     []string  `json:"groups,omitempty"`
	Method     string    `json:"method"`
	Credential string    `json:"credential,omitempty"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	Scope      []string  `json:"scope,omitempty"`
}

// WhoAmI answers who the server takes the caller for.
func (c *Client) WhoAmI(ctx context.Context, options ...Option) (Identity, error) {
	p, err := invoke(ctx, c, c.admin.WhoAmI, &keyholdv1.WhoAmIRequest{}, reads, options)
	return Identity{
		Principal: p.GetPrincipal(), Home: p.GetHome(), Namespace: p.GetNamespace(), Roles: p.GetRoles(), Groups: p.GetGroups(),
		Method: p.GetMethod(), Credential: p.GetCredential(), ExpiresAt: timeOf(p.GetExpiresAt()), Scope: p.GetScope(),
	}, err
}

// Token describes a bearer token; it never holds the token itself.
type Token struct {
	ID        string    `json:"id"`
	Namespace string    `json:"namespace"`
	Principal string    `json:"principal"`
	Roles     []string  `json:"roles,omitempty"`
	Groups    []string  `json:"groups,omitempty"`
	Scope     []string  `json:"scope,omitempty"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	CreatedBy string    `json:"created_by,omitempty"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	RevokedAt time.Time `json:"revoked_at,omitzero"` // zero: it stands

	Renewable     bool              `json:"renewable,omitempty"`
	TTLSeconds    int64             `json:"ttl_seconds,omitempty"`    // that it was made with; 0: not known
	PeriodSeconds int64             `json:"period_seconds,omitempty"` // that every renewal gives it; 0: it has no period
	RenewedAt     time.Time         `json:"renewed_at,omitzero"`
	Uses          uint32            `json:"uses,omitempty"`      // how often it can be used, of all; 0: as often as one likes
	UsesLeft      uint32            `json:"uses_left,omitempty"` // of these
	Bound         []string          `json:"bound,omitempty"`     // networks from where it is used; none: from anywhere
	Path          string            `json:"path,omitempty"`      // of the request of the Vault dialect that made it
	Role          string            `json:"role,omitempty"`      // that it logged in as, or was made by
	Metadata      map[string]string `json:"metadata,omitempty"`
	ComesFrom     []string          `json:"comes_from,omitempty"` // ids of the tokens that it ends with, the first one first
}

// CreateTokenInput asks for a token.
type CreateTokenInput struct {
	Principal string // for example "svc/orders"
	Roles     []string
	Groups    []string
	Scope     []string      // the only actions it may ask for; empty: whatever roles and policies permit
	TTL       time.Duration // 0: 24 hours; at most a year
}

// NewToken is a token that was just made. Secret is the token itself, shown this once.
type NewToken struct {
	Secret string `json:"secret"`
	Token  Token  `json:"token"`
}

// CreateToken makes a bearer token.
func (c *Client) CreateToken(ctx context.Context, in CreateTokenInput, options ...Option) (NewToken, error) {
	req := &keyholdv1.CreateTokenRequest{Principal: in.Principal, Roles: in.Roles, Groups: in.Groups, Scope: in.Scope}
	if in.TTL != 0 {
		req.Ttl = durationpb.New(in.TTL)
	}
	res, err := invoke(ctx, c, c.admin.CreateToken, req, changes, options)
	return NewToken{Secret: res.GetSecret(), Token: toToken(res.GetToken())}, err
}

// ListTokens goes through the tokens.
func (c *Client) ListTokens(ctx context.Context, options ...Option) iter.Seq2[Token, error] {
	return pages(func(token string) ([]Token, string, error) {
		res, err := invoke(ctx, c, c.admin.ListTokens, &keyholdv1.ListTokensRequest{PageToken: token}, reads, options)
		return each(res.GetTokens(), toToken), res.GetNextPageToken(), err
	})
}

// GetToken answers a token by its public id. CodeNotFound: there is none, it is used up, or it ended with another one.
func (c *Client) GetToken(ctx context.Context, id string, options ...Option) (Token, error) {
	res, err := invoke(ctx, c, c.admin.GetToken, &keyholdv1.GetTokenRequest{Id: id}, reads, options)
	return toToken(res.GetToken()), err
}

// RevokeToken ends a token at once. The id is the public one.
func (c *Client) RevokeToken(ctx context.Context, id string, options ...Option) (Token, error) {
	res, err := invoke(ctx, c, c.admin.RevokeToken, &keyholdv1.RevokeTokenRequest{Id: id}, changes, options)
	return toToken(res.GetToken()), err
}

func toToken(t *keyholdv1.Token) Token {
	return Token{
		ID: t.GetId(), Namespace: t.GetNamespace(), Principal: t.GetPrincipal(), Roles: t.GetRoles(), Groups: t.GetGroups(), Scope: t.GetScope(),
		CreatedAt: timeOf(t.GetCreatedAt()), CreatedBy: t.GetCreatedBy(), ExpiresAt: timeOf(t.GetExpiresAt()), RevokedAt: timeOf(t.GetRevokedAt()),
		Renewable: t.GetRenewable(), TTLSeconds: t.GetTtl().GetSeconds(), PeriodSeconds: t.GetPeriod().GetSeconds(), RenewedAt: timeOf(t.GetRenewedAt()), Uses: t.GetUses(), UsesLeft: t.GetUsesLeft(),
		Bound: t.GetBound(), Path: t.GetPath(), Role: t.GetRole(), Metadata: t.GetMetadata(), ComesFrom: t.GetComesFrom(),
	}
}

// Credential binds the identity of a TLS client certificate to a principal.
type Credential struct {
	Subject   string    `json:"subject"`
	Namespace string    `json:"namespace"`
	Principal string    `json:"principal"`
	Roles     []string  `json:"roles,omitempty"`
	Groups    []string  `json:"groups,omitempty"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	CreatedBy string    `json:"created_by,omitempty"`
	RevokedAt time.Time `json:"revoked_at,omitzero"` // zero: it stands
}

// CreateCredentialInput asks for a binding.
type CreateCredentialInput struct {
	Subject   string // "spiffe://…" or "sha256:…"
	Principal string
	Roles     []string
	Groups    []string
}

// CreateCredential binds a certificate's identity to a principal.
func (c *Client) CreateCredential(ctx context.Context, in CreateCredentialInput, options ...Option) (Credential, error) {
	res, err := invoke(ctx, c, c.admin.CreateCredential, &keyholdv1.CreateCredentialRequest{
		Subject: in.Subject, Principal: in.Principal, Roles: in.Roles, Groups: in.Groups,
	}, changes, options)
	return toCredential(res.GetCredential()), err
}

// ListCredentials goes through the bindings.
func (c *Client) ListCredentials(ctx context.Context, options ...Option) iter.Seq2[Credential, error] {
	return pages(func(token string) ([]Credential, string, error) {
		res, err := invoke(ctx, c, c.admin.ListCredentials, &keyholdv1.ListCredentialsRequest{PageToken: token}, reads, options)
		return each(res.GetCredentials(), toCredential), res.GetNextPageToken(), err
	})
}

// RevokeCredential ends a binding at once.
func (c *Client) RevokeCredential(ctx context.Context, subject string, options ...Option) (Credential, error) {
	res, err := invoke(ctx, c, c.admin.RevokeCredential, &keyholdv1.RevokeCredentialRequest{Subject: subject}, changes, options)
	return toCredential(res.GetCredential()), err
}

func toCredential(p *keyholdv1.Credential) Credential {
	return Credential{
		Subject: p.GetSubject(), Namespace: p.GetNamespace(), Principal: p.GetPrincipal(), Roles: p.GetRoles(), Groups: p.GetGroups(),
		CreatedAt: timeOf(p.GetCreatedAt()), CreatedBy: p.GetCreatedBy(), RevokedAt: timeOf(p.GetRevokedAt()),
	}
}
