package records

import (
	"bytes"
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// AccessKey is a pair of a public id and a secret with which requests are signed. What verifies a signature is the secret itself, so that the record
// holds it, sealed as every record is; a revoked one holds none.
type AccessKey struct {
	ID        string        `json:"id"` // "AKIA" and 16 characters of A to Z and 2 to 7
	Secret    []byte        `json:"secret,omitempty"`
	Namespace kms.Namespace `json:"ns"`
	Principal string        `json:"principal"`
	Roles     []kms.Role    `json:"roles,omitempty"`
	Groups    []string      `json:"groups,omitempty"`
	Scope     []kms.Action  `json:"scope,omitempty"`
	Created   time.Time     `json:"created"`
	By        string        `json:"by"`
	Expires   time.Time     `json:"expires,omitzero"` // zero: never
	Revoked   time.Time     `json:"revoked,omitzero"`
	Successor string        `json:"next,omitempty"` // that replaced it in a rotation
	Change    [32]byte      `json:"change"`

	Rev kms.Rev `json:"-"`
}

// Erase forgets the secret.
func (k *AccessKey) Erase() {
	clear(k.Secret)
	k.Secret = nil
}

// Ended tells since when the key is of no use: zero if it is.
func (k *AccessKey) Ended(now time.Time) time.Time {
	switch {
	case !k.Revoked.IsZero():
		return k.Revoked
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return k.Expires
	}
	return time.Time{}
}

// AccessKeysOf is the index of the access keys of one principal, so that they can be counted.
type AccessKeysOf struct {
	IDs []string `json:"ids"`
}

// Ids begin with a letter, so that the index of a principal, which begins with 00, meets none.
var accessKeys = []byte{byte(kindAccessKey), 'A'}

func accessKeyPath(id string) []byte { return append([]byte{byte(kindAccessKey)}, id...) }

func (r *Records) accessKeysOfPath(ns kms.Namespace, principal string) []byte {
	h := r.chain.Index([]byte("access-keys"), []byte(ns), []byte(principal))
	return append([]byte{byte(kindAccessKey), 0}, h[:]...)
}

// AccessKey reads an access key by its id; a zero Rev means there is none.
func (r *Records) AccessKey(ctx context.Context, id string) (AccessKey, error) {
	k, rev, err := load[AccessKey](ctx, r, accessKeyPath(id))
	k.Rev = rev
	return k, err
}

// AccessKeys reads a page of the access keys of all namespaces, without their secrets, by id. after is the previous answer's next.
func (r *Records) AccessKeys(ctx context.Context, after []byte, n int) (all []AccessKey, next []byte, err error) {
	if len(after) > 0 && !bytes.HasPrefix(after, accessKeys) {
		return nil, nil, kms.Errorf(kms.CodeBadToken, "the page token is not one of this listing")
	}
	next, err = scan(ctx, r, accessKeys, after, n, func(_ []byte, v AccessKey, rev kms.Rev) {
		v.Erase()
		v.Rev = rev
		all = append(all, v)
	})
	return all, next, err
}

// AccessKeysOf reads the ids of a principal's access keys.
func (r *Records) AccessKeysOf(ctx context.Context, ns kms.Namespace, principal string) ([]string, error) {
	of, _, err := load[AccessKeysOf](ctx, r, r.accessKeysOfPath(ns, principal))
	return of.IDs, err
}

// AccessKey reads an access key within the transaction.
func (tx *Tx) AccessKey(id string) (AccessKey, bool, error) {
	k, rev, ok, err := fetch[AccessKey](tx, accessKeyPath(id))
	k.Rev = rev
	return k, ok, err
}

// PutAccessKey writes an access key.
func (tx *Tx) PutAccessKey(k AccessKey) error {
	tx.touched = append(tx.touched, Touch{Kind: TouchAccessKey, Namespace: k.Namespace, Name: k.ID})
	return tx.put(accessKeyPath(k.ID), k)
}

// RemoveAccessKey deletes an access key that ended long ago.
func (tx *Tx) RemoveAccessKey(ns kms.Namespace, id string) error {
	tx.touched = append(tx.touched, Touch{Kind: TouchAccessKey, Namespace: ns, Name: id})
	return tx.remove(accessKeyPath(id))
}

// AccessKeysOf reads the ids of a principal's access keys within the transaction.
func (tx *Tx) AccessKeysOf(ns kms.Namespace, principal string) ([]string, error) {
	of, _, _, err := fetch[AccessKeysOf](tx, tx.r.accessKeysOfPath(ns, principal))
	return of.IDs, err
}

// PutAccessKeysOf writes the ids of a principal's access keys.
func (tx *Tx) PutAccessKeysOf(ns kms.Namespace, principal string, ids []string) error {
	path := tx.r.accessKeysOfPath(ns, principal)
	if len(ids) == 0 {
		return tx.remove(path)
	}
	return tx.put(path, AccessKeysOf{IDs: ids})
}
