package records

import (
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// Clock is the high-water mark of time: no run of the server begins before it.
type Clock struct {
	Mark   time.Time `json:"mark"`
	Debt   int64     `json:"debt_ns"` // how far the mark went ahead of the time seen to pass
	Change [32]byte  `json:"change"`  // of the last confirmation by an operator
}

var clockPath = []byte{byte(kindClock)}

// Clock reads the mark; a zero revision means that none was ever stored.
func (r *Records) Clock(ctx context.Context) (Clock, kms.Rev, error) {
	return load[Clock](ctx, r, clockPath)
}

// Clock reads the mark within a transaction: zero if there is none.
func (tx *Tx) Clock() (Clock, error) {
	c, _, _, err := fetch[Clock](tx, clockPath)
	return c, err
}

// PutClock writes it.
func (tx *Tx) PutClock(c Clock) error { return tx.put(clockPath, c) }
