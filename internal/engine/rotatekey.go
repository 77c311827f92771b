package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/provider"
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
			if in.Most > 0 && k.ByHand >= in.Most {
				return kms.Errorf(kms.CodeTooLarge, "key %q was rotated by hand %d times, and is to be no more than %d times", k.Name, k.ByHand, in.Most)
			}
			if in.Waiting && k.Origin == kms.Imported {
				return nil
			}
			if err := mayGenerate(&k.Key.Key, in.Generate); err != nil {
				return err
			}
			if in.Algorithm != 0 && in.Dates.state() != kms.Active {
				return kms.Errorf(kms.CodeBadRequest, "a rotation to another algorithm is at once: give no date for it")
			}
			in.made, err = w.successor(ctx, in.Algorithm)
			return err
		},
		do: doRotate,
	}
)

// Why a key was rotated, as its history and the audit trail say it.
const (
	byHand     = "by hand"
	bySchedule = "by schedule"
	byLimit    = "by limit"
)

// successor makes the version that is to follow the primary one of the first key, and proves both: what was must still open, and what comes must work. Algorithm 0
// stands for that of the primary. In a dry run nothing is made.
func (w *work) successor(ctx context.Context, a kms.Algorithm) (*newVersion, error) {
	k := w.keys[0]
	bytes := k.Bytes
	if a == 0 {
		a = k.Algorithm
	}
	if a != k.Algorithm {
		if err := kms.CheckSuccessor(k.Algorithm, a, k.Usage, w.e.cfg.Profile); err != nil {
			return nil, err
		}
		if err := kms.CheckTransit(a, k.Transit); err != nil {
			return nil, err
		}
		if err := kms.CheckAlso(a, k.Usage, k.Also, k.Transit, w.e.cfg.Profile); err != nil {
			return nil, err
		}
		bytes = 0
	}
	if err := w.provePrimary(ctx); err != nil {
		return nil, err
	}
	if w.call.DryRun {
		return &newVersion{key: k.ID, number: k.Latest + 1, algorithm: a, bytes: bytes}, nil
	}
	return w.newVersion(ctx, k.ID, k.Latest+1, provider.Spec{Algorithm: a, Bytes: bytes, MAC: k.Transit.Mac}, k.Usage)
}

// install makes a version that was prepared the primary one, or the next one, in the transaction: from its commit on all clients protect with a primary version. The versions
// before stay as they are: active, and no longer primary. errStale: another one was made meanwhile.
func (w *work) install(ctx context.Context, tx *records.Tx, k *records.Key, made *newVersion, d Dates, why string) ([]kms.Version, error) {
	if k.Latest+1 != made.number {
		return nil, errStale
	}
	lifecycle.Primary(&k.Key, w.now)
	if err := w.appoint(&k.Key, made.number, d); err != nil {
		return nil, err
	}
	w.rec.Detail += ", " + why + "; self-test passed"
	if made.algorithm != k.Algorithm {
		if k.Next != 0 { // which would bring the algorithm before back, at its date
			e := kms.Errorf(kms.CodeConflict, "version %d of key %q is to be its primary version next, and is of %s", k.Next, k.Name, k.Algorithm)
			e.Next = "activate that version first, so that it does not follow the new one"
			return nil, e
		}
		w.rec.Detail += fmt.Sprintf("; %s to %s", k.Algorithm, made.algorithm)
		k.Algorithm, k.Bytes = made.algorithm, made.bytes
		// A policy may permit rotations of keys of some algorithms only: it is asked about the key as it would be, too.
		if err := w.authorizeAs(ctx, &k.Key, kms.RotateKey); err != nil {
			return nil, err
		}
	}
	w.rec.Keys[0].Version = made.number
	if w.call.DryRun {
		return nil, nil
	}
	if err := w.plan(tx, k); err != nil {
		return nil, err
	}
	v, err := w.putVersion(tx, &k.Key, made, d)
	return []kms.Version{v}, err
}

func doRotate(ctx context.Context, w *work, tx *records.Tx, in *RotateKeyInput) (out KeyOutput, err error) {
	k, err := w.key(tx)
	if err != nil {
		return out, err
	}
	k.ByHand++
	if in.Waiting && k.Origin == kms.Imported {
		return w.promote(tx, &k)
	}
	if out.Versions, err = w.install(ctx, tx, &k, in.made, in.Dates, byHand); err != nil {
		return KeyOutput{}, err
	}
	w.putKey(tx, &k)
	out.Key = k.Key
	return out, nil
}

// promote makes the version that waits to be the primary one that, now.
func (w *work) promote(tx *records.Tx, k *records.Key) (KeyOutput, error) {
	if k.Next == 0 {
		return KeyOutput{}, kms.Errorf(kms.CodeVersionState, "no version of key %q waits to become the primary one", k.Name)
	}
	v, _, err := tx.Version(k.ID, k.Next)
	if err != nil {
		return KeyOutput{}, err
	}
	settleVersion(&v.Version, w.now)
	if v.State != kms.PreActive {
		return KeyOutput{}, kms.Errorf(kms.CodeVersionState, "version %d is %s, not pre-active", v.Number, v.State)
	}
	if lifecycle.Expired(&v.Version, w.now) {
		return KeyOutput{}, kms.Errorf(kms.CodeMaterialExpired, "the imported material of version %d expired at %s", v.Number, spelt(v.ExpiresAt))
	}
	if err := redate(tx, &k.Key, &v.Version, &v.ActivateAt, time.Time{}); err != nil {
		return KeyOutput{}, err
	}
	w.rec.Keys[0].Version = v.Number
	w.rec.Detail = fmt.Sprintf("primary %d to %d, %s", k.Primary, v.Number, byHand)
	w.enthrone(k, &v)
	return w.putServing(tx, k, &v)
}

// enthrone makes a pre-active version active and, if it is the one that waits for it, the primary version.
func (w *work) enthrone(k *records.Key, v *records.Version) {
	w.move(&v.Version, kms.Active)
	if k.Next == v.Number {
		k.Primary, k.Rotated, k.Next, k.NextAt = k.Next, w.now.UTC(), 0, time.Time{}
	}
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
