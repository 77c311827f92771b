// Package vectors runs published known-answer tests against the software provider: Project Wycheproof, ACVP, and the FIPS 205
// vectors that come with circl. It is a module of its own, so that the product does not depend on a hundred megabytes of
// test data. The tool line of go.mod keeps the version of the ACVP data, which are no package that could be imported.
//
// Whatever has a private key, a secret key or a public key in a vector goes through the provider itself, wrapped, opened and
// gated as in the product. AEAD and SIV vectors cannot: the provider derives a key, and for boxes draws a nonce, for each message.
// They are run against the ciphers that boxes and convergent ciphertexts are made of; that these are what is written is tested
// beside them. ML-KEM runs under both profiles, as each has an implementation of its own.
//
// A vector that the provider refuses by a rule of its own (a truncated MAC, the higher s of secp256k1, a context of ML-DSA)
// must be refused (so must a format of fewer than a million values); none is left out silently, and each test says how many vectors it must have seen.
package vectors
