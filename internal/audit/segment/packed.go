package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// A compressed segment (docs/formats-audit.md, "Compressed segment") is a Zstandard file (RFC 8878) that any decompressor turns into the segment: a frame for
// each block of whole batches, then a skippable frame with the table of the blocks, which makes any of them readable without the others.
const (
	packedFormat  = 1
	packedMagic   = "KHAZ"
	blockGoal     = 128 << 10 // bytes; a block ends with the batch that reaches it
	maxBlock      = blockGoal + HeaderSize + MaxPayload + Align
	maxBlocks     = 1 << 17
	maxPacked     = maxBlock + maxBlock/64 + 1<<10 // bytes that a block can take compressed
	skippable     = 0x184D2A5B
	skippableSize = 8
	rowSize       = 16
	footerSize    = 32
)

// ErrPacked says that a compressed segment is damaged.
var ErrPacked = errors.New("the compressed segment is damaged")

// row describes one block.
type row struct {
	first   uint64 // number of the first record
	off     int64  // in the segment
	at      int64  // in the file
	size    int    // in the segment
	written int    // in the file
}

// table is what the end of a compressed segment says.
type table struct {
	rows []row
	next uint64 // number of the record after the last
	size int64  // of the segment
	at   int64  // of the skippable frame
}

// append adds a block.
func (t *table) append(first uint64, size, written int) {
	t.rows = append(t.rows, row{first: first, off: t.size, at: t.at, size: size, written: written})
	t.size += int64(size)
	t.at += int64(written)
}

// encode gives the skippable frame.
func (t *table) encode() []byte {
	n := len(t.rows)*rowSize + footerSize
	out := make([]byte, 0, skippableSize+n)
	out = binary.LittleEndian.AppendUint32(out, skippable)
	out = binary.LittleEndian.AppendUint32(out, uint32(n)) //nolint:gosec // G115: bounded by maxBlocks
	for _, r := range t.rows {
		out = binary.BigEndian.AppendUint64(out, r.first)
		out = binary.BigEndian.AppendUint32(out, uint32(r.size))    //nolint:gosec // G115: bounded by maxBlock
		out = binary.BigEndian.AppendUint32(out, uint32(r.written)) //nolint:gosec // G115: bounded by maxPacked
	}
	out = binary.BigEndian.AppendUint64(out, t.next)
	out = binary.BigEndian.AppendUint64(out, uint64(t.size))      //nolint:gosec // G115: not negative
	out = binary.BigEndian.AppendUint32(out, uint32(len(t.rows))) //nolint:gosec // G115: bounded by maxBlocks
	out = append(out, packedFormat, 0, 0, 0)
	out = binary.BigEndian.AppendUint32(out, crc32.Checksum(out[skippableSize:], castagnoli))
	return append(out, packedMagic...)
}

// readTable reads the end of a compressed segment. Errors: ErrPacked, and those of reading.
func readTable(src io.ReaderAt, size int64) (*table, error) {
	wrong := func(what string) (*table, error) { return nil, fmt.Errorf("%w: %s", ErrPacked, what) }
	var foot [footerSize]byte
	if size < skippableSize+footerSize {
		return wrong("it is too short")
	}
	if err := readFull(src, foot[:], size-footerSize); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(foot[16:])
	if string(foot[28:]) != packedMagic || foot[20] != packedFormat || foot[21]|foot[22]|foot[23] != 0 || n > maxBlocks {
		return wrong("it does not end with a table")
	}
	t := &table{next: binary.BigEndian.Uint64(foot[:])}
	length := int64(n)*rowSize + footerSize
	at := size - length - skippableSize
	if at < 0 {
		return wrong("its table is longer than the file")
	}
	raw := make([]byte, skippableSize+length)
	if err := readFull(src, raw, at); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(raw) != skippable || int64(binary.LittleEndian.Uint32(raw[4:])) != length ||
		crc32.Checksum(raw[skippableSize:len(raw)-8], castagnoli) != binary.BigEndian.Uint32(raw[len(raw)-8:]) {
		return wrong("its table does not match its checksum")
	}
	t.rows = make([]row, 0, n)
	for r := raw[skippableSize:]; len(r) > footerSize; r = r[rowSize:] {
		first, size, written := binary.BigEndian.Uint64(r), binary.BigEndian.Uint32(r[8:]), binary.BigEndian.Uint32(r[12:])
		before := len(t.rows) - 1
		if size == 0 || size > maxBlock || written == 0 || written > maxPacked || first >= t.next || before >= 0 && first <= t.rows[before].first {
			return wrong("its table makes no sense")
		}
		t.append(first, int(size), int(written))
	}
	if t.at != at || uint64(t.size) != binary.BigEndian.Uint64(foot[8:]) { //nolint:gosec // G115: not negative
		return wrong("its table does not describe it")
	}
	return t, nil
}

func readFull(src io.ReaderAt, p []byte, off int64) error {
	n, err := src.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it is cut short", ErrPacked)
	}
	return fmt.Errorf("read segment: %w", err)
}

// decoders are bounded: they refuse a frame that asks for more memory than a block may need, and write no byte beyond the room they are given.
var decoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxBlock),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return err
	}
	return d
}}

// unpack decompresses a block into dst, which has exactly its size.
func unpack(dst, packed []byte) error {
	got := decoders.Get()
	d, ok := got.(*zstd.Decoder)
	if !ok {
		return fmt.Errorf("read segment: %w", got.(error)) //nolint:forcetypeassert,errcheck // the pool holds nothing else
	}
	defer decoders.Put(d)
	out, err := d.DecodeAll(packed, dst[:0:len(dst)])
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPacked, err)
	}
	if len(out) != len(dst) {
		return fmt.Errorf("%w: a block has another length", ErrPacked)
	}
	return nil
}

// Packer compresses the batches of a segment in order.
type Packer struct {
	enc   *zstd.Encoder
	block []byte
	first uint64
	table table
}

// NewPacker makes a packer.
func NewPacker() (*Packer, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return nil, fmt.Errorf("make a compressor: %w", err)
	}
	return &Packer{enc: enc}, nil
}

// Add takes the next batch. When a block is full it appends it, compressed, to dst.
func (p *Packer) Add(dst []byte, b *Batch) []byte {
	if len(p.block) == 0 {
		p.first = b.First
	}
	p.block = append(p.block, b.Raw...)
	p.block = append(p.block, make([]byte, Padded(int64(len(b.Raw)))-int64(len(b.Raw)))...)
	p.table.next = b.Next()
	if len(p.block) < blockGoal {
		return dst
	}
	return p.flush(dst)
}

func (p *Packer) flush(dst []byte) []byte {
	start := len(dst)
	dst = p.enc.EncodeAll(p.block, dst)
	p.table.append(p.first, len(p.block), len(dst)-start)
	p.block = p.block[:0]
	return dst
}

// Finish appends the last block and the table to dst.
func (p *Packer) Finish(dst []byte) []byte {
	if len(p.block) > 0 {
		dst = p.flush(dst)
	}
	return append(dst, p.table.encode()...)
}
