package engine

import (
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/arena"
)

// InitInput initialises an empty store. At least two recipients of the root key result.
type InitInput struct {
	Shares     int           // n custodian shares, 2 to 255
	Threshold  int           // k of them open the root key, 2 to n
	Passphrase *secret.Bytes // a further recipient; nil: none
	KeyFile    *secret.Bytes // the 32-byte seed of a key-file recipient; nil: none
	Recovery   bool          // make a key file here, for callers that have none, and show it once
	Dev        bool          // marks the store for ever as a development store
}

// InitOutput shows what is shown once.
type InitOutput struct {
	Cluster    kms.ID
	Shares     []secret.Released // printable text, one for each custodian
	Recovery   secret.Released   // the text of the key file that was made: to be kept as a file, mode 0600
	Enrollment Enrollment
	AuditKey   string // verifier key of the audit log: pin it
}

// Enrollment is a one-time code with which an administrator enrols.
type Enrollment struct {
	Code    secret.Released
	Expires time.Time
}

// UnsealInput is one step of unsealing: one share, or a whole passphrase or key file.
type UnsealInput struct {
	Share      *secret.Bytes
	Passphrase *secret.Bytes
	KeyFile    *secret.Bytes
	Reset      bool // forget the shares given so far
}

// Status is the server's condition.
type Status struct {
	Initialised bool
	Sealed      bool
	Dev         bool
	Cluster     kms.ID
	Recipients  []RecipientInfo
	Threshold   int   // of shares; 0 if there is no share recipient
	Shares      int   // that there are
	Given       []int // indexes of the shares given so far
	RootGen     uint32
	Ready       bool
	Problem     *kms.Error // why it is not ready
	AuditKey    string
	Epoch       uint32 // current shred epoch
	Sinks       []SinkStatus
	Witnesses   []WitnessStatus
	Clock       ClockStatus
	Missed      int           // scheduled rotations that are more than an hour late
	Failing     int           // scheduled rotations that failed and are tried again
	Memory      arena.Figures // of the root key and the keys below it
	Erasing     bool          // whether this program erases what short-lived material leaves on stack and heap
}

// SinkStatus is how it stands with a place where the audit log is copied to.
type SinkStatus struct {
	Name        string
	Kind        string
	State       string
	Required    bool
	Position    string        // of the last record that it surely has; empty: none
	Lag         uint64        // records that it does not surely have
	Behind      time.Duration // age of the oldest of them
	LastSuccess time.Time
	Delivered   uint64
	Failures    uint64
	Missing     uint64
	Error       string // may name machines of the operator's
	Since       time.Time
}

// RecipientInfo describes one recipient of the root key.
type RecipientInfo struct {
	ID          string
	Kind        string // "shares", "passphrase", "keyfile"
	Label       string
	Fingerprint string
}

// EnrollInput redeems a one-time code.
type EnrollInput struct {
	Code      *secret.Bytes
	Principal string // the administrator's name; empty: "admin"
}

// MintInput mints another enrolment code with a quorum of custodian shares.
type MintInput struct{ Shares []*secret.Bytes }
