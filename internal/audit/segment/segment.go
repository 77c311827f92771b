// Package segment is the format of the audit log's files: batches of records, each with a header that chains it to the
// one before (docs/formats-audit.md, "Segment").
//
// A batch starts on a multiple of Align, so that writing one never touches a disk sector that holds an acknowledged one.
// Its hash covers the header and, through the list of leaf hashes, every record's body. It does not cover the annexes (a
// record commits to its own, so that it can be blanked), the MAC and the CRC.
//
// The package reads and lays out bytes. It writes no file and decides nothing: what a fault means is the reader's business.
package segment

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"
)

// Sizes in bytes.
const (
	Align      = 512
	HeaderSize = 184
	MaxPayload = 8 << 20 // of frames in one batch
	FrameSize  = 5       // body length u16, annex length u16, a zero byte
	MinBody    = 1
)

// Offsets in a header.
const (
	atFormat   = 4
	atFlags    = 5
	atReserved = 6
	atTag      = 8
	atFirst    = 16
	atCount    = 24
	atLength   = 28
	atTime     = 32
	atKeyEpoch = 40
	atHeadRev  = 44
	atHeadHash = 52
	atPrev     = 84
	atLeaves   = 116
	atMAC      = 148 // the batch hash covers what is before
	atCRC      = 180 // the CRC covers what is before, and the frames

	magic  = "KHAB"
	format = 1
)

// Flags of a batch.
type Flags uint8

// The flags.
const (
	Keyed   Flags = 1 << iota // carries a MAC and the store's head; otherwise written before unsealing
	Parting                   // keyed, and the last for now: the keys are put away and batches without a MAC may follow

	flagsEnd
)

// Hash is a SHA-256 hash.
type Hash = [32]byte

// Tag tells one epoch's batches from anything else on the disk. It is random, so that no caller can place something in a record
// that recovery would take for a batch.
type Tag [8]byte

// Header is what stands before the frames of a batch.
type Header struct {
	Flags    Flags
	Tag      Tag
	First    uint64 // number of the first record
	Count    uint32
	Length   uint32 // bytes of frames
	Time     time.Time
	KeyEpoch uint32 // of the MAC key
	HeadRev  uint64 // the store's newest revision; 0: none was read
	HeadHash Hash
	Prev     Hash // of the batch before; Seed for the first of an epoch
	Leaves   Hash // SHA-256 over all leaf hashes in order
	MAC      Hash
	CRC      uint32
}

// Next is the number of the record after the batch.
func (h *Header) Next() uint64 { return h.First + uint64(h.Count) }

// Size is the number of bytes the batch takes in the file, padding included.
func (h *Header) Size() int64 { return Padded(HeaderSize + int64(h.Length)) }

// Padded rounds up to a multiple of Align.
func Padded(n int64) int64 { return (n + Align - 1) &^ (Align - 1) }

