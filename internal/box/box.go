// Package box seals and opens messages under one key of 128, 192 or 256 bits: an authenticated encryption that commits to key and
// context, with no practical limit to the number of messages.
//
// Construction (docs/formats.md, "Box"): a key is derived for each message and committed to, so that a box opens
// under one key and one context only ("no invisible salamanders"), and random nonces never meet twice under a key:
//
//	okm = HKDF-Expand(SHA-512, K, label ‖ 00 ‖ header ‖ salt(24) ‖ SHA-512/256(aad), |K| + 32)    → AES key (as long as K) ‖ commitment (32)
//	box = salt(24) ‖ commitment(32) ‖ AES-GCM with random nonce(12) of plaintext and aad, tag(16)
//
// A key of another cipher (NewChaChaKey, NewXChaChaKey) puts ChaCha20-Poly1305 or XChaCha20-Poly1305, each with its own
// random nonce and under a label of its own, in the place of AES-GCM; derivation and commitment are the same.
//
// The header (of fixed length for each label) is authenticated and carried by the caller. Sources: RFC 5869 §2.3, SP 800-38D §8.2.2,
// Go's cipher.NewGCMWithRandomNonce. A box gives one error for every reason to fail.
package box

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/keyhold/keyhold/internal/kdf"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Sizes in bytes.
const (
	KeySize         = 32 // of every key but a caller's AES-128 and AES-192 keys
	saltSize        = 24
	commitmentSize  = 32
	gcmOverhead     = 28                                      // nonce 12, tag 16
	Overhead        = saltSize + commitmentSize + gcmOverhead // of AES-GCM and of ChaCha20-Poly1305
	XChaChaOverhead = saltSize + commitmentSize + 24 + 16     // nonce 24, tag 16
)

// ErrOpen is the one error of Open.
var ErrOpen = errors.New("box does not open")

// Label names a use, so that a box of one use never opens in another.
type Label string

// The labels in use. docs/formats.md lists their headers.
const (
	Blob     Label = "keyhold/blob/v1"     // ciphertexts given to callers
	Record   Label = "keyhold/record/v1"   // records in the store
	Material Label = "keyhold/material/v1" // wrapped key material
	KEK      Label = "keyhold/kek/v1"      // wrapped key-encryption keys
	Shred    Label = "keyhold/shred/v1"    // shred secrets under an epoch KEK
	Root     Label = "keyhold/root/v1"     // the root key under a recipient
	Keychain Label = "keyhold/keychain/v1" // store and audit keys under the root
	Page     Label = "keyhold/page/v1"     // page tokens
	Archive  Label = "keyhold/archive/v1"  // wrapped key material that was put away, once more
	Secret   Label = "keyhold/secret/v1"   // what a client keeps here, or an answer that waits to be fetched

	BlobChaCha  Label = "keyhold/blob/chacha20-poly1305/v1"  // ciphertexts given to callers
	BlobXChaCha Label = "keyhold/blob/xchacha20-poly1305/v1" // ciphertexts given to callers
	BlobSIV     Label = "keyhold/blob/aes-siv/v1"            // convergent ciphertexts given to callers: no box, made by package provider/soft
)

// suite is the cipher of a key's boxes. It brings its own random nonce.
type suite uint8

const (
	aesGCM suite = iota
	chaCha20
	xChaCha20
)

// cipher takes the key of one message, and keeps no reference to it: the key may stand on the stack.
func (s suite) cipher(messageKey []byte) (cipher.AEAD, error) {
	switch s {
	case chaCha20:
		return newChaCha20(messageKey)
	case xChaCha20:
		return newXChaCha20(messageKey)
	default:
		return newGCM(messageKey)
	}
}

// erases tells whether what the cipher leaves in memory is erased (secret.Do): for labels of keys, which are sealed and opened seldom.
func (l Label) erases() bool {
	switch l {
	case Material, KEK, Shred, Root, Keychain, Archive, Secret:
		return true
	}
	return false
}

// Key seals and opens. It is safe for concurrent use.
type Key struct {
	k    *secret.Bytes
	hot  *prf // of a key that is used over and over; nil otherwise
	with suite
	over int // bytes that a box is longer than its plaintext
}

// NewKey takes a secret of 16, 24 or 32 bytes. The key owns it: Zero erases it.
func NewKey(k *secret.Bytes) (*Key, error) {
	if n := k.Len(); n != 16 && n != 24 && n != 32 {
		return nil, fmt.Errorf("box key: %d bytes, want 16, 24 or 32", n)
	}
	return &Key{k: k, with: aesGCM, over: Overhead}, nil
}

// NewChaChaKey takes a secret of 32 bytes for boxes of ChaCha20-Poly1305 (RFC 8439), which no FIPS profile may use.
func NewChaChaKey(k *secret.Bytes) (*Key, error) { return newChaCha(k, chaCha20, Overhead) }

