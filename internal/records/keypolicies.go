package records

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/store"
)

const (
	kindKeyPolicy  kind = 'p' // p key id: the policy that belongs to the key
	kindGrant      kind = 'g' // g key id, grant id
	kindGrantIndex kind = 'y' // y 01 hash of key and grantee, grant id; y 02 hash of namespace and retiring principal, key id, grant id; y 03 hash of a request
)

// KeyPolicy is the policy of one key. The key's record says that there is one (HasPolicy), and is counted up with it.
type KeyPolicy struct {
	Text    string    `json:"text"`
	Account string    `json:"account"` // whose principals and keys the text names
	Changed time.Time `json:"changed"`
	By      string    `json:"by"`

	Rev kms.Rev `json:"-"`
}

// GrantID is the id of a grant.
type GrantID [32]byte

// String is its form for callers: 64 hexadecimal digits.
func (id GrantID) String() string { return hex.EncodeToString(id[:]) }

// ParseGrantID reads what String writes.
func ParseGrantID(s string) (id GrantID, ok bool) {
	n, err := hex.Decode(id[:], []byte(s[:min(len(s), 2*len(id))]))
	return id, err == nil && n == len(id) && len(s) == 2*len(id) && s == id.String()
}

// Grant permits one principal some operations with one key.
type Grant struct {
	ID         GrantID           `json:"id"`
	Key        kms.ID            `json:"key"`
	Name       string            `json:"name,omitempty"`
	Grantee    string            `json:"grantee"`
	Retiring   string            `json:"retiring,omitempty"` // the principal that can retire it, beside the grantee with RetireGrant
	Operations []kms.Action      `json:"operations"`
	Equals     map[string]string `json:"equals,omitempty"` // at most one of these: the encryption context has exactly these entries …
	Subset     map[string]string `json:"subset,omitempty"` // … or these among others
	Created    time.Time         `json:"created"`
	By         string            `json:"by"`
	Request    [32]byte          `json:"request,omitzero"` // digest of the request, if it had a name: it answers the same grant again

	Rev kms.Rev `json:"-"`
}

// grantAt is a row of an index of grants.
type grantAt struct {
	Key   kms.ID  `json:"key"`
	Grant GrantID `json:"grant"`
}

func keyPolicyPath(id kms.ID) []byte { return append([]byte{byte(kindKeyPolicy)}, id[:]...) }

func grantPrefix(key kms.ID) []byte { return append([]byte{byte(kindGrant)}, key[:]...) }

func grantPath(key kms.ID, id GrantID) []byte { return append(grantPrefix(key), id[:]...) }

func (r *Records) granteePrefix(key kms.ID, grantee string) []byte {
	h := r.chain.Index([]byte("grantee"), key[:], []byte(grantee))
	return append([]byte{byte(kindGrantIndex), 1}, h[:]...)
}

func (r *Records) retiringPrefix(ns kms.Namespace, principal string) []byte {
	h := r.chain.Index([]byte("retiring"), []byte(ns), []byte(principal))
	return append([]byte{byte(kindGrantIndex), 2}, h[:]...)
}

func (r *Records) grantRequestPath(key kms.ID, request [32]byte) []byte {
	h := r.chain.Index([]byte("grant request"), key[:], request[:])
	return append([]byte{byte(kindGrantIndex), 3}, h[:]...)
}

// KeyPolicy reads the policy of a key; a zero Rev means it has none.
func (r *Records) KeyPolicy(ctx context.Context, id kms.ID) (KeyPolicy, error) {
	p, rev, err := load[KeyPolicy](ctx, r, keyPolicyPath(id))
	p.Rev = rev
	return p, err
}

// KeyPolicy reads the policy of a key within the transaction.
func (tx *Tx) KeyPolicy(id kms.ID) (KeyPolicy, bool, error) {
	p, rev, ok, err := fetch[KeyPolicy](tx, keyPolicyPath(id))
	p.Rev = rev
	return p, ok, err
}

// PutKeyPolicy writes the policy of a key. The caller also writes the key.
func (tx *Tx) PutKeyPolicy(id kms.ID, p KeyPolicy) error { return tx.put(keyPolicyPath(id), p) }

// RemoveKeyPolicy deletes the policy of a key, in the same way.
func (tx *Tx) RemoveKeyPolicy(id kms.ID) error { return tx.remove(keyPolicyPath(id)) }

// Grant reads a grant; a zero Rev means there is none.
func (r *Records) Grant(ctx context.Context, key kms.ID, id GrantID) (Grant, error) {
	g, rev, err := load[Grant](ctx, r, grantPath(key, id))
	g.Rev = rev
	return g, err
}

