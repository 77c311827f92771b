// Package seal opens and closes the root of trust: the root key and its recipients, the keychain of random keys below
// it, namespace KEKs, and the epoch KEKs on which crypto-shredding rests.
//
//	recipients (≥ 2): custodian shares, passphrase, key file, later hardware   each an HPKE key pair
//	   └ Root           256 bit, random; sealed to every recipient's public key (Config)
//	       ├ Keychain   store keys, audit keys, hashing keys: random, in one sealed blob
//	       ├ KEK        one a namespace, wrapped under HKDF(root, shred secret, place)
//	       └ Epochs     epoch KEKs, in a directory of their own, under which shred secrets are wrapped
//
// Invariants:
//
//   - Everything below the root is random and wrapped, never derived from it; every wrapped blob names the root
//     generation that wraps it, so that a rotation re-wraps one small level, step by step.
//   - Recipients are public keys: a new root key, or an escrowed epoch KEK, is sealed to all of them without gathering
//     custodians. There are never fewer than two.
//   - The public configuration carries a MAC under the root key. Nothing is sealed to a recipient before it verified.
//   - A wrapped key opens under one key, in one place, of one cluster (package box commits to key and context).
//   - Key bytes leave this package only as *box.Key, as a Released share text, or as something made with them.
//
// It refuses to show a key, to open anything partly, and to guess: what does not verify is named and not used. It reads
// no clock and keeps nothing in a store: configuration, keychain and rows are bytes that its caller keeps. Only Epochs
// has files. Values are immutable and safe for concurrent use; a change gives a new value.
//
// Specifications: RFC 9180 (HPKE, export only) with ML-KEM-1024 + P-384 of draft-ietf-hpke-pq, RFC 5869, FIPS 180-4,
// FIPS 198-1, RFC 8032, C2SP signed-note. Formats: docs/formats.md.
package seal
