// Package shares splits a 32-byte seed among custodians, k of n (Shamir, "How to Share a Secret", 1979), and puts it
// together again. Shares travel as printable text.
//
// Byte i of the payload is the value at 0 of a polynomial of degree k-1 over GF(2^8) whose other coefficients are random;
// share x holds the polynomials' values at x. Invariants:
//
//   - Any k-1 shares say nothing about the seed: every value of every byte stays equally possible.
//   - The payload is seed ‖ digest of the seed, so that a combination of the wrong shares is noticed without a public
//     hash that a guess could be tested against (the idea of SLIP-39).
//   - The arithmetic on secret bytes has no branch and no table look-up that depends on them.
//   - A share is checked by itself when it is typed in: form, checksum, ranges.
//
// It keeps no state and performs no I/O; package seal collects shares and opens the root key with them. Format:
// docs/formats.md, "Custodian share".
package shares
