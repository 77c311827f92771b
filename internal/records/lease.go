package records

import (
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// Lease says who does a long piece of work, and until when nobody else begins it.
type Lease struct {
	Holder kms.ID    `json:"holder"` // made anew each time it is taken, so that who lost it cannot mistake it for its own
	Node   string    `json:"node"`   // for people
	Until  time.Time `json:"until"`
}

func leasePath(name string) []byte { return append([]byte{byte(kindLease)}, name...) }

// Lease reads who holds a lease; a zero revision means nobody.
func (r *Records) Lease(ctx context.Context, name string) (Lease, kms.Rev, error) {
	return load[Lease](ctx, r, leasePath(name))
}

// Lease reads who holds a lease within the transaction: that it stays so becomes a condition.
func (tx *Tx) Lease(name string) (Lease, bool, error) {
	l, _, ok, err := fetch[Lease](tx, leasePath(name))
	return l, ok, err
}

// PutLease writes who holds a lease.
func (tx *Tx) PutLease(name string, l Lease) error { return tx.put(leasePath(name), l) }

// RemoveLease gives a lease back.
func (tx *Tx) RemoveLease(name string) error { return tx.remove(leasePath(name)) }
