package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// The descriptors of the states of versions.
var (
	activateVersion = change[ActivateInput, KeyOutput]{
		name:  kms.ActivateVersion,
		roles: versionRole(kms.ActivateVersion, func(in *ActivateInput) kms.Ref { return in.Key }),
		do:    doActivate,
	}
	suspendVersion    = stateStep(kms.SuspendVersion, kms.Suspended)
	resumeVersion     = stateStep(kms.ResumeVersion, kms.Active)
	deactivateVersion = change[DeactivateInput, KeyOutput]{
		name:  kms.DeactivateVersion,
		roles: versionRole(kms.DeactivateVersion, func(in *DeactivateInput) kms.Ref { return in.Key }),
		do:    doDeactivate,
	}
)

func versionRole[In any](a kms.Action, key func(*In) kms.Ref) []role[In] {
	return []role[In]{{action: a, need: lifecycle.Manage, key: func(in *In) (kms.Ref, error) { return key(in), nil }}}
}

// keyVersion reads the admitted key and one of its versions as the transaction sees them. What the version's dates have made of it is
// written down in it.
func (w *work) keyVersion(tx *records.Tx, n uint32) (k records.Key, v records.Version, err error) {
	if k, err = w.key(tx); err != nil {
		return k, v, err
	}
	w.rec.Keys[0].Version = n
	v, there, err := tx.Version(k.ID, n)
	if err == nil && !there {
		err = kms.Errorf(kms.CodeVersionNotFound, "key %q has no version %d", k.Name, n)
	}
	if err == nil {
		settleVersion(&v.Version, w.now)
	}
	return k, v, err
}

// putKeyVersion writes both: the key too, so that what was admitted on it is stopped before its output leaves.
func (w *work) putKeyVersion(tx *records.Tx, k *records.Key, v *records.Version) (KeyOutput, error) {
	if err := tx.PutVersion(*v); err != nil {
		return KeyOutput{}, err
	}
	w.putKey(tx, k)
	return KeyOutput{Key: k.Key, Versions: []kms.Version{v.Version}}, nil
}

func (w *work) nothingToDo(k *records.Key, v *records.Version) (KeyOutput, error) {
	w.rec.Detail = "nothing to do"
	return KeyOutput{Key: k.Key, Versions: []kms.Version{v.Version}}, nil
}

// stateStep is a change that takes a version to a state and does nothing else.
func stateStep(a kms.Action, to kms.State) change[VersionInput, KeyOutput] {
	return change[VersionInput, KeyOutput]{
		name:  a,
		roles: versionRole(a, func(in *VersionInput) kms.Ref { return in.Key }),
		do: func(_ context.Context, w *work, tx *records.Tx, in *VersionInput) (KeyOutput, error) {
			k, v, err := w.keyVersion(tx, in.Version)
			if err != nil {
				return KeyOutput{}, err
			}
			if v.State == to {
				return w.nothingToDo(&k, &v)
			}
			if a == kms.ResumeVersion && v.State == kms.PreActive {
				return KeyOutput{}, kms.Errorf(kms.CodeVersionState, "version %d is pre-active, not suspended: activate it", v.Number)
			}
			if err := lifecycle.Next(v.State, to); err != nil {
				return KeyOutput{}, err
			}
			w.rec.Detail = fmt.Sprintf("%s to %s", v.State, to)
			w.move(&v.Version, to)
			return w.putKeyVersion(tx, &k, &v)
		},
	}
}

func doActivate(_ context.Context, w *work, tx *records.Tx, in *ActivateInput) (KeyOutput, error) {
	k, v, err := w.keyVersion(tx, in.Version)
	if err != nil {
		return KeyOutput{}, err
	}
	if in.ByHand && !in.At.IsZero() {
		return KeyOutput{}, kms.Errorf(kms.CodeBadRequest, "a version is activated at its date or by hand: not both")
	}
	dated := in.ByHand || !in.At.IsZero()
	if v.State == kms.Active && !dated {
		return w.nothingToDo(&k, &v)
	}
	if v.State != kms.PreActive {
		e := kms.Errorf(kms.CodeVersionState, "version %d is %s, not pre-active", v.Number, v.State)
		if v.State == kms.Suspended {
			e.Next = "resume the version"
		}
		return KeyOutput{}, e
	}
	var at time.Time
	if !in.At.IsZero() {
		if at, err = lifecycle.Date(in.At, w.now, "activation"); err != nil {
			return KeyOutput{}, err
		}
		if err = lifecycle.InOrder(at, v.DeactivateAt); err != nil {
			return KeyOutput{}, err
		}
	}
	if dated && at.Equal(v.ActivateAt) {
		return w.nothingToDo(&k, &v)
	}
	if err := redate(tx, &k.Key, &v.Version, &v.ActivateAt, at); err != nil {
		return KeyOutput{}, err
	}
	if k.Next == v.Number {
		k.NextAt = at
	}
	if dated {
		w.rec.Detail = "active " + (&Dates{ActivateAt: at}).spelt()
		return w.putServing(tx, &k, &v)
	}
	w.rec.Detail = fmt.Sprintf("%s to %s", v.State, kms.Active)
	if k.Next == v.Number {
		w.rec.Detail += fmt.Sprintf(", primary %d to %d", k.Primary, k.Next)
	}
	w.enthrone(&k, &v)
	return w.putServing(tx, &k, &v)
}

