package kms

import "time"

// Usage is the one purpose of a key (SP 800-57 part 1 rev. 5 §5.2: a key serves a single purpose).
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

	Rev Rev `json:"-"` // the store's revision it was read at
}

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

	Rev Rev `json:"-"`
}
