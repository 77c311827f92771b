// Package soft is the provider that keeps and uses key material in this process: AES-GCM, HMAC, ECDSA, ECDH, Ed25519 and RSA
// by Go's own cryptography, which in the FIPS build is the FIPS 140-3 module; CMAC, key wrapping and FF1, modes written in
// package mode on the module's AES; ML-KEM-768 and -1024, by circl or, under the FIPS profile, by the module; and, refused by
// the FIPS profile, X25519, AES-SIV, and what others wrote: ChaCha20-Poly1305 (golang.org/x/crypto), secp256k1 (decred), ML-DSA,
// SLH-DSA, ML-KEM-512 and X-Wing (circl).
//
// Material leaves it wrapped only, bound to its place, and enters it wrapped only, verified by its check value
// (docs/formats.md, "Wrapped key material"). The one exception is a key pair that is made to be given away and is not kept
// (GeneratePair). A new version is proven before it is given out: what was wrapped is opened
// again and passes a pairwise consistency test (FIPS 140-3 IG 10.3.A; SP 800-56A rev. 3 §5.6.2.1.4; SP 800-56B rev. 2 §6.4.1.1)
// or, for a symmetric key, a round trip.
//
// Before the first key, each implementation that is not in Go's module gives a known answer of a published vector; the module tests itself.
//
// It refuses: what the algorithm table of package kms refuses under its profile, at the door of every method; to make
// anything when its random source fails a health test; to wait without limit for a place to generate a slow key. It
// knows nothing of states, policy or storage, and cannot know a key's usage: that an RSA key made to sign is not asked to
// decrypt is decided by its caller.
//
// Honest limits: parsed RSA, EC, ML-KEM and SLH-DSA keys live on the Go heap, and parts of them (the libraries' own copies)
// cannot be erased. The secp256k1 library multiplies by secret scalars in time that is not constant: who needs a curve that
// resists a neighbour's clock takes one of NIST's or Ed25519. FF1 computes with big integers, in time that depends on the plaintext.
package soft
