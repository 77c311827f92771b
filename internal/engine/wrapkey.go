package engine

import (
	"context"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/secret"
)

// The descriptors of wrapping as other systems do it. There is no context: SP 800-38F has no associated data.
var (
	wrapKey = op[WrapInput, WrapOutput]{
		name: kms.WrapKey,
		cost: func(in *WrapInput) amount {
			return costOf(len(in.Items), func(i int) int { return len(in.Items[i].Material) })
		},
		roles: []role[WrapInput]{wrapRole(kms.WrapKey, lifecycle.Protect)},
		check: func(in *WrapInput) error { return checkWrap(in, MaxWrap) },
		do:    doWrap,
	}
	unwrapKey = op[WrapInput, UnwrapOutput]{
		name:  kms.UnwrapKey,
		roles: []role[WrapInput]{wrapRole(kms.UnwrapKey, lifecycle.Process)},
		check: func(in *WrapInput) error { return checkWrap(in, MaxWrap+wrapOverhead) },
		do:    doUnwrap,
		erase: func(out *UnwrapOutput) {
			for i := range out.Items {
				out.Items[i].Material.Zero()
			}
		},
	}
)

// wrapOverhead is what wrapped material is longer than material at most, in bytes: 8 and, with KWP, 7 of padding.
const wrapOverhead = 15

func wrapRole(a kms.Action, need lifecycle.Need) role[WrapInput] {
	return role[WrapInput]{action: a, need: need, key: func(in *WrapInput) (kms.Ref, error) { return in.Key, nil }}
}

func checkWrap(in *WrapInput, most int) error {
	return checkItems(len(in.Items), most, func(i int) (int, error) { return len(in.Items[i].Material), nil })
}

func doWrap(ctx context.Context, w *work, in *WrapInput) (WrapOutput, error) {
	v, s, err := w.openFor(ctx, kms.Wrapping, in.Version, in.Scheme, true)
	if err != nil {
		return WrapOutput{}, err
	}
	out := WrapOutput{Key: w.keys[0].ID, Version: v.Number, Scheme: s, Items: make([]WrappedItem, len(in.Items))}
	for i, it := range in.Items {
		wrapped, err := v.Handle.Seal(nil, nil, it.Material, nil, s)
		out.Items[i].Wrapped = wrapped
		if out.Items[i].Err, err = w.note(len(in.Items), v.Number, len(it.Material), err); err != nil {
			return out, err
		}
	}
	return out, nil
}

func doUnwrap(ctx context.Context, w *work, in *WrapInput) (UnwrapOutput, error) {
	v, s, err := w.openFor(ctx, kms.Wrapping, in.Version, in.Scheme, false)
	if err != nil {
		return UnwrapOutput{}, err
	}
	out := UnwrapOutput{Key: w.keys[0].ID, Version: v.Number, Scheme: s, Items: make([]UnwrappedItem, len(in.Items))}
	for i, it := range in.Items {
		material, err := v.Handle.Open(nil, nil, it.Material, nil, s)
		out.Items[i].Material = secret.Release(material)
		if out.Items[i].Err, err = w.note(len(in.Items), v.Number, len(it.Material), w.orOlder(in.Version, err)); err != nil {
			return out, err
		}
	}
	return out, nil
}

// orOlder advises, where the version was not named and there are others, to name it: wrapped material does not.
func (w *work) orOlder(version uint32, err error) error {
	if version != 0 || w.keys[0].Latest == 1 || kms.CodeOf(err) != kms.CodeDecryptFailed {
		return err
	}
	told := *kms.AsError(err)
	told.Next = "name the version that WrapKey answered: without one the primary version is tried"
	return &told
}
