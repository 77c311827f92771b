package native

import (
	"context"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

func (s cryptoService) WrapKey(ctx context.Context, r *connect.Request[keyholdv1.WrapKeyRequest]) (*connect.Response[keyholdv1.WrapKeyResponse], error) {
	scheme, err := kms.ParseScheme(r.Msg.GetScheme())
	if err != nil {
		return nil, err
	}
	out, err := s.engine.WrapKey(ctx, callOf(ctx), engine.WrapInput{
		Key: kms.Ref(r.Msg.GetKey()), Version: r.Msg.GetVersion(), Scheme: scheme, Items: []engine.WrapItem{wrapItem(r.Msg)},
	})
	return answer(wrapResponse(&out, 0), err)
}

func wrapItem(m *keyholdv1.WrapKeyRequest) engine.WrapItem {
	return engine.WrapItem{Material: m.GetMaterial()}
}

func wrapResponse(out *engine.WrapOutput, i int) *keyholdv1.WrapKeyResponse {
	return &keyholdv1.WrapKeyResponse{Wrapped: at(out.Items, i).Wrapped, KeyId: idText(out.Key), Version: out.Version, Scheme: schemeText(out.Scheme)}
}

func (s cryptoService) UnwrapKey(ctx context.Context, r *connect.Request[keyholdv1.UnwrapKeyRequest]) (*connect.Response[keyholdv1.UnwrapKeyResponse], error) {
	scheme, err := kms.ParseScheme(r.Msg.GetScheme())
	if err != nil {
		return nil, err
	}
	out, err := s.engine.UnwrapKey(ctx, callOf(ctx), engine.WrapInput{
		Key: kms.Ref(r.Msg.GetKey()), Version: r.Msg.GetVersion(), Scheme: scheme, Items: []engine.WrapItem{unwrapItem(r.Msg)},
	})
	return answer(unwrapResponse(exchangeOf(ctx), &out, 0), err)
}

func unwrapItem(m *keyholdv1.UnwrapKeyRequest) engine.WrapItem {
	return engine.WrapItem{Material: m.GetWrapped()}
}

func unwrapResponse(x *exchange, out *engine.UnwrapOutput, i int) *keyholdv1.UnwrapKeyResponse {
	return &keyholdv1.UnwrapKeyResponse{Material: x.keep(at(out.Items, i).Material), KeyId: idText(out.Key), Version: out.Version, Scheme: schemeText(out.Scheme)}
}

func (s cryptoService) WrapKeyBatch(ctx context.Context, r *connect.Request[keyholdv1.WrapKeyBatchRequest]) (*connect.Response[keyholdv1.WrapKeyBatchResponse], error) {
	m, results := r.Msg, made[keyholdv1.WrapKeyResult](len(r.Msg.GetItems()))
	err := batch(m.GetItems(), func(it *keyholdv1.WrapKeyRequest) item {
		return item{use{key: or(it.GetKey(), m.GetKey()), version: it.GetVersion(), scheme: it.GetScheme()}, len(it.GetMaterial())}
	}, func(u use, members []int) error {
		scheme, err := kms.ParseScheme(u.scheme)
		if err != nil {
			return err
		}
		out, err := s.engine.WrapKey(ctx, callOf(ctx), engine.WrapInput{Key: kms.Ref(u.key), Version: u.version, Scheme: scheme, Items: pick(m.GetItems(), members, wrapItem)})
		if err != nil {
			return err
		}
		for j, i := range members {
			if e := at(out.Items, j).Err; e != nil {
				results[i].Result = &keyholdv1.WrapKeyResult_Error{Error: detailOf(e)}
				continue
			}
			results[i].Result = &keyholdv1.WrapKeyResult_Ok{Ok: wrapResponse(&out, j)}
		}
		return nil
	}, func(i int, e *keyholdv1.ErrorDetail) { results[i].Result = &keyholdv1.WrapKeyResult_Error{Error: e} })
	return answer(&keyholdv1.WrapKeyBatchResponse{Items: results}, err)
}

func (s cryptoService) UnwrapKeyBatch(ctx context.Context, r *connect.Request[keyholdv1.UnwrapKeyBatchRequest]) (*connect.Response[keyholdv1.UnwrapKeyBatchResponse], error) {
	m, results := r.Msg, made[keyholdv1.UnwrapKeyResult](len(r.Msg.GetItems()))
	x := exchangeOf(ctx)
	err := batch(m.GetItems(), func(it *keyholdv1.UnwrapKeyRequest) item {
		return item{use{key: or(it.GetKey(), m.GetKey()), version: it.GetVersion(), scheme: it.GetScheme()}, len(it.GetWrapped())}
	}, func(u use, members []int) error {
		scheme, err := kms.ParseScheme(u.scheme)
		if err != nil {
			return err
		}
		out, err := s.engine.UnwrapKey(ctx, x.call, engine.WrapInput{Key: kms.Ref(u.key), Version: u.version, Scheme: scheme, Items: pick(m.GetItems(), members, unwrapItem)})
		if err != nil {
			return err
		}
		for j, i := range members {
			if e := at(out.Items, j).Err; e != nil {
				results[i].Result = &keyholdv1.UnwrapKeyResult_Error{Error: detailOf(e)}
				continue
			}
			results[i].Result = &keyholdv1.UnwrapKeyResult_Ok{Ok: unwrapResponse(x, &out, j)}
		}
		return nil
	}, func(i int, e *keyholdv1.ErrorDetail) { results[i].Result = &keyholdv1.UnwrapKeyResult_Error{Error: e} })
	return answer(&keyholdv1.UnwrapKeyBatchResponse{Items: results}, err)
}
