package engine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/wire/blob"
)

// The descriptors of registering. A data key is registered under the primary version and no other: after a campaign has found none left under
// older ones, none can come. The transaction holds the revision of the parent against that of the admission, and writes nothing that
// two registrations share.
var (
	makeDataKey = change[RegisterDataKeyInput, ManagedDataKeyOutput]{
		name:    kms.RegisterDataKey,
		roles:   []role[RegisterDataKeyInput]{registerRole(kms.RegisterDataKey, lifecycle.Protect)},
		check:   checkRegister,
		prepare: prepareDataKey,
		do:      doRegister,
	}
	makeAndShowDataKey = change[RegisterDataKeyInput, ManagedDataKeyOutput]{
		name: kms.RegisterDataKey,
		roles: []role[RegisterDataKeyInput]{
			registerRole(kms.RegisterDataKey, lifecycle.Protect), registerRole(kms.OpenDataKey, lifecycle.Protect)},
		check:   checkRegister,
		prepare: prepareDataKey,
		do:      doRegister,
		secret:  true,
	}
	// Who may have a ciphertext taken over may have it moved: the same permission as of ReEncrypt, and the same state of the version that made it.
	adoptDataKey = change[RegisterDataKeyInput, ManagedDataKeyOutput]{
		name: kms.RegisterDataKey,
		roles: []role[RegisterDataKeyInput]{
			registerRole(kms.RegisterDataKey, lifecycle.Protect), registerRole(kms.ReEncryptFrom, lifecycle.Process)},
		check:   checkRegister,
		prepare: prepareAdoption,
		do:      doRegister,
	}
	noteDataKey = change[RegisterDataKeyInput, ManagedDataKeyOutput]{
		name:    kms.RegisterDataKey,
		roles:   []role[RegisterDataKeyInput]{registerRole(kms.RegisterDataKey, lifecycle.Manage)},
		check:   checkRegister,
		prepare: prepareNote,
		do:      doRegister,
	}
)

func registerRole(a kms.Action, need lifecycle.Need) role[RegisterDataKeyInput] {
	return role[RegisterDataKeyInput]{action: a, need: need,
		key: func(in *RegisterDataKeyInput) (kms.Ref, error) { return in.Key, nil },
		items: func(in *RegisterDataKeyInput) items {
			return items{1, func(int) (kms.Context, []byte) { return in.Context, in.AAD }}
		}}
}

// RegisterDataKey makes a managed data key, takes one over, or notes one that is held elsewhere.
func (e *Engine) RegisterDataKey(ctx context.Context, c kms.Call, in RegisterDataKeyInput) (ManagedDataKeyOutput, error) {
	d := &makeDataKey
	switch {
	case len(in.Fingerprint) > 0:
		d = &noteDataKey
	case len(in.Ciphertext) > 0:
		d = &adoptDataKey
	case in.WithPlaintext:
		d = &makeAndShowDataKey
	}
	out, err := alter(ctx, e, c, d, &in)
	if err != nil && in.made != nil {
		clear(in.made.plain) // committed or not, it is shown to nobody
	}
	return out, err
}

func checkRegister(in *RegisterDataKeyInput) error {
	ways := 0
	for _, chosen := range []bool{in.WithPlaintext, len(in.Ciphertext) > 0, len(in.Fingerprint) > 0} {
		if chosen {
			ways++
		}
	}
	if ways > 1 {
		return kms.Errorf(kms.CodeBadRequest, "a data key is made here, taken over from a ciphertext, or known by a fingerprint: want one of these")
	}
	if in.Name != "" {
		if err := kms.CheckName(in.Name); err != nil {
			return err
		}
	}
	if err := checkDataKeyForm(in); err != nil {
		return err
	}
	if len(in.Labels) > MaxDataKeyLabels {
		return kms.Errorf(kms.CodeTooLarge, "%d labels are more than the %d a data key can carry", len(in.Labels), MaxDataKeyLabels)
	}
	if err := kms.CheckLabels(in.Labels); err != nil {
		return err
	}
	return checkContext(in.Context, in.AAD)
}

