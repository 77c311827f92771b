// Package envelope encrypts files and streams of any size under keys of a Keyhold server, whose requests carry 64 KiB at
// most. Each file has a key of its own, made here and wrapped for one or more recipients in the file's header; the server
// wraps and unwraps a data key and never sees the file or its key.
//
//	orders := envelope.KeyholdKey{Client: c, Key: "orders"}
//	_, err := envelope.Encrypt(ctx, dst, src, envelope.Options{Recipients: []envelope.Recipient{orders}, Context: client.Context{"order": "17"}})
//	…
//	_, err = envelope.Decrypt(ctx, dst, src, envelope.OpenOptions{Identities: []envelope.Identity{envelope.KeyholdKey{Client: c}}})
//
// A recipient is a Keyhold key, a passphrase, or a public key (HPKE with X25519 and ML-KEM-768); any one of them opens the
// file. NewReaderAt reads any part of a file without the rest. Rewrap changes the recipients, or moves to the newest versions
// of their keys, without decrypting the data.
//
// The format is "KMSE" version 1 (docs/formats-envelope.md): a header of a fixed, bounded encoding, and a FLOE stream
// (c2sp.org/FLOE, ePrint 2025/2275). All of it is authenticated: the header by a code under the file's key, the data by segments
// which are bound to their place, to the file and to the encryption context.
//
// The package refuses a file with a single bit changed, before any plaintext that the change could affect is released, and
// files that are cut short, extended or put together from others. Plaintext is released segment by segment as it is
// authenticated: who uses Decrypt or NewReader must throw away what came before if an error follows.
//
// Invariants:
//   - A file opens under one file key only, whichever recipient opens it.
//   - The encryption context of a file is authenticated with its first byte, and by the server with its data key.
//   - A data key serves one file, unless a Cache was asked for.
//   - Memory is bounded by constants, whatever the file.
package envelope
