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

type dataKeyService struct{ engine *engine.Engine }

func (s dataKeyService) RegisterDataKey(ctx context.Context, r *connect.Request[keyholdv1.RegisterDataKeyRequest]) (*connect.Response[keyholdv1.DataKeyResponse], error) {
	m := r.Msg
	in := engine.RegisterDataKeyInput{
		Key: kms.Ref(m.GetKey()), Name: m.GetName(), Bytes: int(m.GetBytes()), Context: m.GetContext(), AAD: m.GetAad(), Labels: m.GetLabels(),
		WithPlaintext: m.GetWithPlaintext(), Ciphertext: m.GetCiphertext(), Fingerprint: m.GetFingerprint(), Version: m.GetVersion(),
	}
	if m.GetAlgorithm() != "" {
		var err error
		if in.Algorithm, err = kms.ParseAlgorithm(m.GetAlgorithm()); err != nil {
			return nil, err
		}
	}
	out, err := s.engine.RegisterDataKey(ctx, callOf(ctx), in)
	return dataKeyAnswer(ctx, out, err)
}

func (s dataKeyService) ReadDataKey(ctx context.Context, r *connect.Request[keyholdv1.ReadDataKeyRequest]) (*connect.Response[keyholdv1.DataKeyResponse], error) {
	out, err := s.engine.ReadDataKey(ctx, callOf(ctx), engine.ManagedDataKeyInput{Key: kms.Ref(r.Msg.GetKey()), DataKey: r.Msg.GetDataKey()})
	return dataKeyAnswer(ctx, out, err)
}

func (s dataKeyService) OpenDataKey(ctx context.Context, r *connect.Request[keyholdv1.OpenDataKeyRequest]) (*connect.Response[keyholdv1.DataKeyResponse], error) {
	out, err := s.engine.OpenDataKey(ctx, callOf(ctx), engine.ManagedDataKeyInput{Key: kms.Ref(r.Msg.GetKey()), DataKey: r.Msg.GetDataKey()})
	return dataKeyAnswer(ctx, out, err)
}

func (s dataKeyService) RevokeDataKey(ctx context.Context, r *connect.Request[keyholdv1.RevokeDataKeyRequest]) (*connect.Response[keyholdv1.DataKeyResponse], error) {
	out, err := s.engine.RevokeDataKey(ctx, callOf(ctx), engine.ManagedDataKeyInput{Key: kms.Ref(r.Msg.GetKey()), DataKey: r.Msg.GetDataKey()})
	return dataKeyAnswer(ctx, out, err)
}

func dataKeyAnswer(ctx context.Context, out engine.ManagedDataKeyOutput, err error) (*connect.Response[keyholdv1.DataKeyResponse], error) {
	return answer(&keyholdv1.DataKeyResponse{DataKey: dataKeyMessage(&out.DataKey), Plaintext: exchangeOf(ctx).keep(out.Plaintext)}, err)
}

func dataKeyMessage(d *engine.DataKeyInfo) *keyholdv1.ManagedDataKey {
	m := &keyholdv1.ManagedDataKey{
		Id: idText(d.ID), KeyId: idText(d.Parent), Name: d.Name, State: "active", Version: d.Version,
		Bytes:      uint32(d.Bytes), //nolint:gosec // G115: at most engine.MaxDataKey
		Ciphertext: d.Ciphertext, Fingerprint: d.Fingerprint, Context: d.Context, Aad: d.AAD, Labels: d.Labels,
		CreatedAt: stamp(d.Created), CreatedBy: d.By, Rewraps: d.Wraps, RewrappedAt: stamp(d.Rewrapped), RevokedAt: stamp(d.RevokedAt), RevokedBy: d.RevokedBy,
	}
	if d.Revoked {
		m.State = "revoked"
	}
	if d.Algorithm != 0 {
		m.Algorithm = d.Algorithm.String()
	}
	return m
}

func (s dataKeyService) ListDataKeys(ctx context.Context, r *connect.Request[keyholdv1.ListDataKeysRequest]) (*connect.Response[keyholdv1.ListDataKeysResponse], error) {
	m := r.Msg
	out, err := s.engine.ListDataKeys(ctx, callOf(ctx), engine.ListDataKeysInput{
		Key: kms.Ref(m.GetKey()), Version: m.GetVersion(), Outside: m.GetOutside(), Page: m.GetPageToken(), Limit: int(m.GetPageSize()),
	})
	return answer(&keyholdv1.ListDataKeysResponse{DataKeys: each(out.DataKeys, dataKeyMessage), NextPageToken: out.Next}, err)
}

