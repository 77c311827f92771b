package native

import (
	"context"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

func (s cryptoService) DeriveSharedSecret(ctx context.Context, r *connect.Request[keyholdv1.DeriveSharedSecretRequest]) (*connect.Response[keyholdv1.DeriveSharedSecretResponse], error) {
	m := r.Msg
	kdf, err := engine.ParseKDF(m.GetKdf())
	if err != nil {
		return nil, err
	}
	out, err := s.engine.DeriveSharedSecret(ctx, callOf(ctx), engine.DeriveInput{
		Key: kms.Ref(m.GetKey()), Version: m.GetVersion(), PeerPublic: m.GetPeerPublicKey(),
		KDF: kdf, Salt: m.GetSalt(), Info: m.GetInfo(), Length: int(m.GetLength()),
	})
	return answer(&keyholdv1.DeriveSharedSecretResponse{
		SharedSecret: exchangeOf(ctx).keep(out.Secret), KeyId: idText(out.Key), Version: out.Version, Scheme: schemeText(out.Scheme),
	}, err)
}

func (s cryptoService) Encapsulate(ctx context.Context, r *connect.Request[keyholdv1.EncapsulateRequest]) (*connect.Response[keyholdv1.EncapsulateResponse], error) {
	out, err := s.engine.Encapsulate(ctx, callOf(ctx), engine.EncapsulateInput{Key: kms.Ref(r.Msg.GetKey()), Version: r.Msg.GetVersion()})
	return answer(&keyholdv1.EncapsulateResponse{
		Ciphertext: out.Ciphertext, SharedSecret: exchangeOf(ctx).keep(out.Secret), KeyId: idText(out.Key), Version: out.Version, Scheme: schemeText(out.Scheme),
	}, err)
}

func (s cryptoService) Decapsulate(ctx context.Context, r *connect.Request[keyholdv1.DecapsulateRequest]) (*connect.Response[keyholdv1.DecapsulateResponse], error) {
	out, err := s.engine.Decapsulate(ctx, callOf(ctx), engine.DecapsulateInput{
		Key: kms.Ref(r.Msg.GetKey()), Version: r.Msg.GetVersion(), Ciphertext: r.Msg.GetCiphertext(),
	})
	return answer(&keyholdv1.DecapsulateResponse{
		SharedSecret: exchangeOf(ctx).keep(out.Secret), KeyId: idText(out.Key), Version: out.Version, Scheme: schemeText(out.Scheme),
	}, err)
}

func (s cryptoService) GenerateDataKeyPair(ctx context.Context, r *connect.Request[keyholdv1.GenerateDataKeyPairRequest]) (*connect.Response[keyholdv1.GenerateDataKeyPairResponse], error) {
	m := r.Msg
	algorithm, err := kms.ParseAlgorithm(m.GetAlgorithm())
	if err != nil {
		return nil, err
	}
	out, err := s.engine.GenerateDataKeyPair(ctx, callOf(ctx), engine.DataKeyPairInput{
		Key: kms.Ref(m.GetKey()), Algorithm: algorithm, Context: m.GetContext(), AAD: m.GetAad(), WithoutPlaintext: m.GetWithoutPlaintext(),
	})
	return answer(&keyholdv1.GenerateDataKeyPairResponse{
		PublicKey: out.Public, PrivateKey: exchangeOf(ctx).keep(out.Private), PrivateKeyCiphertext: out.Ciphertext,
		KeyId: idText(out.Key), Version: out.Version, Algorithm: algorithm.String(),
	}, err)
}
