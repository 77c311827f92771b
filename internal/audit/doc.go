// Package audit remembers what happened, durably and provably: a segment log with one fdatasync for each group of
// callers, and behind it a Merkle tree with signed checkpoints (docs/formats-audit.md).
//
// Behind it a keeper makes indexes of full segments, compresses them, and drops what retention does not keep.
//
// Invariants:
//   - Append answers a Position only after the record is durable; a failed write or sync answers an error and no
//     position to every caller of that group, and the same region of a file is never tried again.
//   - Every record is covered three times: by its batch's list of leaf hashes, by the chain of batches (SHA-256), and by the
//     tree (RFC 6962 hashing; C2SP tlog-tiles, tlog-checkpoint, tlog-proof). Batches written after unsealing also
//     carry a MAC, so that a tail edited while the server was down is found when it is unsealed again.
//   - What identifies a person stands in an annex that can be blanked without touching a hash.
//   - A damaged log is refused, never repaired silently: only bytes that nobody was told about are cut.
//   - One committer writes; readers see acknowledged records only.
//
// It refuses to hold a secret: keys arrive as functions (Keys), records hold digests. It knows nothing of stores,
// policies or wire formats. Package verify checks a directory with the public key alone.
package audit
