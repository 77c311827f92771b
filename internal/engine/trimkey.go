package engine

import (
	"context"
	"fmt"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// TrimInput destroys the versions below one, at once and for good.
type TrimInput struct {
	Key  kms.Ref
	Kept uint32 // the least version that stays; at most the least that is used
}

var trimKey = change[TrimInput, KeyOutput]{
	name: kms.TrimKey,
	roles: []role[TrimInput]{{action: kms.TrimKey, need: lifecycle.Manage,
		key: func(in *TrimInput) (kms.Ref, error) { return in.Key, nil }}},
	do: doTrim,
}

// TrimKey destroys the oldest versions of a key of the Vault dialect, those that its minima let nobody use. There is no window: that is what the minima were. CodeBadRequest.
func (e *Engine) TrimKey(ctx context.Context, c kms.Call, in TrimInput) (KeyOutput, error) {
	return alter(ctx, e, c, &trimKey, &in)
}

func doTrim(_ context.Context, w *work, tx *records.Tx, in *TrimInput) (KeyOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return KeyOutput{}, err
	}
	first := max(k.MinKept, 1)
	switch {
	case !k.Transit.Mac:
		return KeyOutput{}, kms.Errorf(kms.CodeBadRequest, "key %q is not one of the Vault dialect: destroy its versions by destroying the key", k.Name)
	case in.Kept > k.Latest:
		return KeyOutput{}, kms.Errorf(kms.CodeBadRequest, "key %q has no version %d", k.Name, in.Kept)
	case in.Kept < first:
		return KeyOutput{}, kms.Errorf(kms.CodeBadRequest, "versions below %d of key %q are trimmed already", first, k.Name)
	case in.Kept > max(k.MinProcess, 1):
		return KeyOutput{}, kms.Errorf(kms.CodeBadRequest, "version %d of key %q can be used still: raise its least version first", in.Kept-1, k.Name)
	case k.MinProtect == 0 || in.Kept > k.MinProtect:
		return KeyOutput{}, kms.Errorf(kms.CodeBadRequest, "version %d of key %q may protect still: raise the least version that protects first", in.Kept-1, k.Name)
	case in.Kept-first > versionsAtOnce:
		return KeyOutput{}, kms.Errorf(kms.CodeTooLarge, "%d versions would be trimmed, and %d go at once at most: trim to version %d first", in.Kept-first, versionsAtOnce, first+versionsAtOnce)
	case in.Kept == k.MinKept:
		w.rec.Detail = "nothing to do"
		return KeyOutput{Key: k.Key}, nil
	}
	for n := first; n < in.Kept; n++ {
		if err := w.destroyVersion(tx, k.ID, n); err != nil {
			return KeyOutput{}, err
		}
	}
	k.MinKept = in.Kept
	w.rec.Detail = fmt.Sprintf("versions below %d erased; irrecoverable when epoch %d is destroyed", in.Kept, w.o.epochs.Current())
	w.putKey(tx, &k)
	return KeyOutput{Key: k.Key}, nil
}
