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
	mac, stream, err := sivKeys(key)
	if err != nil {
		return nil, err
	}
	v := s2v(mac, aad, plaintext)
	at := len(dst) + SIVSize
	dst = append(append(dst, v[:]...), plaintext...)
	sivCounter(stream, v, dst[at:])
	return dst, nil
}

// OpenSIV appends the plaintext: §2.7. What is not genuine is erased: ErrOpen. dst and sealed must not overlap.
func OpenSIV(key, dst, sealed, aad []byte) ([]byte, error) {
	mac, stream, err := sivKeys(key)
	if err != nil {
		return nil, err
	}
	if len(sealed) < SIVSize {
		return nil, ErrOpen
	}
	at := len(dst)
	dst = append(dst, sealed[SIVSize:]...)
	plaintext := dst[at:]
	sivCounter(stream, [SIVSize]byte(sealed), plaintext)
	if v := s2v(mac, aad, plaintext); subtle.ConstantTimeCompare(v[:], sealed[:SIVSize]) != 1 {
		clear(plaintext)
		return nil, ErrOpen
	}
	return dst, nil
}

func sivKeys(key []byte) (mac, stream cipher.Block, err error) {
	if mac, err = aes.NewCipher(key[:len(key)/2]); err != nil {
		return nil, nil, err
	}
	stream, err = aes.NewCipher(key[len(key)/2:])
	return mac, stream, err
}

// s2v is S2V of §2.4 over two strings.
func s2v(mac cipher.Block, aad, plaintext []byte) [SIVSize]byte {
	d, a := cmac(mac, make([]byte, aes.BlockSize)), cmac(mac, aad)
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
	return cmac(mac, t)
}

// sivCounter is CTR from V with two bits cleared (§2.5), in place.
func sivCounter(stream cipher.Block, v [SIVSize]byte, text []byte) {
	v[8] &= 0x7f
	v[12] &= 0x7f
	cipher.NewCTR(stream, v[:]).XORKeyStream(text, text)
}