// Seed stands in for the hash of the batch before the first one of an epoch.
func Seed(origin string) Hash {
	return sha256.Sum256([]byte("keyhold/audit/chain/v1\n" + origin + "\n"))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Seal fills the header of a batch into raw[:HeaderSize]; the frames stand behind it. It sets h.Length, h.MAC and h.CRC and gives
// the hash of the batch. A nil mac leaves the MAC zero; its error is passed on.
func Seal(raw []byte, h *Header, mac func(batch Hash) (Hash, error)) (Hash, error) {
	h.Length = uint32(len(raw) - HeaderSize) //nolint:gosec // G115: callers keep to MaxPayload
	copy(raw, magic)
	raw[atFormat], raw[atFlags] = format, byte(h.Flags)
	clear(raw[atReserved:atTag])
	copy(raw[atTag:], h.Tag[:])
	binary.BigEndian.PutUint64(raw[atFirst:], h.First)
	binary.BigEndian.PutUint32(raw[atCount:], h.Count)
	binary.BigEndian.PutUint32(raw[atLength:], h.Length)
	binary.BigEndian.PutUint64(raw[atTime:], uint64(h.Time.UnixNano())) //nolint:gosec // G115: a bit pattern
	binary.BigEndian.PutUint32(raw[atKeyEpoch:], h.KeyEpoch)
	binary.BigEndian.PutUint64(raw[atHeadRev:], h.HeadRev)
	copy(raw[atHeadHash:], h.HeadHash[:])
	copy(raw[atPrev:], h.Prev[:])
	copy(raw[atLeaves:], h.Leaves[:])
	sum := sha256.Sum256(raw[:atMAC])
	h.MAC = Hash{}
	if mac != nil {
		var err error
		if h.MAC, err = mac(sum); err != nil {
			return Hash{}, err
		}
	}
	copy(raw[atMAC:], h.MAC[:])
	h.CRC = checksum(raw)
	binary.BigEndian.PutUint32(raw[atCRC:], h.CRC)
	return sum, nil
}

// HashOf is the hash of a batch, from its header.
func HashOf(raw []byte) Hash { return sha256.Sum256(raw[:atMAC]) }

func checksum(raw []byte) uint32 {
	crc := crc32.Update(0, castagnoli, raw[:atCRC])
	return crc32.Update(crc, castagnoli, raw[HeaderSize:])
}

// Recheck computes the checksum of a batch (header and frames) anew, after annexes were blanked.
func Recheck(raw []byte) { binary.BigEndian.PutUint32(raw[atCRC:], checksum(raw)) }

// The ways in which bytes can fail to be a batch.
var (
	ErrNotBatch  = errors.New("there is no batch")
	ErrTruncated = errors.New("the batch is cut short")
	ErrChecksum  = errors.New("the batch's checksum does not match")
	ErrFrames    = errors.New("the batch's frames do not fit its header")
	ErrLeaves    = errors.New("the batch's records do not match its list of hashes")
)

// ParseHeader reads a header. The only error is ErrNotBatch.
func ParseHeader(raw []byte) (Header, error) {
	if len(raw) < HeaderSize || string(raw[:4]) != magic || raw[atFormat] != format ||
		Flags(raw[atFlags]) >= flagsEnd || raw[atReserved]|raw[atReserved+1] != 0 {
		return Header{}, ErrNotBatch
	}
	h := Header{
		Flags:    Flags(raw[atFlags]),
		Tag:      Tag(raw[atTag:atFirst]),
		First:    binary.BigEndian.Uint64(raw[atFirst:]),
		Count:    binary.BigEndian.Uint32(raw[atCount:]),
		Length:   binary.BigEndian.Uint32(raw[atLength:]),
		Time:     time.Unix(0, int64(binary.BigEndian.Uint64(raw[atTime:]))).UTC(), //nolint:gosec // G115: a bit pattern
		KeyEpoch: binary.BigEndian.Uint32(raw[atKeyEpoch:]),
		HeadRev:  binary.BigEndian.Uint64(raw[atHeadRev:]),
		HeadHash: Hash(raw[atHeadHash:atPrev]),
		Prev:     Hash(raw[atPrev:atLeaves]),
		Leaves:   Hash(raw[atLeaves:atMAC]),
		MAC:      Hash(raw[atMAC:atCRC]),
		CRC:      binary.BigEndian.Uint32(raw[atCRC:]),
	}
	bare := h.KeyEpoch == 0 && h.HeadRev == 0 && h.HeadHash == Hash{} && h.MAC == Hash{}
	switch {
	case h.Count == 0 || h.Length > MaxPayload || uint64(h.Count)*(FrameSize+MinBody) > uint64(h.Length),
		h.First > 1<<62,
		h.Flags&Keyed == 0 && (!bare || h.Flags&Parting != 0):
		return Header{}, ErrNotBatch
	}
	return h, nil
}

// Check compares a whole batch (header and frames, without padding) with its checksum.
func Check(raw []byte, h *Header) error {
	if int64(len(raw)) != HeaderSize+int64(h.Length) {
		return ErrTruncated
	}
	if checksum(raw) != h.CRC {
		return ErrChecksum
	}
	return nil
}

// AppendFrame appends a record's two parts in the form they have in a file. The zero byte before the body is RFC 6962's leaf
// prefix: it stands in the file so that hashing needs no copy.
func AppendFrame(dst, body, annex []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(body)))  //nolint:gosec // G115: callers keep to the limits
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(annex))) //nolint:gosec // G115: callers keep to the limits
	dst = append(dst, 0)
	dst = append(dst, body...)
	return append(dst, annex...)
}

