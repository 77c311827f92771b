package records

import (
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// Assessment is a stored report of what the destruction of a key would reach, the newest of the key.
type Assessment struct {
	Report AssessmentReport `json:"report"`
	Digest [32]byte         `json:"digest"` // SHA-256 of the report's JSON as it stands here
	Change [32]byte         `json:"change"`
}

// AssessmentReport is what was known at a moment. docs/usage.md describes its JSON, whose digest the record of a destruction names.
type AssessmentReport struct {
	Namespace kms.Namespace `json:"namespace"`
	Key       kms.ID        `json:"key"`
	Name      string        `json:"name"`
	At        time.Time     `json:"at"`
	By        string        `json:"by"`
	State     string        `json:"state"`          // of the key's switch
	Since     time.Time     `json:"since,omitzero"` // of the first audit record that was counted
	Through   time.Time     `json:"through,omitzero"`
	First     time.Time     `json:"first,omitzero"` // use; zero: none
	Last      time.Time     `json:"last,omitzero"`
	Done      uint64        `json:"done"`
	Refused   uint64        `json:"refused"`

	Users      []AssessedUser    `json:"users,omitempty"`  // who did something with it, latest first
	Others     uint64            `json:"others,omitempty"` // uses by principals that are not told apart
	Versions   []AssessedVersion `json:"versions,omitempty"`
	More       bool              `json:"more,omitempty"` // there are more versions than are shown: the newest are
	DataKeys   uint64            `json:"data_keys"`      // managed, kept here, of all versions
	Outside    uint64            `json:"outside"`        // known by fingerprint
	Bounded    bool              `json:"bounded,omitempty"`
	Dependants []Dependant       `json:"dependants,omitempty"`

	PublicKeys uint64    `json:"public_keys"` // times that a public half was read
	Exports    uint64    `json:"exports"`     // copies of its material that left, wrapped
	Backups    uint64    `json:"backups"`     // copies of the store that left through the server and may hold the key, at most
	LastBackup time.Time `json:"last_backup,omitzero"`
}

// AssessedUser is a principal that used the key.
type AssessedUser struct {
	Alias     [16]byte      `json:"alias"`
	Name      string        `json:"name,omitempty"` // empty: erased
	Namespace kms.Namespace `json:"namespace,omitempty"`
	First     time.Time     `json:"first"`
	Last      time.Time     `json:"last"`
	Done      uint64        `json:"done"`
}

// AssessedVersion is a version that was used or that data keys are under.
type AssessedVersion struct {
	Version  uint32    `json:"version"`
	Last     time.Time `json:"last,omitzero"` // use
	Done     uint64    `json:"done"`
	DataKeys uint64    `json:"data_keys"`
	Outside  uint64    `json:"outside"`
}

// Dependant is something that names the key.
type Dependant struct {
	Kind string `json:"kind"` // "policy", "import-token"
	Name string `json:"name"`
}

func assessmentPath(key kms.ID) []byte { return append([]byte{byte(kindAssessment)}, key[:]...) }

// Assessment reads the newest report of a key; a zero revision means that there is none.
func (r *Records) Assessment(ctx context.Context, key kms.ID) (Assessment, kms.Rev, error) {
	return load[Assessment](ctx, r, assessmentPath(key))
}

// Assessment reads it within the transaction.
func (tx *Tx) Assessment(key kms.ID) (Assessment, bool, error) {
	a, _, ok, err := fetch[Assessment](tx, assessmentPath(key))
	return a, ok, err
}

// PutAssessment writes it in the place of the one before.
func (tx *Tx) PutAssessment(a Assessment) error { return tx.put(assessmentPath(a.Report.Key), a) }
