package native

import (
	"context"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// made makes n empty messages; a batch larger than its limit, which is refused, gets none.
func made[T any](n int) []*T {
	if n > engine.MaxItems {
		n = 0
	}
	all := make([]*T, n)
	for i := range all {
		all[i] = new(T)
	}
	return all
}

func macItem(m *keyholdv1.GenerateMacRequest) engine.MACItem {
	return engine.MACItem{Message: m.GetMessage()}
}

func verifyMACItem(m *keyholdv1.VerifyMacRequest) engine.VerifyMACItem {
	return engine.VerifyMACItem{Message: m.GetMessage(), MAC: m.GetMac()}
}

func (s cryptoService) EncryptBatch(ctx context.Context, r *connect.Request[keyholdv1.EncryptBatchRequest]) (*connect.Response[keyholdv1.EncryptBatchResponse], error) {
	m, results := r.Msg, made[keyholdv1.EncryptResult](len(r.Msg.GetItems()))
	err := batch(m.GetItems(), func(it *keyholdv1.EncryptRequest) item {
		return item{use{key: or(it.GetKey(), m.GetKey()), version: it.GetVersion(), scheme: it.GetScheme(), raw: it.GetRaw()}, len(it.GetPlaintext()) + len(it.GetAad()) + contextSize(it.GetContext())}
	}, func(u use, members []int) error {
		scheme, err := kms.ParseScheme(u.scheme)
		if err != nil {
			return err
		}
		out, err := s.engine.Encrypt(ctx, callOf(ctx), engine.EncryptInput{Key: kms.Ref(u.key), Version: u.version, Scheme: scheme, Raw: u.raw, Items: pick(m.GetItems(), members, encryptItem)})
		if err != nil {
			return err
		}
		for j, i := range members {
			if e := at(out.Items, j).Err; e != nil {
				results[i].Result = &keyholdv1.EncryptResult_Error{Error: detailOf(e)}
				continue
			}
			results[i].Result = &keyholdv1.EncryptResult_Ok{Ok: encryptResponse(&out, j)}
		}
		return nil
	}, func(i int, e *keyholdv1.ErrorDetail) { results[i].Result = &keyholdv1.EncryptResult_Error{Error: e} })
	return answer(&keyholdv1.EncryptBatchResponse{Items: results}, err)
}

func (s cryptoService) DecryptBatch(ctx context.Context, r *connect.Request[keyholdv1.DecryptBatchRequest]) (*connect.Response[keyholdv1.DecryptBatchResponse], error) {
	m, results := r.Msg, made[keyholdv1.DecryptResult](len(r.Msg.GetItems()))
	x := exchangeOf(ctx)
	err := batch(m.GetItems(), func(it *keyholdv1.DecryptRequest) item {
		return item{use{key: maker(or(it.GetKey(), m.GetKey()), it.GetCiphertext(), it.GetRaw()), version: it.GetVersion(), scheme: it.GetScheme(), raw: it.GetRaw()}, len(it.GetCiphertext()) + len(it.GetAad()) + contextSize(it.GetContext())}
	}, func(u use, members []int) error {
		scheme, err := kms.ParseScheme(u.scheme)
		if err != nil {
			return err
		}
		out, err := s.engine.Decrypt(ctx, x.call, engine.DecryptInput{Key: kms.Ref(u.key), Version: u.version, Scheme: scheme, Raw: u.raw, Items: pick(m.GetItems(), members, decryptItem)})
		if err != nil {
			return err
		}
		for j, i := range members {
			if e := at(out.Items, j).Err; e != nil {
				results[i].Result = &keyholdv1.DecryptResult_Error{Error: detailOf(e)}
				continue
			}
			results[i].Result = &keyholdv1.DecryptResult_Ok{Ok: decryptResponse(x, &out, j)}
		}
		return nil
	}, func(i int, e *keyholdv1.ErrorDetail) { results[i].Result = &keyholdv1.DecryptResult_Error{Error: e} })
	return answer(&keyholdv1.DecryptBatchResponse{Items: results}, err)
}

func (s cryptoService) ReEncryptBatch(ctx context.Context, r *connect.Request[keyholdv1.ReEncryptBatchRequest]) (*connect.Response[keyholdv1.ReEncryptBatchResponse], error) {
	m, results := r.Msg, made[keyholdv1.ReEncryptResult](len(r.Msg.GetItems()))
	err := batch(m.GetItems(), func(it *keyholdv1.ReEncryptRequest) item {
		return item{use{key: maker(or(it.GetFromKey(), m.GetFromKey()), it.GetCiphertext(), false), to: or(it.GetToKey(), m.GetToKey())}, len(it.GetCiphertext()) + len(it.GetFromAad()) + len(it.GetToAad()) + contextSize(it.GetFromContext()) + contextSize(it.GetToContext())}
	}, func(u use, members []int) error {
		out, err := s.engine.ReEncrypt(ctx, callOf(ctx), engine.ReEncryptInput{From: kms.Ref(u.key), To: kms.Ref(u.to), Items: pick(m.GetItems(), members, reEncryptItem)})
		if err != nil {
			return err
		}
		for j, i := range members {
			if e := at(out.Items, j).Err; e != nil {
				results[i].Result = &keyholdv1.ReEncryptResult_Error{Error: detailOf(e)}
				continue
			}
			results[i].Result = &keyholdv1.ReEncryptResult_Ok{Ok: reEncryptResponse(&out, j)}
		}
		return nil
	}, func(i int, e *keyholdv1.ErrorDetail) { results[i].Result = &keyholdv1.ReEncryptResult_Error{Error: e} })
	return answer(&keyholdv1.ReEncryptBatchResponse{Items: results}, err)
}

func (s cryptoService) GenerateDataKeyBatch(ctx context.Context, r *connect.Request[keyholdv1.GenerateDataKeyBatchRequest]) (*connect.Response[keyholdv1.GenerateDataKeyBatchResponse], error) {
	m, results := r.Msg, made[keyholdv1.GenerateDataKeyResult](len(r.Msg.GetItems()))
	x := exchangeOf(ctx)
	err := batch(m.GetItems(), func(it *keyholdv1.GenerateDataKeyRequest) item {
		return item{use{key: or(it.GetKey(), m.GetKey()), version: it.GetLength(), raw: it.GetWithoutPlaintext(), apart: contextText(it.GetContext(), it.GetAad())}, int(it.GetLength()) + len(it.GetAad()) + contextSize(it.GetContext())}
	}, func(u use, members []int) error {
		out, err := s.engine.GenerateDataKey(ctx, x.call, dataKeyInput(m.GetItems()[members[0]], u.key, len(members)))
		if err != nil {
			return err
		}
		for j, i := range members {
			results[i].Result = &keyholdv1.GenerateDataKeyResult_Ok{Ok: dataKeyResponse(x, &out, j)}
		}
		return nil
	}, func(i int, e *keyholdv1.ErrorDetail) {
		results[i].Result = &keyholdv1.GenerateDataKeyResult_Error{Error: e}
	})
	return answer(&keyholdv1.GenerateDataKeyBatchResponse{Items: results}, err)
}

func (s cryptoService) SignBatch(ctx context.Context, r *connect.Request[keyholdv1.SignBatchRequest]) (*connect.Response[keyholdv1.SignBatchResponse], error) {
	m, results := r.Msg, made[keyholdv1.SignResult](len(r.Msg.GetItems()))
	err := batch(m.GetItems(), func(it *keyholdv1.SignRequest) item {
		return item{use{key: or(it.GetKey(), m.GetKey()), version: it.GetVersion(), scheme: it.GetScheme()}, len(it.GetMessage())}
	}, func(u use, members []int) error {
		scheme, err := kms.ParseScheme(u.scheme)
		if err != nil {
			return err
		}
		out, err := s.engine.Sign(ctx, callOf(ctx), engine.SignInput{Key: kms.Ref(u.key), Version: u.version, Scheme: scheme, Items: pick(m.GetItems(), members, signItem)})
		if err != nil {
			return err
		}
		for j, i := range members {
			if e := at(out.Items, j).Err; e != nil {
				results[i].Result = &keyholdv1.SignResult_Error{Error: detailOf(e)}
				continue
			}
			results[i].Result = &keyholdv1.SignResult_Ok{Ok: signResponse(&out, j)}
		}
		return nil
	}, func(i int, e *keyholdv1.ErrorDetail) { results[i].Result = &keyholdv1.SignResult_Error{Error: e} })
	return answer(&keyholdv1.SignBatchResponse{Items: results}, err)
}

func (s cryptoService) VerifyBatch(ctx context.Context, r *connect.Request[keyholdv1.VerifyBatchRequest]) (*connect.Response[keyholdv1.VerifyBatchResponse], error) {
	m, results := r.Msg, made[keyholdv1.VerifyResult](len(r.Msg.GetItems()))
	err := batch(m.GetItems(), func(it *keyholdv1.VerifyRequest) item {
		return item{use{key: or(it.GetKey(), m.GetKey()), version: it.GetVersion(), scheme: it.GetScheme()}, len(it.GetMessage()) + len(it.GetSignature())}
	}, func(u use, members []int) error {
		scheme, err := kms.ParseScheme(u.scheme)
		if err != nil {
			return err
		}
		out, err := s.engine.Verify(ctx, callOf(ctx), engine.VerifyInput{Key: kms.Ref(u.key), Version: u.version, Scheme: scheme, Items: pick(m.GetItems(), members, verifyItem)})
		if err != nil {
			return err
		}
		for j, i := range members {
			if e := at(out.Items, j).Err; e != nil {
				results[i].Result = &keyholdv1.VerifyResult_Error{Error: detailOf(e)}
				continue
			}
			results[i].Result = &keyholdv1.VerifyResult_Ok{Ok: verifyResponse(&out)}
		}
		return nil
	}, func(i int, e *keyholdv1.ErrorDetail) { results[i].Result = &keyholdv1.VerifyResult_Error{Error: e} })
	return answer(&keyholdv1.VerifyBatchResponse{Items: results}, err)
}

func (s cryptoService) GenerateMacBatch(ctx context.Context, r *connect.Request[keyholdv1.GenerateMacBatchRequest]) (*connect.Response[keyholdv1.GenerateMacBatchResponse], error) {
	m, results := r.Msg, made[keyholdv1.GenerateMacResult](len(r.Msg.GetItems()))
	err := batch(m.GetItems(), func(it *keyholdv1.GenerateMacRequest) item {
		return item{use{key: or(it.GetKey(), m.GetKey()), version: it.GetVersion()}, len(it.GetMessage())}
	}, func(u use, members []int) error {
		out, err := s.engine.GenerateMAC(ctx, callOf(ctx), engine.MACInput{Key: kms.Ref(u.key), Version: u.version, Items: pick(m.GetItems(), members, macItem)})
		if err != nil {
			return err
		}
		for j, i := range members {
			if e := at(out.Items, j).Err; e != nil {
				results[i].Result = &keyholdv1.GenerateMacResult_Error{Error: detailOf(e)}
				continue
			}
			results[i].Result = &keyholdv1.GenerateMacResult_Ok{Ok: macResponse(&out, j)}
		}
		return nil
	}, func(i int, e *keyholdv1.ErrorDetail) {
		results[i].Result = &keyholdv1.GenerateMacResult_Error{Error: e}
	})
	return answer(&keyholdv1.GenerateMacBatchResponse{Items: results}, err)
}

func (s cryptoService) VerifyMacBatch(ctx context.Context, r *connect.Request[keyholdv1.VerifyMacBatchRequest]) (*connect.Response[keyholdv1.VerifyMacBatchResponse], error) {
	m, results := r.Msg, made[keyholdv1.VerifyMacResult](len(r.Msg.GetItems()))
	err := batch(m.GetItems(), func(it *keyholdv1.VerifyMacRequest) item {
		return item{use{key: or(it.GetKey(), m.GetKey()), version: it.GetVersion()}, len(it.GetMessage()) + len(it.GetMac())}
	}, func(u use, members []int) error {
		out, err := s.engine.VerifyMAC(ctx, callOf(ctx), engine.VerifyMACInput{Key: kms.Ref(u.key), Version: u.version, Items: pick(m.GetItems(), members, verifyMACItem)})
		if err != nil {
			return err
		}
		for j, i := range members {
			if e := at(out.Items, j).Err; e != nil {
				results[i].Result = &keyholdv1.VerifyMacResult_Error{Error: detailOf(e)}
				continue
			}
			results[i].Result = &keyholdv1.VerifyMacResult_Ok{Ok: verifyMACResponse(&out)}
		}
		return nil
	}, func(i int, e *keyholdv1.ErrorDetail) { results[i].Result = &keyholdv1.VerifyMacResult_Error{Error: e} })
	return answer(&keyholdv1.VerifyMacBatchResponse{Items: results}, err)
}
