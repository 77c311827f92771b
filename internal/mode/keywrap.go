package mode

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"

	"github.com/keyhold/keyhold/internal/kms"
)

// MaxKeyMaterial is the most bytes that are wrapped at once: far above any key, and far below the limits of the modes.
const MaxKeyMaterial = 64 << 10

const semiblock = 8

var (
	kwValue  = [semiblock]byte{0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6} // ICV1, SP 800-38F §6.2
	kwpValue = [4]byte{0xa6, 0x59, 0x59, 0xa6}                                 // ICV2, §6.3
)

// WrapKW appends key material of whole blocks of 8 bytes, two or more, wrapped: SP 800-38F §6.2, RFC 3394. CodeBadRequest and
// CodeTooLarge for material of another length. dst and material must not overlap.
func WrapKW(key, dst, material []byte) ([]byte, error) {
	if n := len(material); n%semiblock != 0 || n < 2*semiblock {
		return nil, kms.Errorf(kms.CodeBadRequest, "aes-kw wraps whole blocks of 8 bytes, two or more, and the material has %d bytes: use aes-kwp", n)
	}
	if err := checkMaterial(material); err != nil {
		return nil, err
	}
	return wrap(key, dst, kwValue, material)
}

// UnwrapKW appends the material: ErrOpen for what was not wrapped by WrapKW under the same key.
func UnwrapKW(key, dst, wrapped []byte) ([]byte, error) {
	value, material, err := unwrap(key, wrapped)
	if err != nil {
		return nil, err
	}
	defer clear(material)
	if len(material) < 2*semiblock || subtle.ConstantTimeCompare(value[:], kwValue[:]) != 1 {
		return nil, ErrOpen
	}
	return append(dst, material...), nil
}

// WrapKWP appends key material of any length from 1 byte, wrapped with padding: SP 800-38F §6.3, RFC 5649. CodeBadRequest and
// CodeTooLarge for none and for too much. dst and material must not overlap.
func WrapKWP(key, dst, material []byte) ([]byte, error) {
	if err := checkMaterial(material); err != nil {
		return nil, err
	}
	var value [semiblock]byte
	copy(value[:], kwpValue[:])
	binary.BigEndian.PutUint32(value[4:], uint32(len(material))) //nolint:gosec // G115: at most MaxKeyMaterial
	padded := make([]byte, (len(material)+semiblock-1)/semiblock*semiblock)
	defer clear(padded)
	copy(padded, material)
	return wrap(key, dst, value, padded)
}

// UnwrapKWP appends the material: ErrOpen for what was not wrapped by WrapKWP under the same key. Whether prefix, length or padding
// was wrong is told neither by its answer nor by its time.
func UnwrapKWP(key, dst, wrapped []byte) ([]byte, error) {
	value, material, err := unwrap(key, wrapped)
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
		return nil, ErrOpen
	}
	return append(dst, material[:whole-int(padding)]...), nil //nolint:gosec // G115: below 8
}

func checkMaterial(material []byte) error {
	switch {
	case len(material) == 0:
		return kms.Errorf(kms.CodeBadRequest, "there is no key material to wrap")
	case len(material) > MaxKeyMaterial:
		return kms.Errorf(kms.CodeTooLarge, "the key material has %d bytes, the limit is %d", len(material), MaxKeyMaterial)
	}
	return nil
}

// wrap appends W(value ‖ blocks), or the one block of AES that KWP has for 8 bytes.
func wrap(key, dst []byte, value [semiblock]byte, blocks []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
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
func unwrap(key, wrapped []byte) (value [semiblock]byte, blocks []byte, err error) {
	n := len(wrapped)
	if n%semiblock != 0 || n < 2*semiblock || n > MaxKeyMaterial+semiblock {
		return value, nil, ErrOpen
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return value, nil, err
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
