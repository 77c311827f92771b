package soft

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

// AES-SIV, RFC 5297, with one string of associated data, empty or not. The AES is Go's module; the mode is written here, as Go
// does not offer it. The key is two AES keys of one length: for S2V, then for CTR.

// sivSize is the length of the synthetic initialization vector, which is the tag.
const sivSize = aes.BlockSize

// sivSeal appends V ‖ C: §2.6.
func sivSeal(key, dst, plaintext, aad []byte) ([]byte, error) {
	v, err := s2v(key[:len(key)/2], aad, plaintext)
	if err != nil {
		return nil, err
	}
	at := len(dst) + sivSize
	dst = append(append(dst, v[:]...), plaintext...)
	return dst, sivCounter(key[len(key)/2:], v, dst[at:])
}

// sivOpen appends the plaintext, and says whether it is genuine: §2.7. What is not is erased.
func sivOpen(key, dst, sealed, aad []byte) (out []byte, genuine bool, err error) {
	if len(sealed) < sivSize {
		return nil, false, nil
	}
	at := len(dst)
	dst = append(dst, sealed[sivSize:]...)
	plaintext := dst[at:]
	if err := sivCounter(key[len(key)/2:], [sivSize]byte(sealed), plaintext); err != nil {
		return nil, false, err
	}
	v, err := s2v(key[:len(key)/2], aad, plaintext)
	if err != nil || subtle.ConstantTimeCompare(v[:], sealed[:sivSize]) != 1 {
		clear(plaintext)
		return nil, false, err
	}
	return dst, true, nil
}

// s2v is S2V of §2.4 over two strings.
func s2v(key, aad, plaintext []byte) (v [sivSize]byte, err error) {
	d, err := cmac(key, make([]byte, aes.BlockSize))
	if err != nil {
		return v, err
	}
	a, err := cmac(key, aad)
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
	return cmac(key, t)
}

// sivCounter is CTR from V with two bits cleared (§2.5), in place.
func sivCounter(key []byte, v [sivSize]byte, text []byte) error {
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	v[8] &= 0x7f
	v[12] &= 0x7f
	cipher.NewCTR(block, v[:]).XORKeyStream(text, text)
	return nil
}
