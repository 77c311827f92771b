package records

import (
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// Import is an open import token: what may be imported under it, once. The key pair that the material is wrapped for is kept like a
// version, with the token's id for a key's and number 0.
type Import struct {
	ID        kms.ID        `json:"id"`
	Namespace kms.Namespace `json:"ns"`
	Key       kms.ID        `json:"key"`
	Version   uint32        `json:"n"`               // the version that it makes, or brings back
	Again     bool          `json:"again,omitempty"` // it brings back
	Open      bool          `json:"open,omitempty"`  // what it does is said with the material; Version and Again are not
	Algorithm kms.Algorithm `json:"alg"`             // of the material
	Transport kms.Transport `json:"transport"`
	Under     kms.ID        `json:"under,omitzero"` // the wrapping key, where both sides have it: then there is no key pair
	Created   time.Time     `json:"created"`
	Expires   time.Time     `json:"expires"`
	By        string        `json:"by"`
	Change    [32]byte      `json:"change"`

	Rev kms.Rev `json:"-"`
}

func importPath(id kms.ID) []byte { return append([]byte{byte(kindImport)}, id[:]...) }

// Import reads an import token; a zero Rev means there is none.
func (r *Records) Import(ctx context.Context, id kms.ID) (Import, error) {
	i, rev, err := load[Import](ctx, r, importPath(id))
	i.Rev = rev
	return i, err
}

// Imports reads the open import tokens of all namespaces, at most n.
func (r *Records) Imports(ctx context.Context, n int) (all []Import, err error) {
	_, err = scan(ctx, r, []byte{byte(kindImport)}, nil, n, func(_ []byte, v Import, rev kms.Rev) {
		v.Rev = rev
		all = append(all, v)
	})
	return all, err
}

// Import reads an import token within the transaction.
func (tx *Tx) Import(id kms.ID) (Import, bool, error) {
	i, rev, ok, err := fetch[Import](tx, importPath(id))
	i.Rev = rev
	return i, ok, err
}

// InsertImport writes an import token whose id is new, with the row that ends it. v is its key pair; nil: it has none.
func (tx *Tx) InsertImport(i Import, v *Version, s Shred) error {
	if v != nil {
		if err := tx.InsertVersion(*v, s); err != nil {
			return err
		}
	}
	if err := tx.PutDue(i.due()); err != nil {
		return err
	}
	return tx.insert(importPath(i.ID), i)
}

// RemoveImport forgets an import token, with its key pair and the row that would have ended it.
func (tx *Tx) RemoveImport(i Import) error {
	if i.Under.IsZero() {
		if err := tx.EraseShred(i.ID, 0); err != nil {
			return err
		}
		if err := tx.remove(versionPath(i.ID, 0)); err != nil {
			return err
		}
	}
	if err := tx.RemoveDue(i.due()); err != nil {
		return err
	}
	return tx.remove(importPath(i.ID))
}

func (i *Import) due() Due {
	return Due{Namespace: i.Namespace, Key: i.ID, At: i.Expires, What: DueImport}
}
