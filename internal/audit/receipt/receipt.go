// Package receipt is the form of a receipt for a destruction: what was destroyed, who asked for it, when it was erased, how, and since when nothing
// brings it back. A receipt is a signed note (C2SP signed-note) over a text of lines; in the text stands the proof that the record of the destruction
// is in the audit log (C2SP tlog-proof). It verifies offline, with the public key of the log alone (docs/destruction.md, "The receipt").
//
// There is one text for one receipt: what Parse reads, Text writes again, byte by byte, and any other form is refused. The package reads no clock and
// no disk, decides nothing, and knows no secrets. It does not verify: internal/audit/verify does.
package receipt

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/keyhold/keyhold/internal/kms"
)

// Limits.
const (
	Max         = 60 << 10 // bytes of a receipt: it is one record of the store
	MaxVersions = 64       // that are listed; of more there is a digest
	MaxLabels   = 8 << 10  // bytes of labels that are listed; of more there is a digest
	maxPeople   = 64       // who approved
)

// What was destroyed.
const (
	OfKey       = "key"
	OfNamespace = "namespace"
)

// Header is the first line. Neither a checkpoint nor any other text that the log's key signs can begin so.
const Header = "keyhold destruction receipt v1"

// Receipt is what a receipt says.
type Receipt struct {
	Cluster   string // of the audit log that the record stands in
	What      string // OfKey or OfNamespace
	Namespace kms.Namespace

	// The data's scope: what the key said that it protects.
	Key         kms.ID // of a key only, as all that follows to Versions
	Name        string
	Class       string
	Description string
	Labels      []Label // by name; nil if LabelsDigest stands for them
	LabelsSum   string  // SHA-256, of labels that are too long to list

	Versions    []Version // newest first; at most MaxVersions
	VersionsAll uint64    // how many there were
	VersionsSum string    // SHA-256 over the lines of all of them, newest first, where not all are listed

	Keys       uint64 // of a namespace: how many there were when its destruction was asked for
	DataKeys   uint64
	Principals uint64

	Requested   time.Time // zero: not known, as all that follows to Assessment may be
	RequestedBy string
	Reason      string
	Approval    kms.ID
	ApprovedBy  []string
	Assessment  string // SHA-256 of the report of what the destruction would reach

	Due           time.Time // when the waiting time ended
	Erased        time.Time // when the shred secrets were erased
	Epoch         uint32    // the last epoch under which they can have been wrapped
	Irrecoverable time.Time // when this epoch, and all before it, had been destroyed

	Record   kms.ID // of the destruction in the audit log
	Position string
	Proof    []byte // that it stands there: C2SP tlog-proof
}

// Label is a label of the key.
type Label struct{ Name, Value string }

// Version is a version that was destroyed.
type Version struct {
	Number    uint32
	Algorithm kms.Algorithm
	State     kms.State // the last one
	Created   time.Time
	Check     []byte
}

// Method says how it was destroyed, in every receipt.
const Method = "cryptographic erase: the shred secrets were erased, and every epoch key that they were wrapped under was destroyed (NIST SP 800-88 rev. 1, sections 2.5 and 2.6: purge; 4.7 and 4.8: verification and certificate)"

// Limits of what a receipt promises, in every one.
var unreached = []string{
	"escrow copies of epoch keys that left the server's machine, until their own retention is over",
	"a full copy of the store that was taken together with an epoch key of its time and the root key",
	"material, data keys and plaintext that were given out",
}

// Sign makes the signed note.
func (r *Receipt) Sign(s note.Signer) ([]byte, error) {
	text := r.Text()
	if _, err := ParseText(text); err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	msg, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		return nil, fmt.Errorf("sign receipt: %w", err)
	}
	if len(msg) > Max {
		return nil, fmt.Errorf("receipt: %w: it has %d bytes, the limit is %d", ErrForm, len(msg), Max)
	}
	return msg, nil
}

// Open verifies the signature by one of the known keys and reads the receipt. A note with a second signature, or any other byte that is not the
// receipt's, is refused: there is one form.
func Open(msg []byte, known note.Verifiers) (*Receipt, error) {
	if len(msg) > Max {
		return nil, fmt.Errorf("%w: it is too long", ErrForm)
	}
	if !strings.HasPrefix(string(msg), Header+"\n") {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrForm, Header)
	}
	n, err := note.Open(msg, known)
	if err != nil {
		return nil, fmt.Errorf("the receipt's signature: %w", err)
	}
	if len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 {
		return nil, fmt.Errorf("%w: it has %d signatures, want the log's alone", ErrForm, len(n.Sigs)+len(n.UnverifiedSigs))
	}
	// The note package reads base64 whose last bits say nothing.
	s := n.Sigs[0]
	if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil || string(msg) != n.Text+"\n— "+s.Name+" "+s.Base64+"\n" {
		return nil, fmt.Errorf("%w: it is not in canonical form", ErrForm)
	}
	return ParseText(n.Text)
}
