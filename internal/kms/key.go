package kms

import "time"

// Usage is the one purpose of a key (SP 800-57 part 1 rev. 5 §5.2: a key serves a single purpose). Only keys of transit may have a second one (Key.Also).
type Usage uint8

// The purposes.
const (
	EncryptDecrypt Usage = iota + 1
	SignVerify
	MAC
	KeyAgreement     // a shared secret with another's public key
	Encapsulation    // a shared secret for the holder of the private key
	Wrapping         // of key material that another system holds
	FormatPreserving // encryption that keeps alphabet and length

	usageEnd
)

var usageNames = [...]string{EncryptDecrypt: "encrypt", SignVerify: "sign", MAC: "mac",
	KeyAgreement: "agree", Encapsulation: "encapsulate", Wrapping: "wrap", FormatPreserving: "format"}

// AllUsages lists every purpose.
func AllUsages() []Usage {
	var all []Usage
	for u := EncryptDecrypt; u < usageEnd; u++ {
		all = append(all, u)
	}
	return all
}

func (u Usage) String() string {
	if u >= EncryptDecrypt && u < usageEnd {
		return usageNames[u]
	}
	return "unknown-usage"
}

// ParseUsage reads the name of a purpose; the empty string is 0 ("whatever the algorithm is for").
func ParseUsage(s string) (Usage, error) {
	for u := EncryptDecrypt; u < usageEnd; u++ {
		if usageNames[u] == s {
			return u, nil
		}
	}
	if s == "" {
		return 0, nil
	}
	return 0, Errorf(CodeBadRequest, "%q is not a usage: want encrypt, sign, mac, agree, encapsulate, wrap or format", clip(s))
}

// Origin says where key material came from.
type Origin uint8

// The origins.
const (
	Generated Origin = iota + 1
	Imported
	HSM
	External
)

func (o Origin) String() string {
	switch o {
	case Generated:
		return "generated"
	case Imported:
		return "imported"
	case HSM:
		return "hsm"
	case External:
		return "external"
	}
	return "unknown-origin"
}

// Rev is a revision of the store: assigned in commit order, store-wide, never reused. 0 means absent.
type Rev uint64

