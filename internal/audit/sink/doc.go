// Package sink ships copies of the audit log to other places: syslog (RFC 5424 over TLS, RFC 5425), a webhook, OTLP logs and a folder.
//
// Each sink has a shipper: a goroutine that follows the log by itself, with a cursor of its own in a file outside the log. The log does
// not know the sinks, and nothing of theirs stands in the path of an operation.
//
// Invariants:
//   - At least once: a cursor moves only when the receiver has what is before it, as surely as its protocol can tell. What may arrive twice
//     is told apart by origin and position.
//   - In order, and nothing is passed over: a batch that cannot be delivered stays until it can. Records that left the log before
//     they were shipped are counted and said.
//   - Bounded: one batch and one page of the log in memory, a timeout on everything, retries that spread out.
//   - A sink that is dead, slow or full affects no other one.
//
// It refuses plain text connections, redirects, and secrets in its configuration: they arrive as functions.
package sink
