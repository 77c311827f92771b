package engine

import (
	"context"
	"fmt"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// The descriptor of making a new version.
var (
	rotateKey = change[RotateKeyInput, KeyOutput]{
		name: kms.RotateKey,
		roles: []role[RotateKeyInput]{{action: kms.RotateKey, need: lifecycle.Rotate,
			key: func(in *RotateKeyInput) (kms.Ref, error) { return in.Key, nil }}},
		prepare: func(ctx context.Context, w *work, in *RotateKeyInput) (err error) {
			if err := in.Dates.settle(w.now); err != nil {
				return err
			}
			k := w.keys[0]
			if err := mayGenerate(&k.Key.Key, in.Generate); err != nil {
				return err
			}
			if w.call.DryRun {
				in.made = &newVersion{key: k.ID, number: k.Latest + 1}
				return nil
			}
			in.made, err = w.newVersion(ctx, k.ID, k.Latest+1, k.Algorithm, k.Bytes)
			return err
		},
		do: doRotate,
	}
)

func doRotate(_ context.Context, w *work, tx *records.Tx, in *RotateKeyInput) (KeyOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return KeyOutput{}, err
	}
	if k.Latest+1 != in.made.number {
		return KeyOutput{}, errStale
	}
	lifecycle.Primary(&k.Key, w.now)
	if err := w.appoint(&k.Key, in.made.number, in.Dates); err != nil {
		return KeyOutput{}, err
	}
	w.rec.Keys[0].Version = in.made.number
	out := KeyOutput{Key: k.Key}
	if !w.call.DryRun {
		v, err := w.putVersion(tx, &k.Key, in.made, in.Dates)
		if err != nil {
			return KeyOutput{}, err
		}
		out.Versions = []kms.Version{v}
	}
	w.putKey(tx, &k)
	out.Key = k.Key
	return out, nil
}

// appoint makes a new version the primary one, or the next one if it is not active yet.
func (w *work) appoint(k *kms.Key, n uint32, d Dates) error {
	k.Latest = n
	if d.state() == kms.Active {
		w.rec.Detail = fmt.Sprintf("primary %d to %d", k.Primary, n)
		k.Primary, k.Rotated = n, w.now.UTC()
		return nil
	}
	if k.Next != 0 {
		e := kms.Errorf(kms.CodeConflict, "version %d of key %q is to be its primary version next", k.Next, k.Name)
		e.Next = "activate that version, or set another date for it"
		return e
	}
	k.Next, k.NextAt = n, d.ActivateAt
	w.rec.Detail = fmt.Sprintf("primary %d, next %d %s", k.Primary, n, d.spelt())
	return nil
}
