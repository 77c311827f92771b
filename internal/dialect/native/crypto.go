package native

import (
	"context"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// defaultDataKey is the length of a data key that a request does not state, in bytes.
const defaultDataKey = 32

// cryptoService is keyhold.v1.CryptoService; its batches are in batch.go.
type cryptoService struct{ engine *engine.Engine }

// keep notes what is to be erased when the answer is written, and gives its bytes to the answer.
func (x *exchange) keep(r secret.Released) []byte {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.released = append(x.released, r)
	return r.Wire(release.Wire{})
}

// at is an item of an answer; a dry run answers none.
func at[T any](items []T, i int) (item T) {
	if i < len(items) {
		return items[i]
	}
	return item
}

func (s cryptoService) Encrypt(ctx context.Context, r *connect.Request[keyholdv1.EncryptRequest]) (*connect.Response[keyholdv1.EncryptResponse], error) {
	m := r.Msg
	scheme, err := kms.ParseScheme(m.GetScheme())
	if err != nil {
		return nil, err
	}
	out, err := s.engine.Encrypt(ctx, callOf(ctx), engine.EncryptInput{
		Key: kms.Ref(m.GetKey()), Version: m.GetVersion(), Scheme: scheme, Raw: m.GetRaw(), Items: []engine.EncryptItem{encryptItem(m)},
	})
	return answer(encryptResponse(&out, 0), err)
}

func encryptItem(m *keyholdv1.EncryptRequest) engine.EncryptItem {
	return engine.EncryptItem{Plaintext: m.GetPlaintext(), Context: m.GetContext(), AAD: m.GetAad()}
}

func encryptResponse(out *engine.EncryptOutput, i int) *keyholdv1.EncryptResponse {
	return &keyholdv1.EncryptResponse{Ciphertext: at(out.Items, i).Ciphertext, KeyId: idText(out.Key), Version: out.Version}
}

func (s cryptoService) Decrypt(ctx context.Context, r *connect.Request[keyholdv1.DecryptRequest]) (*connect.Response[keyholdv1.DecryptResponse], error) {
	m := r.Msg
	scheme, err := kms.ParseScheme(m.GetScheme())
	if err != nil {
		return nil, err
	}
	out, err := s.engine.Decrypt(ctx, callOf(ctx), engine.DecryptInput{
		Key: kms.Ref(m.GetKey()), Version: m.GetVersion(), Scheme: scheme, Raw: m.GetRaw(), Items: []engine.DecryptItem{decryptItem(m)},
	})
	return answer(decryptResponse(exchangeOf(ctx), &out, 0), err)
}

func decryptItem(m *keyholdv1.DecryptRequest) engine.DecryptItem {
	return engine.DecryptItem{Ciphertext: m.GetCiphertext(), Context: m.GetContext(), AAD: m.GetAad()}
}

func decryptResponse(x *exchange, out *engine.DecryptOutput, i int) *keyholdv1.DecryptResponse {
	it := at(out.Items, i)
	return &keyholdv1.DecryptResponse{Plaintext: x.keep(it.Plaintext), KeyId: idText(out.Key), Version: it.Version}
}

func (s cryptoService) ReEncrypt(ctx context.Context, r *connect.Request[keyholdv1.ReEncryptRequest]) (*connect.Response[keyholdv1.ReEncryptResponse], error) {
	out, err := s.engine.ReEncrypt(ctx, callOf(ctx), engine.ReEncryptInput{
		From: kms.Ref(r.Msg.GetFromKey()), To: kms.Ref(r.Msg.GetToKey()), Items: []engine.ReEncryptItem{reEncryptItem(r.Msg)},
	})
	return answer(reEncryptResponse(&out, 0), err)
}

func reEncryptItem(m *keyholdv1.ReEncryptRequest) engine.ReEncryptItem {
	return engine.ReEncryptItem{
		Ciphertext: m.GetCiphertext(), FromContext: m.GetFromContext(), FromAAD: m.GetFromAad(), ToContext: m.GetToContext(), ToAAD: m.GetToAad(),
	}
}

func reEncryptResponse(out *engine.ReEncryptOutput, i int) *keyholdv1.ReEncryptResponse {
	return &keyholdv1.ReEncryptResponse{Ciphertext: at(out.Items, i).Ciphertext, FromKeyId: idText(out.From), ToKeyId: idText(out.To), Version: out.Version}
}

func (s cryptoService) GenerateDataKey(ctx context.Context, r *connect.Request[keyholdv1.GenerateDataKeyRequest]) (*connect.Response[keyholdv1.GenerateDataKeyResponse], error) {
	out, err := s.engine.GenerateDataKey(ctx, callOf(ctx), dataKeyInput(r.Msg, r.Msg.GetKey(), 1))
	return answer(dataKeyResponse(exchangeOf(ctx), &out, 0), err)
}

func dataKeyInput(m *keyholdv1.GenerateDataKeyRequest, key string, count int) engine.DataKeyInput {
	in := engine.DataKeyInput{
		Key: kms.Ref(key), Bytes: int(m.GetLength()), Count: count, Context: m.GetContext(), AAD: m.GetAad(), WithoutPlaintext: m.GetWithoutPlaintext(),
	}
	if in.Bytes == 0 {
		in.Bytes = defaultDataKey
	}
	return in
}

func dataKeyResponse(x *exchange, out *engine.DataKeyOutput, i int) *keyholdv1.GenerateDataKeyResponse {
	it := at(out.Items, i)
	return &keyholdv1.GenerateDataKeyResponse{Plaintext: x.keep(it.Plaintext), Ciphertext: it.Ciphertext, KeyId: idText(out.Key), Version: out.Version}
}

func (s cryptoService) Sign(ctx context.Context, r *connect.Request[keyholdv1.SignRequest]) (*connect.Response[keyholdv1.SignResponse], error) {
	scheme, err := kms.ParseScheme(r.Msg.GetScheme())
	if err != nil {
		return nil, err
	}
	out, err := s.engine.Sign(ctx, callOf(ctx), engine.SignInput{
		Key: kms.Ref(r.Msg.GetKey()), Version: r.Msg.GetVersion(), Scheme: scheme, Items: []engine.SignItem{signItem(r.Msg)},
	})
	return answer(signResponse(&out, 0), err)
}

func signItem(m *keyholdv1.SignRequest) engine.SignItem {
	return engine.SignItem{Message: m.GetMessage(), Digested: m.GetDigested()}
}

func signResponse(out *engine.SignOutput, i int) *keyholdv1.SignResponse {
	return &keyholdv1.SignResponse{Signature: at(out.Items, i).Signature, KeyId: idText(out.Key), Version: out.Version, Scheme: schemeText(out.Scheme)}
}

func (s cryptoService) Verify(ctx context.Context, r *connect.Request[keyholdv1.VerifyRequest]) (*connect.Response[keyholdv1.VerifyResponse], error) {
	scheme, err := kms.ParseScheme(r.Msg.GetScheme())
	if err != nil {
		return nil, err
	}
	out, err := s.engine.Verify(ctx, callOf(ctx), engine.VerifyInput{
		Key: kms.Ref(r.Msg.GetKey()), Version: r.Msg.GetVersion(), Scheme: scheme, Items: []engine.VerifyItem{verifyItem(r.Msg)},
	})
	return answer(verifyResponse(&out), err)
}

func verifyItem(m *keyholdv1.VerifyRequest) engine.VerifyItem {
	return engine.VerifyItem{Message: m.GetMessage(), Digested: m.GetDigested(), Signature: m.GetSignature()}
}

func verifyResponse(out *engine.VerifyOutput) *keyholdv1.VerifyResponse {
	return &keyholdv1.VerifyResponse{KeyId: idText(out.Key), Version: out.Version, Scheme: schemeText(out.Scheme)}
}

func (s cryptoService) GenerateMac(ctx context.Context, r *connect.Request[keyholdv1.GenerateMacRequest]) (*connect.Response[keyholdv1.GenerateMacResponse], error) {
	out, err := s.engine.GenerateMAC(ctx, callOf(ctx), engine.MACInput{
		Key: kms.Ref(r.Msg.GetKey()), Version: r.Msg.GetVersion(), Items: []engine.MACItem{{Message: r.Msg.GetMessage()}},
	})
	return answer(macResponse(&out, 0), err)
}

func macResponse(out *engine.MACOutput, i int) *keyholdv1.GenerateMacResponse {
	return &keyholdv1.GenerateMacResponse{Mac: at(out.Items, i).MAC, KeyId: idText(out.Key), Version: out.Version, Scheme: schemeText(out.Scheme)}
}

func (s cryptoService) VerifyMac(ctx context.Context, r *connect.Request[keyholdv1.VerifyMacRequest]) (*connect.Response[keyholdv1.VerifyMacResponse], error) {
	out, err := s.engine.VerifyMAC(ctx, callOf(ctx), engine.VerifyMACInput{
		Key: kms.Ref(r.Msg.GetKey()), Version: r.Msg.GetVersion(), Items: []engine.VerifyMACItem{{Message: r.Msg.GetMessage(), MAC: r.Msg.GetMac()}},
	})
	return answer(verifyMACResponse(&out), err)
}

func verifyMACResponse(out *engine.VerifyOutput) *keyholdv1.VerifyMacResponse {
	return &keyholdv1.VerifyMacResponse{KeyId: idText(out.Key), Version: out.Version, Scheme: schemeText(out.Scheme)}
}

func (s cryptoService) GenerateRandom(ctx context.Context, r *connect.Request[keyholdv1.GenerateRandomRequest]) (*connect.Response[keyholdv1.GenerateRandomResponse], error) {
	out, err := s.engine.GenerateRandom(ctx, callOf(ctx), engine.RandomInput{Bytes: int(r.Msg.GetLength())})
	return answer(&keyholdv1.GenerateRandomResponse{Random: exchangeOf(ctx).keep(out.Bytes)}, err)
}

func (s cryptoService) GetPublicKey(ctx context.Context, r *connect.Request[keyholdv1.GetPublicKeyRequest]) (*connect.Response[keyholdv1.GetPublicKeyResponse], error) {
	out, err := s.engine.GetPublicKey(ctx, callOf(ctx), engine.PublicKeyInput{Key: kms.Ref(r.Msg.GetKey()), Version: r.Msg.GetVersion()})
	return answer(&keyholdv1.GetPublicKeyResponse{
		PublicKey: out.DER, KeyId: idText(out.Key), Version: out.Version, Algorithm: out.Algorithm.String(), Usage: out.Usage.String(),
		Schemes: each(out.Schemes, func(s *kms.Scheme) string { return s.String() }), CreatedAt: stamp(out.Created),
	}, err)
}