// putServing writes a version that begins to serve, now or at a date, and the key. If it is the primary version, its period begins then.
func (w *work) putServing(tx *records.Tx, k *records.Key, v *records.Version) (KeyOutput, error) {
	if v.Number == k.Primary {
		if err := w.planFrom(tx, k, servesFrom(&k.Key, &v.Version)); err != nil {
			return KeyOutput{}, err
		}
	}
	return w.putKeyVersion(tx, k, v)
}

func doDeactivate(_ context.Context, w *work, tx *records.Tx, in *DeactivateInput) (KeyOutput, error) {
	k, v, err := w.keyVersion(tx, in.Version)
	if err != nil {
		return KeyOutput{}, err
	}
	if in.Never && !in.At.IsZero() {
		return KeyOutput{}, kms.Errorf(kms.CodeBadRequest, "a version is deactivated at its date or never: not both")
	}
	if in.Never || !in.At.IsZero() {
		return w.dateDeactivation(tx, &k, &v, in.At)
	}
	switch {
	case v.State == kms.Deactivated:
		return w.nothingToDo(&k, &v)
	case v.Archived:
		e := kms.Errorf(kms.CodeVersionState, "version %d is %s, and its material in the archive: it does not come back", v.Number, v.State)
		e.Next = "ask for a recall"
		return KeyOutput{}, e
	case v.Number == lifecycle.PrimaryAt(&k.Key, w.now):
		e := kms.Errorf(kms.CodeVersionState, "version %d is the primary version of key %q", v.Number, k.Name)
		e.Next = "rotate the key first, so that another version protects"
		return KeyOutput{}, e
	}
	if err := lifecycle.Next(v.State, kms.Deactivated); err != nil {
		return KeyOutput{}, err
	}
	if err := redate(tx, &k.Key, &v.Version, &v.DeactivateAt, time.Time{}); err != nil {
		return KeyOutput{}, err
	}
	w.rec.Detail = fmt.Sprintf("%s to %s", v.State, kms.Deactivated)
	w.move(&v.Version, kms.Deactivated)
	return w.putKeyVersion(tx, &k, &v)
}

// dateDeactivation sets or, with a zero time, removes the date at which a version is deactivated. The primary version may have one: from then
// on the key does not protect.
func (w *work) dateDeactivation(tx *records.Tx, k *records.Key, v *records.Version, at time.Time) (KeyOutput, error) {
	switch v.State {
	case kms.PreActive, kms.Active, kms.Suspended:
	default:
		return KeyOutput{}, kms.Errorf(kms.CodeVersionState, "version %d is %s: no date of deactivation is ahead of it", v.Number, v.State)
	}
	if !at.IsZero() {
		var err error
		if at, err = lifecycle.Date(at, w.now, "deactivation"); err != nil {
			return KeyOutput{}, err
		}
		if err = lifecycle.InOrder(v.ActivateAt, at); err != nil {
			return KeyOutput{}, err
		}
	}
	if at.Equal(v.DeactivateAt) {
		return w.nothingToDo(k, v)
	}
	w.rec.Detail = "never deactivated by date"
	if !at.IsZero() {
		w.rec.Detail = "deactivated at " + spelt(at)
	}
	if err := redate(tx, &k.Key, &v.Version, &v.DeactivateAt, at); err != nil {
		return KeyOutput{}, err
	}
	return w.putKeyVersion(tx, k, v)
}

// ActivateVersion makes a pre-active version active, or sets the date at which it becomes so. If it was to be the next primary version, it is
// the primary version from then on.
func (e *Engine) ActivateVersion(ctx context.Context, c kms.Call, in ActivateInput) (KeyOutput, error) {
	return alter(ctx, e, c, &activateVersion, &in)
}

// SuspendVersion stops a version from protecting. It goes on processing unless the key's preset is freeze.
func (e *Engine) SuspendVersion(ctx context.Context, c kms.Call, in VersionInput) (KeyOutput, error) {
	return alter(ctx, e, c, &suspendVersion, &in)
}

// ResumeVersion ends a suspension.
func (e *Engine) ResumeVersion(ctx context.Context, c kms.Call, in VersionInput) (KeyOutput, error) {
	return alter(ctx, e, c, &resumeVersion, &in)
}

// DeactivateVersion ends the use of a version that is not the primary one, or sets the date at which its use ends.
func (e *Engine) DeactivateVersion(ctx context.Context, c kms.Call, in DeactivateInput) (KeyOutput, error) {
	return alter(ctx, e, c, &deactivateVersion, &in)
}