// checkDataKeyForm settles the length.
func checkDataKeyForm(in *RegisterDataKeyInput) error {
	switch {
	case len(in.Fingerprint) > 0 && len(in.Fingerprint) != sha256.Size:
		return kms.Errorf(kms.CodeBadRequest, "the fingerprint has %d bytes: want the %d of a SHA-256", len(in.Fingerprint), sha256.Size)
	case len(in.Fingerprint) > 0 && in.Version == 0:
		return kms.Errorf(kms.CodeBadRequest, "a fingerprint comes with the version of the key that made the ciphertext")
	case len(in.Fingerprint) == 0 && in.Version != 0:
		return kms.Errorf(kms.CodeBadRequest, "a version is given with a fingerprint only: what is held here is under the primary version")
	case len(in.Ciphertext) > MaxDataKey+blobOverhead:
		return kms.Errorf(kms.CodeTooLarge, "the ciphertext has %d bytes, that of a data key has at most %d", len(in.Ciphertext), MaxDataKey+blobOverhead)
	case in.Bytes < 0 || in.Bytes > MaxDataKey:
		return kms.Errorf(kms.CodeTooLarge, "a data key of %d bytes was asked for: want 1 to %d", in.Bytes, MaxDataKey)
	}
	if in.Algorithm == 0 {
		return nil
	}
	if in.Algorithm.Facts().Asymmetric {
		return kms.Errorf(kms.CodeAlgorithm, "a data key is symmetric: %s is not", in.Algorithm)
	}
	return in.fits(in.length())
}

// fits tells whether a data key of a length is one of the algorithm that was named.
func (in *RegisterDataKeyInput) fits(n int) error {
	if in.Algorithm == 0 || n == in.Algorithm.Facts().Bits/8 {
		return nil
	}
	return kms.CheckSize(in.Algorithm, n)
}

func (in *RegisterDataKeyInput) length() int {
	switch {
	case in.Bytes > 0:
		return in.Bytes
	case in.Algorithm != 0:
		return in.Algorithm.Facts().Bits / 8
	}
	return 32
}

func (w *work) newDataKey(in *RegisterDataKeyInput) records.DataKey {
	return records.DataKey{
		Parent: w.keys[0].ID, ID: w.e.orderedID(w.now), Name: in.Name, State: records.DataKeyActive, Algorithm: in.Algorithm,
		Context: maps.Clone(in.Context), AAD: slices.Clone(in.AAD), Labels: maps.Clone(in.Labels), Created: w.now.UTC(), By: w.call.Principal.Name,
	}
}

func prepareDataKey(ctx context.Context, w *work, in *RegisterDataKeyInput) error {
	n := in.length()
	row := w.newDataKey(in)
	if w.call.DryRun {
		row.Bytes = uint32(n) //nolint:gosec // G115: at most MaxDataKey
		in.made = &madeDataKey{row: row}
		return w.maySealDataKey(ctx)
	}
	plain, err := w.e.cfg.Provider.Random(n)
	if err != nil {
		return err
	}
	return w.wrapDataKey(ctx, in, &row, plain, in.WithPlaintext)
}

// maySealDataKey tells what stands in the way of making a data key.
func (w *work) maySealDataKey(ctx context.Context) error {
	if _, err := w.version(ctx, 0, 0); err != nil {
		return err
	}
	return w.symmetric()
}

func (w *work) symmetric() error {
	k := w.keys[0]
	if k.Algorithm.Facts().Asymmetric {
		return kms.Errorf(kms.CodeAlgorithm, "%s keys do not wrap managed data keys: use a symmetric key", k.Algorithm)
	}
	_, err := w.scheme(k, k.Algorithm, kms.EncryptDecrypt, kms.NoScheme, true)
	return err
}

// wrapDataKey seals a data key under the primary version. It keeps or erases the plaintext.
func (w *work) wrapDataKey(ctx context.Context, in *RegisterDataKeyInput, row *records.DataKey, plain []byte, keep bool) (err error) {
	defer func() {
		if err != nil || !keep {
			clear(plain)
		}
	}()
	if err := w.symmetric(); err != nil {
		return err
	}
	v, err := w.version(ctx, 0, 0)
	if err != nil {
		return err
	}
	var share shared
	if row.Wrapped, err = sealItem(&share, w.keys[0], v, w.rec.Scheme, false, plain, row.Context, row.AAD); err != nil {
		return err
	}
	row.Version, row.Bytes = v.Number, uint32(len(plain)) //nolint:gosec // G115: at most MaxDataKey and a ciphertext's overhead
	if in.made != nil {
		clear(in.made.plain) // of an admission before
	}
	in.made = &madeDataKey{row: *row}
	if keep {
		in.made.plain = plain
	}
	return nil
}