func (s dataKeyService) CountDataKeys(ctx context.Context, r *connect.Request[keyholdv1.CountDataKeysRequest]) (*connect.Response[keyholdv1.CountDataKeysResponse], error) {
	out, err := s.engine.CountDataKeys(ctx, callOf(ctx), engine.KeyInput{Key: kms.Ref(r.Msg.GetKey())})
	return answer(&keyholdv1.CountDataKeysResponse{
		KeyId: idText(out.Key), PrimaryVersion: out.Primary, More: out.More,
		Versions: each(out.Versions, func(c *engine.DataKeyCount) *keyholdv1.DataKeyCount {
			return &keyholdv1.DataKeyCount{Version: c.Version, Held: uint64(c.Held), Outside: uint64(c.Outside), More: c.More} //nolint:gosec // G115: counts
		}),
	}, err)
}

func (s dataKeyService) StartCampaign(ctx context.Context, r *connect.Request[keyholdv1.StartCampaignRequest]) (*connect.Response[keyholdv1.CampaignResponse], error) {
	rate := r.Msg.GetRate()
	return campaignAnswer(s.engine.StartCampaign(ctx, callOf(ctx), engine.CampaignInput{Key: kms.Ref(r.Msg.GetKey()), Rate: &rate}))
}

func (s dataKeyService) ReadCampaign(ctx context.Context, r *connect.Request[keyholdv1.ReadCampaignRequest]) (*connect.Response[keyholdv1.CampaignResponse], error) {
	return campaignAnswer(s.engine.ReadCampaign(ctx, callOf(ctx), engine.CampaignInput{Key: kms.Ref(r.Msg.GetKey())}))
}

func (s dataKeyService) PauseCampaign(ctx context.Context, r *connect.Request[keyholdv1.PauseCampaignRequest]) (*connect.Response[keyholdv1.CampaignResponse], error) {
	return campaignAnswer(s.engine.PauseCampaign(ctx, callOf(ctx), engine.CampaignInput{Key: kms.Ref(r.Msg.GetKey())}))
}

func (s dataKeyService) ResumeCampaign(ctx context.Context, r *connect.Request[keyholdv1.ResumeCampaignRequest]) (*connect.Response[keyholdv1.CampaignResponse], error) {
	return campaignAnswer(s.engine.ResumeCampaign(ctx, callOf(ctx), engine.CampaignInput{Key: kms.Ref(r.Msg.GetKey())}))
}

func (s dataKeyService) CancelCampaign(ctx context.Context, r *connect.Request[keyholdv1.CancelCampaignRequest]) (*connect.Response[keyholdv1.CampaignResponse], error) {
	return campaignAnswer(s.engine.CancelCampaign(ctx, callOf(ctx), engine.CampaignInput{Key: kms.Ref(r.Msg.GetKey())}))
}

func (s dataKeyService) SetCampaignRate(ctx context.Context, r *connect.Request[keyholdv1.SetCampaignRateRequest]) (*connect.Response[keyholdv1.CampaignResponse], error) {
	rate := r.Msg.GetRate()
	return campaignAnswer(s.engine.SetCampaignRate(ctx, callOf(ctx), engine.CampaignInput{Key: kms.Ref(r.Msg.GetKey()), Rate: &rate}))
}

func (s dataKeyService) ListCampaigns(ctx context.Context, r *connect.Request[keyholdv1.ListCampaignsRequest]) (*connect.Response[keyholdv1.ListCampaignsResponse], error) {
	out, err := s.engine.ListCampaigns(ctx, callOf(ctx), engine.PageInput{Page: r.Msg.GetPageToken(), Limit: int(r.Msg.GetPageSize())})
	return answer(&keyholdv1.ListCampaignsResponse{Campaigns: each(out.Campaigns, campaignMessage), NextPageToken: out.Next}, err)
}

func campaignAnswer(out engine.CampaignOutput, err error) (*connect.Response[keyholdv1.CampaignResponse], error) {
	return answer(&keyholdv1.CampaignResponse{Campaign: campaignMessage(&out.Campaign)}, err)
}

func campaignMessage(c *engine.CampaignInfo) *keyholdv1.Campaign {
	return &keyholdv1.Campaign{
		Id: idText(c.ID), KeyId: idText(c.Key), KeyName: c.KeyName, State: c.State, TargetVersion: c.Target, Cause: c.Cause, Rate: c.Rate,
		Total: c.Total, Done: c.Done, Failed: c.Failed, Left: c.Left, Pages: c.Pages, Note: c.Note, BeganAt: stamp(c.Began), BeganBy: c.By, EndedAt: stamp(c.Ended),
		Worked: lasting(c.Worked), PerSecond: c.PerSecond, Remaining: lasting(c.Remaining),
	}
}

// lasting is a length of time; none is not set.
func lasting(seconds float64) *durationpb.Duration {
	if seconds == 0 {
		return nil
	}
	return durationpb.New(time.Duration(seconds * float64(time.Second)))
}
