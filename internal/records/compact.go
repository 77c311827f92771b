package records

import (
	"errors"
	"time"

	"github.com/go-json-experiment/json"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/keyhold/keyhold/internal/kms"
)

// Records that every new key writes are compact: a key is four of them and an outbox row, and as JSON they would be half as long
// again. All others are JSON. The first byte tells which: JSON is an object and begins with a brace.
//
// compactV1 is followed by fields in the wire format of Protocol Buffers (https://protobuf.dev/programming-guides/encoding), by
// ascending number. A field that is empty or zero is absent. A field that is not known is passed over, as in JSON. Ids and digests
// are their bytes; a time is two varints, seconds since 1970 in zigzag form and nanoseconds.
// docs/formats.md, "Stored records", has the numbers.
const compactV1 = 0x01

// compact is a record with a compact form.
type compact interface{ fields(w *writer) }

// compacted is where one is read into. field takes one field, and passes over a number that it does not know.
type compacted interface {
	field(n protowire.Number, v value)
}

var errCompact = errors.New("malformed compact record")

// encode gives a record its stored form.
func encode(v any) ([]byte, error) {
	c, ok := v.(compact)
	if !ok {
		b, err := json.Marshal(v, json.Deterministic(true))
		if err != nil {
			return nil, kms.Errorf(kms.CodeInternal, "the record could not be encoded").Because(err)
		}
		return b, nil
	}
	w := writer{b: append(make([]byte, 0, 320), compactV1)}
	c.fields(&w)
	return w.b, nil
}

// placed is a record whose path says some of its fields: they are not written.
type placed interface{ place(path []byte) }

// parse reads either form of the record at a path.
func parse[T any](path, b []byte, v *T) error {
	c, ok := any(v).(compacted)
	if !ok || len(b) == 0 || b[0] != compactV1 {
		return json.Unmarshal(b, v)
	}
	if p, ok := any(v).(placed); ok {
		p.place(path)
	}
	return eachField(b[1:], c.field)
}

// eachField hands over the fields of a message.
func eachField(b []byte, take func(protowire.Number, value)) error {
	bad := false
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errCompact
		}
		b = b[size:]
		v := value{kind: kind, bad: &bad}
		switch kind {
		case protowire.VarintType:
			v.n, size = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			v.b, size = protowire.ConsumeBytes(b)
		default:
			return errCompact
		}
		if size < 0 {
			return errCompact
		}
		take(n, v)
		b = b[size:]
	}
	if bad {
		return errCompact
	}
	return nil
}

// writer appends fields that are not empty.
type writer struct{ b []byte }

func (w *writer) num(n protowire.Number, v uint64) {
	if v != 0 {
		w.b = protowire.AppendVarint(protowire.AppendTag(w.b, n, protowire.VarintType), v)
	}
}

func (w *writer) flag(n protowire.Number, v bool) { w.num(n, protowire.EncodeBool(v)) }

func (w *writer) bytes(n protowire.Number, v []byte) {
	if len(v) > 0 {
		w.b = protowire.AppendBytes(protowire.AppendTag(w.b, n, protowire.BytesType), v)
	}
}

func (w *writer) text(n protowire.Number, v string) {
	if v != "" {
		w.element(n, v)
	}
}

// element is one of several strings, and may be empty.
func (w *writer) element(n protowire.Number, v string) {
	w.b = protowire.AppendString(protowire.AppendTag(w.b, n, protowire.BytesType), v)
}

func (w *writer) id(n protowire.Number, v kms.ID) {
	if !v.IsZero() {
		w.bytes(n, v[:])
	}
}

func (w *writer) digest(n protowire.Number, v *[32]byte) {
	if *v != ([32]byte{}) {
		w.bytes(n, v[:])
	}
}

func (w *writer) time(n protowire.Number, v time.Time) {
	if v.IsZero() {
		return
	}
	var room [20]byte
	b := protowire.AppendVarint(room[:0], protowire.EncodeZigZag(v.Unix()))
	w.bytes(n, protowire.AppendVarint(b, uint64(v.Nanosecond()))) //nolint:gosec // G115: below 1e9
}

// message is a field that has fields.
func (w *writer) message(n protowire.Number, fields func(*writer)) {
	var in writer
	fields(&in)
	w.b = protowire.AppendBytes(protowire.AppendTag(w.b, n, protowire.BytesType), in.b)
}

// value is a field that was read. Its methods share no memory with the record, and say so in bad if it is of another form.
type value struct {
	kind protowire.Type
	n    uint64
	b    []byte
	bad  *bool
}

func (v value) is(ok bool) bool {
	if !ok {
		*v.bad = true
	}
	return ok
}

func (v value) num(most uint64) uint64 {
	if !v.is(v.kind == protowire.VarintType && v.n <= most) {
		return 0
	}
	return v.n
}

func (v value) u8() uint8   { return uint8(v.num(1<<8 - 1)) }   //nolint:gosec // G115: bounded
func (v value) u32() uint32 { return uint32(v.num(1<<32 - 1)) } //nolint:gosec // G115: bounded
func (v value) flag() bool  { return v.num(1) == 1 }

func (v value) raw() []byte {
	v.is(v.kind == protowire.BytesType)
	return v.b
}

func (v value) bytes() []byte { return append([]byte(nil), v.raw()...) }
func (v value) text() string  { return string(v.raw()) }

func (v value) id() (id kms.ID) {
	if v.is(len(v.raw()) == len(id)) {
		copy(id[:], v.b)
	}
	return id
}

func (v value) digest() (d [32]byte) {
	if v.is(len(v.raw()) == len(d)) {
		copy(d[:], v.b)
	}
	return d
}

func (v value) time() time.Time {
	seconds, n := protowire.ConsumeVarint(v.raw())
	if !v.is(n > 0) {
		return time.Time{}
	}
	nanos, m := protowire.ConsumeVarint(v.b[n:])
	if !v.is(m > 0 && n+m == len(v.b) && nanos < uint64(time.Second)) {
		return time.Time{}
	}
	return time.Unix(protowire.DecodeZigZag(seconds), int64(nanos)).UTC() //nolint:gosec // G115: bounded
}

func (v value) message(take func(protowire.Number, value)) {
	v.is(eachField(v.raw(), take) == nil)
}
