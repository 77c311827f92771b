// Package cli is the command line of Keyhold: commands that call a server by the public client library, and a few that
// work on local files (verifying an audit log, checking a configuration, examining a data directory).
//
// It refuses to ask anything without a terminal, to write binary output or a share to where it would be lost or seen, to end
// something (a key, a token, the server's readiness) without a yes, and to print what a server says without making it harmless
// for a terminal first.
//
// Invariants:
//   - Results go to standard output, everything else to standard error.
//   - An error says what happened (with its code), why, and what to do next. Status 1 is a refusal or failure, 2 wrong usage.
//   - Every command that changes something takes --dry-run, --reason and, where the server takes one, --idempotency-token. What moves keys from other
//     servers speaks their dialect, which has no place for a reason or a token.
//   - The JSON of -o json are typed structs, whose fields are only ever added to.
package cli
