package tree

import (
	"crypto/sha256"
	"hash"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// nodePrefix comes before the two hashes of a node (RFC 6962 §2.1).
const nodePrefix = 1

// AppendRun adds the next records' leaf hashes, 32 bytes each. It overwrites them.
func (r *Range) AppendRun(leaves []byte) {
	h := sha256.New()
	for len(leaves) > 0 {
		n := uint64(top(len(leaves) / tlog.HashSize)) //nolint:gosec // G115: positive
		if r.Next != 0 {
			n = min(n, r.Next&-r.Next) // a perfect subtree begins on a multiple of its size
		}
		run := leaves[:n*tlog.HashSize]
		leaves = leaves[len(run):]
		fold(h, run)
		r.push(node{uint8(bits.Len64(n) - 1), Hash(run)}, nil) //nolint:gosec // G115: small
		r.Next += n
	}
}

// fold leaves the root of the perfect tree over a power of two of hashes in the place of the first.
func fold(h hash.Hash, hashes []byte) {
	var in [1 + 2*tlog.HashSize]byte
	in[0] = nodePrefix
	for len(hashes) > tlog.HashSize {
		half := hashes[:len(hashes)/2]
		for out := half; len(out) > 0; out = out[tlog.HashSize:] {
			copy(in[1:], hashes)
			hashes = hashes[2*tlog.HashSize:]
			h.Reset()
			h.Write(in[:])
			h.Sum(out[:0])
		}
		hashes = half
	}
}
