package verify

import (
	"crypto/sha256"
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
			b.tree.Reset(b.from)
			b.first = tree.Hash(b.data)
			b.grow(b.data)
		} else {
			leaves = b.verify(leaves[:0])
		}
		for _, d := range b.due {
			d.check(&o.Keys)
		}
		close(b.done)
	}
}

// verify checks the batches of a block one by one until one is wrong, and adds the records before that to the tree. leaves is room for their hashes.
func (b *block) verify(leaves []byte) []byte {
	b.tree.Reset(b.from)
	for rest := b.data; len(rest) > 0 && b.err == nil; {
		h, err := segment.ParseHeader(rest) // the cutter did; the bytes are the same
		if err != nil {
			b.err, b.at = err, b.from+uint64(len(leaves)/32) //nolint:gosec // G115: a length
			break
		}
		size := segment.HeaderSize + int(h.Length)
		padded := min(int(h.Size()), len(rest))
		all, err := b.batch(leaves, rest[:size], rest[size:padded], &h)
		if err != nil {
			b.err, b.at = err, h.First
			break
		}
		leaves, rest = all, rest[padded:]
	}
	b.grow(leaves)
	return leaves
}

// batch checks one batch and what pads it, and appends its leaf hashes.
func (b *block) batch(leaves, raw, padding []byte, h *segment.Header) ([]byte, error) {
	if err := segment.Check(raw, h); err != nil {
		return nil, err
	}
	switch {
	case !zero(padding):
		return nil, errPadding
	case b.batches == 0:
		b.prev = h.Prev
	case h.Prev != b.last:
		return nil, errChain
	}
	start := len(leaves)
	was := b.result
	leaves, err := b.records(leaves, raw, h)
	if err == nil && sha256.Sum256(leaves[start:]) != h.Leaves {
		err = segment.ErrLeaves
	}
	if err != nil {
		b.result = was // what the records say does not count
		return nil, err
	}
	b.last = segment.HashOf(raw)
	b.batches++
	if h.Flags&segment.Keyed == 0 {
		b.unkeyed += uint64(h.Count)
	}
	return leaves, nil
}

// records appends the leaf hashes of a batch's records, and checks their annexes.
func (b *block) records(leaves, raw []byte, h *segment.Header) ([]byte, error) {
	rest := raw[segment.HeaderSize:]
	for seq := h.First; seq < h.Next(); seq++ {
		f, tail, err := segment.Cut(rest)
		if err != nil {
			return nil, err
		}
		leaf := f.Leaf()
		leaves, rest = append(leaves, leaf[:]...), tail
		body := f.Body()
		switch audit.CheckAnnex(body, f.Annex) {
		case audit.AnnexErased:
			b.erased++
		case audit.AnnexAltered:
			if len(b.altered) < maxAltered {
				b.altered = append(b.altered, seq)
			}
		}
		if len(body) > audit.ActionAt && kms.Action(body[audit.ActionAt]) == kms.RetireAudit {
			b.claim(seq, body)
		}
	}
	if len(rest) != 0 {
		return nil, segment.ErrFrames
	}
	return leaves, nil
}

// grow adds leaf hashes to the tree and takes its state at checkpoints. It overwrites them.
func (b *block) grow(leaves []byte) {
	for _, d := range b.due {
		n := int(d.Size-b.tree.Next) * 32 //nolint:gosec // G115: the checkpoint lies in the block
		if n > len(leaves) {
			break // the block is damaged before it
		}
		b.tree.AppendRun(leaves[:n])
		leaves = leaves[n:]
		d.part = b.tree.Clone()
	}
	b.tree.AppendRun(leaves)
}

func zero(p []byte) bool {
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}