// PutFrame fills in the first FrameSize bytes of a frame whose parts stand behind it.
func PutFrame(frame []byte, body int) {
	binary.BigEndian.PutUint16(frame, uint16(body))                          //nolint:gosec // G115: callers keep to the limits
	binary.BigEndian.PutUint16(frame[2:], uint16(len(frame)-FrameSize-body)) //nolint:gosec // G115: callers keep to the limits
	frame[4] = 0
}

// Frame is one record as it stands in a file. It points into the batch.
type Frame struct {
	prefixed []byte // the zero byte and the body
	Annex    []byte
}

// Body is the part that the leaf hash covers.
func (f Frame) Body() []byte { return f.prefixed[1:] }

// Leaf is the record's leaf hash.
func (f Frame) Leaf() Hash { return sha256.Sum256(f.prefixed) }

// Cut takes the first frame off a run of frames.
func Cut(frames []byte) (f Frame, rest []byte, err error) {
	if len(frames) < FrameSize || frames[4] != 0 {
		return Frame{}, nil, ErrFrames
	}
	body := int(binary.BigEndian.Uint16(frames))
	end := FrameSize + body + int(binary.BigEndian.Uint16(frames[2:]))
	if body < MinBody || end > len(frames) {
		return Frame{}, nil, ErrFrames
	}
	return Frame{prefixed: frames[4 : FrameSize+body], Annex: frames[FrameSize+body : end]}, frames[end:], nil
}

// Leaves appends the leaf hashes of a batch to dst and compares them with its header. Errors: ErrFrames, ErrLeaves.
func Leaves(dst []byte, raw []byte, h *Header) ([]byte, error) {
	start := len(dst)
	rest := raw[HeaderSize:]
	for range h.Count {
		var f Frame
		var err error
		if f, rest, err = Cut(rest); err != nil {
			return dst, err
		}
		leaf := f.Leaf()
		dst = append(dst, leaf[:]...)
	}
	if len(rest) != 0 {
		return dst, ErrFrames
	}
	if sha256.Sum256(dst[start:]) != h.Leaves {
		return dst, ErrLeaves
	}
	return dst, nil
}

// Endings of a segment's name.
const (
	extension = ".log"
	packedEnd = ".zst" // of a compressed one, behind it
)

// Name is the name of a segment: its first record's number, and an attempt where an earlier file of the same first record was given up.
func Name(first uint64, attempt int) string {
	if attempt == 0 {
		return fmt.Sprintf("%020d%s", first, extension)
	}
	return fmt.Sprintf("%020d.%03d%s", first, attempt, extension)
}

// PackedName is the name of a compressed segment.
func PackedName(first uint64, attempt int) string { return Name(first, attempt) + packedEnd }

// MaxAttempt is the highest number of an attempt.
const MaxAttempt = 999

// ParseName reads the name of a segment in either form.
func ParseName(name string) (first uint64, attempt int, ok bool) {
	name = strings.TrimSuffix(name, packedEnd)
	stem, found := strings.CutSuffix(name, extension)
	if !found || len(stem) != 20 && len(stem) != 24 {
		return 0, 0, false
	}
	first, err := strconv.ParseUint(stem[:20], 10, 64)
	if err != nil {
		return 0, 0, false
	}
	if len(stem) == 24 {
		if attempt, err = strconv.Atoi(stem[21:]); err != nil {
			return 0, 0, false
		}
	}
	return first, attempt, Name(first, attempt) == name
}
