package box

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"

	"golang.org/x/crypto/chacha20poly1305"
)

// randomNonce carries the nonce in front of the ciphertext, as Go's cipher.NewGCMWithRandomNonce does for AES-GCM. Under a
// message key that is used once, 96 random bits are more than enough.
type randomNonce struct{ cipher.AEAD }

func newChaCha20(messageKey []byte) (cipher.AEAD, error) {
	a, err := chacha20poly1305.New(messageKey)
	return randomNonce{a}, err
}

func newXChaCha20(messageKey []byte) (cipher.AEAD, error) {
	a, err := chacha20poly1305.NewX(messageKey)
	return randomNonce{a}, err
}

func (a randomNonce) NonceSize() int { return 0 }

func (a randomNonce) Overhead() int { return a.AEAD.NonceSize() + a.AEAD.Overhead() }

// Seal appends nonce, ciphertext and tag; the nonce argument must be empty.
func (a randomNonce) Seal(dst, _, plaintext, aad []byte) []byte {
	var nonce [chacha20poly1305.NonceSizeX]byte
	n := nonce[:a.AEAD.NonceSize()]
	rand.Read(n) //nolint:errcheck // never fails since Go 1.24
	return a.AEAD.Seal(append(dst, n...), n, plaintext, aad)
}

var errShort = errors.New("shorter than nonce and tag")

// Open takes nonce, ciphertext and tag.
func (a randomNonce) Open(dst, _, sealed, aad []byte) ([]byte, error) {
	size := a.AEAD.NonceSize()
	if len(sealed) < size+a.AEAD.Overhead() {
		return nil, errShort
	}
	return a.AEAD.Open(dst, sealed[:size], sealed[size:], aad)
}
