package records

import (
	"context"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/store"
)

// CountKeys counts the keys of a namespace and the managed data keys under them, up to atMost rows of each. It opens none of them. all is false if
// there are more.
func (r *Records) CountKeys(ctx context.Context, ns kms.Namespace, atMost int) (keys, dataKeys int, all bool, err error) {
	prefix := keyPrefix(ns)
	for after := []byte(nil); ; {
		recs, _, err := r.store.Scan(ctx, prefix, after, store.MaxPage)
		if err != nil {
			return keys, dataKeys, false, storeError(err)
		}
		for _, rec := range recs {
			if keys++; keys >= atMost || dataKeys >= atMost {
				return keys, dataKeys, false, nil
			}
			n, err := r.countUnder(ctx, dataKeyPrefix(kms.ID(rec.Key[len(prefix):])), atMost-dataKeys)
			if err != nil {
				return keys, dataKeys, false, err
			}
			dataKeys += n
		}
		if len(recs) < store.MaxPage {
			return keys, dataKeys, true, nil
		}
		after = recs[len(recs)-1].Key
	}
}

// EraseNamespaceShred removes the shred row of a namespace's KEK: no key of the namespace can be opened any more.
func (tx *Tx) EraseNamespaceShred(ns kms.Namespace) error { return tx.remove(namespaceShredPath(ns)) }

// EraseShredRow removes a row that was read, if it has not changed since.
func (tx *Tx) EraseShredRow(old ShredRow) error {
	now, _, ok, err := fetch[Shred](tx, old.path)
	if err != nil || !ok || string(now.Row) != string(old.Row) {
		return err
	}
	return tx.remove(old.path)
}
