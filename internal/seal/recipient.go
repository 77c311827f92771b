package seal

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal/passphrase"
	"github.com/keyhold/keyhold/internal/seal/shares"
	"github.com/keyhold/keyhold/internal/secret"
)

// Limits of recipients. A configuration at its limits is below the 64 KiB of one store value.
const (
	MinRecipients = 2 // losing one must lose nothing
	MaxRecipients = 8
	MaxLabel      = 64   // bytes
	MaxParams     = 1024 // bytes
	SeedSize      = 32   // bytes: from which a recipient's key pair is made
)

// Kind says how a recipient keeps the seed of its key pair. The numbers are part of the format.
type Kind uint8

// The kinds. This build makes and opens the first three; it carries the others along, and seals to them.
const (
	KindShares     Kind = 1
	KindPassphrase Kind = 2
	KindKeyFile    Kind = 3
	KindPKCS11     Kind = 4
	KindTPM        Kind = 5
	KindCloud      Kind = 6

	kindEnd Kind = 7
)

func (k Kind) String() string {
	if k > 0 && k < kindEnd {
		return [...]string{"", "shares", "passphrase", "keyfile", "pkcs11", "tpm", "cloud"}[k]
	}
	return "unknown-kind"
}

// Recipient is who can open the root key: the public half. Values are not to be changed.
type Recipient struct {
	ID     kms.ID
	Kind   Kind
	Label  string // for people
	Public []byte // HPKE public key
	Params []byte // the kind's own, public: how the seed comes back

	sealed [][]byte // the root key, one for each generation of the configuration
}

// Fingerprint is the beginning of the public key's SHA-256 in hexadecimal, 32 characters: to compare with what was
// noted when the recipient was made.
func (r Recipient) Fingerprint() string {
	sum := sha256.Sum256(r.Public)
	return hex.EncodeToString(sum[:16])
}

// Quorum describes the share set of a recipient of kind shares.
type Quorum struct {
	Set  shares.SetID
	K, N int
}

// Quorum tells the share set; ok is false for other kinds.
func (r Recipient) Quorum() (q Quorum, ok bool) {
	if r.Kind != KindShares || len(r.Params) != 6 {
		return Quorum{}, false
	}
	return Quorum{Set: shares.SetID(r.Params[:4]), K: int(r.Params[4]), N: int(r.Params[5])}, true
}

// Enrolment is a recipient that was made and is not in a configuration yet: what Init and AddRecipient take.
// It holds nothing secret.
type Enrolment struct{ r Recipient }

// ID is the new recipient's id.
func (e Enrolment) ID() kms.ID { return e.r.ID }

// Fingerprint is that of the recipient.
func (e Enrolment) Fingerprint() string { return e.r.Fingerprint() }

// NewShares makes a recipient whose seed is split among n custodians, any k of whom open it. The seed itself is gone
// when it returns; the shares are the caller's to hand out and erase.
func NewShares(now time.Time, label string, k, n int) (Enrolment, []*shares.Share, error) {
	seed := secret.Random(SeedSize)
	defer seed.Zero()
	parts, err := shares.Split(seed, k, n)
	if err != nil {
		return Enrolment{}, nil, err
	}
	params := append(parts[0].Set[:], byte(k), byte(n)) //nolint:gosec // G115: checked by Split
	e, err := NewSeeded(now, KindShares, label, params, seed)
	return e, parts, err
}

// NewPassphrase makes a recipient that a passphrase of 14 to 1024 bytes opens. It takes about a second. The phrase stays
// the caller's.
func NewPassphrase(now time.Time, label string, phrase *secret.Bytes, p kms.Profile) (Enrolment, error) {
	params := passphrase.New(p)
	seed, err := params.Seed(phrase, p)
	if err != nil {
		return Enrolment{}, err
	}
	defer seed.Zero()
	return NewSeeded(now, KindPassphrase, label, params.Bytes(), seed)
}

// NewKeyFile makes a recipient that a seed kept in a file opens (package keyfile). The seed stays the caller's.
func NewKeyFile(now time.Time, label string, seed *secret.Bytes) (Enrolment, error) {
	return NewSeeded(now, KindKeyFile, label, nil, seed)
}

// NewSeeded makes a recipient of any kind from a random seed of 32 bytes, which the kind keeps in its own way; params
// is what it needs to find it again, public, at most MaxParams bytes. The seed stays the caller's.
// Errors: CodeBadRequest.
func NewSeeded(now time.Time, kind Kind, label string, params []byte, seed *secret.Bytes) (Enrolment, error) {
	sk, err := privateFrom(seed)
	if err != nil {
		return Enrolment{}, err
	}
	var random [10]byte
	rand.Read(random[:]) //nolint:errcheck // never fails since Go 1.24
	r := Recipient{ID: kms.NewID(now, random), Kind: kind, Label: label, Public: sk.PublicKey().Bytes(), Params: bytes.Clone(params)}
	if why := r.flaw(); why != "" {
		return Enrolment{}, kms.Errorf(kms.CodeBadRequest, "the recipient %s", why)
	}
	return Enrolment{r}, nil
}

// flaw says what is wrong with a recipient's public part, for new ones and for those that are read.
func (r Recipient) flaw() string {
	switch {
	case r.ID.IsZero():
		return "has no id"
	case r.Kind == 0:
		return "has no kind"
	case r.Label == "" || len(r.Label) > MaxLabel:
		return fmt.Sprintf("has a label of %d bytes, want 1 to %d", len(r.Label), MaxLabel)
	case !utf8.ValidString(r.Label) || bytes.ContainsFunc([]byte(r.Label), unicode.IsControl):
		return "has a label that cannot be printed"
	case len(r.Params) > MaxParams:
		return fmt.Sprintf("has %d bytes of parameters, want at most %d", len(r.Params), MaxParams)
	}
	if _, err := kem().NewPublicKey(r.Public); err != nil {
		return "has a public key that is not one of its suite"
	}
	switch r.Kind {
	case KindShares:
		if q, ok := r.Quorum(); !ok || shares.CheckQuorum(q.K, q.N) != nil {
			return "has parameters that describe no share set"
		}
	case KindPassphrase:
		if _, err := passphrase.Parse(r.Params); err != nil {
			return "has passphrase parameters out of bounds"
		}
	case KindKeyFile:
		if len(r.Params) != 0 {
			return "has parameters where a key file has none"
		}
	}
	return ""
}
