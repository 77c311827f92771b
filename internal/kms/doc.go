// Package kms is the vocabulary of Keyhold: keys, versions, states, algorithms,
// actions, principals, calls and errors. Every other package speaks these words.
//
// It holds data and pure functions over data. It performs no I/O, reads no clock,
// takes no context and imports nothing but the standard library, so that the rules
// written here can be tested exhaustively and read in isolation.
package kms
