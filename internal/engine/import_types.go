package engine

import (
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/transport"
)

// ImportTokenInput asks for the key that material is wrapped with on its way here. The key must have been created for import.
type ImportTokenInput struct {
	Key         kms.Ref
	Version     uint32        // 0: a new version; else the version whose material is brought back
	Transport   kms.Transport // 0: the strongest of the profile
	By          kms.Algorithm // of the key pair that is made for it; 0: the transport's default
	WrappingKey kms.Ref       // where both sides have the wrapping key: aes-kwp and aes-kw
	Lifetime    time.Duration // 0: 24 h; at most 7 days
	Open        bool          `json:",omitzero"` // whether it is for a new version or for one that comes back is said with the material; not with Version, HPKE or a wrapping key

	made *importToken
}

// importToken is what is made outside the transaction that stores it.
type importToken struct {
	row   records.Import
	pair  *records.Version // nil: both sides have the wrapping key
	shred records.Shred
}

// ImportTokenOutput is what whoever wraps the material needs. Nothing of it is secret.
type ImportTokenOutput struct {
	ID          kms.ID
	Key         kms.ID
	Version     uint32 // the version that it makes or brings back
	Again       bool   // it brings back
	Algorithm   kms.Algorithm
	Transport   kms.Transport
	Public      []byte // DER SubjectPublicKeyInfo; nil where both sides have the wrapping key
	Info        []byte // for HPKE
	WrappingKey kms.ID
	Expires     time.Time
}

// ImportMaterialInput brings wrapped material.
type ImportMaterialInput struct {
	Key         kms.Ref
	Token       kms.ID
	WrappingKey kms.Ref   // of tokens for aes-kwp and aes-kw
	Material    []byte    // as the token's transport wraps it
	Public      []byte    // what the public half has to be, DER SubjectPublicKeyInfo; nil: whatever it is
	Expires     time.Time // when the material is forgotten; zero: never
	Note        string    `json:",omitzero"` // what is said of the material; empty: what was said before
	As          ImportAs  `json:",omitzero"` // of an open token
	Version     uint32    `json:",omitzero"` // of an open token: the version that the material has to be that of; 0: any
	Waiting     bool      `json:",omitzero"` // a new version of a key that has one waits to become the primary one, until it is activated or the key is rotated to it

	made *imported
}

// ImportAs says what comes under an open token.
type ImportAs uint8

// What can come under an open token.
const (
	ImportUsual ImportAs = iota // into a key that never had material a new version, into any other material that it had
	ImportNew                   // a new version
	ImportAgain                 // material that the key had
)

type imported struct {
	token records.Import
	came  provider.Imported
	shred records.Shred
}

// ImportMaterialOutput is the key with the version that has material now.
type ImportMaterialOutput struct {
	KeyOutput
	KCV transport.KCV // of AES keys
}

// ExpireInput sets when the imported material of a version is forgotten, or takes that back.
type ExpireInput struct {
	Key     kms.Ref
	Version uint32        // 0: the primary one
	Window  time.Duration // 0: the default of 30 days; at least 7 days outside development namespaces
	Keep    bool          // it does not expire any more
	Now     bool          `json:",omitzero"` // it is forgotten at once, and the key does nothing until it is back; the window is none
}

// ExportInput asks for a version's material, wrapped for a receiver.
type ExportInput struct {
	Key             kms.Ref
	Version         uint32        // 0: the primary
	Transport       kms.Transport // 0: what the receiver's key is used with
	Public          []byte        // the receiver's, DER SubjectPublicKeyInfo
	WrappingKey     kms.Ref       // instead: a wrapping key of this server that the receiver has too
	WrappingVersion uint32        // 0: its primary
	Info            []byte        // what HPKE binds the material to: the receiver has to know it
}

// ExportOutput is wrapped material.
type ExportOutput struct {
	Key       kms.ID
	Version   uint32
	Algorithm kms.Algorithm
	Transport kms.Transport
	Wrapped   []byte
	Receiver  string // fingerprint of its public key, or id and version of the wrapping key
	Check     []byte
	KCV       transport.KCV // of AES keys
}
