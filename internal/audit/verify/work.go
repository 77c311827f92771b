package verify

import (
	"errors"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/kms"
)

var (
	errPadding = errors.New("the bytes behind the batch are not zero")
	errChain   = errors.New("the batch does not follow from the one before: something before it was changed, removed or put in")
)

// maxAltered bounds the changed annexes that one block lists.
const maxAltered = MaxFindings

// work hashes blocks.
func work(blocks <-chan *block, o *Options) {
	var leaves []byte
	for b := range blocks {
		if b.gone {
			b.leaves()
		} else {
			leaves = b.verify(leaves[:0])
		}
		for _, d := range b.due {
			d.check(&o.Keys)
		}
		close(b.done)
	}
}

// verify checks the batches of a block one by one until one is wrong.
func (b *block) verify(leaves []byte) []byte {
	b.tree.Reset(b.from)
	due := b.due
	rest := b.data
	for first := true; len(rest) > 0; first = false {
		h, err := segment.ParseHeader(rest) // the cutter did; the bytes are the same
		if err != nil {
			b.err, b.at = err, b.tree.Next
			return leaves
		}
		size := segment.HeaderSize + int(h.Length)
		raw := rest[:size]
		padded := min(int(h.Size()), len(rest))
		if err = segment.Check(raw, &h); err == nil && !zero(rest[size:padded]) {
			err = errPadding
		}
		if err == nil && !first && h.Prev != b.last {
			err = errChain
		}
		if err == nil {
			leaves, err = segment.Leaves(leaves[:0], raw, &h)
		}
		if err != nil {
			b.err, b.at = err, h.First
			return leaves
		}
		if first {
			b.prev = h.Prev
		}
		b.records(raw, leaves, &due)
		b.last = segment.HashOf(raw)
		b.batches++
		if h.Flags&segment.Keyed == 0 {
			b.unkeyed += uint64(h.Count)
		}
		rest = rest[padded:]
	}
	return leaves
}

// records adds a batch's leaves, which fit its frames, to the tree, checks the annexes and takes the tree's state at checkpoints.
func (b *block) records(raw, leaves []byte, due *[]*due) {
	rest := raw[segment.HeaderSize:]
	for ; len(leaves) > 0; leaves = leaves[32:] {
		var f segment.Frame
		f, rest, _ = segment.Cut(rest) //nolint:errcheck // Leaves cut it before
		switch audit.CheckAnnex(f.Body(), f.Annex) {
		case audit.AnnexErased:
			b.erased++
		case audit.AnnexAltered:
			if len(b.altered) < maxAltered {
				b.altered = append(b.altered, b.tree.Next)
			}
		}
		if kms.Action(f.Body()[audit.ActionAt]) == kms.RetireAudit {
			b.claim(f.Body())
		}
		b.leaf(tree.Hash(leaves), due)
	}
}

// leaf adds a leaf to the tree, and takes its state at checkpoints.
func (b *block) leaf(h tree.Hash, due *[]*due) {
	b.tree.Append(h, nil)
	for len(*due) > 0 && (*due)[0].Size == b.tree.Next {
		(*due)[0].part = b.tree.Clone()
		*due = (*due)[1:]
	}
}

func zero(p []byte) bool {
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}
