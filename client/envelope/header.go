package envelope

import (
	"crypto/sha512"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/client/envelope/internal/floe"
)

// The limits of a header. A file within them is at most MaxHeader bytes longer than its stream.
const (
	MaxHeader       = 64 << 10 // bytes
	MaxRecipients   = 16
	MaxContextItems = 62   // the server takes 64; one is the file's own
	MaxContextBytes = 8000 // of names and values; the server takes 8192
	maxBody         = 4 << 10
)

// Segment sizes, encrypted, in bytes. A smaller segment makes reading small parts cheaper, a larger one the file shorter:
// each costs 32 bytes.
const (
	MinSegmentSize     = 4 << 10
	DefaultSegmentSize = 64 << 10
	MaxSegmentSize     = floe.MaxSegment
)

// Sizes in bytes.
const (
	prefixSize = len(magic) + 4
	fileIDSize = 32
	macSize    = sha512.Size384
)

const (
	magic     = "KMSE" + "\x01" // with the version
	suiteFLOE = 1               // FLOE AES-256-GCM with SHA-384, header code HMAC-SHA-384
)

// header is the head of a file. Its encoding is deterministic: one header has one encoding, and the reader takes no other.
//
//	file       = "KMSE" 01 ‖ length u32 ‖ header ‖ FLOE stream
//	header     = fixed ‖ recipients ‖ code 48
//	fixed      = suite u8 ‖ file id 32 ‖ segment size u32 ‖ count u8 ‖ { name ‖ value }*    names in byte order, each once
//	recipients = count u8 ‖ { type u8 ‖ body }*
//
// where names, values and bodies have a length u16 before them.
type header struct {
	id         [fileIDSize]byte
	segment    int
	context    client.Context
	recipients []stanza
	code       [macSize]byte
}

// stanza is one recipient: the file key, wrapped for it.
type stanza struct {
	kind Kind
	body []byte
}

func appendBytes(to, b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(to, uint16(len(b))), b...) //nolint:gosec // G115: the limits are checked before
}

// fixed is the part of a header that never changes: the stream is bound to it, and every wrapped file key.
func (h *header) fixed() []byte {
	b := []byte{suiteFLOE}
	b = append(b, h.id[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(h.segment)) //nolint:gosec // G115: at most MaxSegmentSize
	b = append(b, byte(len(h.context)))
	for _, name := range slices.Sorted(maps.Keys(h.context)) {
		b = appendBytes(appendBytes(b, []byte(name)), []byte(h.context[name]))
	}
	return b
}

// binding is what ties keys and data to this file: SHA-384("KMSE" 01 ‖ fixed).
func (h *header) binding() []byte {
	sum := sha512.Sum384(append([]byte(magic), h.fixed()...))
	return sum[:]
}

// encode answers all that stands before the code, and with it the length of the whole header.
func (h *header) encode() []byte {
	body := append(h.fixed(), byte(len(h.recipients)))
	for _, r := range h.recipients {
		body = appendBytes(append(body, byte(r.kind)), r.body)
	}
	head := binary.BigEndian.AppendUint32([]byte(magic), uint32(len(body)+macSize)) //nolint:gosec // G115: at most MaxHeader
	return append(head, body...)
}

// check refuses a header that a reader would refuse.
func (h *header) check() error {
	if h.segment < MinSegmentSize || h.segment > MaxSegmentSize {
		return optionsf("the segment size is %d bytes: want %d to %d", h.segment, MinSegmentSize, MaxSegmentSize)
	}
	if n := len(h.recipients); n < 1 || n > MaxRecipients {
		return optionsf("%d recipients: want 1 to %d", n, MaxRecipients)
	}
	passphrases := 0
	for _, r := range h.recipients {
		if r.kind == KindPassphrase {
			passphrases++
		}
	}
	if passphrases > 1 {
		return optionsf("%d passphrases: a file has one at most", passphrases)
	}
	return checkContext(h.context)
}

func checkContext(c client.Context) error {
	if len(c) > MaxContextItems {
		return optionsf("the encryption context has %d entries: %d at most", len(c), MaxContextItems)
	}
	total := 0
	for name, value := range c {
		if name == "" {
			return optionsf("the encryption context has an entry without a name")
		}
		if name == bindingName {
			return optionsf("the encryption context names %q, which belongs to Keyhold", bindingName)
		}
		total += len(name) + len(value)
	}
	if total > MaxContextBytes {
		return optionsf("the encryption context has %d bytes: %d at most", total, MaxContextBytes)
	}
	return nil
}

// parts reads an encoding from its beginning; after the first thing that is missing it answers zeros, and bad is set.
type parts struct {
	b   []byte
	bad bool
}

func (p *parts) take(n int) []byte {
	if p.bad || n < 0 || n > len(p.b) {
		p.bad = true
		return nil
	}
	out := p.b[:n:n]
	p.b = p.b[n:]
	return out
}

func (p *parts) u8() int {
	if b := p.take(1); b != nil {
		return int(b[0])
	}
	return 0
}

func (p *parts) u32() uint32 {
	if b := p.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (p *parts) bytes() []byte {
	if b := p.take(2); b != nil {
		return p.take(int(binary.BigEndian.Uint16(b)))
	}
	return nil
}

// parseHeader reads what stands between the length and the stream.
func parseHeader(b []byte) (*header, error) {
	p := &parts{b: b}
	if suite := p.u8(); suite != suiteFLOE {
		return nil, formatf("it is of suite %d, this version knows %d", suite, suiteFLOE)
	}
	h := &header{context: client.Context{}}
	copy(h.id[:], p.take(fileIDSize))
	segment := p.u32()
	if p.bad || segment < MinSegmentSize || segment > MaxSegmentSize {
		return nil, formatf("its segment size is %d bytes", segment)
	}
	h.segment = int(segment)
	before := ""
	for range p.u8() {
		name, value := string(p.bytes()), string(p.bytes())
		if p.bad || name <= before {
			return nil, formatf("its encryption context is not in its one form")
		}
		h.context[name], before = value, name
	}
	for range p.u8() {
		s := stanza{kind: Kind(p.u8()), body: p.bytes()} //nolint:gosec // G115: one byte
		if p.bad || len(s.body) > maxBody || len(h.recipients) == MaxRecipients {
			return nil, formatf("its list of recipients cannot be read")
		}
		if _, err := s.info(); err != nil {
			return nil, err
		}
		h.recipients = append(h.recipients, s)
	}
	copy(h.code[:], p.take(macSize))
	if p.bad || len(p.b) != 0 {
		return nil, formatf("its header has not the length that it tells")
	}
	if err := h.check(); err != nil {
		return nil, formatf("%v", err)
	}
	return h, nil
}
