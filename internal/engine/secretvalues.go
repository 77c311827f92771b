package engine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// madeSealed is a value that is sealed and not stored yet.
type madeSealed struct {
	id    kms.ID
	value records.Sealed
	shred records.Shred
}

func checkPutSecret(in *PutSecretInput) error {
	if n := in.Value.Len(); n > MaxSecretValue {
		return kms.Errorf(kms.CodeTooLarge, "the value of a secret has %d bytes, at most %d can be kept", n, MaxSecretValue)
	}
	in.Digest = sha256.Sum256(in.Value.Reveal(reveal.Key{}))
	return checkSecretPath(in.Path)
}

// sealValue seals a value outside the transaction that stores it.
func (w *work) sealValue(ctx context.Context, value *secret.Bytes) (*madeSealed, error) {
	if w.call.DryRun {
		return nil, nil //nolint:nilnil // nothing is stored
	}
	m := &madeSealed{id: w.e.orderedID(w.now)}
	var err error
	m.value, m.shred, err = w.o.ring.SealSecret(ctx, w.call.Namespace, m.id, value.Reveal(reveal.Key{}))
	return m, err
}

func prepareSecret(ctx context.Context, w *work, in *PutSecretInput) (err error) {
	in.made, err = w.sealValue(ctx, in.Value)
	return err
}

func doPutSecret(_ context.Context, w *work, tx *records.Tx, in *PutSecretInput) (SecretOutput, error) {
	s, err := w.secretIn(tx, in.Path)
	if err != nil {
		return SecretOutput{}, err
	}
	held, err := w.settingsOf(tx, &s, in.Under)
	if err != nil {
		return SecretOutput{}, err
	}
	if err := mayReplace(&s, in.Replaces, held.MustCheck); err != nil {
		return SecretOutput{}, err
	}
	if s.ID.IsZero() {
		if s, err = w.newSecret(tx, in.Path); err != nil {
			return SecretOutput{}, err
		}
	}
	s.Current++
	s.Updated = w.now.UTC()
	v := records.SecretVersion{Number: s.Current, Bytes: uint32(in.Value.Len()), Created: s.Updated, By: w.call.Principal.Name} //nolint:gosec // G115: at most MaxSecretValue
	if held.DeleteAfter > 0 {
		v.Deleted = s.Updated.Add(held.DeleteAfter)
	}
	if in.made != nil {
		v.Value = in.made.id
		if err := tx.InsertSealed(in.made.id, in.made.value, in.made.shred); err != nil {
			return SecretOutput{}, err
		}
	}
	s.Versions = append(s.Versions, v)
	w.rec.Bytes = uint64(v.Bytes)
	w.rec.Detail = fmt.Sprintf("version %d", v.Number)
	if gone := trimSecret(tx, &s, int(held.Keep)); len(gone) > 0 {
		w.rec.Detail += ", destroyed: " + numbers(gone)
	}
	return w.putSecret(tx, s), nil
}

// mayReplace compares the newest version with what the writer takes for it.
func mayReplace(s *records.Secret, replaces *uint32, must bool) error {
	switch {
	case replaces != nil && *replaces != s.Current:
		return kms.Errorf(kms.CodeConflict, "the newest version is %d, not %d", s.Current, *replaces)
	case replaces == nil && must:
		return kms.Errorf(kms.CodeBadRequest, "who writes this secret has to say which version is replaced")
	}
	return nil
}

// trimSecret destroys and forgets the oldest versions beyond those that are kept.
func trimSecret(tx *records.Tx, s *records.Secret, keep int) (gone []uint32) {
	n := max(len(s.Versions)-keep, 0)
	for i := range n {
		gone = append(gone, s.Versions[i].Number)
		eraseValue(tx, &s.Versions[i])
	}
	s.Versions = slices.Clone(s.Versions[n:])
	return gone
}

// eraseValue erases the value of a version with its shred secret.
func eraseValue(tx *records.Tx, v *records.SecretVersion) {
	if !v.Value.IsZero() {
		tx.EraseSealed(v.Value)
	}
	v.Value, v.Destroyed = kms.ID{}, true
}

func numbers(all []uint32) string {
	words := make([]string, len(all))
	for i, n := range all {
		words[i] = fmt.Sprint(n)
	}
	return strings.Join(words, ", ")
}

// readTries bounds how often a secret that changes while it is read is read again.
const readTries = 4

func doReadSecret(ctx context.Context, w *work, in *ReadSecretInput) (out ReadSecretOutput, err error) {
	for range readTries {
		s, err := w.secretAt(ctx, in.Path)
		if err != nil {
			return out, err
		}
		n := in.Version
		if n == 0 {
			n = s.Current
		}
		v := versionOf(&s, n)
		if v == nil {
			return out, kms.Errorf(kms.CodeNotFound, "the secret %q has no version %d", in.Path, n)
		}
		out = ReadSecretOutput{Version: secretVersion(v), Custom: s.Custom}
		w.rec.Detail = fmt.Sprintf("version %d", n)
		if out.Version.Gone(w.now) {
			w.rec.Detail += ", deleted: without its value"
			return out, nil
		}
		value, there, err := w.o.ring.OpenSecret(ctx, w.call.Namespace, v.Value)
		if err != nil {
			return ReadSecretOutput{}, err
		}
		if !there {
			continue // it was destroyed in between
		}
		out.Value = secret.Release(value)
		w.rec.Bytes = uint64(len(value))
		w.still = func(ctx context.Context) bool {
			v, err := w.versionNow(ctx, s.ID, n)
			return err == nil && !v.Gone(w.now)
		}
		return out, nil
	}
	return ReadSecretOutput{}, kms.Errorf(kms.CodeConflict, "the secret %q changed %d times while it was read", in.Path, readTries)
}

