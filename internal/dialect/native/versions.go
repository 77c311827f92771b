package native

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// dated is a request that makes a version.
type dated interface {
	GetActivateAt() *timestamppb.Timestamp
	GetPreActive() bool
	GetDeactivateAt() *timestamppb.Timestamp
}

func datesOf(m dated) (d engine.Dates, err error) {
	if d.ActivateAt, err = moment(m.GetActivateAt(), "activate_at"); err != nil {
		return d, err
	}
	d.PreActive = m.GetPreActive()
	d.DeactivateAt, err = moment(m.GetDeactivateAt(), "deactivate_at")
	return d, err
}

func (s keyService) ActivateVersion(ctx context.Context, r *connect.Request[keyholdv1.ActivateVersionRequest]) (*connect.Response[keyholdv1.KeyResponse], error) {
	at, err := moment(r.Msg.GetAt(), "at")
	if err != nil {
		return nil, err
	}
	return keyAnswer(s.engine.ActivateVersion(ctx, callOf(ctx), engine.ActivateInput{
		Key: kms.Ref(r.Msg.GetKey()), Version: r.Msg.GetVersion(), At: at, ByHand: r.Msg.GetByHand(),
	}))
}

func (s keyService) SuspendVersion(ctx context.Context, r *connect.Request[keyholdv1.SuspendVersionRequest]) (*connect.Response[keyholdv1.KeyResponse], error) {
	return keyAnswer(s.engine.SuspendVersion(ctx, callOf(ctx), engine.VersionInput{Key: kms.Ref(r.Msg.GetKey()), Version: r.Msg.GetVersion()}))
}

func (s keyService) ResumeVersion(ctx context.Context, r *connect.Request[keyholdv1.ResumeVersionRequest]) (*connect.Response[keyholdv1.KeyResponse], error) {
	return keyAnswer(s.engine.ResumeVersion(ctx, callOf(ctx), engine.VersionInput{Key: kms.Ref(r.Msg.GetKey()), Version: r.Msg.GetVersion()}))
}

func (s keyService) DeactivateVersion(ctx context.Context, r *connect.Request[keyholdv1.DeactivateVersionRequest]) (*connect.Response[keyholdv1.KeyResponse], error) {
	at, err := moment(r.Msg.GetAt(), "at")
	if err != nil {
		return nil, err
	}
	return keyAnswer(s.engine.DeactivateVersion(ctx, callOf(ctx), engine.DeactivateInput{
		Key: kms.Ref(r.Msg.GetKey()), Version: r.Msg.GetVersion(), At: at, Never: r.Msg.GetNever(),
	}))
}

func (s keyService) ArchiveVersion(ctx context.Context, r *connect.Request[keyholdv1.ArchiveVersionRequest]) (*connect.Response[keyholdv1.KeyResponse], error) {
	return keyAnswer(s.engine.ArchiveVersion(ctx, callOf(ctx), engine.ArchiveInput{Key: kms.Ref(r.Msg.GetKey()), Version: r.Msg.GetVersion()}))
}

func (s keyService) RecallVersion(ctx context.Context, r *connect.Request[keyholdv1.RecallVersionRequest]) (*connect.Response[keyholdv1.KeyResponse], error) {
	period, err := span(r.Msg.GetPeriod(), "period")
	if err != nil {
		return nil, err
	}
	return keyAnswer(s.engine.RecallVersion(ctx, callOf(ctx), engine.RecallInput{
		Key: kms.Ref(r.Msg.GetKey()), Version: r.Msg.GetVersion(), For: period, End: r.Msg.GetEnd(),
	}))
}

func (s keyService) CompromiseVersion(ctx context.Context, r *connect.Request[keyholdv1.CompromiseVersionRequest]) (*connect.Response[keyholdv1.CompromiseVersionResponse], error) {
	out, err := s.engine.CompromiseVersion(ctx, callOf(ctx), engine.CompromiseInput{
		Key: kms.Ref(r.Msg.GetKey()), Versions: r.Msg.GetVersions(), All: r.Msg.GetAll(),
	})
	return answer(&keyholdv1.CompromiseVersionResponse{
		Key: keyMessage(&out.Key), Versions: each(out.Versions, versionMessage),
		Exposed: each(out.Exposed, func(x *engine.Exposure) *keyholdv1.Exposure {
			return &keyholdv1.Exposure{
				Version: x.Version, From: stamp(x.From), To: stamp(x.To), Made: x.Made, Bytes: x.Bytes, First: stamp(x.First), Last: stamp(x.Last),
				DataKeys: uint64(x.DataKeys), OutsideDataKeys: uint64(x.Outside), //nolint:gosec // G115: counts
			}
		}),
		Since: stamp(out.Since), Through: stamp(out.Through), Users: each(out.Users, exposedUser),
		Dependants: each(out.Dependants, func(d *engine.Dependant) *keyholdv1.KeyDependant {
			return &keyholdv1.KeyDependant{Kind: d.Kind, Name: d.Name}
		}),
		Unknown: out.Unknown,
	}, err)
}

func exposedUser(u *engine.UserUsage) *keyholdv1.ExposedUser {
	m := &keyholdv1.ExposedUser{
		Name: u.Name, Namespace: string(u.Namespace), Others: u.Others, First: stamp(u.First), Last: stamp(u.Last), Done: u.Done, Refused: u.Refused,
	}
	if !u.Others {
		m.Alias = u.Alias[:]
	}
	return m
}
