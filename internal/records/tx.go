package records

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/store"
)

// maxAttempts bounds how often a transaction that loses a race is run again.
const maxAttempts = 16

// TouchKind says what kind of thing a change touched.
type TouchKind uint8

// The kinds of touches.
const (
	TouchKey TouchKind = iota + 1
	TouchVersion
	TouchName
	TouchNamespace
	TouchPolicy
	TouchToken
	TouchCredential
	TouchAccessKey
	TouchRole
	TouchAll
)

// Touch says what to forget: caches of what it names are stale.
type Touch struct {
	Kind      TouchKind
	Namespace kms.Namespace
	ID        kms.ID // of a key, token or role
	Version   uint32
	Name      string // of a key, policy, subject or access key
}

// Tx is a transaction in the making. It reads its own writes; everything it reads becomes a condition.
type Tx struct {
	ctx     context.Context //nolint:containedctx // a Tx lives within one Update call and is its context's carrier
	r       *Records
	rows    []*txRow // in order of their first use; store.MaxOps at most, so that a search through them is quick
	looks   bool     // claims are read before they are written
	touched []Touch
}

type txRow struct {
	row
	path    []byte
	written bool
	deleted bool
	blind   bool // written or deleted without having been read: no condition
}

// at finds the row of a path that the transaction has used; nil: it has not.
func (tx *Tx) at(path []byte) *txRow {
	for _, w := range tx.rows {
		if bytes.Equal(w.path, path) {
			return w
		}
	}
	return nil
}

// Look makes the transaction read what it claims: for one that will not be committed, or was refused.
func (tx *Tx) Look() { tx.looks = true }

// Update runs fn and commits what it wrote, with everything it read as conditions; if another change came between, it
// runs again. fn must have no effects but on the Tx. It answers the revision (0 if fn wrote nothing) and what to forget.
func (r *Records) Update(ctx context.Context, fn func(*Tx) error) (kms.Rev, []Touch, error) {
	for try := range maxAttempts {
		tx := &Tx{ctx: ctx, r: r, looks: try > 0, rows: make([]*txRow, 0, 8)}
		if err := fn(tx); err != nil {
			return 0, nil, err
		}
		txn, err := tx.txn()
		if err != nil {
			return 0, nil, err
		}
		if len(txn.Then) == 0 {
			return 0, nil, nil
		}
		rev, err := r.commit(ctx, txn)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return 0, nil, storeError(err)
		}
		return rev, tx.touched, nil
	}
	return 0, nil, kms.Errorf(kms.CodeConflict, "other changes came between %d times", maxAttempts)
}

// commit resolves an unknown outcome by its token before anything is told to anyone.
func (r *Records) commit(ctx context.Context, txn store.Txn) (kms.Rev, error) {
	rand.Read(txn.Token[:]) //nolint:errcheck // never fails since Go 1.24
	txn.Fresh = true
	rev, err := r.store.Commit(ctx, txn)
	txn.Fresh = false
	for tries := 0; errors.Is(err, store.ErrUnknown) && tries < 3; tries++ {
		rev, err = r.store.Commit(context.WithoutCancel(ctx), txn)
	}
	return rev, err
}

func (tx *Tx) txn() (store.Txn, error) {
	t := store.Txn{If: make([]store.Cond, 0, len(tx.rows)), Then: make([]store.Write, 0, len(tx.rows))}
	for _, w := range tx.rows {
		if !w.blind {
			t.If = append(t.If, store.Cond{Key: w.path, Rev: w.rev})
		}
		switch {
		case w.deleted:
			t.Then = append(t.Then, store.Write{Key: w.path, Delete: true})
		case w.written:
			var err error
			value := w.plain
			if w.path[0] != byte(kindSystem) {
				if value, err = tx.r.chain.SealRecord(nil, w.logical, w.plain, tx.r.aad(w.path)); err != nil {
					return t, kms.Errorf(kms.CodeInternal, "the record could not be sealed").Because(err)
				}
			}
			t.Then = append(t.Then, store.Write{Key: w.path, Value: value})
		}
	}
	return t, nil
}

