// Package native is Keyhold's own protocol: the services of api/keyhold/v1 over Connect, gRPC, gRPC-Web and JSON
// (docs/dialects/native.md, docs/api.md; Connect protocol: https://connectrpc.com/docs/protocol).
//
// It translates and nothing else: it finds out who calls (through the Authenticator), builds the kms.Call, hands the
// request to the engine and writes what the engine answers or refuses. It decides nothing, keeps nothing and logs no
// request.
//
// Invariants:
//   - Requests are bounded (MaxMessage, before and after decompression) and strict: a field that is not known, or stands
//     twice, is refused with the nearest known name.
//   - Every refusal carries one ErrorDetail with a stable code. The cause that the server keeps for its log never crosses,
//     and no refusal repeats a value of the request.
//   - What the engine releases is erased as soon as it is written.
//   - Init and MintEnrollment are answered on the local socket only.
//   - The short path for cryptographic requests and batches (lean.go) answers what the codec of the protocol library answers;
//     what it does not understand at once it hands to that codec.
package native
