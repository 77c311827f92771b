// Package vectors runs published known-answer tests against the software provider: Project Wycheproof, ACVP, and the FIPS 205
// vectors that come with circl. It is a module of its own, so that the product does not depend on a hundred megabytes of
// test data. The tool line of go.mod keeps the version of the ACVP data, which are no package that could be imported.
//
// Whatever has a private key, a secret key or a public key in a vector goes through the provider itself, wrapped, opened and
// gated as in the product. AEAD vectors cannot: the provider derives a key and draws a nonce for each message. They are run
// against the ciphers that the boxes are made of; that boxes are what is written is tested beside them.
//
// A vector that the provider refuses by a rule of its own (a truncated MAC, the higher s of secp256k1, a context of ML-DSA)
// must be refused; none is left out silently, and each test says how many vectors it must have seen.
package vectors
