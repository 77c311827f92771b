package native

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

func webTrustMessage(t *engine.WebTrust) *keyholdv1.WebTrust {
	return &keyholdv1.WebTrust{Issuer: t.Issuer, Audiences: t.Audiences, Claims: t.Claims}
}

func roleMessage(r *engine.RoleInfo) *keyholdv1.Role {
	return &keyholdv1.Role{
		Name: r.Name, Namespace: string(r.Namespace), Roles: each(r.Roles, roleText), Groups: r.Groups, Scope: each(r.Scope, actionText),
		Trust:      &keyholdv1.RoleTrust{Principals: r.Trust.Principals, Groups: r.Trust.Groups, Web: each(r.Trust.Web, webTrustMessage)},
		MaxSession: durationpb.New(r.Most.Duration()), CreatedAt: stamp(r.Created), ChangedAt: stamp(r.Changed), ChangedBy: r.By,
	}
}

func roleOf(m *keyholdv1.Role) (in engine.RoleInfo, err error) {
	if m == nil {
		return in, kms.Errorf(kms.CodeBadRequest, "the request holds no role")
	}
	t := m.GetTrust()
	in = engine.RoleInfo{Name: m.GetName(), Roles: rolesOf(m.GetRoles()), Groups: m.GetGroups(), Trust: engine.RoleTrust{Principals: t.GetPrincipals(), Groups: t.GetGroups()}}
	for _, v := range t.GetWeb() {
		in.Trust.Web = append(in.Trust.Web, engine.WebTrust{Issuer: v.GetIssuer(), Audiences: v.GetAudiences(), Claims: v.GetClaims()})
	}
	if in.Scope, err = actionsOf(m.GetScope()); err != nil {
		return in, err
	}
	most, err := span(m.GetMaxSession(), "max_session")
	in.Most = kms.Seconds(most / time.Second)
	return in, err
}

func roleAnswer(out engine.RoleOutput, err error) (*connect.Response[keyholdv1.RoleResponse], error) {
	return answer(&keyholdv1.RoleResponse{Role: roleMessage(&out.Role)}, err)
}

func (s adminService) PutRole(ctx context.Context, r *connect.Request[keyholdv1.PutRoleRequest]) (*connect.Response[keyholdv1.RoleResponse], error) {
	in, err := roleOf(r.Msg.GetRole())
	if err != nil {
		return nil, err
	}
	return roleAnswer(s.engine.PutRole(ctx, callOf(ctx), in))
}

func (s adminService) GetRole(ctx context.Context, r *connect.Request[keyholdv1.GetRoleRequest]) (*connect.Response[keyholdv1.RoleResponse], error) {
	return roleAnswer(s.engine.GetRole(ctx, callOf(ctx), engine.RoleInput{Name: r.Msg.GetName()}))
}

func (s adminService) ListRoles(ctx context.Context, r *connect.Request[keyholdv1.ListRolesRequest]) (*connect.Response[keyholdv1.ListRolesResponse], error) {
	out, err := s.engine.ListRoles(ctx, callOf(ctx), page(r.Msg.GetPageSize(), r.Msg.GetPageToken()))
	return answer(&keyholdv1.ListRolesResponse{Roles: each(out.Roles, roleMessage), NextPageToken: out.Next}, err)
}

func (s adminService) DeleteRole(ctx context.Context, r *connect.Request[keyholdv1.DeleteRoleRequest]) (*connect.Response[keyholdv1.RoleResponse], error) {
	return roleAnswer(s.engine.DeleteRole(ctx, callOf(ctx), engine.RoleInput{Name: r.Msg.GetName()}))
}
