package native

import (
	"context"
	"strconv"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// usageService is keyhold.v1.UsageService.
type usageService struct{ engine *engine.Engine }

func (s usageService) ReadUsage(ctx context.Context, r *connect.Request[keyholdv1.ReadUsageRequest]) (*connect.Response[keyholdv1.ReadUsageResponse], error) {
	in := engine.UsageInput{Key: kms.Ref(r.Msg.GetKey()), Version: r.Msg.GetVersion(), Limit: int(r.Msg.GetPageSize())}
	if token := r.Msg.GetPageToken(); token != "" {
		after, err := strconv.ParseUint(token, 10, 32)
		if err != nil || after == 0 {
			return nil, kms.Errorf(kms.CodeBadToken, "the page token is not one that this server gave out")
		}
		in.After = uint32(after)
	}
	out, err := s.engine.ReadUsage(ctx, callOf(ctx), in)
	m := &keyholdv1.ReadUsageResponse{
		KeyId: out.Key.String(), Name: out.Name, Since: stamp(out.Since), Through: stamp(out.Through), Versions: each(out.Versions, versionUsage),
	}
	if out.Next != 0 {
		m.NextPageToken = strconv.FormatUint(uint64(out.Next), 10)
	}
	return answer(m, err)
}

func versionUsage(v *engine.VersionUsage) *keyholdv1.VersionUsage {
	return &keyholdv1.VersionUsage{
		Version: v.Version, First: stamp(v.First), Last: stamp(v.Last), Done: v.Done, Bytes: v.Bytes, Refused: v.Refused,
		Operations: each(v.Operations, operationMessage), Users: each(v.Users, userMessage),
	}
}

func userMessage(u *engine.UserUsage) *keyholdv1.UsageUser {
	m := &keyholdv1.UsageUser{
		Name: u.Name, Namespace: string(u.Namespace), Others: u.Others, First: stamp(u.First), Last: stamp(u.Last), Done: u.Done, Refused: u.Refused,
		Operations: each(u.Operations, operationMessage),
	}
	if !u.Others {
		m.Alias = u.Alias[:]
	}
	return m
}

func operationMessage(o *engine.Operation) *keyholdv1.UsageOperation {
	m := &keyholdv1.UsageOperation{
		Action: o.Action.String(), Code: codeText(o.Code), Count: o.Count, Bytes: o.Bytes, First: stamp(o.First), Last: stamp(o.Last),
	}
	if o.Code == engine.Various {
		m.Code = "various"
	}
	if o.Dialect != 0 {
		m.Dialect = o.Dialect.String()
	}
	return m
}

func (s usageService) AssessKey(ctx context.Context, r *connect.Request[keyholdv1.AssessKeyRequest]) (*connect.Response[keyholdv1.AssessKeyResponse], error) {
	out, err := s.engine.AssessKey(ctx, callOf(ctx), engine.AssessInput{Key: kms.Ref(r.Msg.GetKey())})
	a := &out.Report
	return answer(&keyholdv1.AssessKeyResponse{
		KeyId: idText(a.Key), Name: a.Name, Namespace: string(a.Namespace), State: a.State, At: stamp(a.At), By: a.By, Digest: out.Digest[:],
		Since: stamp(a.Since), Through: stamp(a.Through), First: stamp(a.First), Last: stamp(a.Last), Done: a.Done, Refused: a.Refused,
		Users: each(a.Users, assessedUser), Others: a.Others, Versions: each(a.Versions, assessedVersion), MoreVersions: a.More,
		DataKeys: a.DataKeys, OutsideDataKeys: a.Outside, AtLeast: a.Bounded, Dependants: each(a.Dependants, dependantMessage),
		PublicKeys: a.PublicKeys, Exports: a.Exports, Backups: a.Backups, LastBackup: stamp(a.LastBackup), Unknown: out.Unknown,
	}, err)
}

func assessedUser(u *engine.AssessedUser) *keyholdv1.UsageUser {
	return &keyholdv1.UsageUser{Name: u.Name, Namespace: string(u.Namespace), Alias: u.Alias[:], First: stamp(u.First), Last: stamp(u.Last), Done: u.Done}
}

func assessedVersion(v *engine.AssessedVersion) *keyholdv1.AssessedVersion {
	return &keyholdv1.AssessedVersion{Version: v.Version, Last: stamp(v.Last), Done: v.Done, DataKeys: v.DataKeys, OutsideDataKeys: v.Outside}
}

func dependantMessage(d *engine.Dependant) *keyholdv1.Dependant {
	return &keyholdv1.Dependant{Kind: d.Kind, Name: d.Name}
}

func retireInput(m *keyholdv1.RetireVersionRequest) (in engine.RetireInput, err error) {
	in = engine.RetireInput{Key: kms.Ref(m.GetKey()), Version: m.GetVersion(), Force: m.GetForce()}
	in.Window, err = span(m.GetWindow(), "window")
	return in, err
}

func (s usageService) CheckRetirement(ctx context.Context, r *connect.Request[keyholdv1.RetireVersionRequest]) (*connect.Response[keyholdv1.RetireVersionResponse], error) {
	in, err := retireInput(r.Msg)
	if err != nil {
		return nil, err
	}
	return retired(s.engine.CheckRetirement(ctx, callOf(ctx), in))
}

func (s usageService) RetireVersion(ctx context.Context, r *connect.Request[keyholdv1.RetireVersionRequest]) (*connect.Response[keyholdv1.RetireVersionResponse], error) {
	in, err := retireInput(r.Msg)
	if err != nil {
		return nil, err
	}
	return retired(s.engine.RetireVersion(ctx, callOf(ctx), in))
}

func retired(out engine.RetireOutput, err error) (*connect.Response[keyholdv1.RetireVersionResponse], error) {
	if err != nil {
		return nil, err
	}
	e := &out.Evidence
	return connect.NewResponse(&keyholdv1.RetireVersionResponse{
		Key: keyMessage(&out.Key), Versions: each(out.Versions, versionMessage), Version: e.Version, State: e.State.String(), Retirable: e.Retirable, Against: e.Against,
		Window: durationpb.New(e.Window.Duration()), Since: stamp(e.Since), Through: stamp(e.Through), Last: stamp(e.Last), Users: each(e.Users, userMessage),
		DataKeys: uint64(e.DataKeys), OutsideDataKeys: uint64(e.Outside), Unknown: e.Unknown, //nolint:gosec // G115: counts
	}), nil
}

func (s usageService) ObserveKey(ctx context.Context, r *connect.Request[keyholdv1.ObserveKeyRequest]) (*connect.Response[keyholdv1.ObserveKeyResponse], error) {
	since, err := moment(r.Msg.GetSince(), "since")
	if err != nil {
		return nil, err
	}
	out, err := s.engine.ObserveKey(ctx, callOf(ctx), engine.ObserveInput{Key: kms.Ref(r.Msg.GetKey()), Since: since})
	return answer(&keyholdv1.ObserveKeyResponse{
		KeyId: idText(out.Key), Name: out.Name, PendingDestruction: out.Pending, DestroyAt: stamp(out.DestroyAt), Since: stamp(out.Since), Through: stamp(out.Through),
		Callers: each(out.Callers, userMessage),
	}, err)
}
