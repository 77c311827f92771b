package records

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/keyhold/keyhold/internal/kms"
)

// Receipt is what is kept of a destruction, from the day it is asked for: the request, then what was erased, then the signed receipt. There may be as
// many as there were keys.
type Receipt struct {
	Namespace kms.Namespace `json:"ns"`
	Key       kms.ID        `json:"key,omitzero"` // zero: the namespace itself

	Asked      time.Time `json:"asked,omitzero"`
	By         string    `json:"by,omitempty"` // display name of who asked
	Reason     string    `json:"why,omitempty"`
	Approval   kms.ID    `json:"approval,omitzero"` // under which others approved it
	ApprovedBy []string  `json:"approved_by,omitempty"`
	Assessment [32]byte  `json:"assessment,omitzero"` // digest of the report of what it would reach
	Due        time.Time `json:"due,omitzero"`
	Keys       uint64    `json:"keys,omitempty"` // of a namespace: what was in it when it was asked for
	DataKeys   uint64    `json:"data_keys,omitempty"`
	Principals uint64    `json:"principals,omitempty"`

	Erased        time.Time `json:"erased,omitzero"`
	Epoch         uint32    `json:"epoch,omitempty"`  // the current one when the last shred secret was erased
	Record        kms.ID    `json:"record,omitzero"`  // of the destruction in the audit log
	Irrecoverable time.Time `json:"final,omitzero"`   // when that epoch and all before it were gone
	Note          []byte    `json:"note,omitempty"`   // the signed receipt
	Removed       uint64    `json:"removed,omitzero"` // records beneath the key that were removed with it
}

func (r Receipt) fields(w *writer) {
	w.text(1, string(r.Namespace))
	w.id(2, r.Key)
	w.time(3, r.Asked)
	w.text(4, r.By)
	w.text(5, r.Reason)
	w.id(6, r.Approval)
	for _, p := range r.ApprovedBy {
		w.element(7, p)
	}
	w.digest(8, &r.Assessment)
	w.time(9, r.Due)
	w.num(10, r.Keys)
	w.num(11, r.DataKeys)
	w.num(12, r.Principals)
	w.time(13, r.Erased)
	w.num(14, uint64(r.Epoch))
	w.id(15, r.Record)
	w.time(16, r.Irrecoverable)
	w.bytes(17, r.Note)
	w.num(18, r.Removed)
}

func (r *Receipt) field(n protowire.Number, v value) {
	switch n {
	case 1:
		r.Namespace = kms.Namespace(v.text())
	case 2:
		r.Key = v.id()
	case 3:
		r.Asked = v.time()
	case 4:
		r.By = v.text()
	case 5:
		r.Reason = v.text()
	case 6:
		r.Approval = v.id()
	case 7:
		r.ApprovedBy = append(r.ApprovedBy, v.text())
	case 8:
		r.Assessment = v.digest()
	case 9:
		r.Due = v.time()
	case 10:
		r.Keys = v.num(1<<64 - 1)
	case 11:
		r.DataKeys = v.num(1<<64 - 1)
	case 12:
		r.Principals = v.num(1<<64 - 1)
	case 13:
		r.Erased = v.time()
	case 14:
		r.Epoch = v.u32()
	case 15:
		r.Record = v.id()
	case 16:
		r.Irrecoverable = v.time()
	case 17:
		r.Note = v.bytes()
	case 18:
		r.Removed = v.num(1<<64 - 1)
	}
}

// subject is what a receipt is of, as paths name it. A UUIDv7 starts with neither 00 nor ff.
func subject(ns kms.Namespace, key kms.ID) []byte {
	if key.IsZero() {
		return append([]byte{0}, ns...)
	}
	return key[:]
}

func receiptPath(ns kms.Namespace, key kms.ID) []byte {
	return append([]byte{byte(kindReceipt)}, subject(ns, key)...)
}

// awaitingPrefix comes before the destructions whose epochs are not all gone yet, in order of the epoch.
var awaitingPrefix = []byte{byte(kindReceipt), 0xff}

func awaitingPath(a *Awaiting) []byte {
	b := binary.BigEndian.AppendUint32(bytes.Clone(awaitingPrefix), a.Epoch)
	return append(b, subject(a.Namespace, a.Key)...)
}

// Awaiting says that something was erased and awaits the end of an epoch: then nothing brings it back, and its receipt is written.
type Awaiting struct {
	Namespace kms.Namespace `json:"ns"`
	Key       kms.ID        `json:"key,omitzero"`
	Epoch     uint32        `json:"epoch"`
}

// Receipt reads what is kept of the destruction of a key, or with a zero id of a namespace; revision 0: nothing.
func (r *Records) Receipt(ctx context.Context, ns kms.Namespace, key kms.ID) (Receipt, kms.Rev, error) {
	return load[Receipt](ctx, r, receiptPath(ns, key))
}

// Awaiting reads a page of what awaits the end of an epoch, lowest epochs first. after is the previous answer's next.
func (r *Records) Awaiting(ctx context.Context, after []byte, n int) (all []Awaiting, next []byte, err error) {
	next, err = scan(ctx, r, awaitingPrefix, after, n, func(_ []byte, a Awaiting, _ kms.Rev) { all = append(all, a) })
	return all, next, err
}

// Receipt reads it within the transaction.
func (tx *Tx) Receipt(ns kms.Namespace, key kms.ID) (Receipt, bool, error) {
	r, _, ok, err := fetch[Receipt](tx, receiptPath(ns, key))
	return r, ok, err
}

// PutReceipt writes it.
func (tx *Tx) PutReceipt(r Receipt) error { return tx.put(receiptPath(r.Namespace, r.Key), r) }

// RemoveReceipt forgets a destruction that was cancelled.
func (tx *Tx) RemoveReceipt(ns kms.Namespace, key kms.ID) error {
	return tx.remove(receiptPath(ns, key))
}

// PutAwaiting notes that a receipt is due when an epoch is gone.
func (tx *Tx) PutAwaiting(a Awaiting) error { return tx.put(awaitingPath(&a), a) }

// RemoveAwaiting forgets it. It tells whether it was there.
func (tx *Tx) RemoveAwaiting(a Awaiting) (bool, error) {
	_, _, there, err := fetch[Awaiting](tx, awaitingPath(&a))
	if err != nil || !there {
		return false, err
	}
	return true, tx.remove(awaitingPath(&a))
}
