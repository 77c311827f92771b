package engine

import (
	"context"
	"fmt"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// The descriptors of what concerns versions.
var (
	rotateKey = change[RotateKeyInput, KeyOutput]{
		name: kms.RotateKey,
		roles: []role[RotateKeyInput]{{action: kms.RotateKey, need: lifecycle.Rotate,
			key: func(in *RotateKeyInput) (kms.Ref, error) { return in.Key, nil }}},
		prepare: func(ctx context.Context, w *work, in *RotateKeyInput) (err error) {
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
	deactivateVersion = change[DeactivateInput, KeyOutput]{
		name: kms.DeactivateVersion,
		roles: []role[DeactivateInput]{{action: kms.DeactivateVersion, need: lifecycle.Manage,
			key: func(in *DeactivateInput) (kms.Ref, error) { return in.Key, nil }}},
		do: doDeactivate,
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
	w.rec.Detail = fmt.Sprintf("primary %d to %d", k.Primary, in.made.number)
	k.Latest, k.Primary = in.made.number, in.made.number
	w.rec.Keys[0].Version = k.Primary
	out := KeyOutput{Key: k.Key}
	if !w.call.DryRun {
		v, err := w.putVersion(tx, k.Algorithm, in.made)
		if err != nil {
			return KeyOutput{}, err
		}
		out.Versions = []kms.Version{v}
	}
	w.putKey(tx, &k)
	out.Key = k.Key
	return out, nil
}

func doDeactivate(_ context.Context, w *work, tx *records.Tx, in *DeactivateInput) (KeyOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return KeyOutput{}, err
	}
	v, ok, err := tx.Version(k.ID, in.Version)
	if err != nil {
		return KeyOutput{}, err
	}
	w.rec.Keys[0].Version = in.Version
	switch {
	case !ok:
		return KeyOutput{}, kms.Errorf(kms.CodeVersionNotFound, "key %q has no version %d", k.Name, in.Version)
	case v.State == kms.Deactivated:
		w.rec.Detail = "nothing to do"
		return KeyOutput{Key: k.Key, Versions: []kms.Version{v.Version}}, nil
	case v.Number == k.Primary:
		e := kms.Errorf(kms.CodeVersionState, "version %d is the primary version of key %q", v.Number, k.Name)
		e.Next = "rotate the key first, so that another version protects"
		return KeyOutput{}, e
	}
	if err := lifecycle.Next(v.State, kms.Deactivated); err != nil {
		return KeyOutput{}, err
	}
	w.move(&v.Version, kms.Deactivated)
	if err := tx.PutVersion(v); err != nil {
		return KeyOutput{}, err
	}
	w.putKey(tx, &k) // so that what was admitted on the key is stopped before its output leaves
	return KeyOutput{Key: k.Key, Versions: []kms.Version{v.Version}}, nil
}

// maxHistory bounds a version's history: transitions are few, except for suspend and resume in a loop.
const maxHistory = 64

func (w *work) move(v *kms.Version, to kms.State) {
	v.State = to
	step := kms.Transition{To: to, At: w.now.UTC(), By: w.call.Principal.Name, Reason: w.call.Reason}
	if len(v.History) >= maxHistory {
		v.History = append(v.History[:1:1], v.History[2:]...) // the birth stays; the audit log has the rest
	}
	v.History = append(v.History, step)
}
