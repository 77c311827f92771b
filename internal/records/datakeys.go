package records

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/store"
)

// DataKeyState is where a managed data key stands. The numbers are part of the format: append only.
type DataKeyState uint8

// The states of a managed data key.
const (
	DataKeyActive DataKeyState = iota + 1
	DataKeyRevoked
)

// DataKey is a managed data key: what a campaign brings under the primary version of its parent. It is kept wrapped, or it is held
// elsewhere and only the fingerprint of its ciphertext is known.
type DataKey struct {
	Parent      kms.ID            `json:"parent"`
	ID          kms.ID            `json:"id"`
	Name        string            `json:"name,omitempty"` // unique among the active ones of its parent
	State       DataKeyState      `json:"state"`
	Version     uint32            `json:"version"` // of the parent, that it is under
	Algorithm   kms.Algorithm     `json:"alg,omitempty"`
	Bytes       uint32            `json:"bytes,omitempty"`       // length of the key; 0: not known
	Wrapped     []byte            `json:"wrapped,omitempty"`     // an ordinary ciphertext of the parent; erased when it is revoked
	Fingerprint [32]byte          `json:"fingerprint,omitempty"` // SHA-256 of a ciphertext that is held elsewhere
	Context     map[string]string `json:"context,omitempty"`
	AAD         []byte            `json:"aad,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Created     time.Time         `json:"created"`
	By          string            `json:"by"`
	Wraps       uint32            `json:"wraps,omitempty"` // how often it was re-wrapped
	Rewrapped   time.Time         `json:"rewrapped,omitzero"`
	Revoked     time.Time         `json:"revoked,omitzero"`
	RevokedBy   string            `json:"revoked_by,omitempty"`
	Change      [32]byte          `json:"change"`

	Rev kms.Rev `json:"-"`
}

// Outside tells whether only the fingerprint is known.
func (d *DataKey) Outside() bool { return d.Fingerprint != [32]byte{} }

// Holding says who holds a managed data key: counting and paging under a version are apart for each. Part of the format.
type Holding byte

// The holdings.
const (
	Held    Holding = 1 // wrapped, by this server: a campaign re-wraps it
	Outside Holding = 2 // by others, who alone can re-wrap it
)

func (d *DataKey) holding() Holding {
	if d.Outside() {
		return Outside
	}
	return Held
}

const (
	dataKeyPathLen      = 1 + 16 + 16
	underVersionPathLen = 1 + 16 + 1 + 4 + 16
)

func dataKeyPrefix(parent kms.ID) []byte {
	return append(append(make([]byte, 0, dataKeyPathLen), byte(kindDataKey)), parent[:]...)
}

func dataKeyPath(parent, id kms.ID) []byte { return append(dataKeyPrefix(parent), id[:]...) }

func holdingPrefix(parent kms.ID, h Holding) []byte {
	b := append(make([]byte, 0, underVersionPathLen), byte(kindUnderVersion))
	return append(append(b, parent[:]...), byte(h))
}

func underVersionPrefix(parent kms.ID, h Holding, version uint32) []byte {
	return binary.BigEndian.AppendUint32(holdingPrefix(parent, h), version)
}

func underVersionPath(d *DataKey) []byte {
	return append(underVersionPrefix(d.Parent, d.holding(), d.Version), d.ID[:]...)
}

// dataKeyNamePath cannot meet a key's name: the parts that are hashed are others.
func (r *Records) dataKeyNamePath(parent kms.ID, name string) []byte {
	h := r.chain.Index([]byte("data key name"), parent[:], []byte(name))
	return append([]byte{byte(kindName)}, h[:]...)
}

// DataKey reads a managed data key; a zero Rev means there is none.
func (r *Records) DataKey(ctx context.Context, parent, id kms.ID) (DataKey, error) {
	d, rev, err := load[DataKey](ctx, r, dataKeyPath(parent, id))
	d.Rev = rev
	return d, err
}

// DataKeyName resolves the name of a data key of a parent; a zero id means that there is none.
func (r *Records) DataKeyName(ctx context.Context, parent kms.ID, name string) (kms.ID, error) {
	n, _, err := load[Name](ctx, r, r.dataKeyNamePath(parent, name))
	return n.Key, err
}

// DataKeys reads a page of a key's managed data keys in order of their making, revoked ones too.
func (r *Records) DataKeys(ctx context.Context, parent, after kms.ID, n int) (all []DataKey, next kms.ID, err error) {
	var from []byte
	if !after.IsZero() {
		from = dataKeyPath(parent, after)
	}
	more, err := scan(ctx, r, dataKeyPrefix(parent), from, n, func(_ []byte, d DataKey, rev kms.Rev) {
		d.Rev = rev
		all = append(all, d)
	})
	if err == nil && more != nil {
		next = all[len(all)-1].ID
	}
	return all, next, err
}

// DataKeyIDs reads a page of the ids of a key's data keys under a version, which look at no others.
func (r *Records) DataKeyIDs(ctx context.Context, parent kms.ID, h Holding, version uint32, after kms.ID, n int) (ids []kms.ID, err error) {
	prefix := underVersionPrefix(parent, h, version)
	var from []byte
	if !after.IsZero() {
		from = append(slices.Clone(prefix), after[:]...)
	}
	recs, _, err := r.store.Scan(ctx, prefix, from, min(max(n, 1), store.MaxPage))
	if err != nil {
		return nil, storeError(err)
	}
	for _, rec := range recs {
		if _, err := r.open(rec); err != nil {
			return nil, err
		}
		ids = append(ids, kms.ID(rec.Key[underVersionPathLen-16:]))
	}
	return ids, nil
}

// DataKeysUnder reads a page of a key's data keys under a version. What moves meanwhile is left out. A zero next is the end.
func (r *Records) DataKeysUnder(ctx context.Context, parent kms.ID, h Holding, version uint32, after kms.ID, n int) (all []DataKey, next kms.ID, err error) {
	n = min(n, store.MaxOps)
	ids, err := r.DataKeyIDs(ctx, parent, h, version, after, n)
	if err != nil || len(ids) == 0 {
		return nil, kms.ID{}, err
	}
	paths := make([][]byte, len(ids))
	for i, id := range ids {
		paths[i] = dataKeyPath(parent, id)
	}
	recs, _, err := r.store.Get(ctx, paths...)
	if err != nil {
		return nil, kms.ID{}, storeError(err)
	}
	for _, rec := range recs {
		d, err := decode[DataKey](r, rec)
		if err != nil {
			return nil, kms.ID{}, err
		}
		if rec.Rev != 0 && d.Version == version && d.State == DataKeyActive {
			d.Rev = rec.Rev
			all = append(all, d)
		}
	}
	if len(ids) == n {
		next = ids[n-1]
	}
	return all, next, nil
}

// DataKeyCount is how many active data keys are under a version.
type DataKeyCount struct {
	Held    int // kept here: a campaign re-wraps them
	Outside int // known by fingerprint only: who holds them has to re-wrap them
}

// Total is both together.
func (c DataKeyCount) Total() int { return c.Held + c.Outside }

// CountDataKeys counts the data keys of a key that are under a version, each kind up to atMost. It reads the index of that version and
// nothing else, and does not open its rows: none is the answer that decides, and a row cannot be forged into being absent.
func (r *Records) CountDataKeys(ctx context.Context, parent kms.ID, version uint32, atMost int) (c DataKeyCount, err error) {
	if c.Held, err = r.countUnder(ctx, underVersionPrefix(parent, Held, version), atMost); err != nil {
		return c, err
	}
	c.Outside, err = r.countUnder(ctx, underVersionPrefix(parent, Outside, version), atMost)
	return c, err
}

// CountDataKeysHeld counts those of one holding.
func (r *Records) CountDataKeysHeld(ctx context.Context, parent kms.ID, h Holding, version uint32, atMost int) (int, error) {
	return r.countUnder(ctx, underVersionPrefix(parent, h, version), atMost)
}

// CountAllDataKeys counts the active data keys of a key, whatever version they are under, each kind up to atMost.
func (r *Records) CountAllDataKeys(ctx context.Context, parent kms.ID, atMost int) (c DataKeyCount, err error) {
	if c.Held, err = r.countUnder(ctx, holdingPrefix(parent, Held), atMost); err != nil {
		return c, err
	}
	c.Outside, err = r.countUnder(ctx, holdingPrefix(parent, Outside), atMost)
	return c, err
}

func (r *Records) countUnder(ctx context.Context, prefix []byte, atMost int) (n int, err error) {
	for after := []byte(nil); n < atMost; {
		page := min(atMost-n, store.MaxPage)
		recs, _, err := r.store.Scan(ctx, prefix, after, page)
		if err != nil {
			return n, storeError(err)
		}
		n += len(recs)
		if len(recs) < page {
			return n, nil
		}
		after = recs[len(recs)-1].Key
	}
	return n, nil
}

// NextDataKeyVersion is the lowest version after another one that data keys of a key are under; 0: there is none.
func (r *Records) NextDataKeyVersion(ctx context.Context, parent kms.ID, h Holding, after uint32) (uint32, error) {
	var from []byte
	if after > 0 {
		from = underVersionPrefix(parent, h, after)
		for range len(kms.ID{}) + 1 { // behind every id under that version
			from = append(from, 0xff)
		}
	}
	recs, _, err := r.store.Scan(ctx, holdingPrefix(parent, h), from, 1)
	if err != nil || len(recs) == 0 {
		return 0, storeError(err)
	}
	return binary.BigEndian.Uint32(recs[0].Key[underVersionPathLen-20:]), nil
}

// DataKey reads a managed data key within the transaction.
func (tx *Tx) DataKey(parent, id kms.ID) (DataKey, bool, error) {
	d, rev, ok, err := fetch[DataKey](tx, dataKeyPath(parent, id))
	d.Rev = rev
	return d, ok, err
}

// DataKeysOf reads data keys of one parent within the transaction, from one snapshot. What is not there has a zero Rev.
func (tx *Tx) DataKeysOf(parent kms.ID, ids []kms.ID) ([]DataKey, error) {
	paths := make([][]byte, len(ids))
	for i, id := range ids {
		paths[i] = dataKeyPath(parent, id)
	}
	if err := tx.readAll(paths); err != nil {
		return nil, err
	}
	all := make([]DataKey, len(ids))
	for i, path := range paths {
		d, rev, _, err := fetch[DataKey](tx, path)
		if err != nil {
			return nil, err
		}
		d.Rev = rev
		all[i] = d
	}
	return all, nil
}

// InsertDataKey writes a data key whose id is new.
func (tx *Tx) InsertDataKey(d DataKey) error {
	if err := tx.insert(underVersionPath(&d), underVersion{}); err != nil {
		return err
	}
	return tx.insert(dataKeyPath(d.Parent, d.ID), d)
}

// PutDataKey writes a data key that the transaction has read as was.
func (tx *Tx) PutDataKey(was, d DataKey) error {
	if was.State != d.State || was.Version != d.Version {
		if was.State == DataKeyActive {
			tx.drop(underVersionPath(&was))
		}
		if d.State == DataKeyActive {
			if err := tx.insert(underVersionPath(&d), underVersion{}); err != nil {
				return err
			}
		}
	}
	return tx.put(dataKeyPath(d.Parent, d.ID), d)
}

// ClaimDataKeyName makes a name lead to a data key; like ClaimName.
func (tx *Tx) ClaimDataKeyName(parent, id kms.ID, name string) (taken bool, err error) {
	return tx.claim(tx.r.dataKeyNamePath(parent, name), Name{Key: id, Name: name})
}

// RemoveDataKeyName frees it.
func (tx *Tx) RemoveDataKeyName(parent kms.ID, name string) error {
	return tx.remove(tx.r.dataKeyNamePath(parent, name))
}
