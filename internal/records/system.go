package records

import (
	"context"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/store"
)

// System is what a sealed server can read: the seal configuration in the clear (it carries its own MAC), and the
// keychain as the root sealed it.
type System struct {
	Config   []byte // nil: not initialised
	Keychain []byte
}

// ReadSystem reads it.
func ReadSystem(ctx context.Context, st store.Store) (System, error) {
	recs, _, err := st.Get(ctx, systemPath("seal"), systemPath("keychain"))
	if err != nil {
		return System{}, storeError(err)
	}
	return System{Config: recs[0].Value, Keychain: recs[1].Value}, nil
}

// PutSystem writes it, within a transaction. A nil part stays as it is.
func (tx *Tx) PutSystem(s System) error {
	for name, value := range map[string][]byte{"seal": s.Config, "keychain": s.Keychain} {
		if value == nil {
			continue
		}
		w, err := tx.row(systemPath(name))
		if err != nil {
			return err
		}
		w.plain, w.written = value, true
	}
	return nil
}

// System reads it within a transaction.
func (tx *Tx) System() (System, error) {
	config, err := tx.row(systemPath("seal"))
	if err != nil {
		return System{}, err
	}
	keychain, err := tx.row(systemPath("keychain"))
	if err != nil {
		return System{}, err
	}
	return System{Config: config.plain, Keychain: keychain.plain}, nil
}

// Walk opens every record in the store, in order, and tells of each: its place, and the error if it does not open.
func (r *Records) Walk(ctx context.Context, each func(place string, err error)) error {
	var after []byte
	for {
		recs, _, err := r.store.Scan(ctx, nil, after, store.MaxPage)
		if err != nil {
			return storeError(err)
		}
		for _, rec := range recs {
			var err error
			if rec.Key[0] != byte(kindSystem) {
				_, err = r.open(rec)
			}
			each(Place(rec.Key), err)
		}
		if len(recs) < store.MaxPage {
			return nil
		}
		after = recs[len(recs)-1].Key
	}
}

// Cluster is the identity that all records are bound to.
func (r *Records) Cluster() kms.ID { return r.cluster }
