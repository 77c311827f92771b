package records

import (
	"context"
	"net/netip"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// l 02 mount id, keyed hash of the role id: which of its roles has this id; l 03 role's id, accessor: a secret id; l 04 role's id, keyed hash of the secret
// id: its accessor

// RoleOfID is the role that a role id names.
type RoleOfID struct {
	Role string `json:"role"`
}

// SecretID is what logs a role in, of which the server keeps a keyed hash only.
type SecretID struct {
	Accessor kms.ID            `json:"accessor"`
	Mount    kms.ID            `json:"mount"`
	Role     kms.ID            `json:"role_id"`
	RoleName string            `json:"role"`
	Hash     [16]byte          `json:"hash"`             // keyed, of the secret id
	Uses     uint32            `json:"uses,omitzero"`    // that are left; 0: as many as one likes
	TTL      kms.Seconds       `json:"ttl,omitzero"`     // that it was made with; 0: for ever
	Expires  time.Time         `json:"expires,omitzero"` // zero: never
	Bound    []netip.Prefix    `json:"bound,omitempty"`  // from where it logs in; none: from anywhere
	Token    []netip.Prefix    `json:"token_bound,omitempty"`
	Meta     map[string]string `json:"meta,omitempty"`
	Created  time.Time         `json:"created"`
	Changed  time.Time         `json:"changed"`
	By       string            `json:"by"`
	Change   [32]byte          `json:"change"`

	Rev kms.Rev `json:"-"`
}

type accessorOf struct {
	Accessor kms.ID `json:"accessor"`
}

// HashSecretID is the keyed hash of a secret id of a role.
func (r *Records) HashSecretID(role kms.ID, value []byte) [16]byte {
	return r.chain.Index([]byte("secret id"), role[:], value)
}

func (r *Records) roleOfIDPath(mount kms.ID, id string) []byte {
	h := r.chain.Index([]byte("role id"), mount[:], []byte(id))
	return append(append([]byte{byte(kindLogin), 2}, mount[:]...), h[:]...)
}

func secretIDs(role kms.ID) []byte { return append([]byte{byte(kindLogin), 3}, role[:]...) }

func secretIDPath(role, accessor kms.ID) []byte { return append(secretIDs(role), accessor[:]...) }

func secretHashPath(role kms.ID, hash [16]byte) []byte {
	return append(append([]byte{byte(kindLogin), 4}, role[:]...), hash[:]...)
}

// RoleOfID reads the name of the role that has an id; empty: none has.
func (r *Records) RoleOfID(ctx context.Context, mount kms.ID, id string) (string, error) {
	v, _, err := load[RoleOfID](ctx, r, r.roleOfIDPath(mount, id))
	return v.Role, err
}

// SecretID reads a secret id by its accessor; a zero Rev means there is none.
func (r *Records) SecretID(ctx context.Context, role, accessor kms.ID) (SecretID, error) {
	v, rev, err := load[SecretID](ctx, r, secretIDPath(role, accessor))
	v.Rev = rev
	return v, err
}

// AccessorOf reads the accessor of the secret id that has a hash; zero: none has.
func (r *Records) AccessorOf(ctx context.Context, role kms.ID, hash [16]byte) (kms.ID, error) {
	v, _, err := load[accessorOf](ctx, r, secretHashPath(role, hash))
	return v.Accessor, err
}

// SecretIDs reads a page of the secret ids of a role, or of all roles if it is zero, by role and age. after is the previous answer's next.
func (r *Records) SecretIDs(ctx context.Context, role kms.ID, after []byte, n int) (all []SecretID, next []byte, err error) {
	prefix := secretIDs(role)
	if role.IsZero() {
		prefix = prefix[:2]
	}
	next, err = scan(ctx, r, prefix, after, n, func(_ []byte, v SecretID, rev kms.Rev) {
		v.Rev = rev
		all = append(all, v)
	})
	return all, next, err
}

// CountSecretIDs counts those of a role, up to atMost. It opens none of them.
func (r *Records) CountSecretIDs(ctx context.Context, role kms.ID, atMost int) (int, error) {
	return r.countUnder(ctx, secretIDs(role), atMost)
}

// RoleOfID reads within the transaction which role has an id; empty: none has.
func (tx *Tx) RoleOfID(mount kms.ID, id string) (string, error) {
	v, _, _, err := fetch[RoleOfID](tx, tx.r.roleOfIDPath(mount, id))
	return v.Role, err
}

// PutRoleOfID says which role has an id.
func (tx *Tx) PutRoleOfID(mount kms.ID, id, role string) error {
	return tx.put(tx.r.roleOfIDPath(mount, id), RoleOfID{role})
}

// DropRoleOfID says that no role has an id.
func (tx *Tx) DropRoleOfID(mount kms.ID, id string) { tx.drop(tx.r.roleOfIDPath(mount, id)) }

// SecretID reads a secret id within the transaction.
func (tx *Tx) SecretID(role, accessor kms.ID) (SecretID, bool, error) {
	v, rev, ok, err := fetch[SecretID](tx, secretIDPath(role, accessor))
	v.Rev = rev
	return v, ok, err
}

// InsertSecretID writes a secret id whose accessor is new; taken: the role has one of that hash.
func (tx *Tx) InsertSecretID(v SecretID) (taken bool, err error) {
	if taken, err = tx.claim(secretHashPath(v.Role, v.Hash), accessorOf{v.Accessor}); taken || err != nil {
		return taken, err
	}
	return false, tx.insert(secretIDPath(v.Role, v.Accessor), v)
}

// PutSecretID writes what has become of a secret id.
func (tx *Tx) PutSecretID(v SecretID) error { return tx.put(secretIDPath(v.Role, v.Accessor), v) }

// RemoveSecretID deletes a secret id that the transaction has read.
func (tx *Tx) RemoveSecretID(v SecretID) error {
	tx.drop(secretHashPath(v.Role, v.Hash))
	return tx.remove(secretIDPath(v.Role, v.Accessor))
}

// usesLeft is how often a token can still be used. It stands apart from the token, so that counting does not look like a change of it.
type usesLeft struct {
	Left uint32 `json:"left"`
}

// l 05 token id
func tokenUsesPath(id kms.ID) []byte { return append([]byte{byte(kindLogin), 5}, id[:]...) }

// TokenUses reads how often a token can still be used; there is false if it never was.
func (r *Records) TokenUses(ctx context.Context, id kms.ID) (left uint32, there bool, err error) {
	v, rev, err := load[usesLeft](ctx, r, tokenUsesPath(id))
	return v.Left, rev != 0, err
}

// TokenUses reads it within the transaction.
func (tx *Tx) TokenUses(id kms.ID) (left uint32, there bool, err error) {
	v, _, ok, err := fetch[usesLeft](tx, tokenUsesPath(id))
	return v.Left, ok, err
}

// PutTokenUses writes it.
func (tx *Tx) PutTokenUses(id kms.ID, left uint32) error {
	return tx.put(tokenUsesPath(id), usesLeft{left})
}

// AllLoginMounts reads a page of the mounts of all namespaces. after is the previous answer's next.
func (r *Records) AllLoginMounts(ctx context.Context, after []byte, n int) (all []LoginMount, next []byte, err error) {
	next, err = scan(ctx, r, []byte{byte(kindLogin), 0}, after, n, func(_ []byte, m LoginMount, rev kms.Rev) {
		m.Rev = rev
		all = append(all, m)
	})
	return all, next, err
}

// AllLoginRoles reads a page of the roles of all mounts. after is the previous answer's next.
func (r *Records) AllLoginRoles(ctx context.Context, after []byte, n int) (all []LoginRole, next []byte, err error) {
	next, err = scan(ctx, r, []byte{byte(kindLogin), 1}, after, n, func(_ []byte, v LoginRole, rev kms.Rev) {
		v.Rev = rev
		all = append(all, v)
	})
	return all, next, err
}
