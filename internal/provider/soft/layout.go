package soft

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/keyhold/keyhold/internal/kdf"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Transit's own layout of a ciphertext: nonce ‖ ciphertext ‖ tag, under the key of the version or one that was derived from it, over the additional data
// as they are. It names no key and commits to none: who has two keys can make a ciphertext that opens under both. Keys that came from another Vault, or
// may go to one, have it, because nobody else could read anything better.
//
// A random nonce of AES-GCM and ChaCha20-Poly1305 has 96 bits: a key is to make at most 2^32 of them (SP 800-38D §8.3). A convergent one is
// HMAC-SHA-256 of the plaintext under a key that was derived beside the other, cut to size: equal plaintexts of one context give equal ciphertexts.

// layoutCipher is the cipher of a key's plain ciphertexts, made when it is first asked for. What a cipher makes of its key lies on Go's heap, once for each
// key, and goes when the collector finds that nobody has it any more.
type layoutCipher struct {
	once sync.Once
	aead cipher.AEAD
	err  error
}

func (c *layoutCipher) of(k *key, make func(key []byte) (cipher.AEAD, error)) (cipher.AEAD, error) {
	c.once.Do(func() {
		secret.Do(func() { c.aead, c.err = make(k.raw.Reveal(reveal.Key{})) })
	})
	if c.err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the cipher could not be made").Because(c.err)
	}
	return c.aead, nil
}

// gcmRandom makes its nonces itself, as the FIPS 140-3 module wants it: its own NonceSize is 0, and its ciphertexts begin with the nonce.
func gcmRandom(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func gcmFixed(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func layoutSeal(k *key, s *scheme, dst, header, plaintext, aad []byte) ([]byte, error) {
	if err := checkBare(header); err != nil {
		return nil, err
	}
	aead, err := k.plain.of(k, s.aead)
	if err != nil {
		return nil, err
	}
	var nonce [chacha20poly1305.NonceSizeX]byte
	n := nonce[:aead.NonceSize()]
	rand.Read(n) //nolint:errcheck // never fails since Go 1.24
	return sealUnder(aead, dst, n, plaintext, aad), nil
}

func convergeSeal(k *key, s *scheme, dst, header, plaintext, aad []byte) ([]byte, error) {
	if err := checkBare(header); err != nil {
		return nil, err
	}
	if k.nonces == nil {
		return nil, kms.Errorf(kms.CodeInternal, "convergent encryption was asked of a key that is not derived")
	}
	aead, err := k.fixed.of(k, s.fixed)
	if err != nil {
		return nil, err
	}
	sum := kdf.MAC(k.nonces.Reveal(reveal.Key{}), plaintext)
	return sealUnder(aead, dst, sum[:aead.NonceSize()], plaintext, aad), nil
}

func sealUnder(aead cipher.AEAD, dst, nonce, plaintext, aad []byte) []byte {
	if need := len(dst) + len(nonce) + len(plaintext) + aead.Overhead(); cap(dst) < need {
		dst = append(make([]byte, 0, need), dst...)
	}
	return aead.Seal(append(dst, nonce...), nonce, plaintext, aad)
}

// layoutOpen opens both kinds: where the nonce came from does not matter to it.
func layoutOpen(k *key, s *scheme, dst, header, sealed, aad []byte) ([]byte, error) {
	if err := checkBare(header); err != nil {
		return nil, err
	}
	aead, err := k.plain.of(k, s.aead)
	if err != nil {
		return nil, err
	}
	n := aead.NonceSize()
	if len(sealed) < n+aead.Overhead() {
		return nil, decryptFailed()
	}
	out, err := aead.Open(dst, sealed[:n], sealed[n:], aad)
	if err != nil {
		return nil, decryptFailed()
	}
	return out, nil
}

// checkBare: there is no place for a header, and what is not covered is not taken.
func checkBare(header []byte) error {
	if len(header) != 0 {
		return kms.Errorf(kms.CodeInternal, "a ciphertext header of %d bytes was passed to a layout that has none", len(header))
	}
	return nil
}
