// Package boxtest is a second implementation of the box format and of its convergent form, written from docs/formats.md alone and
// slowly, for tests: it shares with package box nothing but AES, SHA-512 and HMAC of the standard library. GCM, HKDF,
// (X)ChaCha20-Poly1305 and SIV are written out after SP 800-38D, RFC 5869, RFC 8439 and RFC 5297, with salt and nonce as
// arguments. No code outside tests may import it.
package boxtest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/binary"
	"errors"
)

// Seal makes the box with a given salt (24 bytes) and nonce (12 bytes).
func Seal(key []byte, label string, header, salt, nonce, plaintext, aad []byte) ([]byte, error) {
	messageKey, commitment := derive(key, label, header, salt, aad)
	block, err := aes.NewCipher(messageKey)
	if err != nil {
		return nil, err
	}
	sealed := counter(block, nonce, plaintext)
	out := append(append(append([]byte{}, salt...), commitment...), nonce...)
	return append(append(out, sealed...), tag(block, nonce, sealed, aad)...), nil
}

// Open opens a box and says why it does not.
func Open(key []byte, label string, header, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < 24+32+12+16 {
		return nil, errors.New("too short")
	}
	salt, commitment, nonce := sealed[:24], sealed[24:56], sealed[56:68]
	text, want := sealed[68:len(sealed)-16], sealed[len(sealed)-16:]
	messageKey, mine := derive(key, label, header, salt, aad)
	if !hmac.Equal(mine, commitment) {
		return nil, errors.New("commitment")
	}
	block, err := aes.NewCipher(messageKey)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(tag(block, nonce, text, aad), want) {
		return nil, errors.New("tag")
	}
	return counter(block, nonce, text), nil
}

// derive is HKDF-Expand, RFC 5869 §2.3: at most 64 bytes are needed, which is one block of HMAC-SHA-512.
func derive(key []byte, label string, header, salt, aad []byte) (messageKey, commitment []byte) {
	digest := sha512.Sum512_256(aad)
	mac := hmac.New(sha512.New, key)
	for _, part := range [][]byte{[]byte(label), {0}, header, salt, digest[:], {1}} {
		mac.Write(part)
	}
	okm := mac.Sum(nil)
	return okm[:len(key)], okm[len(key) : len(key)+32]
}

// counter is GCTR with a 96-bit nonce from counter 2 on, SP 800-38D §6.5 and §7.1.
func counter(block cipher.Block, nonce, text []byte) []byte {
	out := make([]byte, len(text))
	for i := 0; i < len(text); i += 16 {
		mask := encrypt(block, nonce, uint32(i/16)+2) //nolint:gosec // G115: tests are small
		for j := i; j < min(i+16, len(text)); j++ {
			out[j] = text[j] ^ mask[j-i]
		}
	}
	return out
}

func encrypt(block cipher.Block, nonce []byte, n uint32) [16]byte {
	var b [16]byte
	copy(b[:], nonce)
	binary.BigEndian.PutUint32(b[12:], n)
	block.Encrypt(b[:], b[:])
	return b
}

// tag is GHASH over aad, ciphertext and their lengths in bits, masked by counter 1: SP 800-38D §6.4, §7.1.
func tag(block cipher.Block, nonce, text, aad []byte) []byte {
	var h, y [16]byte
	block.Encrypt(h[:], h[:])
	absorb := func(b []byte) {
		for i := 0; i < len(b); i += 16 {
			for j := i; j < min(i+16, len(b)); j++ {
				y[j-i] ^= b[j]
			}
			y = multiply(y, h)
		}
	}
	absorb(aad)
	absorb(text)
	lengths := binary.BigEndian.AppendUint64(nil, uint64(len(aad))*8)
	absorb(binary.BigEndian.AppendUint64(lengths, uint64(len(text))*8))
	mask := encrypt(block, nonce, 1)
	for i := range y {
		y[i] ^= mask[i]
	}
	return y[:]
}

// multiply is the product in GF(2^128), bit by bit, SP 800-38D §6.3 algorithm 1.
func multiply(x, y [16]byte) (z [16]byte) {
	v := y
	for i := range 128 {
		if x[i/8]>>(7-i%8)&1 == 1 {
			for j := range z {
				z[j] ^= v[j]
			}
		}
		odd := v[15] & 1
		for j := 15; j > 0; j-- {
			v[j] = v[j]>>1 | v[j-1]<<7
		}
		v[0] >>= 1
		v[0] ^= odd * 0xe1
	}
	return z
}
