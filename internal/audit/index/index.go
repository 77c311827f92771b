// Package index tells in which blocks of an audit segment a record with given properties can stand (docs/formats-audit.md, "Index").
//
// An index is derived from a run of records and holds, for each property that somebody asks for (a key, a caller's alias, an action, …), the blocks in which it
// occurs. A property is stored as a hash under a salt of the index's own, never as itself. The answer may name a block too many and never one too few.
//
// It is never a source of truth: it is not synced, and what a checksum does not confirm is refused (ErrDamaged), so that the reader looks at the records
// themselves and has the index made anew. It proves nothing: who can write to the disk can make an index that hides records from a listing, not from a verifier.
package index

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
)

// Limits of one index.
const (
	MaxBlocks  = 1 << 13
	MaxRecords = 1 << 19
	maxTerms   = 1 << 24
	maxBucket  = 1 << 20 // bytes
)

// The layout, in bytes. Integers are big-endian.
const (
	magic      = "KHAX"
	format     = 1
	headerSize = 120
	blockSize  = 28
	offsetSize = 4
	perBucket  = 16 // terms, on average

	pageSize = 4096
	sumSize  = 4 // at the end of each page
	pageData = pageSize - sumSize
)

// ErrDamaged says that an index cannot be used. Make it anew.
var ErrDamaged = errors.New("the audit index is damaged")

// Block is a run of batches.
type Block struct {
	First uint64 // number of the first record
	Next  uint64 // number of the record after the last
	Off   int64  // where it begins in the segment
}

// Scope is what an index covers.
type Scope struct {
	Tag         [8]byte // of the epoch
	First, Next uint64  // records
	Oldest      int64   // time of a record, nanoseconds since 1970
	Newest      int64
	LastOff     int64    // where the last batch begins in the segment
	LastHash    [32]byte // of that batch, which commits to every record before it in the epoch
}

// Header is what the first page says. It is small, so that many can be kept.
type Header struct {
	Scope
	salt    [16]byte
	blocks  uint32
	terms   uint32
	buckets uint8 // their number is two to the power of it
	entries uint32
}

// Term is a property of a record: a kind and a value.
type Term struct {
	Kind  byte
	Value []byte
}

func (h *Header) hash(kind byte, value []byte) uint64 { return hashOf(&h.salt, kind, value) }

func hashOf(salt *[16]byte, kind byte, value []byte) uint64 {
	var room [128]byte
	buf := append(append(append(room[:0], salt[:]...), kind), value...)
	sum := sha256.Sum256(buf)
	return binary.BigEndian.Uint64(sum[:])
}

// split gives the bucket of a hash and what tells terms in it apart.
func split(hash uint64, buckets uint8) (bucket, mark uint32) {
	return uint32(hash >> 32 >> (32 - buckets)), uint32(hash) //nolint:gosec // G115: halves
}

// Places of the sections in the data.
func (h *Header) offsetsAt() int64 { return headerSize + int64(h.blocks)*blockSize }
func (h *Header) entriesAt() int64 { return h.offsetsAt() + (1<<h.buckets+1)*offsetSize }
func (h *Header) size() int64      { return h.entriesAt() + int64(h.entries) }

// Size is the length of the file in bytes.
func (h *Header) Size() int64 { return (h.size() + pageData - 1) / pageData * pageSize }

func (h *Header) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = append(b, format, h.buckets, 0, 0)
	b = append(b, h.Tag[:]...)
	b = binary.BigEndian.AppendUint64(b, h.First)
	b = binary.BigEndian.AppendUint64(b, h.Next)
	b = append(b, h.salt[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Oldest)) //nolint:gosec // G115: a bit pattern
	b = binary.BigEndian.AppendUint64(b, uint64(h.Newest)) //nolint:gosec // G115: a bit pattern
	b = binary.BigEndian.AppendUint32(b, h.blocks)
	b = binary.BigEndian.AppendUint32(b, h.terms)
	b = binary.BigEndian.AppendUint32(b, h.entries)
	b = binary.BigEndian.AppendUint64(b, uint64(h.LastOff)) //nolint:gosec // G115: not negative
	b = append(b, h.LastHash[:]...)
	return append(b, 0, 0, 0, 0)
}

// ReadHeader reads the first page. Errors: ErrDamaged, and those of reading.
func ReadHeader(src io.ReaderAt) (Header, error) {
	var h Header
	b, err := pages{src: src}.read(0, headerSize)
	if err != nil {
		return h, err
	}
	if string(b[:4]) != magic || b[4] != format || b[5] > 32 {
		return h, ErrDamaged
	}
	h = Header{
		Scope: Scope{
			Tag: [8]byte(b[8:]), First: binary.BigEndian.Uint64(b[16:]), Next: binary.BigEndian.Uint64(b[24:]),
			Oldest: int64(binary.BigEndian.Uint64(b[48:])), Newest: int64(binary.BigEndian.Uint64(b[56:])), //nolint:gosec // G115: bit patterns
			LastOff: int64(binary.BigEndian.Uint64(b[76:])), LastHash: [32]byte(b[84:]), //nolint:gosec // G115: a bit pattern
		},
		salt: [16]byte(b[32:]), buckets: b[5],
		blocks: binary.BigEndian.Uint32(b[64:]), terms: binary.BigEndian.Uint32(b[68:]), entries: binary.BigEndian.Uint32(b[72:]),
	}
	if h.First >= h.Next || h.Next-h.First > MaxRecords || h.blocks == 0 || h.blocks > MaxBlocks || h.terms > maxTerms || h.buckets > bucketBits(h.terms) {
		return h, ErrDamaged
	}
	return h, nil
}