// Grants reads a page of a key's grants by id, after one of them (zero: from the first). more tells whether others may follow.
func (r *Records) Grants(ctx context.Context, key kms.ID, after GrantID, n int) (all []Grant, more bool, err error) {
	var from []byte
	if after != (GrantID{}) {
		from = grantPath(key, after)
	}
	next, err := scan(ctx, r, grantPrefix(key), from, n, func(_ []byte, g Grant, rev kms.Rev) {
		g.Rev = rev
		all = append(all, g)
	})
	return all, next != nil, err
}

// GrantsOf reads the grants of one principal on a key, up to n of them.
func (r *Records) GrantsOf(ctx context.Context, key kms.ID, grantee string, n int) ([]Grant, error) {
	all, _, err := r.indexed(ctx, r.granteePrefix(key, grantee), nil, n)
	return all, err
}

// Retirable reads a page of the grants of a namespace that name a principal as the one who may retire them. after is the previous
// answer's next.
func (r *Records) Retirable(ctx context.Context, ns kms.Namespace, principal string, after []byte, n int) (all []Grant, next []byte, err error) {
	prefix := r.retiringPrefix(ns, principal)
	if after != nil {
		after = append(prefix, after...)
	}
	all, next, err = r.indexed(ctx, prefix, after, n)
	if next != nil {
		next = next[len(prefix):]
	}
	return all, next, err
}

// indexed reads the grants that an index leads to. One that was taken away meanwhile is left out.
func (r *Records) indexed(ctx context.Context, prefix, after []byte, n int) (all []Grant, next []byte, err error) {
	var at []grantAt
	next, err = scan(ctx, r, prefix, after, n, func(_ []byte, v grantAt, _ kms.Rev) { at = append(at, v) })
	if err != nil {
		return nil, nil, err
	}
	for len(at) > 0 {
		portion := at[:min(len(at), store.MaxOps)]
		at = at[len(portion):]
		paths := make([][]byte, len(portion))
		for i, v := range portion {
			paths[i] = grantPath(v.Key, v.Grant)
		}
		recs, _, err := r.store.Get(ctx, paths...)
		if err != nil {
			return nil, nil, storeError(err)
		}
		for _, rec := range recs {
			g, err := decode[Grant](r, rec)
			if err != nil {
				return nil, nil, err
			}
			if g.Rev = rec.Rev; g.Rev != 0 {
				all = append(all, g)
			}
		}
	}
	return all, next, nil
}

// CountGrantsOf counts the grants of one principal on a key, up to atMost.
func (r *Records) CountGrantsOf(ctx context.Context, key kms.ID, grantee string, atMost int) (int, error) {
	return r.countUnder(ctx, r.granteePrefix(key, grantee), atMost)
}

// Grant reads a grant within the transaction.
func (tx *Tx) Grant(key kms.ID, id GrantID) (Grant, bool, error) {
	g, rev, ok, err := fetch[Grant](tx, grantPath(key, id))
	g.Rev = rev
	return g, ok, err
}

// GrantByRequest finds the grant that an equal request with a name made.
func (tx *Tx) GrantByRequest(key kms.ID, request [32]byte) (Grant, bool, error) {
	at, _, ok, err := fetch[grantAt](tx, tx.r.grantRequestPath(key, request))
	if err != nil || !ok {
		return Grant{}, false, err
	}
	return tx.Grant(key, at.Grant)
}

// PutGrant writes a new grant with its indexes. The caller also writes the key.
func (tx *Tx) PutGrant(ns kms.Namespace, g Grant) error {
	for _, path := range tx.grantIndexes(ns, &g) {
		if err := tx.put(path, grantAt{g.Key, g.ID}); err != nil {
			return err
		}
	}
	return tx.put(grantPath(g.Key, g.ID), g)
}

// RemoveGrant deletes a grant with its indexes, in the same way.
func (tx *Tx) RemoveGrant(ns kms.Namespace, g Grant) error {
	for _, path := range tx.grantIndexes(ns, &g) {
		if err := tx.remove(path); err != nil {
			return err
		}
	}
	return tx.remove(grantPath(g.Key, g.ID))
}

func (tx *Tx) grantIndexes(ns kms.Namespace, g *Grant) [][]byte {
	paths := [][]byte{append(tx.r.granteePrefix(g.Key, g.Grantee), g.ID[:]...)}
	if g.Retiring != "" {
		paths = append(paths, append(append(tx.r.retiringPrefix(ns, g.Retiring), g.Key[:]...), g.ID[:]...))
	}
	if g.Request != ([32]byte{}) {
		paths = append(paths, tx.r.grantRequestPath(g.Key, g.Request))
	}
	return paths
}
