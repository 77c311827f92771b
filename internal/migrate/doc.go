// Package migrate moves keys from the transit engine of a running Vault or OpenBao to a Keyhold server, and moves ciphertexts of keys that cannot move.
//
// Both ends are asked in the words of transit, over HTTPS: the source by what it has (backup, export), the target by the restore of Keyhold's Vault dialect. That is the
// one way into the engine by which a key keeps its versions, their dates and its least versions in one transaction, and it is the dialect in which the moved key is used
// and tried afterwards.
//
// The source is a stranger. It is read and never changed; only over TLS that is verified, redirected nowhere else; every answer is bounded in size and time
// and decoded strictly, and its names are checked before they stand in a path. A key counts as moved when the target says that it has it with the versions and public
// keys of the source, and nothing that the source makes with it fails at the target.
//
// Invariants: tokens, backups, keys and plaintexts are in secret.Bytes or in buffers that are erased after use, and never in an error or a report; nothing is sent to
// a server but what it needs; a second run finds what the first one did.
package migrate
