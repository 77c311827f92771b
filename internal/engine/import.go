package engine

import (
	"bytes"
	"context"
	"crypto/subtle"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/transport"
)

// The descriptors of importing.
var (
	importMaterial = change[ImportMaterialInput, ImportMaterialOutput]{
		name: kms.ImportKeyMaterial,
		roles: []role[ImportMaterialInput]{{action: kms.ImportKeyMaterial, need: lifecycle.Manage,
			key: func(in *ImportMaterialInput) (kms.Ref, error) { return in.Key, nil }}},
		check:   checkImport,
		prepare: prepareImport,
		do:      doImport,
	}
	importMaterialUnder = change[ImportMaterialInput, ImportMaterialOutput]{
		name: kms.ImportKeyMaterial,
		roles: append(importMaterial.roles, role[ImportMaterialInput]{action: kms.UnwrapKey, need: lifecycle.Process,
			key: func(in *ImportMaterialInput) (kms.Ref, error) { return in.WrappingKey, nil }}),
		check:   checkImport,
		prepare: prepareImport,
		do:      doImport,
	}
)

// ImportKeyMaterial makes a version of material that came from elsewhere, or brings back what expired.
func (e *Engine) ImportKeyMaterial(ctx context.Context, c kms.Call, in ImportMaterialInput) (ImportMaterialOutput, error) {
	if in.WrappingKey != "" {
		return alter(ctx, e, c, &importMaterialUnder, &in)
	}
	return alter(ctx, e, c, &importMaterial, &in)
}

func checkImport(in *ImportMaterialInput) error {
	if n := len(in.Material); n == 0 || n > transport.MaxParcel {
		return kms.Errorf(kms.CodeTooLarge, "the wrapped material has %d bytes: want 1 to %d", n, transport.MaxParcel)
	}
	if n := len(in.Public); n > transport.MaxPublic {
		return kms.Errorf(kms.CodeTooLarge, "the public key has %d bytes, the limit is %d", n, transport.MaxPublic)
	}
	if len(in.Note) > kms.MaxNote {
		return kms.Errorf(kms.CodeTooLarge, "the note has %d bytes, the limit is %d", len(in.Note), kms.MaxNote)
	}
	if in.Token.IsZero() {
		return kms.Errorf(kms.CodeImportToken, "no import token was named")
	}
	return nil
}

// goodToken refuses a token that is not there any more, or is of another key: all in the same words, as a caller could tell tokens of
// other tenants by them.
func (in *ImportMaterialInput) goodToken(w *work, t *records.Import, there bool) error {
	k := &w.keys[0]
	if !there || t.Namespace != k.Namespace || t.Key != k.ID || !w.now.Before(t.Expires) {
		return noToken(k.Name)
	}
	if (w.n == 2) != !t.Under.IsZero() || w.n == 2 && t.Under != w.keys[1].ID {
		return kms.Errorf(kms.CodeImportToken, "the import token was made for another wrapping key")
	}
	return nil
}

func noToken(key string) error {
	return kms.Errorf(kms.CodeImportToken, "the import token is none of key %q that is open: it is unknown, used, over, or of another key", key)
}

// prepareImport opens and proves the material, outside the transaction.
func prepareImport(ctx context.Context, w *work, in *ImportMaterialInput) error {
	if !in.Expires.IsZero() {
		if in.Expires = in.Expires.UTC().Truncate(time.Second); !in.Expires.After(w.now) {
			return kms.Errorf(kms.CodeBadRequest, "the material would expire at %s, which has passed", spelt(in.Expires))
		}
	}
	t, err := w.o.records.Import(ctx, in.Token)
	if err != nil {
		return err
	}
	in.made = nil
	if err := in.goodToken(w, &t, t.Rev != 0); err != nil {
		if w.call.Token != "" {
			return nil // it may be a repetition, which the transaction finds out; if not, the token is no better there
		}
		return err
	}
	by, done, err := w.opener(ctx, &t)
	if err != nil {
		return err
	}
	defer done()
	if t.Open {
		if err := w.settleOpen(ctx, in, &t, by); err != nil {
			return err
		}
	}
	place, err := w.o.ring.NewPlace(ctx, t.Namespace, t.Key, t.Version)
	if err != nil {
		return err
	}
	defer place.Wrap.Zero()
	parcel := provider.Parcel{Transport: t.Transport, Bytes: in.Material}
	if t.Transport.Facts().Info {
		parcel.Info = importInfo(w.e.cfg.Cluster, &t)
	}
	came, err := w.e.cfg.Provider.Import(provider.Spec{Algorithm: t.Algorithm, MAC: w.keys[0].Transit.Mac}, by, parcel, place.Wrap, place.Name)
	if err != nil {
		return err
	}
	if in.Public != nil && !bytes.Equal(in.Public, came.Public) {
		return kms.Errorf(kms.CodeKeyFile, "the private key that arrived does not belong to the public key that was named")
	}
	in.made = &imported{token: t, came: came, shred: place.Shred}
	return nil
}

// opener is the handle that opens what comes under a token.
func (w *work) opener(ctx context.Context, t *records.Import) (provider.Handle, func(), error) {
	var v *keyring.Version
	var err error
	if !t.Under.IsZero() {
		if v, err = w.version(ctx, 1, 0); err != nil {
			return nil, nil, err
		}
		return v.Handle, func() {}, nil // given back when the work ends
	}
	if v, err = w.o.ring.ImportKey(ctx, t.Namespace, t.ID); err != nil {
		if kms.CodeOf(err) == kms.CodeVersionNotFound { // somebody used the token since it was read
			err = noToken(w.keys[0].Name)
		}
		return nil, nil, err
	}
	return v.Handle, v.Release, nil
}