// prepareAdoption proves that the ciphertext opens, and brings it under the primary version.
func prepareAdoption(ctx context.Context, w *work, in *RegisterDataKeyInput) error {
	row := w.newDataKey(in)
	plain, err := w.openOld(ctx, in.Ciphertext, in.Context, in.AAD)
	if err != nil {
		return err
	}
	n := len(plain)
	if n < 1 || n > MaxDataKey || in.Bytes != 0 && n != in.Bytes || in.fits(n) != nil {
		clear(plain)
		return kms.Errorf(kms.CodeBadRequest, "the ciphertext holds %d bytes, which is not the length of the data key", n)
	}
	return w.wrapDataKey(ctx, in, &row, plain, false)
}

// openOld opens a ciphertext with the second of the roles on one key.
func (w *work) openOld(ctx context.Context, ciphertext []byte, c kms.Context, aad []byte) ([]byte, error) {
	k := w.keys[1]
	h, body, err := blob.Parse(ciphertext)
	if err != nil {
		return nil, err
	}
	if h.Key != k.ID {
		return nil, kms.Errorf(kms.CodeWrongKey, "the ciphertext was made by key %s, not by the key named", h.Key)
	}
	if h.Version > k.Latest {
		return nil, kms.Errorf(kms.CodeDecryptFailed, "the ciphertext does not open with this key and context")
	}
	v, err := w.version(ctx, 1, h.Version)
	if err != nil {
		return nil, err
	}
	s, err := w.scheme(k, v.Algorithm, kms.EncryptDecrypt, kms.NoScheme, false)
	if err != nil {
		return nil, err
	}
	return v.Handle.Open(nil, ciphertext[:len(ciphertext)-len(body)], body, appendAAD(nil, k.ID, c, aad), s)
}

func prepareNote(_ context.Context, w *work, in *RegisterDataKeyInput) error {
	row := w.newDataKey(in)
	copy(row.Fingerprint[:], in.Fingerprint)
	row.Version, row.Bytes = in.Version, uint32(in.Bytes) //nolint:gosec // G115: checked
	if row.Fingerprint == [32]byte{} {
		return kms.Errorf(kms.CodeBadRequest, "the fingerprint is all zero: that is of no ciphertext")
	}
	if k := w.keys[0]; in.Version > k.Latest {
		return kms.Errorf(kms.CodeVersionNotFound, "key %q has no version %d", k.Name, in.Version)
	}
	in.made = &madeDataKey{row: row}
	return nil
}

func doRegister(_ context.Context, w *work, tx *records.Tx, in *RegisterDataKeyInput) (ManagedDataKeyOutput, error) {
	k, err := w.key(tx)
	if err != nil {
		return ManagedDataKeyOutput{}, err
	}
	row := in.made.row
	w.rec.Keys[0].Version = row.Version
	w.rec.Resource = clipTo(k.Name, 255)
	w.rec.Bytes = uint64(row.Bytes)
	if row.Name != "" {
		taken, err := tx.ClaimDataKeyName(k.ID, row.ID, row.Name)
		if err != nil {
			return ManagedDataKeyOutput{}, err
		}
		if taken {
			return ManagedDataKeyOutput{}, kms.Errorf(kms.CodeExists, "key %q has a data key of the name %q", k.Name, row.Name)
		}
	}
	if w.call.DryRun {
		row.ID = kms.ID{}
		return ManagedDataKeyOutput{DataKey: showDataKey(&row, false)}, nil
	}
	w.rec.Detail = describeDataKey(&row)
	w.onCommit([32]byte{}, func(leaf [32]byte) error {
		row.Change = leaf
		return tx.InsertDataKey(row)
	})
	out := ManagedDataKeyOutput{DataKey: showDataKey(&row, true)}
	if in.WithPlaintext {
		out.Plaintext = secret.Release(in.made.plain)
	}
	return out, nil
}

func describeDataKey(row *records.DataKey) string {
	what := "data key"
	if row.Outside() {
		what = "fingerprint of a data key"
	}
	return fmt.Sprintf("%s %s under version %d", what, row.ID, row.Version)
}

func showDataKey(d *records.DataKey, ciphertext bool) DataKeyInfo {
	out := DataKeyInfo{
		Parent: d.Parent, ID: d.ID, Name: d.Name, Revoked: d.State == records.DataKeyRevoked, Version: d.Version, Algorithm: d.Algorithm, Bytes: int(d.Bytes),
		Context: d.Context, AAD: d.AAD, Labels: d.Labels, Created: d.Created, By: d.By, Wraps: d.Wraps, Rewrapped: d.Rewrapped,
		RevokedAt: d.Revoked, RevokedBy: d.RevokedBy, Rev: d.Rev,
	}
	if ciphertext {
		out.Ciphertext = d.Wrapped
	}
	if d.Outside() {
		out.Fingerprint = slices.Clone(d.Fingerprint[:])
	}
	return out
}
