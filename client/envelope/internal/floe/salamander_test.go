package floe

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"testing"
)

// A block of GF(2^128) as GCM has it (SP 800-38D §6.3): the first bit is the coefficient of x^0.
type block struct{ hi, lo uint64 }

func blockOf(b []byte) block {
	return block{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func (a block) add(b block) block { return block{a.hi ^ b.hi, a.lo ^ b.lo} }

func (a block) mul(b block) block {
	var z block
	for i := range 128 {
		bit := a.hi >> (63 - i&63)
		if i >= 64 {
			bit = a.lo >> (127 - i)
		}
		if bit&1 == 1 {
			z = z.add(b)
		}
		carry := b.lo & 1
		b.lo = b.lo>>1 | b.hi<<63
		b.hi >>= 1
		if carry == 1 {
			b.hi ^= 0xe1 << 56
		}
	}
	return z
}

func (a block) inverse() block { // a^(2^128 - 2)
	r, p := block{hi: 1 << 63}, a
	for range 127 {
		p = p.mul(p)
		r = r.mul(p)
	}
	return r
}

func (a block) bytes() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, a.hi), a.lo)
}

// half is GCM under one key for one message, taken apart.
type half struct{ h, mask block }

func halfOf(t *testing.T, key, nonce []byte) half {
	t.Helper()
	c, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	var h, mask [16]byte
	c.Encrypt(h[:], h[:])
	c.Encrypt(mask[:], append(bytes.Clone(nonce), 0, 0, 0, 1))
	return half{blockOf(h[:]), blockOf(mask[:])}
}

func (g half) tag(blocks []block) block {
	var y block
	for _, b := range blocks {
		y = y.add(b).mul(g.h)
	}
	return y.add(g.mask)
}

// salamander is a ciphertext of one free block and its tag that opens under two keys.
func salamander(t *testing.T, key1, key2, nonce, aad []byte) []byte {
	t.Helper()
	padded := make([]byte, 16)
	copy(padded, aad)
	var lengths [16]byte
	binary.BigEndian.PutUint64(lengths[:], uint64(len(aad)*8))
	binary.BigEndian.PutUint64(lengths[8:], 16*8)
	a, b := halfOf(t, key1, nonce), halfOf(t, key2, nonce)
	with := func(x block) []block { return []block{blockOf(padded), x, blockOf(lengths[:])} }
	// The tag is linear in the block x, which is multiplied by h²: solve tag1(x) = tag2(x).
	difference := a.tag(with(block{})).add(b.tag(with(block{})))
	x := difference.mul(a.h.mul(a.h).add(b.h.mul(b.h)).inverse())
	if a.tag(with(x)) != b.tag(with(x)) {
		t.Fatal("the equation is not solved")
	}
	return append(x.bytes(), a.tag(with(x)).bytes()...)
}

// AES-GCM does not commit to its key: a ciphertext can be made that opens under two ("invisible salamanders"). FLOE's
// header tag does: a stream around such a ciphertext opens under the one key that its header names.
func TestAStreamOpensUnderOneKeyOnly(t *testing.T) {
	const segment = 64
	iv, nonce := bytes.Repeat([]byte{3}, 32), bytes.Repeat([]byte{4}, 12)
	one := reference{key: bytes.Repeat([]byte{1}, 32), iv: iv, aad: []byte(testAAD), segment: segment, mask: rotation}
	two := one
	two.key = bytes.Repeat([]byte{2}, 32)
	dek := func(r reference) []byte {
		return r.kdf(r.kdf(r.key, "MESSAGE_KEY:", 48), "DEK:\x00\x00\x00\x00\x00\x00\x00\x00", 32)
	}
	sealed := salamander(t, dek(one), dek(two), nonce, tail(0, true))
	for _, r := range []reference{one, two} { // the attack is real: plain GCM opens it under both keys
		c, err := aes.NewCipher(dek(r))
		if err != nil {
			t.Fatal(err)
		}
		g, err := cipher.NewGCM(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Open(nil, nonce, sealed, tail(0, true)); err != nil {
			t.Fatalf("the ciphertext does not open: %v", err)
		}
	}
	body := append(append([]byte{0, 0, 0, 48}, nonce...), sealed...)
	for _, owner := range []reference{one, two} {
		stream := append(owner.header(), body...)
		for _, reader := range []reference{one, two} {
			got, err := decrypt(stream, reader.key, testAAD)
			if same := bytes.Equal(owner.key, reader.key); same && (err != nil || len(got) != 16) {
				t.Errorf("the stream's own key does not open it: %v", err)
			} else if !same && (!errors.Is(err, ErrOpen) || len(got) > 0) {
				t.Errorf("another key opens it: got %x %v", got, err)
			}
		}
	}
}
