// Package lifecycle decides what a key may do where it stands in its life, and where it may go next: the states of versions
// (NIST SP 800-57 part 1 rev. 5 §7), the operator's switch on a key, and the window before destruction.
//
// Everything here is a pure function over small tables. The package reads no clock: time is passed in, from the server's
// durable high-water mark. It performs no I/O and knows nothing of who asks: policy and approval are decided elsewhere, and what
// they granted arrives as Terms.
//
// Invariants: a permission needs both the switch and the state; an unknown switch, state, need or move is refused; nothing
// leaves destroyed. testdata holds the same rules written a second time, cell by cell, and the tests compare every cell.
// docs/formats.md and the dialects' pages describe their mapping onto these tables; this is the only place that decides.
package lifecycle
