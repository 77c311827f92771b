package engine

import (
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/policy"
)

// CreateKeyInput asks for a new key with its first version.
type CreateKeyInput struct {
	Name        string        // one that ends in '/' is completed with the key's id
	Algorithm   kms.Algorithm // 0: the template's
	Usage       kms.Usage     // 0: the template's, or the algorithm's only one
	Description string
	Labels      map[string]string
	Aliases     []string
	Bytes       int  `json:",omitzero"` // length of each version's material where the algorithm lets it be chosen; 0: the algorithm's own
	Import      bool `json:",omitzero"` // it has no material until that is imported
	Exportable  bool `json:",omitzero"` // its material may leave, wrapped; for ever; false: as the template says, or not

	Dates              Dates `json:",omitzero"` // of the first version
	Freeze             bool  `json:",omitzero"` // preset: suspended, of key or version, stops processing too; false, as for the next: as the template says, or not
	ProcessDeactivated bool  `json:",omitzero"` // deactivated versions go on processing

	Template string      `json:",omitzero"` // what it is made by; empty: the template of Class, if it has one
	Class    string      `json:",omitzero"` // classification of the data that it will protect; empty: the template's
	Period   *kms.Period `json:",omitzero"` // nil: the template's; none if it has none

	Transit kms.Transit `json:",omitzero"` // what only keys of the Vault dialect have
	Also    kms.Usage   `json:",omitzero"` // a second purpose, which only they have too; 0: none

	Upsert bool `json:",omitzero"` // an encryption asks for it: not where the namespace makes no keys so

	MultiRegion bool `json:",omitzero"` // it may have replicas in other regions than that of the call, which becomes its home

	Policy string `json:",omitzero"` // of the key alone, in AWS's language; empty: the default
	Bypass bool   `json:",omitzero"` // also where the caller could not change that policy again

	policy *policy.KeyPolicy
	plan   *plan       // what is made of all that, filled when it is admitted
	made   *newVersion // filled by prepare, outside the transaction
	came   arrival     // what came from elsewhere, of a key that is made of that; nil: made is its only version
}

// KeyOutput is a key after a change, or as described.
type KeyOutput struct {
	Key      kms.Key
	Versions []kms.Version // DescribeKey: the newest, at most 20; after a change: the version concerned, if any
}

// KeyInput names a key.
type KeyInput struct{ Key kms.Ref }

// CancelInput saves a key that is pending destruction.
type CancelInput struct {
	Key     kms.Ref
	Disable bool `json:",omitzero"` // it is disabled then, even if it was not before
}

// RotateKeyInput asks for a new primary version. One that is pre-active becomes it when it is activated, by its date or by hand; until then
// there can be no second one.
type RotateKeyInput struct {
	Key       kms.Ref
	Generate  bool          `json:",omitzero"` // also where the key's material is imported
	Dates     Dates         `json:",omitzero"`
	Algorithm kms.Algorithm `json:",omitzero"` // of the new version; 0: that of the primary one. It changes at once: there are no dates then
	Waiting   bool          `json:",omitzero"` // where the key's material is imported, the version that waits to be the primary one becomes it, and no other is made
	Most      uint32        `json:",omitzero"` // CodeTooLarge if the key was rotated by hand so many times; 0: as often as is wanted

	made *newVersion
}

// VersionsInput pages through a key's versions, newest first.
type VersionsInput struct {
	Key    kms.Ref
	Before uint32 // 0: from the newest
	Limit  int    // 0: 100; at most 1000
}

// VersionsOutput is one page.
type VersionsOutput struct {
	Versions []kms.Version
	Next     uint32 // pass as Before; 0: no more
}

// ListKeysInput pages through the keys of a namespace that the caller may describe, in order of creation.
type ListKeysInput struct {
	Filter KeyFilter
	Page   string // the previous answer's Next
	Limit  int    // 0: 100; at most 1000
}

// KeyFilter selects keys; zero fields select all.
type KeyFilter struct {
	NamePrefix string
	Algorithm  kms.Algorithm
	Usage      kms.Usage
	Switch     kms.Switch
	Labels     map[string]string // all must be equal
}

// ListKeysOutput is one page. It may hold fewer keys than the limit although more follow: only an empty Next ends it.
type ListKeysOutput struct {
	Keys []kms.Key
	Next string
}

// UpdateKeyInput changes metadata. Nil pointers and empty lists leave things as they are.
type UpdateKeyInput struct {
	Key           kms.Ref
	Name          *string
	Description   *string
	Class         *string `json:",omitzero"`
	SetLabels     map[string]string
	RemoveLabels  []string
	AddAliases    []string
	RemoveAliases []string
	OnlyNew       bool    `json:",omitzero"` // CodeExists for an alias to add that the key has already
	IfRev         kms.Rev // 0: whatever revision; else CodeConflict if the key has changed since

	Freeze             *bool `json:",omitzero"`
	ProcessDeactivated *bool `json:",omitzero"`

	MinProtect *uint32 `json:",omitzero"` // the least version that protects; 0: every one that is used
	MinProcess *uint32 `json:",omitzero"` // the least version that is used at all; 0 and 1: every one that is there
}

// DestroyInput schedules the destruction of a key with all its versions.
type DestroyInput struct {
	Key    kms.Ref
	Window time.Duration // 0: the default of 30 days; at least 7 days outside development namespaces

	users []UserUsage // who used the key; filled by prepare
}
