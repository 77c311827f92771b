package mode

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

// SIVSize is the length in bytes of the synthetic initialization vector, which is the tag.
const SIVSize = aes.BlockSize

// SealSIV appends V ‖ C of AES-SIV, RFC 5297 §2.6, with one string of associated data, empty or not. The key is two AES keys of one
// length, for S2V and for CTR: 32, 48 or 64 bytes. dst and plaintext must not overlap.
func SealSIV(key, dst, plaintext, aad []byte) ([]byte, error) {
	v, err := s2v(key[:len(key)/2], aad, plaintext)
	if err != nil {
		return nil, err
	}
	at := len(dst) + SIVSize
	dst = append(append(dst, v[:]...), plaintext...)
	return dst, sivCounter(key[len(key)/2:], v, dst[at:])
}

// OpenSIV appends the plaintext: §2.7. What is not genuine is erased: ErrOpen. dst and sealed must not overlap.
func OpenSIV(key, dst, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < SIVSize {
		return nil, ErrOpen
	}
	at := len(dst)
	dst = append(dst, sealed[SIVSize:]...)
	plaintext := dst[at:]
	if err := sivCounter(key[len(key)/2:], [SIVSize]byte(sealed), plaintext); err != nil {
		return nil, err
	}
	v, err := s2v(key[:len(key)/2], aad, plaintext)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(v[:], sealed[:SIVSize]) != 1 {
		clear(plaintext)
		return nil, ErrOpen
	}
	return dst, nil
}

// s2v is S2V of §2.4 over two strings.
func s2v(key, aad, plaintext []byte) (v [SIVSize]byte, err error) {
	d, err := CMAC(key, make([]byte, aes.BlockSize))
	if err != nil {
		return v, err
	}
	a, err := CMAC(key, aad)
	if err != nil {
		return v, err
	}
	double(&d)
	subtle.XORBytes(d[:], d[:], a[:])
	n := len(plaintext)
	t := make([]byte, max(n, aes.BlockSize))
	defer clear(t)
	copy(t, plaintext)
	if n < aes.BlockSize {
		double(&d)
		t[n] = 0x80
	}
	end := t[len(t)-aes.BlockSize:]
	subtle.XORBytes(end, end, d[:])
	return CMAC(key, t)
}

// sivCounter is CTR from V with two bits cleared (§2.5), in place.
func sivCounter(key []byte, v [SIVSize]byte, text []byte) error {
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	v[8] &= 0x7f
	v[12] &= 0x7f
	cipher.NewCTR(block, v[:]).XORKeyStream(text, text)
	return nil
}