// NewXChaChaKey takes a secret of 32 bytes for boxes of XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), likewise.
func NewXChaChaKey(k *secret.Bytes) (*Key, error) { return newChaCha(k, xChaCha20, XChaChaOverhead) }

func newChaCha(k *secret.Bytes, with suite, over int) (*Key, error) {
	if n := k.Len(); n != KeySize {
		return nil, fmt.Errorf("box key: %d bytes, want %d", n, KeySize)
	}
	return &Key{k: k, with: with, over: over}, nil
}

// Hot tells that the key is used over and over, and is no secret to who reads the memory anyway: then what its derivations have in common is kept. Answers k.
func (k *Key) Hot() *Key {
	k.hot = new(prf)
	return k
}

// Overhead is the number of bytes that a box of this key is longer than its plaintext.
func (k *Key) Overhead() int { return k.over }

// Zero erases the key; the key is useless afterwards.
func (k *Key) Zero() {
	if k.hot != nil {
		k.hot.forget()
	}
	k.k.Zero()
}

// Seal appends the box of plaintext to dst. The header must have the label's fixed length; it is not appended.
func (k *Key) Seal(dst []byte, label Label, header, plaintext, aad []byte) ([]byte, error) {
	at := len(dst)
	if need := at + k.over + len(plaintext); cap(dst) < need {
		dst = append(make([]byte, 0, need), dst...)
	}
	dst = dst[:at+saltSize]
	salt := dst[at:]
	rand.Read(salt) //nolint:errcheck // never fails since Go 1.24
	if !label.erases() {
		return k.seal(dst, label, header, salt, plaintext, aad)
	}
	var err error
	secret.Do(func() { dst, err = k.seal(dst, label, header, salt, plaintext, aad) })
	return dst, err
}

// seal appends to a slice that has the room.
func (k *Key) seal(dst []byte, label Label, header, salt, plaintext, aad []byte) ([]byte, error) {
	aead, commitment, err := k.derive(label, header, salt, aad)
	if err != nil {
		return nil, err
	}
	dst = append(dst, commitment[:]...)
	return aead.Seal(dst, nil, plaintext, aad), nil
}

// Open appends the plaintext of a box to dst. The only error is ErrOpen.
func (k *Key) Open(dst []byte, label Label, header, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < k.over {
		return nil, ErrOpen
	}
	if !label.erases() {
		return k.open(dst, label, header, sealed, aad)
	}
	if need := len(dst) + len(sealed) - k.over; cap(dst) < need {
		dst = append(make([]byte, 0, need), dst...)
	}
	var err error
	secret.Do(func() { dst, err = k.open(dst, label, header, sealed, aad) })
	return dst, err
}

func (k *Key) open(dst []byte, label Label, header, sealed, aad []byte) ([]byte, error) {
	aead, commitment, err := k.derive(label, header, sealed[:saltSize], aad)
	if err != nil {
		return nil, ErrOpen
	}
	if subtle.ConstantTimeCompare(commitment[:], sealed[saltSize:saltSize+commitmentSize]) != 1 {
		return nil, ErrOpen
	}
	out, err := aead.Open(dst, nil, sealed[saltSize+commitmentSize:], aad)
	if err != nil {
		return nil, ErrOpen
	}
	return out, nil
}

// derive makes a message's cipher and the commitment to key and context.
func (k *Key) derive(label Label, header, salt, aad []byte) (aead cipher.AEAD, commitment [commitmentSize]byte, err error) {
	key := k.k.Reveal(reveal.Key{})
	size := len(key)
	if size == 0 {
		return nil, commitment, errors.New("box key was erased")
	}
	derive := expand
	if k.hot != nil {
		derive = k.hot.expand
	}
	okm := derive(key, label, header, salt, aad)
	aead, err = k.with.cipher(okm[:size])
	copy(commitment[:], okm[size:])
	clear(okm[:])
	if err != nil {
		return nil, commitment, fmt.Errorf("derive: %w", err)
	}
	return aead, commitment, nil
}

func newGCM(messageKey []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(messageKey)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Derive makes the key that wraps a child: HKDF-Expand(SHA-512, parent, "keyhold/wrap/v1" ‖ 00 ‖ place ‖ SHA-512/256(shred secret) …).
// Extract over both secrets binds the child to its parent and to its own shred secret: without either, nothing opens.
func (k *Key) Derive(shred *secret.Bytes, place []byte) (*Key, error) {
	parent := k.k.Reveal(reveal.Key{})
	if len(parent) != KeySize || shred.Len() != KeySize {
		return nil, errors.New("box key or shred secret was erased")
	}
	okm := kdf.Key([]byte("keyhold/wrap/v1"), place, parent, shred.Reveal(reveal.Key{}))
	defer clear(okm[:])
	return NewKey(secret.Copy(okm[:KeySize]))
}
