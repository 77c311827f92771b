// Package approval decides when enough others have approved one exact request: dual control, m of n (NIST SP 800-57 part 2 rev. 1
// §4.8, SP 800-53 rev. 5 AC-3(2)).
//
// Everything here is a pure function over one value, Request. The package reads no clock, performs no I/O and does not know what
// the request is: its digest stands for it, and words that people read stand beside the digest. Who may approve is policy's to
// decide, and whether an approver's credential still stands is asked of the caller.
//
// Invariants: who asked never counts as an approver, under whatever credential; nobody and no credential counts twice; one refusal ends
// a request; what has ended stays ended; a request is used at most once, by who asked, for the digest it was asked for, before it
// expires.
package approval
