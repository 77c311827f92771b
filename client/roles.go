package client

import (
	"context"
	"iter"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// Role can be assumed for a while (AWS STS, AssumeRole): rights, and who may have them. Who has assumed it is the principal role/NAME.
type Role struct {
	Name       string        `json:"name"` // letters, digits and . _ -, at most 64
	Namespace  string        `json:"namespace,omitempty"`
	Roles      []string      `json:"roles,omitempty"`
	Groups     []string      `json:"groups,omitempty"`
	Scope      []string      `json:"scope,omitempty"` // the only actions that its sessions may ask for
	Trust      RoleTrust     `json:"trust"`
	MaxSession time.Duration `json:"-"`                    // 15 minutes to 12 hours; 0: an hour
	Seconds    int64         `json:"max_session_seconds"`  // the same, in answers
	CreatedAt  time.Time     `json:"created_at,omitzero"`  // in answers
	ChangedAt  time.Time     `json:"changed_at,omitzero"`  // in answers
	ChangedBy  string        `json:"changed_by,omitempty"` // in answers
}

// RoleTrust says who may assume a role: any of these.
type RoleTrust struct {
	Principals []string   `json:"principals,omitempty"` // of the namespace
	Groups     []string   `json:"groups,omitempty"`
	Web        []WebTrust `json:"web,omitempty"`
}

// WebTrust admits the bearer of a token that an OpenID Connect issuer signed for one of the audiences, if it makes all the claims.
type WebTrust struct {
	Issuer    string            `json:"issuer"` // "https://…"
	Audiences []string          `json:"audiences"`
	Claims    map[string]string `json:"claims,omitempty"`
}

// PutRole stores a role, new or in place of the one of that name. If who may assume it changes, its sessions end.
func (c *Client) PutRole(ctx context.Context, r Role, options ...Option) (Role, error) {
	m := &keyholdv1.Role{Name: r.Name, Roles: r.Roles, Groups: r.Groups, Scope: r.Scope, Trust: &keyholdv1.RoleTrust{Principals: r.Trust.Principals, Groups: r.Trust.Groups}}
	for _, t := range r.Trust.Web {
		m.Trust.Web = append(m.Trust.Web, &keyholdv1.WebTrust{Issuer: t.Issuer, Audiences: t.Audiences, Claims: t.Claims})
	}
	if r.MaxSession != 0 {
		m.MaxSession = durationpb.New(r.MaxSession)
	}
	res, err := invoke(ctx, c, c.admin.PutRole, &keyholdv1.PutRoleRequest{Role: m}, changes, options)
	return toRole(res.GetRole()), err
}

// GetRole answers a role.
func (c *Client) GetRole(ctx context.Context, name string, options ...Option) (Role, error) {
	res, err := invoke(ctx, c, c.admin.GetRole, &keyholdv1.GetRoleRequest{Name: name}, reads, options)
	return toRole(res.GetRole()), err
}

// ListRoles goes through the roles by name.
func (c *Client) ListRoles(ctx context.Context, options ...Option) iter.Seq2[Role, error] {
	return pages(func(token string) ([]Role, string, error) {
		res, err := invoke(ctx, c, c.admin.ListRoles, &keyholdv1.ListRolesRequest{PageToken: token}, reads, options)
		return each(res.GetRoles(), toRole), res.GetNextPageToken(), err
	})
}

// DeleteRole removes a role; its sessions end at once.
func (c *Client) DeleteRole(ctx context.Context, name string, options ...Option) (Role, error) {
	res, err := invoke(ctx, c, c.admin.DeleteRole, &keyholdv1.DeleteRoleRequest{Name: name}, changes, options)
	return toRole(res.GetRole()), err
}

func toRole(p *keyholdv1.Role) Role {
	r := Role{
		Name: p.GetName(), Namespace: p.GetNamespace(), Roles: p.GetRoles(), Groups: p.GetGroups(), Scope: p.GetScope(),
		Trust:      RoleTrust{Principals: p.GetTrust().GetPrincipals(), Groups: p.GetTrust().GetGroups()},
		MaxSession: p.GetMaxSession().AsDuration(), CreatedAt: timeOf(p.GetCreatedAt()), ChangedAt: timeOf(p.GetChangedAt()), ChangedBy: p.GetChangedBy(),
	}
	r.Seconds = int64(r.MaxSession / time.Second)
	for _, t := range p.GetTrust().GetWeb() {
		r.Trust.Web = append(r.Trust.Web, WebTrust{Issuer: t.GetIssuer(), Audiences: t.GetAudiences(), Claims: t.GetClaims()})
	}
	return r
}
