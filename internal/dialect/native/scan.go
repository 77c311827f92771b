package native

import (
	"bytes"
	"encoding/base64"
	"math"
	"unicode/utf8"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// leanField is a field of a request by both names that the JSON mapping of protobuf accepts.
type leanField struct {
	camel, snake string
	in           leanKind
}

// leanKind says where a field's value goes, and by that which form it has.
type leanKind uint8

const (
	inKey leanKind = iota
	inScheme
	inData
	inProof
	inAAD
	inContext
	inVersion
	inLength
	inRaw
	inDigested
	inWithheld
	inUsage
	inDescription
	inAliases
	inItems
)

// batchFields are the fields of every batch.
var batchFields = []leanField{fieldKey, {"items", "items", inItems}}

// scanner reads the JSON that encoders write (RFC 8259) without what they hardly ever write: escapes, null, fractions,
// numbers in strings, base64 with the URL alphabet. Every method answers false for what it does not understand.
type scanner struct {
	b []byte
	i int
}

// scan reads the body. False: let the codec read it, which may understand it or says what is wrong with it.
func (q *leanRequest) scan(m *leanMethod) bool {
	s := scanner{b: q.body}
	// What base64 holds is shorter than the body, so that plain never grows and slices of it stay good.
	if cap(q.plain) < len(q.body) {
		q.plain = make([]byte, 0, len(q.body))
	}
	var one leanItem
	if m.batch {
		ok := q.object(&s, batchFields, m.fields, &one) && s.end()
		q.key = one.key
		return ok
	}
	ok := q.object(&s, m.fields, nil, &one) && s.end()
	q.items = append(q.items, one)
	return ok
}

// object reads an object with some of the fields. What stands in a list of items has the fields of each.
func (q *leanRequest) object(s *scanner, fields, each []leanField, to *leanItem) bool {
	if !s.byte('{') {
		return false
	}
	if s.byte('}') {
		return true
	}
	var seen uint32
	for {
		name, ok := s.string()
		if !ok || !s.byte(':') {
			return false
		}
		f := find(fields, name)
		if f == nil || seen&(1<<f.in) != 0 {
			return false
		}
		seen |= 1 << f.in
		if f.in == inItems {
			ok = q.list(s, each)
		} else {
			ok = q.value(s, f.in, to)
		}
		if !ok {
			return false
		}
		if s.byte('}') {
			return true
		}
		if !s.byte(',') {
			return false
		}
	}
}

// list reads the items of a batch.
func (q *leanRequest) list(s *scanner, fields []leanField) bool {
	if !s.byte('[') {
		return false
	}
	if s.byte(']') {
		return true
	}
	for len(q.items) < engine.MaxItems {
		q.items = append(q.items, leanItem{})
		if !q.object(s, fields, nil, &q.items[len(q.items)-1]) {
			return false
		}
		if s.byte(']') {
			return true
		}
		if !s.byte(',') {
			return false
		}
	}
	return false
}

func find(fields []leanField, name []byte) *leanField {
	for i := range fields {
		if string(name) == fields[i].camel || string(name) == fields[i].snake {
			return &fields[i]
		}
	}
	return nil
}

// value reads the value of one field.
func (q *leanRequest) value(s *scanner, in leanKind, to *leanItem) (ok bool) {
	switch in {
	case inKey:
		to.key, ok = s.text()
	case inScheme:
		to.scheme, ok = s.text()
	case inData:
		to.data, ok = q.base64(s)
	case inProof:
		to.proof, ok = q.base64(s)
	case inAAD:
		to.aad, ok = q.base64(s)
	case inContext:
		to.context, ok = s.context()
	case inVersion:
		to.version, ok = s.number()
	case inLength:
		to.length, ok = s.number()
	case inRaw:
		to.raw, ok = s.bool()
	case inDigested:
		to.digested, ok = s.bool()
	case inWithheld:
		to.withheld, ok = s.bool()
	case inUsage:
		to.usage, ok = s.text()
	case inDescription:
		to.description, ok = s.text()
	case inAliases:
		to.aliases, ok = s.texts()
	}
	return ok
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// byte takes one byte of punctuation.
func (s *scanner) byte(c byte) bool {
	s.space()
	if s.i >= len(s.b) || s.b[s.i] != c {
		return false
	}
	s.i++
	return true
}

func (s *scanner) end() bool {
	s.space()
	return s.i == len(s.b)
}

// string takes a string without escapes. Whether it is valid UTF-8 is not looked at.
func (s *scanner) string() ([]byte, bool) {
	if !s.byte('"') {
		return nil, false
	}
	n := bytes.IndexByte(s.b[s.i:], '"')
	if n < 0 {
		return nil, false
	}
	text := s.b[s.i : s.i+n]
	s.i += n + 1
	return text, true
}

// text takes a string as it will be used.
func (s *scanner) text() (string, bool) {
	b, ok := s.string()
	if !ok {
		return "", false
	}
	ascii := true
	for _, c := range b {
		if c < ' ' || c == '\\' {
			return "", false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	return string(b), ascii || utf8.Valid(b)
}

// texts takes a list of strings.
func (s *scanner) texts() (all []string, ok bool) {
	if !s.byte('[') {
		return nil, false
	}
	if s.byte(']') {
		return nil, true
	}
	for len(all) < leanTexts {
		t, ok := s.text()
		if !ok {
			return nil, false
		}
		all = append(all, t)
		if s.byte(']') {
			return all, true
		}
		if !s.byte(',') {
			return nil, false
		}
	}
	return nil, false
}

func (s *scanner) context() (kms.Context, bool) {
	if !s.byte('{') {
		return nil, false
	}
	if s.byte('}') {
		return nil, true
	}
	c := make(kms.Context, 4)
	for len(c) <= kms.MaxContextItems {
		name, ok := s.text()
		if !ok || !s.byte(':') {
			return nil, false
		}
		value, ok := s.text()
		if !ok {
			return nil, false
		}
		if _, twice := c[name]; twice {
			return nil, false
		}
		c[name] = value
		if s.byte('}') {
			return c, true
		}
		if !s.byte(',') {
			return nil, false
		}
	}
	return nil, false
}

func (s *scanner) number() (uint32, bool) {
	s.space()
	start, n := s.i, uint64(0)
	for s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9' {
		if n = n*10 + uint64(s.b[s.i]-'0'); n > math.MaxUint32 {
			return 0, false
		}
		s.i++
	}
	digits := s.i - start
	return uint32(n), digits == 1 || digits > 1 && s.b[start] != '0' //nolint:gosec // G115: compared above
}

func (s *scanner) bool() (bool, bool) {
	s.space()
	for _, w := range [...]struct {
		word  string
		value bool
	}{{"true", true}, {"false", false}} {
		if bytes.HasPrefix(s.b[s.i:], []byte(w.word)) {
			s.i += len(w.word)
			return w.value, true
		}
	}
	return false, false
}

// base64 takes bytes, padded or not, as the JSON mapping of protobuf accepts them.
func (q *leanRequest) base64(s *scanner) ([]byte, bool) {
	text, ok := s.string()
	if !ok {
		return nil, false
	}
	encoding := base64.StdEncoding
	if len(text)%4 != 0 {
		encoding = base64.RawStdEncoding
	}
	at := len(q.plain)
	room := q.plain[at : at+encoding.DecodedLen(len(text))]
	n, err := encoding.Decode(room, text)
	if err != nil {
		clear(room)
		return nil, false
	}
	// The decoder passes over line ends, which may not stand in a JSON string.
	if encoding.EncodedLen(n) != len(text) {
		return nil, false
	}
	q.plain = q.plain[:at+n]
	return room[:n:n], true
}
