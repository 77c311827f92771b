// Package release is the permission to read what an operation releases by design: a data key, a decrypted
// plaintext. Only dialects' encoders import it; internal/archtest holds the list.
package release

// Wire permits reading a released secret in order to write it to its caller.
type Wire struct{ _ permit }

type permit struct{}
