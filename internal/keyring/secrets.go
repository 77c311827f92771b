package keyring

import (
	"bytes"
	"context"

	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/seal"
)

// secretForm is the first byte of a sealed value, and the header of its box.
const secretForm = 1

func secretPlace(ns kms.Namespace, id kms.ID) []byte {
	return seal.Place{Kind: seal.PlaceSecret, Namespace: ns, Key: id}.Bytes()
}

// SealSecret seals a value that is no key's material under a key made from the namespace's KEK and a fresh shred secret, which the
// caller stores beside it. Without that row nothing opens it.
func (r *Ring) SealSecret(ctx context.Context, ns kms.Namespace, id kms.ID, value []byte) (records.Sealed, records.Shred, error) {
	place, err := r.newPlace(ctx, ns, secretPlace(ns, id))
	if err != nil {
		return records.Sealed{}, records.Shred{}, err
	}
	defer place.Wrap.Zero()
	head := []byte{secretForm}
	sealed, err := place.Wrap.Seal(bytes.Clone(head), box.Secret, head, value, place.Name)
	return records.Sealed{Sealed: sealed}, place.Shred, err
}

// OpenSecret opens a value; there is false where it was erased. The caller erases what it is given. A shred row that does not open is read
// again: its epoch may have ended since.
func (r *Ring) OpenSecret(ctx context.Context, ns kms.Namespace, id kms.ID) (value []byte, there bool, err error) {
	for was := []byte(nil); ; {
		v, row, err := r.cfg.Records.Sealed(ctx, id)
		if err != nil || len(v.Sealed) == 0 && len(row.Row) == 0 {
			return nil, false, err
		}
		value, err = r.openSecret(ctx, ns, id, v.Sealed, row.Row)
		if kms.CodeOf(err) != kms.CodeRecordDamaged || bytes.Equal(row.Row, was) {
			return value, err == nil, err
		}
		was = row.Row
	}
}

func (r *Ring) openSecret(ctx context.Context, ns kms.Namespace, id kms.ID, sealed, row []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != secretForm || len(row) == 0 {
		return nil, kms.Errorf(kms.CodeRecordDamaged, "the sealed value %s, or its shred secret, is missing or of a form that this program does not know", id)
	}
	name := secretPlace(ns, id)
	shred, err := r.cfg.Epochs.OpenShred(row, name)
	if err != nil {
		return nil, err
	}
	defer shred.Zero()
	wrap, err := r.wrapping(ctx, ns, shred, name)
	if err != nil {
		return nil, err
	}
	defer wrap.Zero()
	value, err := wrap.Open(nil, box.Secret, sealed[:1], sealed[1:], name)
	if err != nil {
		return nil, kms.Errorf(kms.CodeRecordDamaged, "the sealed value %s does not open", id).Because(err)
	}
	return value, nil
}
