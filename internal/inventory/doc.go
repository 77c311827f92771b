// Package inventory writes what is known of keys in the forms that other programs read: comma-separated values (RFC 4180) and a cryptographic bill of
// materials (CycloneDX 1.6, ECMA-424).
//
// It asks nobody and holds no list of keys: each is written as it comes, so that a million of them take no more memory than one. It shows no material and no
// public halves.
//
// Invariants, each with a test of its own:
//   - No field of the values is taken for a formula by a spreadsheet (CWE-1236).
//   - A bill of materials has the members and values that the schema of CycloneDX 1.6 knows and no others, and everything that it refers to is in it.
//   - What was begun and not closed is not whole, and no reader takes it for whole.
package inventory
