package soft

import (
	"crypto/sha3"
	"crypto/subtle"

	"github.com/keyhold/keyhold/internal/kms"
)

// Verification of ML-DSA signatures by the message representative μ (FIPS 204 algorithm 8 from step 8 on), for clients that send μ in the place of a message too
// long to send. No library that is used here takes μ to verify. Everything in it is public: nothing has to be done in constant time, and it is written
// for the reader. Tests hold it to the library that verifies messages, over good and altered signatures.

// The modulus and what belongs to it (FIPS 204 §4, §7.5).
const (
	latticeQ    = 8380417
	latticeN    = 256
	latticeZeta = 1753    // a 512th root of unity
	latticeInv  = 8347681 // 256⁻¹ mod q
	latticeD    = 13      // dropped bits of t
)

// latticeSizes are the parameters of a set that verification needs (FIPS 204 table 1).
type latticeSizes struct {
	k, l        int
	tau, beta   int
	gamma1Bits  int // γ1 is 2 to that
	gamma2      int
	omega       int
	challenge   int // bytes of c̃
	w1Bits      int // of a coefficient of w1
	publicBytes int
}

var latticeSets = map[kms.Algorithm]latticeSizes{
	kms.MLDSA44: {k: 4, l: 4, tau: 39, beta: 78, gamma1Bits: 17, gamma2: (latticeQ - 1) / 88, omega: 80, challenge: 32, w1Bits: 6, publicBytes: 1312},
	kms.MLDSA65: {k: 6, l: 5, tau: 49, beta: 196, gamma1Bits: 19, gamma2: (latticeQ - 1) / 32, omega: 55, challenge: 48, w1Bits: 4, publicBytes: 1952},
	kms.MLDSA87: {k: 8, l: 7, tau: 60, beta: 120, gamma1Bits: 19, gamma2: (latticeQ - 1) / 32, omega: 75, challenge: 64, w1Bits: 4, publicBytes: 2592},
}

// poly is a polynomial, or its transform; coefficients are from 0 to q-1.
type poly [latticeN]uint32

// zetas are the powers of ζ in the order of bit-reversed exponents (FIPS 204 appendix B).
var zetas = func() (z [latticeN]uint32) {
	for i := range z {
		exponent := 0
		for bit := range 8 {
			exponent |= i >> bit & 1 << (7 - bit)
		}
		v := uint64(1)
		for range exponent {
			v = v * latticeZeta % latticeQ
		}
		z[i] = uint32(v)
	}
	return z
}()

func mulQ(a, b uint32) uint32 { return uint32(uint64(a) * uint64(b) % latticeQ) }
func addQ(a, b uint32) uint32 { return (a + b) % latticeQ }
func subQ(a, b uint32) uint32 { return (a + latticeQ - b) % latticeQ }

// transform is the number-theoretic transform (algorithm 41), in place.
func (p *poly) transform() {
	m := 0
	for length := 128; length >= 1; length /= 2 {
		for start := 0; start < latticeN; start += 2 * length {
			m++
			for j := start; j < start+length; j++ {
				t := mulQ(zetas[m], p[j+length])
				p[j], p[j+length] = addQ(p[j], t), subQ(p[j], t)
			}
		}
	}
}

// invert is its inverse (algorithm 42), in place.
func (p *poly) invert() {
	m := latticeN
	for length := 1; length < latticeN; length *= 2 {
		for start := 0; start < latticeN; start += 2 * length {
			m--
			z := subQ(0, zetas[m])
			for j := start; j < start+length; j++ {
				t := p[j]
				p[j], p[j+length] = addQ(t, p[j+length]), mulQ(z, subQ(t, p[j+length]))
			}
		}
	}
	for j := range p {
		p[j] = mulQ(p[j], latticeInv)
	}
}

// matrixEntry is Â[r][s], in transformed form (algorithms 30 and 32).
func matrixEntry(rho []byte, r, s int) (p poly) {
	h := sha3.NewSHAKE128()
	h.Write(rho)
	h.Write([]byte{byte(s), byte(r)})
	var b [3]byte
	for j := 0; j < latticeN; {
		h.Read(b[:]) //nolint:errcheck // never fails
		if v := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2]&0x7f)<<16; v < latticeQ {
			p[j] = v
			j++
		}
	}
	return p
}

