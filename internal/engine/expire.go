package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// expireMaterial sets when imported material is forgotten. There is a waiting time, as before every step that somebody could regret:
// whoever took over an administrator's credential cannot take the keys away at once.
var expireMaterial = change[ExpireInput, KeyOutput]{
	name: kms.ExpireKeyMaterial,
	roles: []role[ExpireInput]{{action: kms.ExpireKeyMaterial, need: lifecycle.Manage,
		key: func(in *ExpireInput) (kms.Ref, error) { return in.Key, nil }}},
	check: checkExpire,
	do:    doExpire,
}

// ExpireKeyMaterial sets when the imported material of a version is forgotten, or takes that back.
func (e *Engine) ExpireKeyMaterial(ctx context.Context, c kms.Call, in ExpireInput) (KeyOutput, error) {
	return alter(ctx, e, c, &expireMaterial, &in)
}

func checkExpire(in *ExpireInput) error {
	if in.Now && (in.Keep || in.Window != 0) {
		return kms.Errorf(kms.CodeBadRequest, "material is forgotten at once, after a window, or kept: want one of them")
	}
	return nil
}

// lackMore erases imported material without which the key does nothing any more. A version that only waits to become the primary one is given up instead:
// nothing was protected with it.
func (w *work) lackMore(tx *records.Tx, k *records.Key, v *records.Version) error {
	if v.Number == k.Next && v.State == kms.PreActive {
		k.Next, k.NextAt = 0, time.Time{}
		w.rec.Detail = fmt.Sprintf("version %d erased, which was to be the primary one next", v.Number)
		w.move(&v.Version, kms.Destroyed)
		return eraseMaterial(tx, v)
	}
	if !v.Lacking {
		v.Lacking = true
		k.Lacking++
	}
	if k.Switch == kms.PendingDestruction {
		k.Before = kms.PendingImport
	} else if to, err := lifecycle.Turn(k.Switch, k.Before, lifecycle.Forget); err == nil {
		k.Switch = to
	} else if kms.CodeOf(err) != kms.CodeAlreadyDone {
		return err
	}
	return eraseMaterial(tx, v)
}

// lackLess notes that the material of a version is back. The key works again when that of all its versions is.
func lackLess(k *records.Key, v *kms.Version) error {
	if !v.Lacking {
		return nil
	}
	v.Lacking = false
	k.Lacking--
	if k.Lacking > 0 || k.Switch != kms.PendingImport {
		return nil
	}
	to, err := lifecycle.Turn(k.Switch, k.Before, lifecycle.Import)
	if err == nil {
		k.Switch = to
	}
	return err
}

func doExpire(_ context.Context, w *work, tx *records.Tx, in *ExpireInput) (KeyOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return KeyOutput{}, err
	}
	n := in.Version
	if n == 0 {
		n = lifecycle.PrimaryAt(&k.Key, w.now)
	}
	v, _, err := tx.Version(k.ID, n)
	if err != nil {
		return KeyOutput{}, err
	}
	w.rec.Keys[0].Version = n
	if err := mayComeBack(&k.Key, &v, n); err != nil {
		return KeyOutput{}, err
	}
	if len(v.Wrapped) == 0 || !in.Now && lifecycle.Expired(&v.Version, w.now) {
		return KeyOutput{}, kms.Errorf(kms.CodeMaterialExpired, "the imported material of version %d expired at %s", v.Number, spelt(v.ExpiresAt))
	}
	if !v.ExpiresAt.IsZero() {
		if err := tx.RemoveDue(expiryOf(&k.Key, &v.Version)); err != nil {
			return KeyOutput{}, err
		}
	}
	v.ExpiresAt = time.Time{}
	w.rec.Detail = fmt.Sprintf("version %d does not expire", v.Number)
	switch {
	case in.Now:
		v.ExpiresAt = w.now.UTC().Truncate(time.Second)
		w.rec.Detail = fmt.Sprintf("material of version %d erased; the same material can be imported again", v.Number)
		if err := w.lackMore(tx, &k, &v); err != nil {
			return KeyOutput{}, err
		}
	case !in.Keep:
		end, err := lifecycle.End(w.now, in.Window, w.rules.ns.Dev)
		if err != nil {
			return KeyOutput{}, err
		}
		v.ExpiresAt = end.UTC().Truncate(time.Second)
		w.rec.Detail = fmt.Sprintf("version %d expires at %s", v.Number, spelt(v.ExpiresAt))
		if err := tx.PutDue(expiryOf(&k.Key, &v.Version)); err != nil {
			return KeyOutput{}, err
		}
	}
	if err := tx.PutVersion(v); err != nil {
		return KeyOutput{}, err
	}
	w.putKey(tx, &k)
	return KeyOutput{Key: k.Key, Versions: []kms.Version{v.Version}}, nil
}

// forgetMaterial erases imported material whose time is over. The check value stays, so that the same material can come back.
func forgetMaterial(ctx context.Context, t *task) error {
	e, d := t.e, t.Due
	return e.direct(ctx, t.o, kms.Call{Namespace: d.Namespace}, kms.ExpireKeyMaterial, func(w *work, tx *records.Tx) error {
		if err := t.take(tx); err != nil {
			return err
		}
		k, there, err := tx.Key(d.Namespace, d.Key)
		if err != nil {
			return err
		}
		v, _, err := tx.Version(d.Key, d.Version)
		if err != nil {
			return err
		}
		w.rec.Resource = k.Name
		if !there || len(v.Wrapped) == 0 && !v.Archived || !v.ExpiresAt.Equal(d.Date()) || !lifecycle.Expired(&v.Version, e.clock.Trusted()) {
			w.rec.Detail = "nothing to do: destroyed, imported again, or it does not expire any more"
			return nil
		}
		if err := e.putTime(tx); err != nil {
			return err
		}
		w.rec.Keys = append(w.rec.Keys, keyUse(k.ID, v.Number, k.Rev))
		w.rec.Detail = fmt.Sprintf("material of version %d erased; the same material can be imported again", v.Number)
		forget := func(*records.Tx, *records.Key, *records.Version) error { return eraseMaterial(tx, &v) }
		if k.Region != "" { // where it was made, a key works with all of its material or not at all
			forget = w.lackMore
		}
		if err := forget(tx, &k, &v); err != nil {
			return err
		}
		if err := tx.PutVersion(v); err != nil {
			return err
		}
		w.putKey(tx, &k)
		return nil
	})
}

// forgetImport ends an import token that was not used.
func forgetImport(ctx context.Context, t *task) error {
	return t.e.direct(ctx, t.o, kms.Call{Namespace: t.Namespace}, kms.ExpireKeyMaterial, func(w *work, tx *records.Tx) error {
		if err := t.take(tx); err != nil {
			return err
		}
		i, there, err := tx.Import(t.Key)
		if err != nil || !there {
			return err
		}
		w.rec.Keys = append(w.rec.Keys, keyUse(i.Key, i.Version, 0))
		w.rec.Detail = fmt.Sprintf("import token %s ended unused", i.ID)
		return tx.RemoveImport(i)
	})
}