// row reads a path once; later reads see the transaction's own writes.
func (tx *Tx) row(path []byte) (*txRow, error) {
	if w := tx.at(path); w != nil && (!w.blind || w.written) {
		return w, nil
	}
	var got row
	var err error
	if path[0] == byte(kindSystem) {
		var recs []store.Record
		if recs, _, err = tx.r.store.Get(tx.ctx, path); err == nil {
			got = row{plain: recs[0].Value, rev: recs[0].Rev}
		}
	} else {
		got, err = tx.r.get(tx.ctx, path)
	}
	if err != nil {
		return nil, storeError(err)
	}
	w := &txRow{row: got, path: path}
	tx.rows = append(tx.rows, w)
	return w, nil
}

// readAll reads paths from one snapshot, for rows that are used after it. It takes store.MaxOps paths at most.
func (tx *Tx) readAll(paths [][]byte) error {
	recs, _, err := tx.r.store.Get(tx.ctx, paths...)
	if err != nil {
		return storeError(err)
	}
	for i, rec := range recs {
		if tx.at(paths[i]) != nil {
			continue
		}
		got, err := tx.r.open(rec)
		if err != nil {
			return err
		}
		tx.rows = append(tx.rows, &txRow{row: got, path: paths[i]})
	}
	return nil
}

// fetch reads a typed record within the transaction; found is false if it is absent.
func fetch[T any](tx *Tx, path []byte) (v T, rev kms.Rev, found bool, err error) {
	w, err := tx.row(path)
	if err != nil || w.deleted || w.rev == 0 && !w.written {
		return v, 0, false, err
	}
	if err := parse(path, w.plain, &v); err != nil {
		return v, 0, false, damaged(path, err)
	}
	return v, w.rev, true, nil
}

func (tx *Tx) put(path []byte, v any) error {
	w, err := tx.row(path)
	if err != nil {
		return err
	}
	b, err := encode(v)
	if err != nil {
		return err
	}
	if !w.written {
		w.logical++
	}
	w.plain, w.written, w.deleted = b, true, false
	return nil
}

// insert writes a record at a path that nothing can stand at yet, because its id is new: it is not read first, and there
// is no condition on it.
func (tx *Tx) insert(path []byte, v any) error {
	if tx.at(path) != nil {
		return tx.put(path, v)
	}
	return tx.write(path, v, true)
}

// claim writes a record at a path where nothing may stand yet, which becomes a condition: taken tells that something does. The
// first attempt does not look, because the store will.
func (tx *Tx) claim(path []byte, v any) (taken bool, err error) {
	if !tx.looks && tx.at(path) == nil {
		return false, tx.write(path, v, false)
	}
	w, err := tx.row(path)
	if err != nil || !w.deleted && (w.rev != 0 || w.written) {
		return err == nil, err
	}
	return false, tx.put(path, v)
}

// write writes a record at a path that the transaction has not used, as the first one there.
func (tx *Tx) write(path []byte, v any, blind bool) error {
	b, err := encode(v)
	if err != nil {
		return err
	}
	tx.rows = append(tx.rows, &txRow{row: row{plain: b, logical: 1}, path: path, written: true, blind: blind})
	return nil
}

func (tx *Tx) remove(path []byte) error {
	w, err := tx.row(path)
	if err != nil {
		return err
	}
	w.deleted, w.written = w.rev != 0, false
	return nil
}

// drop deletes a path whatever its revision.
func (tx *Tx) drop(path []byte) {
	if tx.at(path) == nil {
		tx.rows = append(tx.rows, &txRow{path: path, blind: true, deleted: true})
	}
}

func decode[T any](r *Records, rec store.Record) (T, error) {
	var v T
	w, err := r.open(rec)
	if err != nil || w.rev == 0 {
		return v, err
	}
	if err := parse(rec.Key, w.plain, &v); err != nil {
		return v, damaged(rec.Key, err)
	}
	return v, nil
}
