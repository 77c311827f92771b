// Package usage adds up what the audit log says of the use of keys: who used which version of a key for what, how often, and when first and last.
//
// The log is the one durable truth: the ledger is folded from it and can be folded again. What is counted is every item of every recorded operation that
// uses key material (kms.UseGroup), asks for a public half, or lets a key or the store out, for the version that the item used; and the use of a second key
// that wraps, unwraps or opens for it. What was refused counts as refused, under its code. Dry runs count as nothing. An item that was withheld at the last
// moment counts as done: it was performed.
//
// The package reads no clock and no store. Invariants: the sums of a row by action are exact however many principals there are; folding the same records
// in other portions gives the same row, as long as they are of no more than records.MaxUsers principals.
package usage
