package mode

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"math/big"

	"github.com/keyhold/keyhold/internal/kms"
)

// Limits of FF1. SP 800-38G §5.1 allows longer tweaks and strings; nothing that keeps a format is longer.
const (
	MinRadix    = 2
	MaxRadix    = 1 << 16
	MinDomain   = 1_000_000 // radix^length at least: SP 800-38G rev. 1 (2nd draft) §5.1, against guessing and codebooks
	MaxNumerals = 4096
	MaxTweak    = 256 // bytes
)

const ff1Rounds = 10

// FF1 appends the encryption or decryption of numerals, each below radix, to dst: SP 800-38G §5, ten rounds of a Feistel network,
// under an AES key of 16, 24 or 32 bytes. CodeBadRequest and CodeTooLarge for what is outside the limits.
//
// It is not constant time: its arithmetic is that of math/big, whose time depends on the numbers. Who can measure single operations
// closely may learn something of the plaintext.
func FF1(key []byte, dst []uint16, radix int, tweak []byte, numerals []uint16, decrypt bool) ([]uint16, error) {
	if err := checkFormat(radix, tweak, numerals); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	f := newFF1(block, radix, tweak, len(numerals))
	a, b := f.number(numerals[:f.u]), f.number(numerals[f.u:])
	if decrypt {
		f.decrypt(a, b)
	} else {
		f.encrypt(a, b)
	}
	return f.numerals(f.numerals(dst, a, f.u), b, f.v), nil
}

func checkFormat(radix int, tweak []byte, numerals []uint16) error {
	n := len(numerals)
	switch {
	case radix < MinRadix || radix > MaxRadix:
		return kms.Errorf(kms.CodeBadRequest, "an alphabet of %d characters was given: want %d to %d", radix, MinRadix, MaxRadix)
	case len(tweak) > MaxTweak:
		return kms.Errorf(kms.CodeTooLarge, "the tweak has %d bytes, the limit is %d", len(tweak), MaxTweak)
	case n > MaxNumerals:
		return kms.Errorf(kms.CodeTooLarge, "the text has %d characters, the limit is %d", n, MaxNumerals)
	}
	domain := 1
	for i := 0; i < n && domain < MinDomain; i++ {
		domain *= radix
	}
	if n < 2 || domain < MinDomain {
		return kms.Errorf(kms.CodeBadRequest, "%d characters of an alphabet of %d are too few: a format must have at least two characters and %d values (SP 800-38G rev. 1 §5.1)",
			n, radix, MinDomain)
	}
	for i, c := range numerals {
		if int(c) >= radix {
			return kms.Errorf(kms.CodeBadRequest, "character %d is %d, the alphabet has %d", i+1, c, radix)
		}
	}
	return nil
}

// ff1 holds what is the same in all rounds of one operation: algorithm 7, steps 1 to 5. The numerals are kept as the numbers that
// NUM_radix makes of them, between the first step and the last.
type ff1 struct {
	block cipher.Block
	radix *big.Int
	u, v  int                 // numerals of the halves
	mod   [2]*big.Int         // radix^u, radix^v
	b, d  int                 // bytes of a half as a number; bytes of a round's output
	state [aes.BlockSize]byte // PRF after P
	q     []byte              // T ‖ zeros ‖ round ‖ number
	s     []byte              // S, d bytes and what is left of its last block
	y     big.Int
}

func newFF1(block cipher.Block, radix int, tweak []byte, n int) *ff1 {
	f := &ff1{block: block, radix: big.NewInt(int64(radix)), u: n / 2, v: n - n/2}
	for i, m := range []int{f.u, f.v} {
		f.mod[i] = new(big.Int).Exp(f.radix, big.NewInt(int64(m)), nil)
	}
	// Step 3: b = ⌈⌈v log2 radix⌉ / 8⌉, where ⌈log2 x⌉ is the length of x - 1 in bits.
	f.b = (new(big.Int).Sub(f.mod[1], big.NewInt(1)).BitLen() + 7) / 8
	f.d = 4*((f.b+3)/4) + 4

	p := append(f.state[:0], 1, 2, 1, byte(radix>>16), byte(radix>>8), byte(radix), ff1Rounds, byte(f.u)) // step 5
	binary.BigEndian.PutUint32(f.state[len(p):], uint32(n))                                               //nolint:gosec // G115: at most MaxNumerals
	binary.BigEndian.PutUint32(f.state[len(p)+4:], uint32(len(tweak)))                                    //nolint:gosec // G115: at most MaxTweak
	block.Encrypt(f.state[:], f.state[:])

	used := len(tweak) + 1 + f.b
	f.q = make([]byte, (used+aes.BlockSize-1)/aes.BlockSize*aes.BlockSize)
	copy(f.q, tweak)
	f.s = make([]byte, (f.d+aes.BlockSize-1)/aes.BlockSize*aes.BlockSize)
	return f
}

// encrypt is algorithm 7, step 6. The halves change places an even number of times: the results are left in a, of u numerals, and
// in b, of v.
func (f *ff1) encrypt(a, b *big.Int) {
	for i := range ff1Rounds {
		a.Add(a, f.round(i, b))
		a.Mod(a, f.mod[i%2])
		a, b = b, a
	}
}

// decrypt is algorithm 8, step 6.
func (f *ff1) decrypt(a, b *big.Int) {
	for i := ff1Rounds - 1; i >= 0; i-- {
		a, b = b, a
		a.Sub(a, f.round(i, b))
		a.Mod(a, f.mod[i%2])
	}
}

// round is y of steps 6.i to 6.iv, for one half of the text as a number.
func (f *ff1) round(i int, half *big.Int) *big.Int {
	f.q[len(f.q)-f.b-1] = byte(i)
	half.FillBytes(f.q[len(f.q)-f.b:])
	r := f.state
	for at := 0; at < len(f.q); at += aes.BlockSize { // PRF, algorithm 6
		subtle.XORBytes(r[:], r[:], f.q[at:at+aes.BlockSize])
		f.block.Encrypt(r[:], r[:])
	}
	copy(f.s, r[:])
	for j := 1; j*aes.BlockSize < len(f.s); j++ {
		x := r
		binary.BigEndian.PutUint64(x[8:], binary.BigEndian.Uint64(x[8:])^uint64(j)) //nolint:gosec // G115: positive
		f.block.Encrypt(f.s[j*aes.BlockSize:], x[:])
	}
	return f.y.SetBytes(f.s[:f.d])
}

// number is NUM_radix, algorithm 1.
func (f *ff1) number(numerals []uint16) *big.Int {
	n := new(big.Int)
	for _, c := range numerals {
		n.Add(n.Mul(n, f.radix), f.y.SetUint64(uint64(c)))
	}
	return n
}

// numerals appends STR_radix with m numerals, algorithm 3.
func (f *ff1) numerals(dst []uint16, n *big.Int, m int) []uint16 {
	at := len(dst)
	dst = append(dst, make([]uint16, m)...)
	for i := at + m - 1; i >= at; i-- {
		n.QuoRem(n, f.radix, &f.y)
		dst[i] = uint16(f.y.Uint64()) //nolint:gosec // G115: below the radix
	}
	return dst
}
