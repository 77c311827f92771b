package envelope

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha512"
	"fmt"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/client/envelope/internal/floe"
)

// Kind is a kind of recipient. The numbers are part of the format.
type Kind uint8

// The kinds.
const (
	KindKeyhold    Kind = 1 // a key of a Keyhold server
	KindPassphrase Kind = 2
	KindPublicKey  Kind = 3
)

func (k Kind) String() string {
	switch k {
	case KindKeyhold:
		return "keyhold"
	case KindPassphrase:
		return "passphrase"
	case KindPublicKey:
		return "public-key"
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

// MarshalText is String.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// A Recipient is who a file is encrypted for: KeyholdKey, Passphrase or *PublicKey.
type Recipient interface {
	// check refuses what cannot work, before any server is asked.
	check() error
	// wrap wraps the file key. used, if it is not nil, is told how many bytes were encrypted.
	wrap(ctx context.Context, f *file, fileKey []byte) (s stanza, used func(int64), err error)
}

// An Identity is what opens a file: KeyholdKey, Passphrase or *PrivateKey.
type Identity interface {
	// opens tells whether a recipient may be this one.
	opens(RecipientInfo) bool
	unwrap(ctx context.Context, f *file, s stanza) (fileKey []byte, err error)
}

// file is what all recipients of a file are bound to.
type file struct {
	binding []byte
	context client.Context
}

// RecipientInfo is what a header says of one recipient. It is authenticated only if the file was opened.
type RecipientInfo struct {
	Kind        Kind   `json:"kind"`
	Key         string `json:"key,omitempty"`         // KindKeyhold: what the key was called by who encrypted
	KeyID       string `json:"key_id,omitempty"`      // KindKeyhold
	Version     uint32 `json:"version,omitempty"`     // KindKeyhold: of the key
	Shared      bool   `json:"shared,omitempty"`      // KindKeyhold: the data key may serve other files too (Cache)
	Fingerprint string `json:"fingerprint,omitempty"` // KindPublicKey: that of PublicKey.Fingerprint
}

// String names a recipient for people.
func (r RecipientInfo) String() string {
	switch r.Kind {
	case KindKeyhold:
		return fmt.Sprintf("the Keyhold key %q (%s, version %d)", r.Key, r.KeyID, r.Version)
	case KindPassphrase:
		return "a passphrase"
	case KindPublicKey:
		return "the public key " + r.Fingerprint
	}
	return r.Kind.String()
}

// info reads a stanza without opening it.
func (s stanza) info() (RecipientInfo, error) {
	switch s.kind {
	case KindKeyhold:
		b, err := parseKeyhold(s.body)
		return RecipientInfo{Kind: s.kind, Key: b.name, KeyID: b.id, Version: b.version, Shared: b.shared}, err
	case KindPassphrase:
		_, err := parsePassphrase(s.body)
		return RecipientInfo{Kind: s.kind}, err
	case KindPublicKey:
		b, err := parsePublic(s.body)
		return RecipientInfo{Kind: s.kind, Fingerprint: b.fingerprint()}, err
	}
	return RecipientInfo{}, formatf("it has a recipient of kind %d, which this version does not know", s.kind)
}

// Labels keep the keys apart that are derived for different uses.
const (
	labelContent = "keyhold/envelope/v1/content"
	labelHeader  = "keyhold/envelope/v1/header"
	labelWrap    = "keyhold/envelope/v1/wrap"
)

const (
	fileKeySize = 32
	boxSize     = 12 + fileKeySize + 16 // a wrapped file key: nonce ‖ ciphertext ‖ tag
)

func expand(key []byte, info string, size int) ([]byte, error) {
	return hkdf.Expand(sha512.New384, key, info, size)
}

// wrapping is the cipher that wraps a file key under the secret that a recipient shares with who encrypted. It is derived
// for one file and one kind of recipient, so that a wrapped key cannot be moved.
func wrapping(secret []byte, kind Kind, f *file) (cipher.AEAD, error) {
	key, err := expand(secret, labelWrap+string([]byte{byte(kind)})+string(f.binding), 32)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// box appends the wrapped file key to the body of a stanza, which it authenticates.
func box(body, secret []byte, kind Kind, f *file, fileKey []byte) (stanza, error) {
	a, err := wrapping(secret, kind, f)
	if err != nil {
		return stanza{}, err
	}
	return stanza{kind: kind, body: append(body, a.Seal(nil, nil, fileKey, body)...)}, nil //nolint:gosec // G407: the AEAD draws its nonces itself
}

// unbox opens what box made; failure is ErrCorrupt.
func unbox(s stanza, secret []byte, f *file) ([]byte, error) {
	a, err := wrapping(secret, s.kind, f)
	if err != nil {
		return nil, err
	}
	at := len(s.body) - boxSize // every parser has checked it
	fileKey, err := a.Open(nil, nil, s.body[at:], s.body[:at])
	if err != nil {
		return nil, ErrCorrupt
	}
	return fileKey, nil
}

// contentKey is the key of the stream.
func contentKey(fileKey []byte) ([]byte, error) { return expand(fileKey, labelContent, floe.KeySize) }

// codeOf authenticates a header with all its recipients: HMAC-SHA-384 of all that stands before the code.
func codeOf(fileKey, encoded []byte) ([macSize]byte, error) {
	key, err := expand(fileKey, labelHeader, macSize)
	if err != nil {
		return [macSize]byte{}, err
	}
	defer clear(key)
	m := hmac.New(sha512.New384, key)
	m.Write(encoded)
	return [macSize]byte(m.Sum(nil)), nil
}
