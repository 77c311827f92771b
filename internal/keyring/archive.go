package keyring

import (
	"context"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/seal"
)

// Archive is a namespace's archive KEK, opened for one use: it is not kept. Close it after use.
type Archive struct {
	Record records.ArchiveKEK
	Shred  records.Shred
	New    bool // it was made just now: whoever archives with it first stores both
	kek    *seal.KEK
}

// Close erases the KEK.
func (a *Archive) Close() {
	if a != nil {
		a.kek.Zero()
	}
}

// Seal gives the archived form of a version's wrapped material.
func (a *Archive) Seal(id kms.ID, n uint32, wrapped []byte) ([]byte, error) {
	return a.kek.SealArchived(wrapped, archivedPlace(a.Record.Namespace, id, n))
}

func archivePlace(ns kms.Namespace) []byte {
	return seal.Place{Kind: seal.PlaceArchive, Namespace: ns}.Bytes()
}

func archivedPlace(ns kms.Namespace, id kms.ID, n uint32) []byte {
	return seal.Place{Kind: seal.PlaceArchived, Namespace: ns, Key: id, Version: n}.Bytes()
}

// Archive opens a namespace's archive KEK, or makes one if it has none.
func (r *Ring) Archive(ctx context.Context, ns kms.Namespace) (*Archive, error) {
	a, err := r.openArchive(ctx, ns)
	if err != nil || a != nil {
		return a, err
	}
	place, kek := archivePlace(ns), seal.NewKEK()
	shred := seal.NewShredSecret()
	defer shred.Zero()
	check := kek.Check()
	a = &Archive{Record: records.ArchiveKEK{Namespace: ns, Check: check[:]}, Shred: records.Shred{Namespace: ns}, New: true, kek: kek}
	if a.Record.KEK, err = r.cfg.Root.WrapKEK(kek, shred, place); err == nil {
		a.Shred.Row, err = r.cfg.Epochs.WrapShred(shred, place)
	}
	if err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// openArchive answers nil if the namespace has no archive KEK.
func (r *Ring) openArchive(ctx context.Context, ns kms.Namespace) (*Archive, error) {
	rec, row, err := r.cfg.Records.ArchiveKEK(ctx, ns)
	if err != nil || len(rec.KEK) == 0 {
		return nil, err
	}
	place := archivePlace(ns)
	shred, err := r.cfg.Epochs.OpenShred(row.Row, place)
	if err != nil {
		return nil, err
	}
	defer shred.Zero()
	kek, err := r.cfg.Root.UnwrapKEK(rec.KEK, shred, place)
	if err != nil {
		return nil, err
	}
	return &Archive{Record: rec, Shred: row, kek: kek}, nil
}

// Archived opens a version whose material is in the archive, verifying its check value. Neither the material nor what it takes to open
// it is kept: the caller, who knows that it may be opened now, releases the version, and that ends it. A version that is not in the
// archive any more is opened as any other.
func (r *Ring) Archived(ctx context.Context, k *Key, n uint32) (*Version, error) {
	v, err := r.openArchived(ctx, k, n)
	if kms.CodeOf(err) == kms.CodeRecordDamaged { // a row's epoch may have ended since it was read
		v, err = r.openArchived(ctx, k, n)
	}
	return v, err
}

func (r *Ring) openArchived(ctx context.Context, k *Key, n uint32) (*Version, error) {
	rec, row, err := r.cfg.Records.VersionWithShred(ctx, k.ID, n)
	if err != nil {
		return nil, err
	}
	if !rec.Archived {
		return r.openVersion(ctx, k.Namespace, k.ID, n)
	}
	put, err := r.cfg.Records.Archived(ctx, k.ID, n)
	if err != nil {
		return nil, err
	}
	if len(put.Sealed) == 0 || len(row.Row) == 0 {
		return nil, kms.Errorf(kms.CodeRecordDamaged, "the archived material of version %d of key %s, or its shred secret, is missing", n, k.ID)
	}
	a, err := r.openArchive(ctx, k.Namespace)
	if err != nil {
		return nil, err
	}
	if a == nil {
		return nil, kms.Errorf(kms.CodeRecordDamaged, "the archive KEK of namespace %q is missing", k.Namespace)
	}
	defer a.Close()
	if rec.Wrapped, err = a.kek.OpenArchived(put.Sealed, archivedPlace(k.Namespace, k.ID, n)); err != nil {
		return nil, err
	}
	s, err := r.sealedWith(ctx, k.Namespace, &rec, row.Row)
	if err != nil {
		return nil, err
	}
	return r.open(&rec, s)
}

// RewrapArchive brings an archive KEK under the newest root key. changed is false if it is there already.
func RewrapArchive(root *seal.Root, epochs *seal.Epochs, rec records.ArchiveKEK, row records.Shred) (out records.ArchiveKEK, changed bool, err error) {
	place := archivePlace(rec.Namespace)
	shred, err := epochs.OpenShred(row.Row, place)
	if err != nil {
		return rec, false, err
	}
	defer shred.Zero()
	rec.KEK, changed, err = root.RewrapKEK(rec.KEK, shred, place)
	return rec, changed, err
}
