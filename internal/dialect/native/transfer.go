package native

import (
	"context"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// transferService is keyhold.v1.TransferService.
type transferService struct{ engine *engine.Engine }

func (s transferService) CreateImportToken(ctx context.Context, r *connect.Request[keyholdv1.CreateImportTokenRequest]) (*connect.Response[keyholdv1.CreateImportTokenResponse], error) {
	m := r.Msg
	in := engine.ImportTokenInput{Key: kms.Ref(m.GetKey()), Version: m.GetVersion(), WrappingKey: kms.Ref(m.GetWrappingKey())}
	var err error
	if in.Transport, err = kms.ParseTransport(m.GetTransport()); err != nil {
		return nil, err
	}
	if m.GetWrappingAlgorithm() != "" {
		if in.By, err = kms.ParseAlgorithm(m.GetWrappingAlgorithm()); err != nil {
			return nil, err
		}
	}
	if in.Lifetime, err = span(m.GetLifetime(), "lifetime"); err != nil {
		return nil, err
	}
	out, err := s.engine.CreateImportToken(ctx, callOf(ctx), in)
	return answer(&keyholdv1.CreateImportTokenResponse{
		TokenId: idText(out.ID), KeyId: idText(out.Key), Version: out.Version, Again: out.Again, Algorithm: out.Algorithm.String(), Transport: out.Transport.String(),
		PublicKey: out.Public, Info: out.Info, WrappingKeyId: idText(out.WrappingKey), ExpiresAt: stamp(out.Expires),
	}, err)
}

func (s transferService) ImportKeyMaterial(ctx context.Context, r *connect.Request[keyholdv1.ImportKeyMaterialRequest]) (*connect.Response[keyholdv1.ImportKeyMaterialResponse], error) {
	m := r.Msg
	token, ok := kms.ParseID(m.GetTokenId())
	if !ok {
		return nil, kms.Errorf(kms.CodeImportToken, "%q is not the id of an import token", clip(m.GetTokenId()))
	}
	expires, err := moment(m.GetExpiresAt(), "expires_at")
	if err != nil {
		return nil, err
	}
	out, err := s.engine.ImportKeyMaterial(ctx, callOf(ctx), engine.ImportMaterialInput{
		Key: kms.Ref(m.GetKey()), Token: token, WrappingKey: kms.Ref(m.GetWrappingKey()), Material: m.GetWrappedMaterial(), Public: m.GetPublicKey(), Expires: expires,
	})
	if err != nil {
		return nil, err
	}
	res := &keyholdv1.ImportKeyMaterialResponse{Key: keyMessage(&out.Key), KcvCmac: out.KCV.CMAC, KcvZero: out.KCV.Zero}
	if len(out.Versions) > 0 {
		res.Version = versionMessage(&out.Versions[0])
	}
	return connect.NewResponse(res), nil
}

func (s transferService) ExpireKeyMaterial(ctx context.Context, r *connect.Request[keyholdv1.ExpireKeyMaterialRequest]) (*connect.Response[keyholdv1.KeyResponse], error) {
	window, err := span(r.Msg.GetWindow(), "window")
	if err != nil {
		return nil, err
	}
	if r.Msg.GetKeep() && window != 0 {
		return nil, kms.Errorf(kms.CodeBadRequest, "what is kept has no window")
	}
	return keyAnswer(s.engine.ExpireKeyMaterial(ctx, callOf(ctx), engine.ExpireInput{
		Key: kms.Ref(r.Msg.GetKey()), Version: r.Msg.GetVersion(), Window: window, Keep: r.Msg.GetKeep(),
	}))
}

func (s transferService) ExportKey(ctx context.Context, r *connect.Request[keyholdv1.ExportKeyRequest]) (*connect.Response[keyholdv1.ExportKeyResponse], error) {
	m := r.Msg
	t, err := kms.ParseTransport(m.GetTransport())
	if err != nil {
		return nil, err
	}
	out, err := s.engine.ExportKey(ctx, callOf(ctx), engine.ExportInput{
		Key: kms.Ref(m.GetKey()), Version: m.GetVersion(), Transport: t, Public: m.GetPublicKey(),
		WrappingKey: kms.Ref(m.GetWrappingKey()), WrappingVersion: m.GetWrappingVersion(), Info: m.GetInfo(),
	})
	return answer(&keyholdv1.ExportKeyResponse{
		KeyId: idText(out.Key), Version: out.Version, Algorithm: out.Algorithm.String(), Transport: out.Transport.String(), WrappedMaterial: out.Wrapped,
		Receiver: out.Receiver, CheckValue: out.Check, KcvCmac: out.KCV.CMAC, KcvZero: out.KCV.Zero,
	}, err)
}
