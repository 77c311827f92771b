package native

import (
	"context"
	"strconv"

	"connectrpc.com/connect"

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
