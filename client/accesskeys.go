package client

import (
	"context"
	"iter"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// AccessKey is a pair of an id and a secret with which a principal signs requests (AWS Signature Version 4). It never holds the secret.
type AccessKey struct {
	ID        string    `json:"id"` // "AKIA" and 16 characters
	Namespace string    `json:"namespace"`
	Principal string    `json:"principal"`
	Roles     []string  `json:"roles,omitempty"`
	Groups    []string  `json:"groups,omitempty"`
	Scope     []string  `json:"scope,omitempty"` // the only actions that it may ask for; empty: whatever roles and policies permit
	CreatedAt time.Time `json:"created_at,omitzero"`
	CreatedBy string    `json:"created_by,omitempty"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: never
	RevokedAt time.Time `json:"revoked_at,omitzero"` // zero: it stands
	Successor string    `json:"successor,omitempty"` // that replaced it
}

// CreateAccessKeyInput asks for an access key.
type CreateAccessKeyInput struct {
	Principal string // for example "svc/orders"
	Roles     []string
	Groups    []string
	Scope     []string      // the only actions that it may ask for; empty: whatever roles and policies permit
	TTL       time.Duration // 0: it does not end by itself; at most a year
}

// NewAccessKey is an access key that was just made. Secret is shown this once.
type NewAccessKey struct {
	Secret    string     `json:"secret"` // 40 characters
	AccessKey AccessKey  `json:"access_key"`
	Replaced  *AccessKey `json:"replaced,omitempty"` // of a rotation: the old one, and until when it goes on
}

// CreateAccessKey makes an access key for a principal.
func (c *Client) CreateAccessKey(ctx context.Context, in CreateAccessKeyInput, options ...Option) (NewAccessKey, error) {
	req := &keyholdv1.CreateAccessKeyRequest{Principal: in.Principal, Roles: in.Roles, Groups: in.Groups, Scope: in.Scope}
	if in.TTL != 0 {
		req.Ttl = durationpb.New(in.TTL)
	}
	res, err := invoke(ctx, c, c.admin.CreateAccessKey, req, changes, options)
	return toNewAccessKey(res), err
}

// ListAccessKeys goes through the access keys, those of one principal if it is named.
func (c *Client) ListAccessKeys(ctx context.Context, principal string, options ...Option) iter.Seq2[AccessKey, error] {
	return pages(func(token string) ([]AccessKey, string, error) {
		res, err := invoke(ctx, c, c.admin.ListAccessKeys, &keyholdv1.ListAccessKeysRequest{Principal: principal, PageToken: token}, reads, options)
		return each(res.GetAccessKeys(), toAccessKey), res.GetNextPageToken(), err
	})
}

// RotateAccessKeyInput asks for another access key in the place of one.
type RotateAccessKeyInput struct {
	ID    string
	Grace *time.Duration // how long the old one goes on; nil: 24 hours; 0: it ends at once; at most 30 days
	TTL   time.Duration  // of the new one; 0: as long as the old one had
}

// RotateAccessKey makes another access key for the same principal with the same rights.
func (c *Client) RotateAccessKey(ctx context.Context, in RotateAccessKeyInput, options ...Option) (NewAccessKey, error) {
	req := &keyholdv1.RotateAccessKeyRequest{Id: in.ID}
	if in.Grace != nil {
		req.Grace = durationpb.New(*in.Grace)
	}
	if in.TTL != 0 {
		req.Ttl = durationpb.New(in.TTL)
	}
	res, err := invoke(ctx, c, c.admin.RotateAccessKey, req, changes, options)
	return toNewAccessKey(res), err
}

// RevokeAccessKey ends an access key at once, and the sessions that were begun with it.
func (c *Client) RevokeAccessKey(ctx context.Context, id string, options ...Option) (AccessKey, error) {
	res, err := invoke(ctx, c, c.admin.RevokeAccessKey, &keyholdv1.RevokeAccessKeyRequest{Id: id}, changes, options)
	return toAccessKey(res.GetAccessKey()), err
}

func toNewAccessKey(p *keyholdv1.CreateAccessKeyResponse) NewAccessKey {
	k := NewAccessKey{Secret: p.GetSecret(), AccessKey: toAccessKey(p.GetAccessKey())}
	if old := p.GetReplaced(); old != nil {
		v := toAccessKey(old)
		k.Replaced = &v
	}
	return k
}

func toAccessKey(p *keyholdv1.AccessKey) AccessKey {
	return AccessKey{
		ID: p.GetId(), Namespace: p.GetNamespace(), Principal: p.GetPrincipal(), Roles: p.GetRoles(), Groups: p.GetGroups(), Scope: p.GetScope(),
		CreatedAt: timeOf(p.GetCreatedAt()), CreatedBy: p.GetCreatedBy(), ExpiresAt: timeOf(p.GetExpiresAt()), RevokedAt: timeOf(p.GetRevokedAt()),
		Successor: p.GetSuccessor(),
	}
}
