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

func accessKeyMessage(k *engine.AccessKeyInfo) *keyholdv1.AccessKey {
	if k.ID == "" {
		return nil
	}
	return &keyholdv1.AccessKey{
		Id: k.ID, Namespace: string(k.Namespace), Principal: k.Principal, Roles: each(k.Roles, roleText), Groups: k.Groups, Scope: each(k.Scope, actionText),
		CreatedAt: stamp(k.Created), CreatedBy: k.By, ExpiresAt: stamp(k.Expires), RevokedAt: stamp(k.Revoked), Successor: k.Successor,
	}
}

// newAccessKey answers an access key that was just made. Its secret becomes a string, which cannot be erased: the message holds one.
func newAccessKey(ctx context.Context, out *engine.CreateAccessKeyOutput, err error) (*connect.Response[keyholdv1.CreateAccessKeyResponse], error) {
	return answer(&keyholdv1.CreateAccessKeyResponse{
		Secret: string(exchangeOf(ctx).keep(out.Secret)), AccessKey: accessKeyMessage(&out.Info), Replaced: accessKeyMessage(&out.Replaced),
	}, err)
}

func (s adminService) CreateAccessKey(ctx context.Context, r *connect.Request[keyholdv1.CreateAccessKeyRequest]) (*connect.Response[keyholdv1.CreateAccessKeyResponse], error) {
	scope, err := actionsOf(r.Msg.GetScope())
	if err != nil {
		return nil, err
	}
	ttl, err := span(r.Msg.GetTtl(), "ttl")
	if err != nil {
		return nil, err
	}
	out, err := s.engine.CreateAccessKey(ctx, callOf(ctx), engine.CreateAccessKeyInput{
		Principal: r.Msg.GetPrincipal(), Roles: rolesOf(r.Msg.GetRoles()), Groups: r.Msg.GetGroups(), Scope: scope, TTL: ttl,
	})
	return newAccessKey(ctx, &out, err)
}

func (s adminService) ListAccessKeys(ctx context.Context, r *connect.Request[keyholdv1.ListAccessKeysRequest]) (*connect.Response[keyholdv1.ListAccessKeysResponse], error) {
	out, err := s.engine.ListAccessKeys(ctx, callOf(ctx), engine.ListAccessKeysInput{
		Principal: r.Msg.GetPrincipal(), Page: r.Msg.GetPageToken(), Limit: int(r.Msg.GetPageSize()),
	})
	return answer(&keyholdv1.ListAccessKeysResponse{AccessKeys: each(out.AccessKeys, accessKeyMessage), NextPageToken: out.Next}, err)
}

// grace reads how long something goes on: not set is nil, and nothing is a value too.
func grace(d *durationpb.Duration) (*time.Duration, error) {
	if d == nil {
		return nil, nil //nolint:nilnil // not set
	}
	v := d.AsDuration()
	if d.CheckValid() != nil || v < 0 {
		return nil, kms.Errorf(kms.CodeBadRequest, "grace is not a duration")
	}
	return &v, nil
}

func (s adminService) RotateAccessKey(ctx context.Context, r *connect.Request[keyholdv1.RotateAccessKeyRequest]) (*connect.Response[keyholdv1.CreateAccessKeyResponse], error) {
	ttl, err := span(r.Msg.GetTtl(), "ttl")
	if err != nil {
		return nil, err
	}
	rest, err := grace(r.Msg.GetGrace())
	if err != nil {
		return nil, err
	}
	out, err := s.engine.RotateAccessKey(ctx, callOf(ctx), engine.RotateAccessKeyInput{ID: r.Msg.GetId(), Grace: rest, TTL: ttl})
	return newAccessKey(ctx, &out, err)
}

func (s adminService) RevokeAccessKey(ctx context.Context, r *connect.Request[keyholdv1.RevokeAccessKeyRequest]) (*connect.Response[keyholdv1.AccessKeyResponse], error) {
	out, err := s.engine.RevokeAccessKey(ctx, callOf(ctx), engine.AccessKeyInput{ID: r.Msg.GetId()})
	return answer(&keyholdv1.AccessKeyResponse{AccessKey: accessKeyMessage(&out.AccessKey)}, err)
}
