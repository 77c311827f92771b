package index

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"math"
	"slices"
)

// Builder collects the blocks of an index in order.
type Builder struct {
	h      Header
	rows   []row
	terms  []entry
	recent map[uint64]struct{} // hashes of the present block, so that each is noted once
	hashes map[string]uint64   // of terms, by kind and value: most records have the terms of one before
}

// maxHashes that are remembered: what a busy hour's keys and callers have, in a few megabytes.
const maxHashes = 1 << 14

type row struct {
	first          uint64
	off            int64
	oldest, newest int64
}

// entry says that a term occurs in a block.
type entry struct {
	hash  uint64
	block uint32
}

// NewBuilder begins an index at a record of an epoch.
func NewBuilder(tag [8]byte, first uint64) *Builder {
	b := &Builder{recent: map[uint64]struct{}{}, hashes: map[string]uint64{}}
	b.h.Tag, b.h.First, b.h.Next = tag, first, first
	b.h.Oldest, b.h.Newest = math.MaxInt64, math.MinInt64
	rand.Read(b.h.salt[:]) //nolint:errcheck // never fails since Go 1.24
	return b
}

// Full tells whether another block needs another index.
func (b *Builder) Full() bool { return len(b.rows) >= MaxBlocks || b.h.Next-b.h.First >= MaxRecords/2 }

// Records is the number of records so far.
func (b *Builder) Records() uint64 { return b.h.Next - b.h.First }

// Batch notes where the batch that was added last begins, and its hash.
func (b *Builder) Batch(off int64, hash [32]byte) { b.h.LastOff, b.h.LastHash = off, hash }

// Block begins a block with the next record.
func (b *Builder) Block(off int64) {
	b.rows = append(b.rows, row{b.h.Next, off, math.MaxInt64, math.MinInt64})
	clear(b.recent)
}

// Add adds the next record to the present block. Its terms follow.
func (b *Builder) Add(at int64) {
	r := &b.rows[len(b.rows)-1]
	r.oldest, r.newest = min(r.oldest, at), max(r.newest, at)
	b.h.Oldest, b.h.Newest = min(b.h.Oldest, at), max(b.h.Newest, at)
	b.h.Next++
}

// Term adds a property of the record that was added last, which others may have too.
func (b *Builder) Term(kind byte, value []byte) {
	var room [64]byte
	term := append(append(room[:0], kind), value...)
	hash, known := b.hashes[string(term)]
	if !known {
		hash = b.h.hash(kind, value)
		if len(b.hashes) == maxHashes {
			clear(b.hashes)
		}
		b.hashes[string(term)] = hash
	}
	b.note(hash)
}

// Unique adds a property that no other record is likely to have.
func (b *Builder) Unique(kind byte, value []byte) { b.note(b.h.hash(kind, value)) }

func (b *Builder) note(hash uint64) {
	if _, known := b.recent[hash]; known {
		return
	}
	b.recent[hash] = struct{}{}
	b.terms = append(b.terms, entry{hash, uint32(len(b.rows) - 1)}) //nolint:gosec // G115: at most MaxBlocks
}

// Finish gives the file.
func (b *Builder) Finish() []byte {
	slices.SortFunc(b.terms, func(x, y entry) int {
		switch {
		case x.hash < y.hash:
			return -1
		case x.hash > y.hash:
			return 1
		}
		return cmp.Compare(x.block, y.block)
	})
	b.h.blocks = uint32(len(b.rows)) //nolint:gosec // G115: at most MaxBlocks
	for i := range b.terms {
		if i == 0 || b.terms[i].hash != b.terms[i-1].hash {
			b.h.terms++
		}
	}
	b.h.buckets = bucketBits(b.h.terms)
	offsets, entries := b.postings()
	b.h.entries = uint32(len(entries)) //nolint:gosec // G115: bounded by the records
	data := make([]byte, 0, b.h.size())
	data = append(data, b.h.encode()...)
	for _, r := range b.rows {
		data = binary.BigEndian.AppendUint32(data, uint32(r.first-b.h.First)) //nolint:gosec // G115: at most MaxRecords
		data = binary.BigEndian.AppendUint64(data, uint64(r.off))             //nolint:gosec // G115: not negative
		data = binary.BigEndian.AppendUint64(data, uint64(r.oldest))          //nolint:gosec // G115: a bit pattern
		data = binary.BigEndian.AppendUint64(data, uint64(r.newest))          //nolint:gosec // G115: a bit pattern
	}
	data = append(append(data, offsets...), entries...)
	return paged(data, b.h.salt)
}

// postings gives the offsets of the buckets and their entries.
func (b *Builder) postings() (offsets, entries []byte) {
	next := uint32(0)
	for i := 0; i < len(b.terms); {
		end := i + 1
		for end < len(b.terms) && b.terms[end].hash == b.terms[i].hash {
			end++
		}
		bucket, mark := split(b.terms[i].hash, b.h.buckets)
		for ; next <= bucket; next++ {
			offsets = binary.BigEndian.AppendUint32(offsets, uint32(len(entries))) //nolint:gosec // G115: bounded by the records
		}
		entries = binary.BigEndian.AppendUint32(entries, mark)
		entries = appendPosting(entries, b.terms[i:end], b.h.blocks)
		i = end
	}
	for ; next <= 1<<b.h.buckets; next++ {
		offsets = binary.BigEndian.AppendUint32(offsets, uint32(len(entries))) //nolint:gosec // G115: bounded by the records
	}
	return offsets, entries
}

func appendPosting(dst []byte, list []entry, blocks uint32) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	if whole := int(blocks+7) / 8; len(list) >= whole {
		at := len(dst)
		dst = append(dst, make([]byte, whole)...)
		for _, e := range list {
			dst[at+int(e.block/8)] |= 1 << (e.block % 8)
		}
		return dst
	}
	before := uint32(0)
	for _, e := range list {
		dst = binary.AppendUvarint(dst, uint64(e.block-before))
		before = e.block
	}
	return dst
}

// paged cuts data into pages with checksums.
func paged(data []byte, salt [16]byte) []byte {
	n := (len(data) + pageData - 1) / pageData
	out := make([]byte, 0, n*pageSize)
	for i := range n {
		page := make([]byte, pageData)
		copy(page, data[i*pageData:])
		out = append(out, page...)
		out = binary.BigEndian.AppendUint32(out, sum(int64(i), salt, page))
	}
	return out
}
