// Package mode has the modes of AES that Go does not offer: CMAC (SP 800-38B), SIV (RFC 5297), key wrapping with and without padding
// (SP 800-38F), and format-preserving encryption (SP 800-38G). Under each of them lies the AES of Go's own cryptography, which in
// the FIPS build is the FIPS 140-3 module; the modes themselves lie outside it.
//
// It works on raw keys, keeps nothing, and has no policy: who may use which key for what is decided before. It refuses inputs
// outside the limits of its specifications, and its own, which are lower; a refusal is a *kms.Error, a failure to open is
// ErrOpen whatever the reason. Tags are compared in constant time.
//
// SIV, key wrapping and FF1 are deterministic: the same input under the same key gives the same output.
package mode

import "errors"

// ErrOpen is the one error for what was not made by the same key with the same associated data.
var ErrOpen = errors.New("does not open")