// inBall is the challenge polynomial: tau coefficients of 1 or -1, all others 0 (algorithm 29).
func inBall(challenge []byte, tau int) (p poly) {
	h := sha3.NewSHAKE256()
	h.Write(challenge)
	var signs [8]byte
	h.Read(signs[:]) //nolint:errcheck // never fails
	var j [1]byte
	for i := latticeN - tau; i < latticeN; i++ {
		for {
			if h.Read(j[:]); int(j[0]) <= i { //nolint:errcheck // never fails
				break
			}
		}
		p[i] = p[j[0]]
		bit := i + tau - latticeN
		p[j[0]] = 1
		if signs[bit/8]>>(bit%8)&1 == 1 {
			p[j[0]] = latticeQ - 1
		}
	}
	return p
}

// bitsAt reads n bits (at most 24) from the i-th of values that stand close together, least significant bit first.
func bitsAt(b []byte, i, n int) uint32 {
	var v uint32
	for bit := range n {
		at := i*n + bit
		v |= uint32(b[at/8]>>(at%8)&1) << bit
	}
	return v
}

// hints reads the hint (algorithm 21); false: it is not in its one form.
func (s *latticeSizes) hints(y []byte) ([][latticeN]bool, bool) {
	h := make([][latticeN]bool, s.k)
	index := 0
	for i := range h {
		end := int(y[s.omega+i])
		if end < index || end > s.omega {
			return nil, false
		}
		for first := index; index < end; index++ {
			if index > first && y[index-1] >= y[index] {
				return nil, false
			}
			h[i][y[index]] = true
		}
	}
	for _, rest := range y[index:s.omega] {
		if rest != 0 {
			return nil, false
		}
	}
	return h, true
}

// useHint is the high part of a coefficient, put right by the hint (algorithms 36 and 40).
func (s *latticeSizes) useHint(hint bool, r uint32) uint32 {
	m := (latticeQ - 1) / (2 * s.gamma2)
	r0 := int(r) % (2 * s.gamma2)
	if r0 > s.gamma2 {
		r0 -= 2 * s.gamma2
	}
	r1 := (int(r) - r0) / (2 * s.gamma2)
	if int(r)-r0 == latticeQ-1 {
		r1, r0 = 0, r0-1
	}
	switch {
	case !hint:
	case r0 > 0:
		r1 = (r1 + 1) % m
	default:
		r1 = (r1 + m - 1) % m
	}
	return uint32(r1) //nolint:gosec // G115: below m
}

// verifyMu tells whether a signature is that of μ under a public key in the encoding of FIPS 204.
func verifyMu(a kms.Algorithm, public, mu, signature []byte) bool {
	s, ok := latticeSets[a]
	zBytes := latticeN / 8 * (s.gamma1Bits + 1)
	if !ok || len(public) != s.publicBytes || len(mu) != muSize || len(signature) != s.challenge+s.l*zBytes+s.omega+s.k {
		return false
	}
	challenge, rest := signature[:s.challenge], signature[s.challenge:]
	hint, ok := s.hints(rest[s.l*zBytes:])
	if !ok {
		return false
	}
	z := make([]poly, s.l)
	gamma1 := uint32(1) << s.gamma1Bits
	for i := range z {
		packed := rest[i*zBytes : (i+1)*zBytes]
		for j := range z[i] {
			z[i][j] = subQ(gamma1, bitsAt(packed, j, s.gamma1Bits+1)%latticeQ)
			if size := min(z[i][j], latticeQ-z[i][j]); size >= gamma1-uint32(s.beta) { //nolint:gosec // G115: a small constant
				return false
			}
		}
		z[i].transform()
	}
	c := inBall(challenge, s.tau)
	c.transform()
	h := sha3.NewSHAKE256()
	h.Write(mu)
	rho, t1 := public[:32], public[32:]
	const t1Bytes = latticeN / 8 * 10
	packed := make([]byte, latticeN/8*s.w1Bits)
	for r := range s.k {
		var t, w poly
		for j := range t {
			t[j] = bitsAt(t1[r*t1Bytes:(r+1)*t1Bytes], j, 10) << latticeD % latticeQ
		}
		t.transform()
		for i := range z {
			entry := matrixEntry(rho, r, i)
			for j := range w {
				w[j] = addQ(w[j], mulQ(entry[j], z[i][j]))
			}
		}
		for j := range w {
			w[j] = subQ(w[j], mulQ(c[j], t[j]))
		}
		w.invert()
		clear(packed)
		for j := range w {
			w1 := s.useHint(hint[r][j], w[j])
			for bit := range s.w1Bits {
				at := j*s.w1Bits + bit
				packed[at/8] |= byte(w1>>bit&1) << (at % 8)
			}
		}
		h.Write(packed)
	}
	want := make([]byte, s.challenge)
	h.Read(want) //nolint:errcheck // never fails
	return subtle.ConstantTimeCompare(want, challenge) == 1
}
