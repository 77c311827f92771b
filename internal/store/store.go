// Package store is the port to what keeps sealed bytes: a small transactional ordered map with a change feed.
//
// A store knows nothing of the meaning of the bytes. It promises: strict serializability of Commit; revisions
// assigned in commit order, store-wide, never reused; nothing is readable before it is durable; a feed that is complete
// and in commit order. storetest holds these promises as an executable contract that every implementation runs.
package store

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/keyhold/keyhold/internal/kms"
)

// Limits of a transaction and its parts.
const (
	MaxOps   = 256      // conditions and writes together
	MaxTxn   = 1 << 20  // bytes of keys and values
	MaxKey   = 512      // bytes
	MaxValue = 64 << 10 // bytes
	MaxPage  = 1000     // records of one Scan
)

// Rev is a revision.
type Rev = kms.Rev

// Token identifies a transaction to its committer, so that an unknown outcome can be resolved. The zero token is none.
type Token [16]byte

// Record is one stored value and the revision that wrote it.
type Record struct {
	Key   []byte
	Rev   Rev
	Value []byte
}

// Cond demands that a key was last written by a revision; 0 demands that it is absent.
type Cond struct {
	Key []byte
	Rev Rev
}

// Write puts or deletes one key.
type Write struct {
	Key    []byte
	Value  []byte
	Delete bool
}

// Txn happens as a whole or not at all. All its writes get one revision.
type Txn struct {
	If    []Cond
	Then  []Write
	Token Token // a transaction whose token was committed before is not applied again: Commit answers the earlier revision
	Fresh bool  // the caller vouches that nobody has used the token yet, so that a store need not look for it
}

// Event says that a key changed; it carries no value: a feed says what to forget.
type Event struct {
	Key     []byte
	Rev     Rev
	Deleted bool
}

// Batch is a run of events, complete up to and including Through.
type Batch struct {
	Events  []Event
	Through Rev
}

// Head is the newest durable revision and a running hash over everything that was ever committed, kept durably with it:
//
//	hash(n) = SHA-256(hash(n-1) ‖ rev u64 ‖ for each write: key length u16 ‖ key ‖ 0 for put or 1 for delete ‖ SHA-256(value))
//
// hash(0) is 32 zero bytes. The audit log records heads, so that a store put back to an older or a different past is found.
type Head struct {
	Rev  Rev
	Hash [32]byte
}

// Store is the port. Six methods and Close.
type Store interface {
	// Get reads keys from one linearizable snapshot. Absent keys have a zero Rev and a nil Value.
	// The second result is the snapshot's revision.
	Get(ctx context.Context, keys ...[]byte) ([]Record, Rev, error)
	// Scan reads up to n records whose key starts with prefix and is greater than after (nil: from the start), in byte order.
	Scan(ctx context.Context, prefix, after []byte, n int) ([]Record, Rev, error)
	// Commit applies a transaction durably and answers its revision.
	// Errors: ErrConflict, ErrUnknown, ErrTooBig, ErrFull, ErrClosed.
	Commit(ctx context.Context, t Txn) (Rev, error)
	// Feed yields what was committed after from, then waits for more until the context ends. ErrPruned: forget everything.
	Feed(ctx context.Context, from Rev) iter.Seq2[Batch, error]
	// Confirm answers the head, from a store that could commit now: a store cut off from its peers refuses.
	Confirm(ctx context.Context) (Head, error)
	// Export writes a consistent copy of the sealed records (never the shred epoch keys, which are not here).
	Export(ctx context.Context, w io.Writer) (Rev, error)
	Close() error
}

// The errors of a store. They are wrapped with detail for the log.
var (
	ErrConflict = errors.New("store: a condition does not hold")
	ErrUnknown  = errors.New("store: outcome unknown; resolve it by committing again with the same token")
	ErrTooBig   = errors.New("store: transaction exceeds a limit")
	ErrFull     = errors.New("store: no space")
	ErrPruned   = errors.New("store: feed was pruned past this revision")
	ErrClosed   = errors.New("store: closed")
	ErrInUse    = errors.New("store: in use by another process")
	ErrDamaged  = errors.New("store: damaged")
)
