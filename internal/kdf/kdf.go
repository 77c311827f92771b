// Package kdf derives keys from keys and hashes under keys, and leaves no copy of a key behind.
//
// It is HMAC (RFC 2104) and HKDF (RFC 5869) over Go's hashes. Go's crypto/hmac keeps a key twice on the heap, masked with constants, until the collector
// comes by: a key that is used all the time would always be in memory that can be read, wherever else it is kept with so much care. Here the key is hashed
// from a block on the stack, which is erased when the derivation ends (secret.Do), and nothing is allocated. A key that is longer than a block goes to
// crypto/hmac, and so does every key where Go's certified module is in force: there the whole derivation has to be the module's, which refuses keys and
// salts of less than 112 bits. None here is shorter.
package kdf

import (
	"crypto/fips140"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"

	"github.com/keyhold/keyhold/internal/secret"
)

const (
	innerPad = 0x36 // RFC 2104 §2
	outerPad = 0x5c
)

// Expand gives HKDF-Expand-SHA-512 of a pseudorandom key over the parts of info, one after the other without separation. It is the whole of one block, 64
// bytes, of which the caller takes as many as it needs: for so few RFC 5869 §2.3 comes to T(1) = HMAC(PRK, info ‖ 01), cut to size.
func Expand(prk []byte, info ...[]byte) (okm [sha512.Size]byte) {
	secret.Do(func() { mac512(&okm, prk, info, first) })
	return okm
}

// Key gives HKDF-SHA-512 (RFC 5869 §2) of input keying material that stands in parts: at most 64 bytes, as Expand does.
func Key(salt, info []byte, ikm ...[]byte) (okm [sha512.Size]byte) {
	secret.Do(func() {
		var prk [sha512.Size]byte
		mac512(&prk, salt, ikm, nil)
		mac512(&okm, prk[:], [][]byte{info}, first)
		clear(prk[:])
	})
	return okm
}

// MAC is HMAC-SHA-256 over the parts, one after the other without separation.
func MAC(key []byte, parts ...[]byte) (sum [sha256.Size]byte) {
	secret.Do(func() { mac256(&sum, key, parts) })
	return sum
}

// Key256 gives the first 64 bytes of HKDF-SHA-256 (RFC 5869 §2) of input keying material, without a salt.
func Key256(ikm, info []byte) (okm [2 * sha256.Size]byte) {
	secret.Do(func() {
		var prk, half [sha256.Size]byte
		mac256(&prk, make([]byte, sha256.Size), [][]byte{ikm}) // RFC 5869 §2.2: as many zeros as the hash has bytes
		mac256(&half, prk[:], [][]byte{info, first})
		copy(okm[:], half[:])
		mac256(&half, prk[:], [][]byte{okm[:sha256.Size], info, second})
		copy(okm[sha256.Size:], half[:])
		clear(prk[:])
		clear(half[:])
	})
	return okm
}

// The numbers of HKDF's blocks, as RFC 5869 §2.3 writes them.
var first, second = []byte{1}, []byte{2}

func mac512(sum *[sha512.Size]byte, key []byte, parts [][]byte, last []byte) {
	if library(len(key) > sha512.BlockSize) {
		copy(sum[:], hmacOf(sha512.New, key, parts, last))
		return
	}
	var block [sha512.BlockSize]byte
	inner, outer := sha512.New(), sha512.New()
	mask(block[:], key, innerPad)
	inner.Write(block[:])
	for _, p := range parts {
		inner.Write(p)
	}
	inner.Write(last)
	inner.Sum(sum[:0])
	mask(block[:], nil, innerPad^outerPad)
	outer.Write(block[:])
	outer.Write(sum[:])
	outer.Sum(sum[:0])
	clear(block[:])
}

func mac256(sum *[sha256.Size]byte, key []byte, parts [][]byte) {
	if library(len(key) > sha256.BlockSize) {
		copy(sum[:], hmacOf(sha256.New, key, parts, nil))
		return
	}
	var block [sha256.BlockSize]byte
	inner, outer := sha256.New(), sha256.New()
	mask(block[:], key, innerPad)
	inner.Write(block[:])
	for _, p := range parts {
		inner.Write(p)
	}
	inner.Sum(sum[:0])
	mask(block[:], nil, innerPad^outerPad)
	outer.Write(block[:])
	outer.Write(sum[:])
	outer.Sum(sum[:0])
	clear(block[:])
}

// mask puts a key into a block and masks it: of no key, what is there.
func mask(block, key []byte, pad byte) {
	copy(block, key)
	for i := range block {
		block[i] ^= pad
	}
}

// library tells whether crypto/hmac does the work.
func library(longKey bool) bool { return longKey || fips140.Enabled() }

func hmacOf(h func() hash.Hash, key []byte, parts [][]byte, last []byte) []byte {
	k := append(make([]byte, 0, len(key)), key...) // of the heap: key itself may stay on the stack
	m := hmac.New(h, k)
	clear(k)
	var text []byte // likewise
	for _, p := range parts {
		text = append(text, p...)
	}
	m.Write(append(text, last...))
	return m.Sum(nil)
}
