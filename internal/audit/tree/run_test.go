package tree

import (
	"encoding/binary"
	mrand "math/rand/v2"
	"testing"
)

// TestARunOfLeavesIsAppendedLikeOneByOne cuts a tree into runs of all lengths, from places of all alignments.
func TestARunOfLeavesIsAppendedLikeOneByOne(t *testing.T) {
	rnd := mrand.New(mrand.NewPCG(1, 1))
	leaf := func(i uint64) (h Hash) {
		binary.BigEndian.PutUint64(h[:], i)
		return h
	}
	for range 300 {
		first := rnd.Uint64N(5000)
		var one, runs Range
		one.Reset(first)
		runs.Reset(first)
		for range rnd.IntN(6) {
			var run []byte
			for range rnd.IntN(700) {
				h := leaf(one.Next)
				run = append(run, h[:]...)
				one.Append(h, nil)
			}
			runs.AppendRun(run)
			if runs.Next != one.Next || len(runs.nodes) != len(one.nodes) {
				t.Fatalf("from %d: got %d records in %d subtrees want %d in %d", first, runs.Next, len(runs.nodes), one.Next, len(one.nodes))
			}
			for i := range one.nodes {
				if runs.nodes[i] != one.nodes[i] {
					t.Fatalf("from %d to %d: subtree %d is another", first, one.Next, i)
				}
			}
		}
	}
}