// Key is a key's metadata. It never holds material. Values are immutable once shared: copy to change.
type Key struct {
	ID          ID                `json:"id"`
	Namespace   Namespace         `json:"ns"`
	Name        string            `json:"name"`
	Aliases     []string          `json:"aliases,omitempty"`
	Algorithm   Algorithm         `json:"alg"`
	Usage       Usage             `json:"usage"`
	Bytes       int               `json:"bytes,omitempty"` // length of the raw material of an HMAC key that is not as long as its hash; 0: the algorithm's own
	Origin      Origin            `json:"origin"`
	Switch      Switch            `json:"switch"`
	Primary     uint32            `json:"primary"` // the version that protects
	Latest      uint32            `json:"latest"`  // the highest version ever made
	Description string            `json:"desc,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Created     time.Time         `json:"created"`
	Changed     time.Time         `json:"changed"`
	DestroyAt   time.Time         `json:"destroy_at,omitzero"` // set while pending destruction
	Logical     uint64            `json:"logical"`             // counted up by each write of this record
	Destroyed   time.Time         `json:"destroyed,omitzero"`
	Before      Switch            `json:"before,omitempty"` // the switch to return to when destruction is cancelled

	Freeze             bool      `json:"freeze,omitempty"`              // preset: suspended, of key or version, stops processing too
	ProcessDeactivated bool      `json:"process_deactivated,omitempty"` // deactivated versions go on processing (the default of KMIP)
	Exportable         bool      `json:"exportable,omitempty"`          // its material may leave, wrapped; decided when it is made, for ever (of keys with Transit.Mac AllowExport turns it on later)
	Class              string    `json:"class,omitempty"`               // classification of the data that it protects
	Template           string    `json:"template,omitempty"`            // what it was made by
	Period             Period    `json:"period,omitzero"`               // cryptoperiod of each version
	Rotated            time.Time `json:"rotated,omitzero"`              // when the primary version became it
	RotateAt           time.Time `json:"rotate_at,omitzero"`            // when it is due to be replaced; zero: by hand
	Next               uint32    `json:"next,omitempty"`                // the pre-active version that becomes the primary one when it is activated; 0: none
	NextAt             time.Time `json:"next_at,omitzero"`              // its date (lifecycle.PrimaryAt); zero: by hand

	HasPolicy bool   `json:"policy,omitempty"` // it has a policy of its own, beside it
	Grants    uint32 `json:"grants,omitempty"` // how many grants there are on it

	Irrecoverable time.Time `json:"final,omitzero"` // since when no copy of the store brings a destroyed key back

	Region   string    `json:"region,omitempty"`   // home: where it was made, by a dialect that has regions; empty: it answers in all of them
	Replicas []Replica `json:"replicas,omitempty"` // in the order of their regions
	Stands   string    `json:"-"`                  // the region of the replica as which it is shown (Stand); never of a stored key
	Window   Seconds   `json:"window,omitempty"`   // of a destruction that waits for the last replica to go
	Lacking  uint32    `json:"lacking,omitempty"`  // versions whose imported material is to come back before the key does anything
	ByHand   uint32    `json:"by_hand,omitempty"`  // rotations that somebody asked for

	Transit    Transit `json:"transit,omitzero"`
	MinProtect uint32  `json:"min_protect,omitempty"` // versions below do not protect, even where they are named; 0: none
	MinProcess uint32  `json:"min_process,omitempty"` // versions below are not used at all; 0 and 1: none
	MinKept    uint32  `json:"min_kept,omitempty"`    // versions below are destroyed

	Also Usage `json:"also,omitempty"` // a second purpose, of keys of systems that know none: RSA keys of transit encrypt and sign; 0: none

	Rev Rev `json:"-"` // the store's revision it was read at
}

// Serves tells whether a purpose is one of the key's.
func (k *Key) Serves(u Usage) bool { return u != 0 && (u == k.Usage || u == k.Also) }

// Version is one version of a key's material, without the material.
type Version struct {
	Key       ID           `json:"key"`
	Number    uint32       `json:"n"`
	Algorithm Algorithm    `json:"alg"`
	State     State        `json:"state"`
	Origin    Origin       `json:"origin"`
	Source    string       `json:"source,omitempty"` // the random source, for generated material
	Created   time.Time    `json:"created"`
	History   []Transition `json:"history,omitempty"`
	Public    []byte       `json:"public,omitempty"` // DER SubjectPublicKeyInfo of asymmetric keys
	Check     []byte       `json:"check,omitempty"`  // check value (KCV), verified at each load

	// Dates take effect at their second, by the durable high-water mark of time (lifecycle.StateAt); zero: never.
	ActivateAt   time.Time `json:"activate_at,omitzero"`   // of a pre-active version
	DeactivateAt time.Time `json:"deactivate_at,omitzero"` // of an active or suspended one
	RecallUntil  time.Time `json:"recall_until,omitzero"`  // until when a deactivated or archived version processes, by approval
	ExpiresAt    time.Time `json:"expires_at,omitzero"`    // when imported material is forgotten

	Archived bool `json:"archived,omitempty"` // its material is in the archive, not with the version
	Lacking  bool `json:"lacking,omitempty"`  // its imported material is gone, and the key does nothing until it is back

	Note string `json:"note,omitempty"` // what was said of imported material; at most MaxNote bytes

	Chain [][]byte `json:"chain,omitempty"` // certificates in DER that say whose the public key is, its own first

	Rev Rev `json:"-"`
}

// Period is a cryptoperiod: the limits of what one version protects (SP 800-57 part 1 rev. 5 §5.3). Zero fields set no limit. The key
// is rotated at RotateAt per cent of the operations or bytes; protection is refused at all of them.
type Period struct {
	Every      Seconds `json:"every,omitempty"`      // between rotations; at least an hour outside development
	Jitter     Seconds `json:"jitter,omitempty"`     // a rotation comes up to so much earlier, so that not all come at once
	Calendar   string  `json:"calendar,omitempty"`   // instead of Every: "monthly 1 03:00", "weekly sunday 02:30", "yearly 01-15 00:00", in UTC
	Operations uint64  `json:"operations,omitempty"` // that protect
	Bytes      uint64  `json:"bytes,omitempty"`      // that are protected
}

// Seconds is a length of time as records keep it.
type Seconds int64

// Duration is the same for package time.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// IsZero tells whether nothing is limited.
func (p Period) IsZero() bool { return p == Period{} }
