package native

import (
	"context"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// formatted is what the two requests of format-preserving encryption have in common.
type formatted interface {
	GetKey() string
	GetText() string
	GetAlphabet() string
	GetTweak() []byte
	GetPreserveOthers() bool
	GetVersion() uint32
}

func formatInput[M formatted](m M) engine.FormatInput {
	return engine.FormatInput{
		Key: kms.Ref(m.GetKey()), Version: m.GetVersion(), Alphabet: m.GetAlphabet(), PreserveOthers: m.GetPreserveOthers(), Items: []engine.FormatItem{formatItem(m)},
	}
}

func formatItem[M formatted](m M) engine.FormatItem {
	return engine.FormatItem{Text: []byte(m.GetText()), Tweak: m.GetTweak()}
}

// formatUse looks at an item of a batch: items of one alphabet are one operation.
func formatUse[M formatted](m M, key string) item {
	return item{
		use{key: or(m.GetKey(), key), version: m.GetVersion(), raw: m.GetPreserveOthers(), apart: m.GetAlphabet()},
		len(m.GetText()) + len(m.GetTweak()) + len(m.GetAlphabet()),
	}
}

func formatGroup[M formatted](u use, all []M, members []int) engine.FormatInput {
	return engine.FormatInput{
		Key: kms.Ref(u.key), Version: u.version, Alphabet: u.apart, PreserveOthers: u.raw, Items: pick(all, members, formatItem[M]),
	}
}

func encryptedText(out *engine.EncryptFormatOutput, i int) *keyholdv1.EncryptFormatResponse {
	return &keyholdv1.EncryptFormatResponse{Text: at(out.Items, i).Text, KeyId: idText(out.Key), Version: out.Version, Scheme: schemeText(out.Scheme)}
}

func decryptedText(x *exchange, out *engine.DecryptFormatOutput, i int) *keyholdv1.DecryptFormatResponse {
	return &keyholdv1.DecryptFormatResponse{Text: string(x.keep(at(out.Items, i).Text)), KeyId: idText(out.Key), Version: out.Version, Scheme: schemeText(out.Scheme)}
}

func (s cryptoService) EncryptFormat(ctx context.Context, r *connect.Request[keyholdv1.EncryptFormatRequest]) (*connect.Response[keyholdv1.EncryptFormatResponse], error) {
	out, err := s.engine.EncryptFormat(ctx, callOf(ctx), formatInput(r.Msg))
	return answer(encryptedText(&out, 0), err)
}

func (s cryptoService) DecryptFormat(ctx context.Context, r *connect.Request[keyholdv1.DecryptFormatRequest]) (*connect.Response[keyholdv1.DecryptFormatResponse], error) {
	out, err := s.engine.DecryptFormat(ctx, callOf(ctx), formatInput(r.Msg))
	return answer(decryptedText(exchangeOf(ctx), &out, 0), err)
}

func (s cryptoService) EncryptFormatBatch(ctx context.Context, r *connect.Request[keyholdv1.EncryptFormatBatchRequest]) (*connect.Response[keyholdv1.EncryptFormatBatchResponse], error) {
	m, results := r.Msg, made[keyholdv1.EncryptFormatResult](len(r.Msg.GetItems()))
	err := batch(m.GetItems(), func(it *keyholdv1.EncryptFormatRequest) item { return formatUse(it, m.GetKey()) }, func(u use, members []int) error {
		out, err := s.engine.EncryptFormat(ctx, callOf(ctx), formatGroup(u, m.GetItems(), members))
		if err != nil {
			return err
		}
		for j, i := range members {
			if e := at(out.Items, j).Err; e != nil {
				results[i].Result = &keyholdv1.EncryptFormatResult_Error{Error: detailOf(e)}
				continue
			}
			results[i].Result = &keyholdv1.EncryptFormatResult_Ok{Ok: encryptedText(&out, j)}
		}
		return nil
	}, func(i int, e *keyholdv1.ErrorDetail) {
		results[i].Result = &keyholdv1.EncryptFormatResult_Error{Error: e}
	})
	return answer(&keyholdv1.EncryptFormatBatchResponse{Items: results}, err)
}

func (s cryptoService) DecryptFormatBatch(ctx context.Context, r *connect.Request[keyholdv1.DecryptFormatBatchRequest]) (*connect.Response[keyholdv1.DecryptFormatBatchResponse], error) {
	m, results := r.Msg, made[keyholdv1.DecryptFormatResult](len(r.Msg.GetItems()))
	x := exchangeOf(ctx)
	err := batch(m.GetItems(), func(it *keyholdv1.DecryptFormatRequest) item { return formatUse(it, m.GetKey()) }, func(u use, members []int) error {
		out, err := s.engine.DecryptFormat(ctx, x.call, formatGroup(u, m.GetItems(), members))
		if err != nil {
			return err
		}
		for j, i := range members {
			if e := at(out.Items, j).Err; e != nil {
				results[i].Result = &keyholdv1.DecryptFormatResult_Error{Error: detailOf(e)}
				continue
			}
			results[i].Result = &keyholdv1.DecryptFormatResult_Ok{Ok: decryptedText(x, &out, j)}
		}
		return nil
	}, func(i int, e *keyholdv1.ErrorDetail) {
		results[i].Result = &keyholdv1.DecryptFormatResult_Error{Error: e}
	})
	return answer(&keyholdv1.DecryptFormatBatchResponse{Items: results}, err)
}
