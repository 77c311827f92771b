package native

import (
	"context"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

func keyPolicyAnswer(out engine.KeyPolicyOutput, err error) (*connect.Response[keyholdv1.KeyPolicyResponse], error) {
	return answer(&keyholdv1.KeyPolicyResponse{Policy: &keyholdv1.KeyPolicy{Key: out.Key.String(), KeyName: out.Name, Text: out.Text, IsDefault: out.Default,
		ChangedAt: stamp(out.Changed), ChangedBy: out.By}}, err)
}

func (s keyService) PutKeyPolicy(ctx context.Context, r *connect.Request[keyholdv1.PutKeyPolicyRequest]) (*connect.Response[keyholdv1.KeyPolicyResponse], error) {
	return keyPolicyAnswer(s.engine.PutKeyPolicy(ctx, callOf(ctx), engine.PutKeyPolicyInput{Key: kms.Ref(r.Msg.GetKey()), Text: r.Msg.GetText(), Bypass: r.Msg.GetBypassLockoutCheck()}))
}

func (s keyService) GetKeyPolicy(ctx context.Context, r *connect.Request[keyholdv1.GetKeyPolicyRequest]) (*connect.Response[keyholdv1.KeyPolicyResponse], error) {
	return keyPolicyAnswer(s.engine.GetKeyPolicy(ctx, callOf(ctx), engine.KeyInput{Key: kms.Ref(r.Msg.GetKey())}))
}

func grantMessage(g *engine.GrantInfo) *keyholdv1.Grant {
	m := &keyholdv1.Grant{Id: g.ID, Key: g.Key.String(), Name: g.Name, Grantee: g.Grantee, Retiring: g.Retiring, ContextEquals: g.Equals, ContextSubset: g.Subset,
		CreatedAt: stamp(g.Created), CreatedBy: g.By}
	for _, a := range g.Operations {
		m.Operations = append(m.Operations, a.String())
	}
	return m
}

func grantAnswer(out engine.GrantOutput, err error) (*connect.Response[keyholdv1.GrantResponse], error) {
	return answer(&keyholdv1.GrantResponse{Grant: grantMessage(&out.Grant), Token: out.Token}, err)
}

func grantsAnswer(out engine.GrantsOutput, err error) (*connect.Response[keyholdv1.GrantsResponse], error) {
	return answer(&keyholdv1.GrantsResponse{Grants: each(out.Grants, grantMessage), NextPageToken: out.Next}, err)
}

func (s keyService) CreateGrant(ctx context.Context, r *connect.Request[keyholdv1.CreateGrantRequest]) (*connect.Response[keyholdv1.GrantResponse], error) {
	in := engine.CreateGrantInput{Key: kms.Ref(r.Msg.GetKey()), Grantee: r.Msg.GetGrantee(), Retiring: r.Msg.GetRetiring(), Name: r.Msg.GetName(),
		Equals: r.Msg.GetContextEquals(), Subset: r.Msg.GetContextSubset()}
	for _, name := range r.Msg.GetOperations() {
		a, err := kms.ParseAction(name)
		if err != nil {
			return nil, err
		}
		in.Operations = append(in.Operations, a)
	}
	return grantAnswer(s.engine.CreateGrant(ctx, callOf(ctx), in))
}

func (s keyService) ListGrants(ctx context.Context, r *connect.Request[keyholdv1.ListGrantsRequest]) (*connect.Response[keyholdv1.GrantsResponse], error) {
	p := page(r.Msg.GetPageSize(), r.Msg.GetPageToken())
	return grantsAnswer(s.engine.ListGrants(ctx, callOf(ctx), engine.ListGrantsInput{Key: kms.Ref(r.Msg.GetKey()), Grantee: r.Msg.GetGrantee(), Page: p.Page, Limit: p.Limit}))
}

func (s keyService) ListRetirableGrants(ctx context.Context, r *connect.Request[keyholdv1.ListRetirableGrantsRequest]) (*connect.Response[keyholdv1.GrantsResponse], error) {
	p := page(r.Msg.GetPageSize(), r.Msg.GetPageToken())
	return grantsAnswer(s.engine.ListRetirableGrants(ctx, callOf(ctx), engine.RetirableGrantsInput{Retiring: r.Msg.GetRetiring(), Page: p.Page, Limit: p.Limit}))
}

func (s keyService) RevokeGrant(ctx context.Context, r *connect.Request[keyholdv1.RevokeGrantRequest]) (*connect.Response[keyholdv1.GrantResponse], error) {
	return grantAnswer(s.engine.RevokeGrant(ctx, callOf(ctx), engine.GrantInput{Key: kms.Ref(r.Msg.GetKey()), Grant: r.Msg.GetGrant()}))
}

func (s keyService) RetireGrant(ctx context.Context, r *connect.Request[keyholdv1.RetireGrantRequest]) (*connect.Response[keyholdv1.GrantResponse], error) {
	return grantAnswer(s.engine.RetireGrant(ctx, callOf(ctx), engine.RetireGrantInput{Key: kms.Ref(r.Msg.GetKey()), Grant: r.Msg.GetGrant(), Token: r.Msg.GetToken()}))
}
