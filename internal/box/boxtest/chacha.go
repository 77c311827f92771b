package boxtest

import (
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"math/big"
	"math/bits"
	"slices"
)

// SealChaCha makes the box of a ChaCha20-Poly1305 key (nonce of 12 bytes) or an XChaCha20-Poly1305 key (24 bytes).
func SealChaCha(key []byte, label string, header, salt, nonce, plaintext, aad []byte) ([]byte, error) {
	messageKey, commitment := derive(key, label, header, salt, aad)
	sealed, mac := chachaPoly(messageKey, nonce, plaintext, aad, true)
	return slices.Concat(salt, commitment, nonce, sealed, mac), nil
}

// OpenChaCha opens such a box and says why it does not.
func OpenChaCha(key []byte, label string, nonceSize int, header, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < 24+32+nonceSize+16 {
		return nil, errors.New("too short")
	}
	salt, commitment, rest := sealed[:24], sealed[24:56], sealed[56:]
	nonce, text, want := rest[:nonceSize], rest[nonceSize:len(rest)-16], rest[len(rest)-16:]
	messageKey, mine := derive(key, label, header, salt, aad)
	if !hmac.Equal(mine, commitment) {
		return nil, errors.New("commitment")
	}
	plaintext, mac := chachaPoly(messageKey, nonce, text, aad, false)
	if !hmac.Equal(mac, want) {
		return nil, errors.New("tag")
	}
	return plaintext, nil
}

// chachaPoly is RFC 8439 §2.8; a nonce of 24 bytes first makes a subkey, draft-irtf-cfrg-xchacha-03 §2.3.
func chachaPoly(key, nonce, text, aad []byte, seal bool) (out, tag []byte) {
	if len(nonce) == 24 {
		state := chachaRounds(key, binary.LittleEndian.Uint32(nonce), nonce[4:16])
		key = words(append(state[:4:4], state[12:]...))
		nonce = append(make([]byte, 4), nonce[16:]...)
	}
	out = make([]byte, len(text))
	for i := range text {
		if i%64 == 0 {
			copy(out[i:], chachaBlock(key, uint32(i/64)+1, nonce)) //nolint:gosec // G115: tests are small
		}
		out[i] ^= text[i]
	}
	ciphertext := text
	if seal {
		ciphertext = out
	}
	pad := func(b []byte) []byte { return slices.Concat(b, make([]byte, (16-len(b)%16)%16)) }
	input := slices.Concat(pad(aad), pad(ciphertext))
	input = binary.LittleEndian.AppendUint64(input, uint64(len(aad)))
	input = binary.LittleEndian.AppendUint64(input, uint64(len(ciphertext)))
	return out, poly1305(chachaBlock(key, 0, nonce)[:32], input)
}

func chachaStart(key []byte, counter uint32, nonce []byte) []uint32 {
	s := []uint32{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}
	for i := 0; i < 32; i += 4 {
		s = append(s, binary.LittleEndian.Uint32(key[i:]))
	}
	s = append(s, counter)
	for i := 0; i < 12; i += 4 {
		s = append(s, binary.LittleEndian.Uint32(nonce[i:]))
	}
	return s
}

// chachaRounds is the twenty rounds of RFC 8439 §2.3 without the final addition.
func chachaRounds(key []byte, counter uint32, nonce []byte) []uint32 {
	s := chachaStart(key, counter, nonce)
	quarter := func(a, b, c, d int) {
		s[a] += s[b]
		s[d] = bits.RotateLeft32(s[d]^s[a], 16)
		s[c] += s[d]
		s[b] = bits.RotateLeft32(s[b]^s[c], 12)
		s[a] += s[b]
		s[d] = bits.RotateLeft32(s[d]^s[a], 8)
		s[c] += s[d]
		s[b] = bits.RotateLeft32(s[b]^s[c], 7)
	}
	for range 10 {
		for i := range 4 {
			quarter(i, 4+i, 8+i, 12+i)
		}
		for i := range 4 {
			quarter(i, 4+(i+1)%4, 8+(i+2)%4, 12+(i+3)%4)
		}
	}
	return s
}

func chachaBlock(key []byte, counter uint32, nonce []byte) []byte {
	s := chachaRounds(key, counter, nonce)
	for i, v := range chachaStart(key, counter, nonce) {
		s[i] += v
	}
	return words(s)
}

func words(s []uint32) []byte {
	var b []byte
	for _, v := range s {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// poly1305 is RFC 8439 §2.5 with big integers. The input is a multiple of 16 bytes here.
func poly1305(key, input []byte) []byte {
	number := func(b []byte) *big.Int {
		b = slices.Clone(b)
		slices.Reverse(b)
		return new(big.Int).SetBytes(b)
	}
	clamp, _ := new(big.Int).SetString("0ffffffc0ffffffc0ffffffc0fffffff", 16)
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 130), big.NewInt(5))
	r, acc := number(key[:16]), new(big.Int)
	r.And(r, clamp)
	for i := 0; i < len(input); i += 16 {
		acc.Add(acc, number(append(slices.Clone(input[i:i+16]), 1)))
		acc.Mod(acc.Mul(acc, r), p)
	}
	acc.Add(acc, number(key[16:]))
	out := acc.And(acc, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1))).FillBytes(make([]byte, 16))
	slices.Reverse(out)
	return out
}
