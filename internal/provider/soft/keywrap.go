package soft

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Key wrapping, SP 800-38F: KW (§6.2, RFC 3394) for material of whole 8-byte blocks, and KWP (§6.3, RFC 5649) for material of any
// length. Both are deterministic and cover nothing but the material. The AES is Go's module; the mode is written here, as Go
// does not offer it.

// MaxKeyMaterial is the most bytes that are wrapped at once: far above any key, and far below the limits of the modes.
const MaxKeyMaterial = 64 << 10

const semiblock = 8

var (
	kwValue  = [semiblock]byte{0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6} // ICV1, §6.2
	kwpValue = [4]byte{0xa6, 0x59, 0x59, 0xa6}                                 // ICV2, §6.3
)

func kwSeal(k *key, _ *scheme, dst, header, plaintext, aad []byte) ([]byte, error) {
	if err := checkWrap(plaintext, header, aad); err != nil {
		return nil, err
	}
	if n := len(plaintext); n%semiblock != 0 || n < 2*semiblock {
		return nil, kms.Errorf(kms.CodeBadRequest, "aes-kw wraps whole blocks of 8 bytes, two or more, and the material has %d bytes: use aes-kwp", n)
	}
	return wrap(k, dst, kwValue, plaintext)
}

func kwOpen(k *key, _ *scheme, dst, header, wrapped, aad []byte) ([]byte, error) {
	value, material, err := unwrap(k, header, wrapped, aad)
	if err != nil {
		return nil, err
	}
	defer clear(material)
	if len(material) < 2*semiblock || subtle.ConstantTimeCompare(value[:], kwValue[:]) != 1 {
		return nil, decryptFailed()
	}
	return append(dst, material...), nil
}

func kwpSeal(k *key, _ *scheme, dst, header, plaintext, aad []byte) ([]byte, error) {
	if err := checkWrap(plaintext, header, aad); err != nil {
		return nil, err
	}
	var value [semiblock]byte
	copy(value[:], kwpValue[:])
	binary.BigEndian.PutUint32(value[4:], uint32(len(plaintext))) //nolint:gosec // G115: at most MaxKeyMaterial
	padded := make([]byte, (len(plaintext)+semiblock-1)/semiblock*semiblock)
	defer clear(padded)
	copy(padded, plaintext)
	return wrap(k, dst, value, padded)
}

// kwpOpen checks prefix, length and padding without telling which was wrong, neither by its answer nor by its time.
func kwpOpen(k *key, _ *scheme, dst, header, wrapped, aad []byte) ([]byte, error) {
	value, material, err := unwrap(k, header, wrapped, aad)
	if err != nil {
		return nil, err
	}
	defer clear(material)
	whole := len(material)
	padding := uint64(whole) - uint64(binary.BigEndian.Uint32(value[4:])) // below 8 in what is genuine
	good := subtle.ConstantTimeCompare(value[:4], kwpValue[:])
	good &= subtle.ConstantTimeCompare(binary.BigEndian.AppendUint64(nil, padding&^7), make([]byte, 8))
	var rest byte
	for i := 1; i < semiblock; i++ {
		rest |= material[whole-i] * byte(subtle.ConstantTimeLessOrEq(i, int(padding&7))) //nolint:gosec // G115: 0 or 1, and below 8
	}
	if good&subtle.ConstantTimeByteEq(rest, 0) != 1 {
		return nil, decryptFailed()
	}
	return append(dst, material[:whole-int(padding)]...), nil //nolint:gosec // G115: below 8
}

// checkAlone: neither mode has a place for anything but the material.
func checkAlone(header, aad []byte) error {
	if len(header) > 0 || len(aad) > 0 {
		return kms.Errorf(kms.CodeBadRequest, "key wrapping covers the material alone: it takes no header, context or additional data")
	}
	return nil
}

// checkWrap is what both modes ask of material.
func checkWrap(material, header, aad []byte) error {
	if err := checkAlone(header, aad); err != nil {
		return err
	}
	switch {
	case len(material) == 0:
		return kms.Errorf(kms.CodeBadRequest, "there is no key material to wrap")
	case len(material) > MaxKeyMaterial:
		return kms.Errorf(kms.CodeTooLarge, "the key material has %d bytes, the limit is %d", len(material), MaxKeyMaterial)
	}
	return nil
}

// wrap appends W(value ‖ blocks), or the one block of AES that KWP has for 8 bytes.
func wrap(k *key, dst []byte, value [semiblock]byte, blocks []byte) ([]byte, error) {
	block, err := aes.NewCipher(k.raw.Reveal(reveal.Key{}))
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the key could not be wrapped").Because(err)
	}
	at := len(dst)
	dst = append(append(dst, value[:]...), blocks...)
	out := dst[at:]
	if len(blocks) == semiblock {
		block.Encrypt(out, out)
		return dst, nil
	}
	permute(block, out)
	return dst, nil
}

// permute is W of §6.1, in the form with an index of RFC 3394 §2.2.1.
func permute(block cipher.Block, s []byte) {
	var b [aes.BlockSize]byte
	copy(b[:], s[:semiblock])
	t := uint64(0)
	for range 6 {
		for i := semiblock; i < len(s); i += semiblock {
			copy(b[semiblock:], s[i:])
			block.Encrypt(b[:], b[:])
			t++
			binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])^t)
			copy(s[i:i+semiblock], b[semiblock:])
		}
	}
	copy(s, b[:semiblock])
}

// unwrap undoes wrap: the value, and the blocks in memory of their own.
func unwrap(k *key, header, wrapped, aad []byte) (value [semiblock]byte, blocks []byte, err error) {
	n := len(wrapped)
	if err := checkAlone(header, aad); err != nil {
		return value, nil, err
	}
	if n%semiblock != 0 || n < 2*semiblock || n > MaxKeyMaterial+2*semiblock {
		return value, nil, decryptFailed()
	}
	block, err := aes.NewCipher(k.raw.Reveal(reveal.Key{}))
	if err != nil {
		return value, nil, kms.Errorf(kms.CodeInternal, "the key could not be unwrapped").Because(err)
	}
	s := append([]byte(nil), wrapped...)
	if n == aes.BlockSize {
		block.Decrypt(s, s)
	} else {
		unpermute(block, s)
	}
	copy(value[:], s)
	return value, s[semiblock:], nil
}

// unpermute is the inverse of W: RFC 3394 §2.2.2.
func unpermute(block cipher.Block, s []byte) {
	var b [aes.BlockSize]byte
	copy(b[:], s[:semiblock])
	t := uint64(6 * (len(s)/semiblock - 1)) //nolint:gosec // G115: at most 6 times MaxKeyMaterial / 8
	for range 6 {
		for i := len(s) - semiblock; i >= semiblock; i -= semiblock {
			binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])^t)
			copy(b[semiblock:], s[i:])
			block.Decrypt(b[:], b[:])
			t--
			copy(s[i:i+semiblock], b[semiblock:])
		}
	}
	copy(s, b[:semiblock])
}