// bucketBits is the power of two of buckets for a number of terms.
func bucketBits(terms uint32) uint8 { return uint8(bits.Len32(terms / perBucket)) } //nolint:gosec // G115: at most 32

// Find gives the blocks in which records can stand that have at least one term of each list, with times from since to before until (nanoseconds since 1970), in
// order. No list: all blocks of that time. Errors: ErrDamaged, and those of reading.
func (h *Header) Find(src io.ReaderAt, since, until int64, lists ...[]Term) ([]Block, error) {
	if h.Newest < since || h.Oldest >= until {
		return nil, nil
	}
	p := pages{src, h.salt}
	var all []uint64
	for _, list := range lists {
		one := make([]uint64, int(h.blocks+63)/64)
		for _, t := range list {
			if err := h.blocksOf(p, h.hash(t.Kind, t.Value), one); err != nil {
				return nil, err
			}
		}
		if all == nil {
			all = one
		}
		some := uint64(0)
		for i := range all {
			all[i] &= one[i]
			some |= all[i]
		}
		if some == 0 {
			return nil, nil
		}
	}
	return h.listed(p, all, since, until)
}

// blocksOf adds the blocks of a term to a set.
func (h *Header) blocksOf(p pages, hash uint64, set []uint64) error {
	bucket, want := split(hash, h.buckets)
	b, err := p.read(h.offsetsAt()+int64(bucket)*offsetSize, 2*offsetSize)
	if err != nil {
		return err
	}
	from, to := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[offsetSize:])
	if from > to || to > h.entries || to-from > maxBucket {
		return ErrDamaged
	}
	if b, err = p.read(h.entriesAt()+int64(from), int(to-from)); err != nil {
		return err
	}
	for len(b) > 0 {
		if len(b) < 5 {
			return ErrDamaged
		}
		mark := binary.BigEndian.Uint32(b)
		into := set
		if mark != want {
			into = nil
		}
		if b, err = posting(b[4:], h.blocks, into); err != nil {
			return err
		}
	}
	return nil
}

// posting reads a list of blocks into a set, which may be nil: their number, then the first and the distances, or a bit for each block, whichever is shorter at
// a byte for each distance.
func posting(b []byte, blocks uint32, set []uint64) (rest []byte, err error) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n == 0 || n > uint64(blocks) {
		return nil, ErrDamaged
	}
	b = b[used:]
	if whole := int(blocks+7) / 8; int(n) >= whole { //nolint:gosec // G115: bounded by blocks
		if len(b) < whole {
			return nil, ErrDamaged
		}
		for i := 0; i < whole && set != nil; i++ {
			set[i/8] |= uint64(b[i]) << (i % 8 * 8)
		}
		return b[whole:], nil
	}
	at := uint64(0)
	for i := range n {
		d, used := binary.Uvarint(b)
		if used <= 0 || i > 0 && d == 0 || d >= uint64(blocks) {
			return nil, ErrDamaged
		}
		b, at = b[used:], at+d
		if at >= uint64(blocks) {
			return nil, ErrDamaged
		}
		if set != nil {
			set[at/64] |= 1 << (at % 64)
		}
	}
	return b, nil
}

// listed gives the blocks of a set (nil: of all) whose times fit.
func (h *Header) listed(p pages, set []uint64, since, until int64) ([]Block, error) {
	b, err := p.read(headerSize, int(h.blocks)*blockSize)
	if err != nil {
		return nil, err
	}
	var out []Block
	before := Block{First: h.First, Off: -1}
	for i := range int(h.blocks) {
		row := b[i*blockSize:]
		block := Block{
			First: h.First + uint64(binary.BigEndian.Uint32(row)), Off: int64(binary.BigEndian.Uint64(row[4:])), Next: h.Next, //nolint:gosec // G115: a bit pattern
		}
		if i+1 < int(h.blocks) {
			block.Next = h.First + uint64(binary.BigEndian.Uint32(row[blockSize:]))
		}
		oldest, newest := int64(binary.BigEndian.Uint64(row[12:])), int64(binary.BigEndian.Uint64(row[20:])) //nolint:gosec // G115: bit patterns
		if i == 0 && block.First != h.First || block.First >= block.Next || block.Off <= before.Off || block.Next > h.Next {
			return nil, ErrDamaged
		}
		before = block
		if set != nil && set[i/64]&(1<<(i%64)) == 0 || newest < since || oldest >= until {
			continue
		}
		out = append(out, block)
	}
	return out, nil
}

// pages reads the data of a file page by page, each of which has a checksum that also covers its place and the file's salt.
type pages struct {
	src  io.ReaderAt
	salt [16]byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is the checksum of a page. The first page is read before its salt is known.
func sum(number int64, salt [16]byte, data []byte) uint32 {
	var place [24]byte
	binary.BigEndian.PutUint64(place[:], uint64(number)) //nolint:gosec // G115: not negative
	if number > 0 {
		copy(place[8:], salt[:])
	}
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, data)
}

// read gives n bytes of data.
func (p pages) read(off int64, n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	first, last := off/pageData, (off+int64(n)-1)/pageData
	raw := make([]byte, (last-first+1)*pageSize)
	if got, err := p.src.ReadAt(raw, first*pageSize); got != len(raw) {
		if err == nil || errors.Is(err, io.EOF) {
			return nil, ErrDamaged
		}
		return nil, fmt.Errorf("read index: %w", err)
	}
	data := raw[:0]
	for i := first; i <= last; i++ {
		page := raw[(i-first)*pageSize:][:pageSize]
		if sum(i, p.salt, page[:pageData]) != binary.BigEndian.Uint32(page[pageData:]) {
			return nil, ErrDamaged
		}
		data = append(data, page[:pageData]...)
	}
	return data[off-first*pageData:][:n], nil
}
