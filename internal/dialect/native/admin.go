package native

import (
	"context"
	"net/netip"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// adminService is keyhold.v1.AdminService; policies are in policy.go.
type adminService struct{ engine *engine.Engine }

func page(size uint32, token string) engine.PageInput {
	return engine.PageInput{Page: token, Limit: int(size)}
}

func namespaceAnswer(out engine.NamespaceOutput, err error) (*connect.Response[keyholdv1.NamespaceResponse], error) {
	return answer(&keyholdv1.NamespaceResponse{Namespace: namespaceMessage(&out.Namespace)}, err)
}

func namespaceMessage(n *engine.NamespaceInfo) *keyholdv1.Namespace {
	return &keyholdv1.Namespace{
		Name: string(n.Name), Description: n.Description, SeparationOfDuties: n.SeparationOfDuties, CreatedAt: stamp(n.Created), Revision: uint64(n.Rev),
		Approvals: each(n.Approvals, ruleMessage),
		DestroyAt: stamp(n.DestroyAt), DestroyedAt: stamp(n.Destroyed), IrrecoverableAt: stamp(n.Irrecoverable),
		Required: n.Required,
	}
}

// requiredIf reads a list of required metadata; not set is nil.
func requiredIf(m *keyholdv1.Required) *[]string {
	if m == nil {
		return nil
	}
	names := m.GetNames()
	return &names
}

func (s adminService) CreateNamespace(ctx context.Context, r *connect.Request[keyholdv1.CreateNamespaceRequest]) (*connect.Response[keyholdv1.NamespaceResponse], error) {
	name, err := kms.ParseNamespace(r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	rules, err := rulesOf(r.Msg.GetApprovals())
	if err != nil {
		return nil, err
	}
	return namespaceAnswer(s.engine.CreateNamespace(ctx, callOf(ctx), engine.NamespaceInput{
		Name: name, Description: r.Msg.Description, SeparationOfDuties: r.Msg.SeparationOfDuties, Approvals: rules, Required: requiredIf(r.Msg.GetRequired()),
	}))
}

// within is the call in the namespace that the request is about, whatever the header says.
func within(ctx context.Context, name string) (kms.Call, error) {
	ns, err := kms.ParseNamespace(name)
	c := callOf(ctx)
	c.Namespace = ns
	return c, err
}

func (s adminService) UpdateNamespace(ctx context.Context, r *connect.Request[keyholdv1.UpdateNamespaceRequest]) (*connect.Response[keyholdv1.NamespaceResponse], error) {
	c, err := within(ctx, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	rules, err := rulesOf(r.Msg.GetApprovals())
	if err != nil {
		return nil, err
	}
	return namespaceAnswer(s.engine.UpdateNamespace(ctx, c, engine.NamespaceInput{
		Name: c.Namespace, Description: r.Msg.Description, SeparationOfDuties: r.Msg.SeparationOfDuties, Approvals: rules, Required: requiredIf(r.Msg.GetRequired()),
	}))
}

func (s adminService) DescribeNamespace(ctx context.Context, r *connect.Request[keyholdv1.DescribeNamespaceRequest]) (*connect.Response[keyholdv1.NamespaceResponse], error) {
	c, err := within(ctx, r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	return namespaceAnswer(s.engine.DescribeNamespace(ctx, c, engine.NamespaceInput{Name: c.Namespace}))
}

func (s adminService) ListNamespaces(ctx context.Context, r *connect.Request[keyholdv1.ListNamespacesRequest]) (*connect.Response[keyholdv1.ListNamespacesResponse], error) {
	out, err := s.engine.ListNamespaces(ctx, callOf(ctx), page(r.Msg.GetPageSize(), r.Msg.GetPageToken()))
	return answer(&keyholdv1.ListNamespacesResponse{Namespaces: each(out.Namespaces, namespaceMessage), NextPageToken: out.Next}, err)
}

func tokenMessage(t *engine.TokenInfo) *keyholdv1.Token {
	return &keyholdv1.Token{
		Id: t.ID.String(), Namespace: string(t.Namespace), Principal: t.Principal, Roles: each(t.Roles, roleText), Groups: t.Groups,
		Scope: each(t.Scope, actionText), CreatedAt: stamp(t.Created), CreatedBy: t.By, ExpiresAt: stamp(t.Expires), RevokedAt: stamp(t.Revoked),
		Renewable: t.Renewable, Ttl: spanMessage(t.TTL), Period: spanMessage(t.Period), RenewedAt: stamp(t.Renewed), Uses: t.Uses, UsesLeft: t.Left, Bound: each(t.Bound, (*netip.Prefix).String),
		Path: t.Path, Role: t.Role, Metadata: t.Meta, ComesFrom: each(t.Line, (*kms.ID).String),
	}
}

func tokenAnswer(out engine.TokenOutput, err error) (*connect.Response[keyholdv1.TokenResponse], error) {
	return answer(&keyholdv1.TokenResponse{Token: tokenMessage(&out.Token)}, err)
}

func tokenID(s string) (engine.IDInput, error) {
	id, ok := kms.ParseID(s)
	if !ok {
		return engine.IDInput{}, kms.Errorf(kms.CodeBadRequest, "%q is not the id of a token: want a UUID", clip(s))
	}
	return engine.IDInput{ID: id}, nil
}

// newToken reads a token that was just made. Its text becomes a string, which cannot be erased: the message holds one.
func newToken(ctx context.Context, out *engine.CreateTokenOutput) string {
	return string(exchangeOf(ctx).keep(out.Token))
}

func (s adminService) CreateToken(ctx context.Context, r *connect.Request[keyholdv1.CreateTokenRequest]) (*connect.Response[keyholdv1.CreateTokenResponse], error) {
	scope, err := actionsOf(r.Msg.GetScope())
	if err != nil {
		return nil, err
	}
	ttl, err := span(r.Msg.GetTtl(), "ttl")
	if err != nil {
		return nil, err
	}
	out, err := s.engine.CreateToken(ctx, callOf(ctx), engine.CreateTokenInput{
		Principal: r.Msg.GetPrincipal(), Roles: rolesOf(r.Msg.GetRoles()), Groups: r.Msg.GetGroups(), Scope: scope, TTL: ttl,
	})
	return answer(&keyholdv1.CreateTokenResponse{Secret: newToken(ctx, &out), Token: tokenMessage(&out.Info)}, err)
}

func (s adminService) ListTokens(ctx context.Context, r *connect.Request[keyholdv1.ListTokensRequest]) (*connect.Response[keyholdv1.ListTokensResponse], error) {
	out, err := s.engine.ListTokens(ctx, callOf(ctx), page(r.Msg.GetPageSize(), r.Msg.GetPageToken()))
	return answer(&keyholdv1.ListTokensResponse{Tokens: each(out.Tokens, tokenMessage), NextPageToken: out.Next}, err)
}

func (s adminService) GetToken(ctx context.Context, r *connect.Request[keyholdv1.GetTokenRequest]) (*connect.Response[keyholdv1.TokenResponse], error) {
	in, err := tokenID(r.Msg.GetId())
	if err != nil {
		return nil, err
	}
	return tokenAnswer(s.engine.Token(ctx, callOf(ctx), in))
}

func (s adminService) RevokeToken(ctx context.Context, r *connect.Request[keyholdv1.RevokeTokenRequest]) (*connect.Response[keyholdv1.TokenResponse], error) {
	in, err := tokenID(r.Msg.GetId())
	if err != nil {
		return nil, err
	}
	return tokenAnswer(s.engine.RevokeToken(ctx, callOf(ctx), in))
}

func credentialMessage(c *engine.CredentialInfo) *keyholdv1.Credential {
	return &keyholdv1.Credential{
		Subject: c.Subject, Namespace: string(c.Namespace), Principal: c.Principal, Roles: each(c.Roles, roleText), Groups: c.Groups,
		CreatedAt: stamp(c.Created), CreatedBy: c.By, RevokedAt: stamp(c.Revoked),
	}
}

func credentialAnswer(out engine.CredentialOutput, err error) (*connect.Response[keyholdv1.CredentialResponse], error) {
	return answer(&keyholdv1.CredentialResponse{Credential: credentialMessage(&out.Credential)}, err)
}

func (s adminService) CreateCredential(ctx context.Context, r *connect.Request[keyholdv1.CreateCredentialRequest]) (*connect.Response[keyholdv1.CredentialResponse], error) {
	return credentialAnswer(s.engine.CreateCredential(ctx, callOf(ctx), engine.CreateCredentialInput{
		Subject: r.Msg.GetSubject(), Principal: r.Msg.GetPrincipal(), Roles: rolesOf(r.Msg.GetRoles()), Groups: r.Msg.GetGroups(),
	}))
}

func (s adminService) ListCredentials(ctx context.Context, r *connect.Request[keyholdv1.ListCredentialsRequest]) (*connect.Response[keyholdv1.ListCredentialsResponse], error) {
	out, err := s.engine.ListCredentials(ctx, callOf(ctx), page(r.Msg.GetPageSize(), r.Msg.GetPageToken()))
	return answer(&keyholdv1.ListCredentialsResponse{Credentials: each(out.Credentials, credentialMessage), NextPageToken: out.Next}, err)
}

func (s adminService) RevokeCredential(ctx context.Context, r *connect.Request[keyholdv1.RevokeCredentialRequest]) (*connect.Response[keyholdv1.CredentialResponse], error) {
	return credentialAnswer(s.engine.RevokeCredential(ctx, callOf(ctx), engine.SubjectInput{Subject: r.Msg.GetSubject()}))
}

func (s adminService) WhoAmI(ctx context.Context, _ *connect.Request[keyholdv1.WhoAmIRequest]) (*connect.Response[keyholdv1.WhoAmIResponse], error) {
	out, err := s.engine.WhoAmI(ctx, callOf(ctx))
	if err != nil {
		return nil, err
	}
	m := &keyholdv1.WhoAmIResponse{Namespace: string(out.Namespace)}
	if p := out.Principal; p != nil {
		m.Principal, m.Home, m.Method, m.Credential = p.Name, string(p.Namespace), p.Method.String(), p.Credential
		m.Roles, m.Groups, m.Scope, m.ExpiresAt = each(p.Roles, roleText), p.Groups, each(p.Scope, actionText), stamp(p.Expires)
	}
	return connect.NewResponse(m), nil
}

func jobMessage(j *engine.JobInfo) *keyholdv1.Job {
	return &keyholdv1.Job{
		Name: j.Name, State: j.State, Done: j.Done, Total: j.Total, LastRun: stamp(j.LastRun), NextRun: stamp(j.NextRun), Note: j.LastNote,
		Namespace: string(j.Namespace), KeyId: idText(j.Key), Version: j.Version, Due: stamp(j.Due), Attempts: j.Attempts,
	}
}

func (s adminService) ListJobs(ctx context.Context, r *connect.Request[keyholdv1.ListJobsRequest]) (*connect.Response[keyholdv1.ListJobsResponse], error) {
	out, err := s.engine.Jobs(ctx, callOf(ctx), engine.JobsInput{Due: int(r.Msg.GetDue())})
	return answer(&keyholdv1.ListJobsResponse{Jobs: each(out.Jobs, jobMessage)}, err)
}

func (s adminService) RollEpoch(ctx context.Context, _ *connect.Request[keyholdv1.RollEpochRequest]) (*connect.Response[keyholdv1.ListJobsResponse], error) {
	out, err := s.engine.RollEpoch(ctx, callOf(ctx))
	return answer(&keyholdv1.ListJobsResponse{Jobs: each(out.Jobs, jobMessage)}, err)
}

func (s adminService) RebuildUsage(ctx context.Context, _ *connect.Request[keyholdv1.RebuildUsageRequest]) (*connect.Response[keyholdv1.RebuildUsageResponse], error) {
	out, err := s.engine.RebuildUsage(ctx, callOf(ctx))
	return answer(&keyholdv1.RebuildUsageResponse{Was: stamp(out.Was), From: stamp(out.From)}, err)
}

func (s adminService) RotateRoot(ctx context.Context, _ *connect.Request[keyholdv1.RotateRootRequest]) (*connect.Response[keyholdv1.RotateRootResponse], error) {
	out, err := s.engine.RotateRoot(ctx, callOf(ctx))
	return answer(&keyholdv1.RotateRootResponse{Status: statusMessage(&out, true)}, err)
}

func (s adminService) CheckStore(ctx context.Context, _ *connect.Request[keyholdv1.CheckStoreRequest]) (*connect.Response[keyholdv1.CheckStoreResponse], error) {
	out, err := s.engine.CheckStore(ctx, callOf(ctx))
	return answer(&keyholdv1.CheckStoreResponse{
		Records: uint64(out.Records), Keys: uint64(out.Keys), Versions: uint64(out.Versions), //nolint:gosec // G115: counts are not negative
		Damaged: out.Damaged, DamagedCount: uint64(out.DamagedCount), //nolint:gosec // G115: likewise
	}, err)
}
