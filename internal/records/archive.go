package records

import (
	"context"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/keyhold/keyhold/internal/kms"
)

// Archived is the material of a version that was put away. Its shred row stays where it is: without it nothing here opens.
type Archived struct {
	Sealed []byte `json:"sealed"` // the wrapped material, once more under the namespace's archive KEK
}

func (r Archived) fields(w *writer) { w.bytes(1, r.Sealed) }

func (r *Archived) field(n protowire.Number, v value) {
	if n == 1 {
		r.Sealed = v.bytes()
	}
}

// ArchiveKEK is what a namespace's archived material is sealed under.
type ArchiveKEK struct {
	Namespace kms.Namespace `json:"ns"`
	KEK       []byte        `json:"kek"` // wrapped by the root
	Check     []byte        `json:"kek_check"`
}

// Archived reads archived material; nothing is sealed if there is none.
func (r *Records) Archived(ctx context.Context, id kms.ID, n uint32) (Archived, error) {
	a, _, err := load[Archived](ctx, r, archivePath(id, n))
	return a, err
}

// ArchiveKEK reads a namespace's archive KEK with its shred row, from one snapshot. The KEK is empty if there is none.
func (r *Records) ArchiveKEK(ctx context.Context, ns kms.Namespace) (ArchiveKEK, Shred, error) {
	recs, _, err := r.store.Get(ctx, archiveKEKPath(ns), archiveShredPath(ns))
	if err != nil {
		return ArchiveKEK{}, Shred{}, storeError(err)
	}
	k, err := decode[ArchiveKEK](r, recs[0])
	if err != nil {
		return ArchiveKEK{}, Shred{}, err
	}
	s, err := decode[Shred](r, recs[1])
	return k, s, err
}

// PutArchived puts material away.
func (tx *Tx) PutArchived(id kms.ID, n uint32, a Archived) error {
	return tx.put(archivePath(id, n), a)
}

// EraseArchived removes archived material, if there is any.
func (tx *Tx) EraseArchived(id kms.ID, n uint32) { tx.drop(archivePath(id, n)) }

// ArchiveKEK reads a namespace's archive KEK within the transaction.
func (tx *Tx) ArchiveKEK(ns kms.Namespace) (ArchiveKEK, bool, error) {
	k, _, ok, err := fetch[ArchiveKEK](tx, archiveKEKPath(ns))
	return k, ok, err
}

// PutArchiveKEK writes a namespace's archive KEK.
func (tx *Tx) PutArchiveKEK(k ArchiveKEK) error { return tx.put(archiveKEKPath(k.Namespace), k) }

// ArchiveShred reads the shred row of a namespace's archive KEK within the transaction.
func (tx *Tx) ArchiveShred(ns kms.Namespace) (Shred, bool, error) {
	s, _, ok, err := fetch[Shred](tx, archiveShredPath(ns))
	return s, ok, err
}

// PutArchiveShred writes the shred row of a namespace's archive KEK.
func (tx *Tx) PutArchiveShred(ns kms.Namespace, s Shred) error {
	return tx.put(archiveShredPath(ns), s)
}

// EraseArchiveKEK removes a namespace's archive KEK and its shred row: nothing that was archived there can be opened again.
func (tx *Tx) EraseArchiveKEK(ns kms.Namespace) error {
	if err := tx.remove(archiveShredPath(ns)); err != nil {
		return err
	}
	return tx.remove(archiveKEKPath(ns))
}
