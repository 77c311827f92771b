// Package tree is the Merkle tree over an epoch's records and what is published of it: tiles (C2SP tlog-tiles), signed
// checkpoints (C2SP tlog-checkpoint, signed-note) and proofs (C2SP tlog-proof). Hashing is RFC 6962 §2.1.
//
// Nothing in it is a source of truth: every hash follows from the segments and is rebuilt from them when it is missing.
package tree

import (
	"crypto/sha256"
	"errors"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a SHA-256 hash.
type Hash = [32]byte

// EmptyRoot is the root of a tree without records (RFC 6962 §2.1).
func EmptyRoot() Hash { return sha256.Sum256(nil) }

// node is the root of a perfect subtree of 2^level records.
type node struct {
	level uint8
	hash  Hash
}

// Range is the tree over the records [First, Next), as the roots of its largest perfect aligned subtrees: at most 2·log₂ of its size.
// Ranges that touch can be merged, so that a tree can be computed in parts.
type Range struct {
	First, Next uint64
	nodes       []node
}

// Reset makes the range empty at a place.
func (r *Range) Reset(at uint64) {
	r.First, r.Next = at, at
	r.nodes = r.nodes[:0]
}

// Append adds the next record's leaf hash. If it completes subtrees whose level is a multiple of TileHeight, full is called with each.
func (r *Range) Append(leaf Hash, full func(level int, root Hash)) {
	r.push(node{0, leaf}, full)
	r.Next++
}

// ErrGap says that two ranges do not touch.
var ErrGap = errors.New("tree: the ranges do not touch")

// Merge adds the records of a range that starts where this one ends.
func (r *Range) Merge(o *Range) error {
	if o.First != r.Next {
		return ErrGap
	}
	for _, n := range o.nodes {
		r.push(n, nil)
		r.Next += 1 << n.level
	}
	return nil
}

// push adds a perfect subtree that starts at r.Next, and joins what became perfect and aligned.
func (r *Range) push(n node, full func(level int, root Hash)) {
	end := r.Next + 1<<n.level
	for len(r.nodes) > 0 {
		last := r.nodes[len(r.nodes)-1]
		// The joined subtree would start at end - 2^(level+1); it must be aligned to its own size.
		if last.level != n.level || end&(1<<(n.level+1)-1) != 0 {
			break
		}
		r.nodes = r.nodes[:len(r.nodes)-1]
		n = node{n.level + 1, tlog.NodeHash(last.hash, n.hash)}
		if full != nil && n.level%TileHeight == 0 {
			full(int(n.level), n.hash)
		}
	}
	r.nodes = append(r.nodes, n)
}

// Root is the root of a range that starts at record 0.
func (r *Range) Root() Hash {
	if len(r.nodes) == 0 {
		return EmptyRoot()
	}
	h := r.nodes[len(r.nodes)-1].hash
	for i := len(r.nodes) - 2; i >= 0; i-- {
		h = tlog.NodeHash(r.nodes[i].hash, h)
	}
	return h
}

// Clone is an independent copy.
func (r *Range) Clone() Range {
	return Range{First: r.First, Next: r.Next, nodes: append([]node(nil), r.nodes...)}
}

// perfect is the root of the perfect tree over a power of two of hashes. It overwrites them.
func perfect(hashes []Hash) Hash {
	for n := len(hashes); n > 1; n /= 2 {
		for i := 0; i < n/2; i++ {
			hashes[i] = tlog.NodeHash(hashes[2*i], hashes[2*i+1])
		}
	}
	return hashes[0]
}

// top is the largest power of two that is at most n; n is not 0.
func top(n int) int { return 1 << (bits.Len(uint(n)) - 1) } //nolint:gosec // G115: n is a small count
