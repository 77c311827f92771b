package engine

import (
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/secret"
)

// Limits of managed data keys.
const (
	MaxDataKeyLabels = 16      // each as long as a key's
	MaxCounted       = 100_000 // data keys that are counted under one version; beyond, it is told that there are more
	maxCountedOf     = 64      // versions that one count shows
)

// RegisterDataKeyInput asks for a managed data key. One of three: made here (the default), taken over from a ciphertext of the parent, or known
// by the fingerprint of a ciphertext that stays where it is.
type RegisterDataKeyInput struct {
	Key           kms.Ref       // the parent
	Name          string        // optional; unique among the active data keys of the parent
	Algorithm     kms.Algorithm // what it is for; 0: not said. Must be symmetric, and decides its length
	Bytes         int           // length, 1 to MaxDataKey; 0: the algorithm's, or 32
	Context       kms.Context
	AAD           []byte
	Labels        map[string]string
	WithPlaintext bool   // made here: answer it in the clear too
	Ciphertext    []byte // taken over
	Fingerprint   []byte // SHA-256 of a ciphertext, 32 bytes
	Version       uint32 // of the parent that made the ciphertext of Fingerprint

	made *madeDataKey
}

// madeDataKey is what prepare leaves for the transaction.
type madeDataKey struct {
	row   records.DataKey
	plain []byte
}

// DataKeyInfo is a managed data key as it is shown.
type DataKeyInfo struct {
	Parent      kms.ID
	ID          kms.ID
	Name        string
	Revoked     bool
	Version     uint32
	Algorithm   kms.Algorithm
	Bytes       int
	Ciphertext  []byte // not in lists
	Fingerprint []byte // of one that is held elsewhere
	Context     kms.Context
	AAD         []byte
	Labels      map[string]string
	Created     time.Time
	By          string
	Wraps       uint32 // how often it was re-wrapped
	Rewrapped   time.Time
	RevokedAt   time.Time
	RevokedBy   string
	Rev         kms.Rev
}

// ManagedDataKeyOutput is a managed data key, and what it is in the clear where that was asked for.
type ManagedDataKeyOutput struct {
	DataKey   DataKeyInfo
	Plaintext secret.Released `json:"-"` // never remembered
}

// ManagedDataKeyInput names a managed data key by its id or its name.
type ManagedDataKeyInput struct {
	Key     kms.Ref
	DataKey string

	context kms.Context // of the data key, for policies
	aad     []byte
}

// ListDataKeysInput pages through the data keys of a key: all in order of their making, or the active ones under a version.
type ListDataKeysInput struct {
	Key     kms.Ref
	Version uint32 // 0: all, revoked ones too
	Outside bool   // with Version: those known by fingerprint, not those held here
	Page    string
	Limit   int // 0: 100; at most 1000, or 256 under a version
}

// DataKeysOutput is one page.
type DataKeysOutput struct {
	DataKeys []DataKeyInfo
	Next     string
}

// DataKeyCounts tells which versions of a key its active data keys are under.
type DataKeyCounts struct {
	Key      kms.ID
	Primary  uint32
	Versions []DataKeyCount // that have any, by number; at most 64
	More     bool           // there are more versions than are shown
}

// DataKeyCount counts under one version.
type DataKeyCount struct {
	Version uint32
	Held    int
	Outside int  // known by fingerprint: who holds them has to re-wrap them
	More    bool // there are more than MaxCounted of one kind
}

// CampaignInput names the key of a campaign.
type CampaignInput struct {
	Key  kms.Ref
	Rate *uint32 // StartCampaign and SetCampaignRate: data keys a second at most, 0 for as many as the server's load permits
}

// CampaignInfo is a campaign as it stands.
type CampaignInfo struct {
	ID        kms.ID
	Key       kms.ID
	KeyName   string // empty in answers about a key that is gone
	State     string // waiting, running, paused, cancelled, done
	Target    uint32
	Cause     string
	Rate      uint32
	Total     uint64
	Done      uint64
	Failed    uint64
	Left      uint64
	Pages     uint64
	Note      string
	Began     time.Time
	By        string
	Ended     time.Time
	Worked    float64 // seconds that it ran
	PerSecond float64 // measured over the last pages; 0: not running
	Remaining float64 // seconds, an estimate; 0: not known
}

// CampaignOutput is one campaign.
type CampaignOutput struct{ Campaign CampaignInfo }

// CampaignsOutput is one page of campaigns.
type CampaignsOutput struct {
	Campaigns []CampaignInfo
	Next      string
}
