package boxtest

import (
	"crypto/aes"
	"crypto/hmac"
	"crypto/sha512"
	"errors"
	"math/big"
	"slices"
)

// SealConvergent makes the body of a convergent blob.
func SealConvergent(key []byte, label string, header, plaintext, aad []byte) []byte {
	mac, stream, commitment := deriveConvergent(key, label, header, aad)
	v := s2v(mac, aad, plaintext)
	return slices.Concat(commitment, v, sivStream(stream, v, plaintext))
}

// OpenConvergent opens one and says why it does not.
func OpenConvergent(key []byte, label string, header, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < 32+16 {
		return nil, errors.New("too short")
	}
	mac, stream, commitment := deriveConvergent(key, label, header, aad)
	if !hmac.Equal(commitment, sealed[:32]) {
		return nil, errors.New("commitment")
	}
	v := sealed[32:48]
	plaintext := sivStream(stream, v, sealed[48:])
	if !hmac.Equal(s2v(mac, aad, plaintext), v) {
		return nil, errors.New("synthetic IV")
	}
	return plaintext, nil
}

// deriveConvergent is HKDF-Expand, RFC 5869 §2.3, to 96 bytes: two blocks of HMAC-SHA-512.
func deriveConvergent(key []byte, label string, header, aad []byte) (mac, stream, commitment []byte) {
	digest := sha512.Sum512_256(aad)
	info := slices.Concat([]byte(label), []byte{0}, header, digest[:])
	var okm, last []byte
	for i := byte(1); i <= 2; i++ {
		h := hmac.New(sha512.New, key)
		h.Write(slices.Concat(last, info, []byte{i}))
		last = h.Sum(nil)
		okm = append(okm, last...)
	}
	return okm[:32], okm[32:64], okm[64:96]
}

// Numbers stand for blocks of 16 bytes here, most significant bit first.
var (
	two128 = new(big.Int).Lsh(big.NewInt(1), 128)
	poly   = new(big.Int).Add(two128, big.NewInt(0x87)) // x^128 + x^7 + x^2 + x + 1
)

// dbl is multiplication by x, RFC 5297 §2.3.
func dbl(b []byte) []byte {
	n := new(big.Int).Lsh(new(big.Int).SetBytes(b), 1)
	if n.Cmp(two128) >= 0 {
		n.Xor(n, poly)
	}
	return n.FillBytes(make([]byte, 16))
}

func xor(a, b []byte) []byte {
	return new(big.Int).Xor(new(big.Int).SetBytes(a), new(big.Int).SetBytes(b)).FillBytes(make([]byte, len(a)))
}

func cmac(key, message []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	l := make([]byte, 16)
	block.Encrypt(l, l)
	k := dbl(l)
	if n := len(message) % 16; len(message) == 0 || n != 0 { // SP 800-38B §6.2 step 4: the last block is not whole
		k = dbl(k)
		message = slices.Concat(message, []byte{0x80}, make([]byte, 15-n))
	}
	c := make([]byte, 16)
	for i := 0; i < len(message); i += 16 {
		in := xor(c, message[i:i+16])
		if i+16 == len(message) {
			in = xor(in, k)
		}
		block.Encrypt(c, in)
	}
	return c
}

// s2v is RFC 5297 §2.4 with two strings.
func s2v(key, aad, plaintext []byte) []byte {
	d := xor(dbl(cmac(key, make([]byte, 16))), cmac(key, aad))
	if n := len(plaintext); n >= 16 {
		return cmac(key, slices.Concat(plaintext[:n-16], xor(plaintext[n-16:], d)))
	}
	return cmac(key, xor(dbl(d), slices.Concat(plaintext, []byte{0x80}, make([]byte, 15-len(plaintext)))))
}

// sivStream is CTR from V with two bits cleared, RFC 5297 §2.5.
func sivStream(key, v, text []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	q := slices.Clone(v)
	q[8] &= 0x7f
	q[12] &= 0x7f
	counter := new(big.Int).SetBytes(q)
	out := slices.Clone(text)
	for i := range out {
		if i%16 == 0 {
			mask := make([]byte, 16)
			block.Encrypt(mask, counter.FillBytes(make([]byte, 16)))
			copy(out[i:], xor(mask[:min(16, len(out)-i)], out[i:min(i+16, len(out))]))
			counter.Mod(counter.Add(counter, big.NewInt(1)), two128)
		}
	}
	return out
}
