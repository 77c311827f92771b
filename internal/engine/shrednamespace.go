package engine

import (
	"github.com/keyhold/keyhold/internal/records"
)

// finalNamespace says of a namespace that nothing brings it back.
func (w *work) finalNamespace(tx *records.Tx, r *records.Receipt) error {
	n, there, err := tx.Namespace(r.Namespace)
	if err != nil || !there {
		return err
	}
	n.Irrecoverable = r.Irrecoverable
	w.rec.Resource = string(n.Name)
	w.onCommit(n.Change, func(leaf [32]byte) error {
		n.Change = leaf
		return tx.PutNamespace(n)
	})
	return nil
}
