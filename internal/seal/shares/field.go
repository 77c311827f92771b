package shares

// Arithmetic in GF(2^8) with the polynomial x^8 + x^4 + x^3 + x + 1 (0x11b, that of AES: FIPS 197 §4.2), constant
// time: shifts and masks only.

const reduction = 0x1b // 0x11b without its top bit

// mul is the product of a and b.
func mul(a, b byte) byte {
	var p byte
	for range 8 {
		p ^= a & -(b & 1)
		b >>= 1
		carry := -(a >> 7)
		a = a<<1 ^ reduction&carry
	}
	return p
}

// inverse is a^254, which is 1/a for a ≠ 0 (the group has order 255) and 0 for 0.
func inverse(a byte) byte {
	r := byte(1)
	for bit := 7; bit >= 0; bit-- {
		r = mul(r, r)
		if 254>>bit&1 == 1 { // the exponent is public
			r = mul(r, a)
		}
	}
	return r
}

// evaluate is the value at x of the polynomial whose coefficients are given, constant first (Horner).
func evaluate(coefficients []byte, x byte) byte {
	var y byte
	for i := len(coefficients) - 1; i >= 0; i-- {
		y = mul(y, x) ^ coefficients[i]
	}
	return y
}

// atZero gives, for points at the distinct non-zero xs, each point's factor in the interpolation at 0:
// the product over j ≠ i of xj / (xj - xi).
func atZero(xs []byte) []byte {
	factors := make([]byte, len(xs))
	for i, xi := range xs {
		f := byte(1)
		for j, xj := range xs {
			if i != j {
				f = mul(f, mul(xj, inverse(xj^xi)))
			}
		}
		factors[i] = f
	}
	return factors
}
