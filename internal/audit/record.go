package audit

import (
	"net/netip"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// Outcome is how an operation ended.
type Outcome uint8

// The outcomes. The numbers are part of the format: append only.
const (
	OK       Outcome = iota + 1
	Denied           // policy, separation of duties, scope
	Refused          // the key's state, the algorithm table, a limit, a malformed request
	Failed           // a ciphertext that does not verify, an internal fault
	Withheld         // was OK, but a denial came before the output left
	DryRun           // decided, nothing done
	Replayed         // an idempotency token's earlier result was answered again
)

func (o Outcome) String() string {
	if o >= OK && o <= Replayed {
		return [...]string{"", "ok", "denied", "refused", "failed", "withheld", "dry-run", "replayed"}[o]
	}
	return "unknown-outcome"
}

// Item is the outcome of one item of a batch: 0 for success.
type Item struct {
	Code  kms.Code
	Bytes uint32 // of input
}

// Run is a number of consecutive items of a batch that used the same version of the record's first key; version 0: none was reached.
type Run struct {
	Items   uint32
	Version uint32
}

// KeyUse names a key version that an operation touched.
type KeyUse struct {
	Key     kms.ID
	Version uint32
	Rev     kms.Rev // the key's revision that admitted the operation
}

// Record is what happened, once. It holds digests, never secrets.
//
// Name, Home, Remote and Salt identify a person or machine. They are kept beside the record in an annex that erasure
// can blank; the record itself keeps Alias, a keyed hash, and Commit, which binds the annex (docs/formats.md).
type Record struct {
	ID     kms.ID // of the record
	Time   time.Time
	Action kms.Action
	Outcome
	Code      kms.Code // 0 for success
	Dialect   kms.Dialect
	Method    kms.AuthMethod
	Alias     [16]byte // keyed hash of the principal's name
	Namespace kms.Namespace
	Keys      []KeyUse // none, one, or two (ReEncrypt: from, to)
	Resource  string   // what else was acted on: a policy's, token's or namespace's name; at most 255 bytes
	Scheme    kms.Scheme
	RequestID string
	PolicyRev kms.Rev
	Policies  []string // ids of the policies that decided; at most 8
	Context   [32]byte // SHA-256 of the canonical encryption context; zero: none
	Items     []Item   // of a batch; nil for a single operation
	// Versions tells which items of a batch used which version of the first key: runs of all items in order, at least two, and no two alike in a
	// row. Nil: all of them used the version that Keys has.
	Versions []Run
	Bytes    uint64 // of input, all items together
	Reason   string // the caller's, at most 256 bytes
	Detail   string // the server's: what a change did, at most 1 KiB
	// Approval is the request for approval under which a change was made, and Approvers are the aliases of who approved it: at most 16. Their
	// names are in the annexes of the records of their approvals.
	Approval  kms.ID
	Approvers [][16]byte
	// PrevChange is the leaf hash of the change record before this one on the same resource: changes of one
	// resource chain, so that a removed one shows. Zero for the first, and for records that change nothing.
	PrevChange [32]byte
	Change     bool // the record belongs to a store transaction
	// Prev commits the first record of a boot epoch to everything recorded before it. Zero in all other records.
	Prev Link

	// The annex.
	Name       string // display name of the principal
	Home       kms.Namespace
	Credential string
	Remote     netip.AddrPort
	Salt       [16]byte
	Commit     [32]byte // in the body: SHA-256(Salt ‖ canonical annex); Encode computes it unless the annex is erased
	Erased     bool     // the annex was blanked: its five fields are zero and Commit alone remains
}

// Link names the tree of an earlier boot epoch: its origin, its final size in records and its root (RFC 6962 §2.1).
type Link struct {
	Origin string // "keyhold.<cluster>/<node>/<epoch>"; empty: no link
	Size   uint64
	Root   [32]byte
}