// versionNow is a version as it stands: it may have been deleted since it was looked at. One that there is not is destroyed.
func (w *work) versionNow(ctx context.Context, id kms.ID, n uint32) (SecretVersion, error) {
	s, err := w.o.records.Secret(ctx, id)
	if err != nil {
		return SecretVersion{}, err
	}
	if v := versionOf(&s, n); v != nil {
		return secretVersion(v), nil
	}
	return SecretVersion{Destroyed: true}, nil
}

// secretVersions is a change of versions of a secret.
func secretVersions(a kms.Action, each func(*work, *records.Tx, *records.SecretVersion) bool) change[SecretVersionsInput, SecretOutput] {
	return change[SecretVersionsInput, SecretOutput]{
		name: a, check: checkSecretVersions, authorize: onSecret(func(in *SecretVersionsInput) string { return in.Path }),
		do: func(_ context.Context, w *work, tx *records.Tx, in *SecretVersionsInput) (SecretOutput, error) {
			s, err := w.secretIn(tx, in.Path)
			if err != nil {
				return SecretOutput{}, err
			}
			if s.ID.IsZero() {
				return SecretOutput{}, noSecret(in.Path)
			}
			wanted := in.Versions
			if len(wanted) == 0 && a == kms.DeleteSecret {
				wanted = []uint32{s.Current}
			}
			var done []uint32
			for _, n := range wanted {
				if v := versionOf(&s, n); v != nil && each(w, tx, v) {
					done = append(done, n)
				}
			}
			if len(done) == 0 {
				w.rec.Detail = "nothing to do"
				return SecretOutput{secretInfo(&s)}, nil
			}
			w.rec.Detail = "versions " + numbers(done)
			s.Updated = w.now.UTC()
			return w.putSecret(tx, s), nil
		},
	}
}

func softDelete(w *work, _ *records.Tx, v *records.SecretVersion) bool {
	if shown := secretVersion(v); shown.Gone(w.now) {
		return false
	}
	v.Deleted = w.now.UTC()
	return true
}

func undelete(_ *work, _ *records.Tx, v *records.SecretVersion) bool {
	if v.Destroyed || v.Deleted.IsZero() {
		return false
	}
	v.Deleted = time.Time{}
	return true
}

func destroyValue(_ *work, tx *records.Tx, v *records.SecretVersion) bool {
	if v.Destroyed {
		return false
	}
	eraseValue(tx, v)
	return true
}

func doUpdateSecret(_ context.Context, w *work, tx *records.Tx, in *UpdateSecretInput) (SecretOutput, error) {
	s, err := w.secretIn(tx, in.Path)
	switch {
	case err != nil:
		return SecretOutput{}, err
	case s.ID.IsZero() && in.Known:
		return SecretOutput{}, noSecret(in.Path)
	case s.ID.IsZero():
		if s, err = w.newSecret(tx, in.Path); err != nil {
			return SecretOutput{}, err
		}
	}
	if in.Keep != nil {
		s.Keep = *in.Keep
	}
	if in.MustCheck != nil {
		s.MustCheck = *in.MustCheck
	}
	if in.DeleteAfter != nil {
		s.DeleteAfter = int64(*in.DeleteAfter / time.Second)
	}
	if in.Custom != nil {
		s.Custom = maps.Clone(*in.Custom)
	}
	for name, value := range in.Changes {
		if value == nil {
			delete(s.Custom, name)
			continue
		}
		if s.Custom == nil {
			s.Custom = map[string]string{}
		}
		s.Custom[name] = *value
	}
	if err := checkCustom(s.Custom); err != nil {
		return SecretOutput{}, err
	}
	s.Updated = w.now.UTC()
	return w.putSecret(tx, s), nil
}

func doDeleteSecretMetadata(_ context.Context, w *work, tx *records.Tx, in *SecretInput) (SecretOutput, error) {
	s, err := w.secretIn(tx, in.Path)
	if err != nil {
		return SecretOutput{}, err
	}
	if s.ID.IsZero() {
		return SecretOutput{}, noSecret(in.Path)
	}
	for i := range s.Versions {
		eraseValue(tx, &s.Versions[i])
	}
	if err := w.leave(tx, in.Path); err != nil {
		return SecretOutput{}, err
	}
	w.rec.Detail = fmt.Sprintf("with %d versions", len(s.Versions))
	s.Updated = w.now.UTC()
	w.onCommit(s.Change, func([32]byte) error { return tx.RemoveSecret(s.ID) })
	return SecretOutput{secretInfo(&s)}, nil
}