func doImport(_ context.Context, w *work, tx *records.Tx, in *ImportMaterialInput) (out ImportMaterialOutput, err error) {
	k, err := w.key(tx)
	if err != nil {
		return out, err
	}
	t, there, err := tx.Import(in.Token)
	if err != nil {
		return out, err
	}
	if err := in.goodToken(w, &t, there); err != nil {
		return out, err
	}
	if in.made == nil {
		return out, errStale
	}
	if t.Open { // what was found out about it stands unless the key changed, which admits anew
		t.Version, t.Again = in.made.token.Version, in.made.token.Again
	}
	w.rec.Keys[0].Version = t.Version
	w.rec.Detail = fmt.Sprintf("token %s, %s, version %d, check value %x", t.ID, t.Transport, t.Version, in.made.came.Check)
	var v kms.Version
	if t.Again {
		v, err = w.comeBack(tx, &k, in)
	} else {
		v, err = w.comeNew(tx, &k, in)
	}
	if err != nil {
		return out, err
	}
	if err := tx.RemoveImport(t); err != nil {
		return out, err
	}
	if !v.ExpiresAt.IsZero() {
		w.rec.Detail += ", until " + spelt(v.ExpiresAt)
		if err := tx.PutDue(expiryOf(&k.Key, &v)); err != nil {
			return out, err
		}
	}
	w.putKey(tx, &k)
	return ImportMaterialOutput{KeyOutput: KeyOutput{Key: k.Key, Versions: []kms.Version{v}}, KCV: in.made.came.KCV}, nil
}

// comeNew makes a version, which becomes the primary.
func (w *work) comeNew(tx *records.Tx, k *records.Key, in *ImportMaterialInput) (kms.Version, error) {
	m := in.made
	if k.Latest+1 != m.token.Version {
		return kms.Version{}, kms.Errorf(kms.CodeImportToken, "the import token is for version %d, and key %q has version %d by now", m.token.Version, k.Name, k.Latest)
	}
	if err := newVersionMayCome(&k.Key); err != nil {
		return kms.Version{}, err
	}
	lifecycle.Primary(&k.Key, w.now)
	if k.Latest == 0 {
		var err error
		if k.Switch, err = lifecycle.Turn(k.Switch, k.Before, lifecycle.Import); err != nil {
			return kms.Version{}, err
		}
	} else if was, ok, err := tx.Version(k.ID, k.Primary); err != nil || ok && subtle.ConstantTimeCompare(was.Check, m.came.Check) == 1 {
		if err == nil {
			err = kms.Errorf(kms.CodeExists, "version %d of key %q has this material already: nothing would be rotated", k.Primary, k.Name)
		}
		return kms.Version{}, err
	}
	d, said := Dates{PreActive: in.Waiting && k.Latest > 0}, w.rec.Detail
	if err := w.appoint(&k.Key, m.token.Version, d); err != nil {
		return kms.Version{}, err
	}
	w.rec.Detail = said + ", " + w.rec.Detail
	if f := k.Algorithm.Facts(); f.MaxBytes > 0 {
		if k.Bytes = m.came.Bytes; k.Bytes == f.Bits/8 {
			k.Bytes = 0
		}
	}
	if err := w.plan(tx, k); err != nil {
		return kms.Version{}, err
	}
	return w.putVersion(tx, &k.Key, &newVersion{
		key: k.ID, number: m.token.Version, algorithm: m.token.Algorithm, gen: m.came.Generated, shred: m.shred, imported: true, expires: in.Expires, note: in.Note,
	}, d)
}

// comeBack puts the material of a version back, if it is the same.
func (w *work) comeBack(tx *records.Tx, k *records.Key, in *ImportMaterialInput) (kms.Version, error) {
	m := in.made
	v, _, err := tx.Version(k.ID, m.token.Version)
	if err != nil {
		return kms.Version{}, err
	}
	if err := mayComeBack(&k.Key, &v, m.token.Version); err != nil {
		return kms.Version{}, err
	}
	if subtle.ConstantTimeCompare(v.Check, m.came.Check) != 1 {
		e := kms.Errorf(kms.CodeCheckValue, "the material is not that of version %d of key %q: nothing was changed", v.Number, k.Name)
		e.Next = "import exactly the material of that version, or import this one as a new version: keyhold key import NAME FILE"
		return kms.Version{}, e
	}
	if !v.ExpiresAt.IsZero() {
		if err := tx.RemoveDue(expiryOf(&k.Key, &v.Version)); err != nil {
			return kms.Version{}, err
		}
	}
	if err := lackLess(k, &v.Version); err != nil {
		return kms.Version{}, err
	}
	v.Wrapped, v.ExpiresAt = m.came.Wrapped, in.Expires
	if in.Note != "" {
		v.Note = in.Note
	}
	if err := tx.PutShred(k.ID, v.Number, m.shred); err != nil {
		return kms.Version{}, err
	}
	return v.Version, tx.PutVersion(v)
}

func expiryOf(k *kms.Key, v *kms.Version) records.Due {
	return records.Due{Namespace: k.Namespace, Key: k.ID, At: v.ExpiresAt, What: records.DueExpire, Version: v.Number}
}
