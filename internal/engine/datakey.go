package engine

import (
	"context"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/secret"
)

// The descriptors of data keys and random bytes.
var (
	dataKey = op[DataKeyInput, DataKeyOutput]{
		name:  kms.GenerateDataKey,
		cost:  func(in *DataKeyInput) amount { return cost(max(in.Count, 1), max(in.Count, 1)*in.Bytes) },
		roles: []role[DataKeyInput]{dataKeyRole(kms.GenerateDataKey)},
		check: checkDataKey,
		do:    doDataKey,
		erase: func(out *DataKeyOutput) {
			for i := range out.Items {
				out.Items[i].Plaintext.Zero()
			}
		},
	}
	dataKeyWithoutPlaintext = op[DataKeyInput, DataKeyOutput]{
		name:  kms.GenerateDataKeyWithoutPlaintext,
		cost:  func(in *DataKeyInput) amount { return cost(max(in.Count, 1), max(in.Count, 1)*in.Bytes) },
		roles: []role[DataKeyInput]{dataKeyRole(kms.GenerateDataKeyWithoutPlaintext)},
		check: checkDataKey,
		do:    doDataKey,
	}
	random = op[RandomInput, RandomOutput]{
		name: kms.GenerateRandom,
		check: func(in *RandomInput) error {
			if in.Bytes < 1 || in.Bytes > MaxRandom {
				return kms.Errorf(kms.CodeTooLarge, "%d random bytes were asked for: want 1 to %d", in.Bytes, MaxRandom)
			}
			return nil
		},
		do: func(_ context.Context, w *work, in *RandomInput) (RandomOutput, error) {
			b, err := w.e.cfg.Provider.Random(in.Bytes)
			w.rec.Bytes = uint64(in.Bytes) //nolint:gosec // G115: checked above
			return RandomOutput{Bytes: secret.Release(b)}, err
		},
		erase: func(out *RandomOutput) { out.Bytes.Zero() },
	}
)

func dataKeyRole(a kms.Action) role[DataKeyInput] {
	return role[DataKeyInput]{action: a, need: lifecycle.Protect,
		key: func(in *DataKeyInput) (kms.Ref, error) { return in.Key, nil },
		items: func(in *DataKeyInput) items {
			return items{1, func(int) (kms.Context, []byte) { return in.Context, in.AAD }}
		}}
}

func checkDataKey(in *DataKeyInput) error {
	if in.Bytes < 1 || in.Bytes > MaxDataKey {
		return kms.Errorf(kms.CodeTooLarge, "a data key of %d bytes was asked for: want 1 to %d", in.Bytes, MaxDataKey)
	}
	if in.Count < 0 || in.Count > MaxItems {
		return kms.Errorf(kms.CodeTooLarge, "%d data keys were asked for: want 1 to %d", in.Count, MaxItems)
	}
	return checkItem(in.Context, in.AAD, in.Derivation)
}

func doDataKey(ctx context.Context, w *work, in *DataKeyInput) (DataKeyOutput, error) {
	k := w.keys[0]
	if k.Algorithm.Facts().Asymmetric {
		return DataKeyOutput{}, kms.Errorf(kms.CodeAlgorithm, "%s keys do not generate data keys: use a symmetric key", k.Algorithm)
	}
	v, err := w.version(ctx, 0, in.Version)
	if err != nil {
		return DataKeyOutput{}, err
	}
	s, err := w.cipherScheme(k, v.Algorithm, kms.NoScheme, in.Plain, true)
	if err != nil {
		return DataKeyOutput{}, err
	}
	n := max(in.Count, 1)
	out := DataKeyOutput{Key: k.ID, Version: v.Number, Items: make([]DataKeyItem, n)}
	var share shared
	defer share.close()
	for i := range out.Items {
		plain, err := w.e.cfg.Provider.Random(in.Bytes)
		if err != nil {
			return out, err
		}
		c, err := share.seal(k, v, s, false, in.Plain, &EncryptItem{plain, in.Context, in.AAD, in.Derivation})
		if err != nil {
			clear(plain)
			return out, err
		}
		out.Items[i].Ciphertext = c
		if in.WithoutPlaintext {
			clear(plain)
		} else {
			out.Items[i].Plaintext = secret.Release(plain)
		}
		if _, err := w.note(n, v.Number, in.Bytes, nil); err != nil {
			return out, err
		}
	}
	return out, nil
}
