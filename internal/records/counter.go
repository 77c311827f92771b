package records

import (
	"context"

	"github.com/keyhold/keyhold/internal/kms"
)

// Counter is how much of a cryptoperiod's limits a version has used. Use is reserved ahead, and what is reserved is counted: a crash makes it more than was used,
// never less.
type Counter struct {
	Operations uint64 `json:"operations,omitempty"`
	Bytes      uint64 `json:"bytes,omitempty"`
	Asked      bool   `json:"asked,omitempty"` // a rotation because of it
}

func counterPath(id kms.ID, n uint32) []byte {
	b := versionPath(id, n)
	b[0] = byte(kindCounter)
	return b
}

// Counter reads what a version has used: zero if its key has no limits, or nothing was done with it.
func (r *Records) Counter(ctx context.Context, id kms.ID, n uint32) (Counter, error) {
	c, _, err := load[Counter](ctx, r, counterPath(id, n))
	return c, err
}

// Counter reads it within the transaction.
func (tx *Tx) Counter(id kms.ID, n uint32) (Counter, error) {
	c, _, _, err := fetch[Counter](tx, counterPath(id, n))
	return c, err
}

// PutCounter writes what a version has used. It is no change of the key.
func (tx *Tx) PutCounter(id kms.ID, n uint32, c Counter) error { return tx.put(counterPath(id, n), c) }
