// Package witness holds tests that run Keyhold's witness, and what asks witnesses, against an implementation of the same formats by
// others (C2SP tlog-cosignature, tlog-policy, tlog-proof): github.com/transparency-dev/formats. It is a module of its own, so that what it needs is not
// what the product needs.
package witness
