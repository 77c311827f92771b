// Package transit reads and writes the backup of a key of Vault's and OpenBao's transit engine, and material as their export writes it.
//
// A backup is base64 of a JSON object: the key's policy with the newer versions, and an archive of all of them. Private keys stand in it as the integers
// that they are made of; here they become PKCS #8, the one form in which material comes in and goes out elsewhere.
//
// It refuses what it could not hold truly: versions without a private half, derivation by another function than HKDF-SHA-256, convergent encryption before its third
// form, and key types that neither server names. Invariants: versions are in order and without gaps, from the least that is kept to the latest; every size is bounded before
// anything is allocated for it; what was read of a secret is in a secret.Bytes, and its other copies are erased.
package transit
