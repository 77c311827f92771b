package engine

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// The descriptors of the archive. Archived material is where no operation finds it, sealed once more under a KEK that is opened only
// for a version that may process: while a recall is open, or with the permission for compromised versions.
var (
	archiveVersion = change[ArchiveInput, KeyOutput]{
		name:    kms.ArchiveVersion,
		roles:   versionRole(kms.ArchiveVersion, func(in *ArchiveInput) kms.Ref { return in.Key }),
		prepare: prepareArchive,
		do:      doArchive,
	}
	recallVersion = change[RecallInput, KeyOutput]{
		name:  kms.RecallVersion,
		roles: versionRole(kms.RecallVersion, func(in *RecallInput) kms.Ref { return in.Key }),
		check: func(in *RecallInput) error {
			if in.End && in.For != 0 {
				return kms.Errorf(kms.CodeBadRequest, "a recall is ended or opened for a while: not both")
			}
			_, err := lifecycle.RecallEnd(time.Time{}, in.For)
			return err
		},
		approve: func(_ *work, in *RecallInput) string {
			if in.End {
				return ""
			}
			return "a recall lets a version process that was put out of use"
		},
		do: doRecall,
	}
)

// putAway is a version's material as the archive takes it, made outside the transaction that stores it.
type putAway struct {
	wrapped []byte // what was sealed: the version's, as it was read
	sealed  []byte
	kek     records.ArchiveKEK
	shred   records.Shred
	first   bool // the KEK is new
}

func prepareArchive(ctx context.Context, w *work, in *ArchiveInput) error {
	in.put = nil
	k := w.keys[0]
	v, err := w.o.records.Version(ctx, k.ID, in.Version)
	if err != nil || len(v.Wrapped) == 0 || w.call.DryRun {
		return err // what is not there, or away already, is said by the change itself
	}
	a, err := w.o.ring.Archive(ctx, k.Namespace)
	if err != nil {
		return err
	}
	defer a.Close()
	in.put = &putAway{wrapped: v.Wrapped, kek: a.Record, shred: a.Shred, first: a.New}
	in.put.sealed, err = a.Seal(k.ID, in.Version, v.Wrapped)
	return err
}

func doArchive(_ context.Context, w *work, tx *records.Tx, in *ArchiveInput) (KeyOutput, error) {
	k, v, err := w.keyVersion(tx, in.Version)
	if err != nil {
		return KeyOutput{}, err
	}
	if v.State == kms.Archived {
		return w.nothingToDo(&k, &v)
	}
	if err := lifecycle.Next(v.State, kms.Archived); err != nil {
		return KeyOutput{}, err
	}
	w.move(&v.Version, kms.Archived)
	w.rec.Detail = "the material is in the archive"
	if w.call.DryRun {
		return KeyOutput{Key: k.Key, Versions: []kms.Version{v.Version}}, nil
	}
	if in.put == nil || !bytes.Equal(in.put.wrapped, v.Wrapped) {
		return KeyOutput{}, errStale
	}
	if err := in.put.store(tx, k.ID, v.Number); err != nil {
		return KeyOutput{}, err
	}
	v.Wrapped, v.Archived = nil, true
	return w.putKeyVersion(tx, &k, &v)
}

// store writes the sealed material, and the KEK with it if it is the first. Another first KEK, or one under another root key, makes it stale.
func (p *putAway) store(tx *records.Tx, id kms.ID, n uint32) error {
	kek, there, err := tx.ArchiveKEK(p.kek.Namespace)
	if err != nil {
		return err
	}
	switch {
	case there && !bytes.Equal(kek.Check, p.kek.Check), !there && !p.first:
		return errStale
	case !there:
		if err := tx.PutArchiveShred(p.kek.Namespace, p.shred); err != nil {
			return err
		}
		if err := tx.PutArchiveKEK(p.kek); err != nil {
			return err
		}
	}
	return tx.PutArchived(id, n, records.Archived{Sealed: p.sealed})
}

func doRecall(_ context.Context, w *work, tx *records.Tx, in *RecallInput) (KeyOutput, error) {
	k, v, err := w.keyVersion(tx, in.Version)
	if err != nil {
		return KeyOutput{}, err
	}
	var until time.Time
	switch {
	case in.End && v.RecallUntil.IsZero():
		return w.nothingToDo(&k, &v)
	case in.End:
		w.rec.Detail = "ended before " + spelt(v.RecallUntil)
	case v.State != kms.Deactivated && v.State != kms.Archived:
		e := kms.Errorf(kms.CodeVersionState, "version %d is %s: only what is deactivated or archived can be recalled", v.Number, v.State)
		e.Next = "keyhold key versions NAME shows where each version stands"
		return KeyOutput{}, e
	default:
		if until, err = lifecycle.RecallEnd(w.now, in.For); err != nil {
			return KeyOutput{}, err
		}
		w.rec.Detail = fmt.Sprintf("%s version processes until %s", v.State, spelt(until))
	}
	if err := redate(tx, &k.Key, &v.Version, &v.RecallUntil, until); err != nil {
		return KeyOutput{}, err
	}
	return w.putKeyVersion(tx, &k, &v)
}

// eraseMaterial erases the material of a version for good, wherever it is.
func eraseMaterial(tx *records.Tx, v *records.Version) error {
	if v.Archived {
		tx.EraseArchived(v.Key, v.Number)
	}
	v.Wrapped, v.Archived = nil, false
	return tx.EraseShred(v.Key, v.Number)
}

// rewrapArchive brings a namespace's archive KEK, if it has one, under the newest root key.
func (o *opened) rewrapArchive(tx *records.Tx, ns kms.Namespace) error {
	rec, there, err := tx.ArchiveKEK(ns)
	if err != nil || !there {
		return err
	}
	row, _, err := tx.ArchiveShred(ns)
	if err != nil {
		return err
	}
	out, changed, err := keyring.RewrapArchive(o.root, o.epochs, rec, row)
	if err != nil || !changed {
		return err
	}
	return tx.PutArchiveKEK(out)
}

// ArchiveVersion puts a deactivated version away: its material leaves the version for the archive.
func (e *Engine) ArchiveVersion(ctx context.Context, c kms.Call, in ArchiveInput) (KeyOutput, error) {
	return alter(ctx, e, c, &archiveVersion, &in)
}

// RecallVersion lets a deactivated or archived version process for a while, with the approval of others, or ends that.
func (e *Engine) RecallVersion(ctx context.Context, c kms.Call, in RecallInput) (KeyOutput, error) {
	return alter(ctx, e, c, &recallVersion, &in)
}
