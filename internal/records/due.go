package records

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/store"
)

// What says what is due.
type What uint8

// What can be due. The numbers are part of the format: append only.
const (
	DueDestroy   What = iota // the key is destroyed
	DueRotate                // the key is rotated
	DueState                 // a date of a version has come: the transition is written down
	DueExpire                // imported material is forgotten
	DueNamespace             // the namespace is destroyed; Key is zero
	DueApproval              // a request for approval is over; Key is its id
	DueImport                // an import token is over; Key is its id
	DueReplica               // a replica of the key goes

	whatEnd
)

var whatNames = [whatEnd]string{DueDestroy: "destroy-key", DueRotate: "rotate-key", DueState: "change-state", DueExpire: "forget-material",
	DueNamespace: "destroy-namespace", DueApproval: "end-approval", DueImport: "end-import", DueReplica: "delete-replica"}

func (w What) String() string {
	if w < whatEnd {
		return whatNames[w]
	}
	return "unknown"
}

// Due says that something is to be done with a key at a date. Rows are in order of their dates, so that what is due is found without
// looking at what is not. What could not be done is put further ahead, with its history.
type Due struct {
	Namespace kms.Namespace `json:"ns"`
	Key       kms.ID        `json:"key"`
	At        time.Time     `json:"at"`
	What      What          `json:"what,omitempty"`
	Version   uint32        `json:"n,omitempty"` // of DueState and DueExpire

	Since    time.Time `json:"since,omitzero"`     // the date that it was put ahead from; zero: At is the date
	Attempts uint32    `json:"attempts,omitempty"` // that failed
	Error    string    `json:"error,omitempty"`    // of the last one
}

// Date is when it was to be done, however often it was put ahead since.
func (d *Due) Date() time.Time {
	if d.Since.IsZero() {
		return d.At
	}
	return d.Since
}

const dueDateEnd = 1 + 8 // of a path: kind and date

// duePath: rows of destruction end with the key's id, as they always did; all others say what is due, and for which version or namespace.
func duePath(d *Due) []byte {
	b := make([]byte, 0, 30+len(d.Namespace))
	b = append(b, byte(kindDue))
	b = binary.BigEndian.AppendUint64(b, uint64(max(d.At.Unix(), 0))) //nolint:gosec // G115: not negative
	b = append(b, d.Key[:]...)
	if d.What == DueDestroy {
		return b
	}
	b = append(b, byte(d.What))
	b = binary.BigEndian.AppendUint32(b, d.Version)
	if d.What == DueNamespace {
		b = append(b, d.Namespace...)
	}
	return b
}

// Place names the row, as long as its date stays.
func (d *Due) Place() string { return string(duePath(d)) }

// PutDue notes that something is to be done at a date.
func (tx *Tx) PutDue(d Due) error { return tx.put(duePath(&d), d) }

// RemoveDue forgets it. It says nothing if there is no such row.
func (tx *Tx) RemoveDue(d Due) error { return tx.remove(duePath(&d)) }

// TakeDue forgets it in the transaction that does it, and tells whether it was still there: if not, another node has done it.
func (tx *Tx) TakeDue(d Due) (bool, error) {
	w, err := tx.row(duePath(&d))
	if err != nil || w.deleted || w.rev == 0 {
		return false, err
	}
	return true, tx.remove(w.path)
}

// maxCrowd bounds the search for a second in which nothing of the same kind is due with the same key.
const maxCrowd = 64

// MoveDue puts what could not be done ahead, to a date after which it is tried again.
func (tx *Tx) MoveDue(d Due, to time.Time, because string) error {
	there, err := tx.TakeDue(d)
	if err != nil || !there {
		return err
	}
	d.Since, d.At, d.Error = d.Date(), to, because
	d.Attempts++
	for range maxCrowd {
		w, err := tx.row(duePath(&d))
		if err != nil {
			return err
		}
		if w.rev == 0 && !w.written {
			return tx.PutDue(d)
		}
		d.At = d.At.Add(time.Second)
	}
	return kms.Errorf(kms.CodeConflict, "no second is free to put %s ahead to", d.What)
}

// DuePage is a page of what is due, in order of the dates.
type DuePage struct {
	Rows    []Due
	Damaged []string // places of rows that do not open; the others are not held up by them
	Next    []byte   // where to go on; nil: nothing more is due by then
}

// DueBy reads what is due by a moment; at most n rows. after is the previous page's Next.
func (r *Records) DueBy(ctx context.Context, by time.Time, after []byte, n int) (page DuePage, err error) {
	n = min(max(n, 1), store.MaxPage)
	recs, _, err := r.store.Scan(ctx, []byte{byte(kindDue)}, after, n)
	if err != nil {
		return page, storeError(err)
	}
	for _, rec := range recs {
		if len(rec.Key) >= dueDateEnd && binary.BigEndian.Uint64(rec.Key[1:]) > uint64(max(by.Unix(), 0)) { //nolint:gosec // G115: not negative
			return page, nil
		}
		d, err := decode[Due](r, rec)
		switch {
		case err != nil:
			page.Damaged = append(page.Damaged, Place(rec.Key))
		case !d.At.After(by):
			page.Rows = append(page.Rows, d)
		}
	}
	if len(recs) == n {
		page.Next = recs[n-1].Key
	}
	return page, nil
}
