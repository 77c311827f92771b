package vault

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyhold/keyhold/internal/engine"
)

// field is a member of a JSON object, with its value as it is written.
type field struct{ name, raw []byte }

// fields are those of an object. Null is as if the member were not there; a member that nobody asks for is passed over.
type fields []field

// maxFields of one object.
const maxFields = 256

func (f fields) raw(name string) []byte {
	for i := range f {
		if string(f[i].name) == name {
			return f[i].raw
		}
	}
	return nil
}

func (f fields) has(name string) bool { return f.raw(name) != nil }

// decoder reads JSON (RFC 8259). Names that stand twice and text that is not UTF-8 are errors.
type decoder struct {
	j   jsontext.Decoder
	buf bytes.Buffer
}

// read begins with b.
func (d *decoder) read(b []byte) {
	d.buf = *bytes.NewBuffer(b)
	d.j.Reset(&d.buf)
}

func badJSON(err error) *fault {
	var syntax *jsontext.SyntacticError
	why := "the body is not a JSON object"
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		why = "unexpected EOF"
	case errors.Is(err, jsontext.ErrDuplicateName):
		why = "a member stands twice"
	case errors.As(err, &syntax):
		why = fmt.Sprintf("invalid JSON at byte %d", syntax.ByteOffset)
	}
	return newFault(http.StatusBadRequest, "failed to decode JSON input: "+why)
}

// object reads an object into fields. An empty body stands for an empty object, and so does null, which Go's client sends for no data.
func (d *decoder) object(b []byte, into fields) (fields, *fault) {
	if trimmed := bytes.TrimSpace(b); len(trimmed) == 0 || string(trimmed) == "null" {
		return into, nil
	}
	d.read(b)
	if d.j.PeekKind() != '{' {
		_, err := d.j.ReadToken()
		if c := bytes.TrimSpace(b)[0]; err != nil && c < 0x80 {
			return into, newFault(http.StatusBadRequest, fmt.Sprintf("failed to decode JSON input: invalid character %q", rune(c)))
		}
		return into, badJSON(err)
	}
	if _, err := d.j.ReadToken(); err != nil {
		return into, badJSON(err)
	}
	for d.j.PeekKind() != '}' {
		name, err := d.value(b)
		if err != nil || len(name) < 2 {
			if at := d.j.InputOffset(); at < int64(len(b)) && len(into) == 0 {
				if c := bytes.TrimSpace(b[at:]); len(c) > 0 && c[0] != '"' && c[0] < 0x80 {
					return into, newFault(http.StatusBadRequest, fmt.Sprintf("failed to decode JSON input: invalid character %q", rune(c[0])))
				}
			}
			return into, badJSON(err)
		}
		raw, err := d.value(b)
		if err != nil {
			return into, badJSON(err)
		}
		if name = name[1 : len(name)-1]; raw[0] == 'n' {
			continue
		}
		if len(into) == maxFields {
			return into, newFault(http.StatusBadRequest, fmt.Sprintf("failed to decode JSON input: more than %d members", maxFields))
		}
		into = append(into, field{name, raw})
	}
	if _, err := d.j.ReadToken(); err != nil {
		return into, badJSON(err)
	}
	if _, err := d.j.ReadToken(); !errors.Is(err, io.EOF) {
		return into, newFault(http.StatusBadRequest, "failed to decode JSON input: something follows the object")
	}
	return into, nil
}

// value reads a value, as a part of b.
func (d *decoder) value(b []byte) ([]byte, error) {
	raw, err := d.j.ReadValue()
	if err != nil {
		return nil, err
	}
	end := d.j.InputOffset()
	return b[end-int64(len(raw)) : end], nil
}

// list reads an array of at most engine.MaxItems values.
func (d *decoder) list(b []byte) ([][]byte, *fault) {
	d.read(b)
	if d.j.PeekKind() != '[' {
		return nil, badField("batch_input")
	}
	if _, err := d.j.ReadToken(); err != nil {
		return nil, badJSON(err)
	}
	var all [][]byte
	for d.j.PeekKind() != ']' {
		raw, err := d.value(b)
		if err != nil {
			return nil, badJSON(err)
		}
		if len(all) == engine.MaxItems {
			return nil, newFault(http.StatusBadRequest, fmt.Sprintf("the batch has more than %d items", engine.MaxItems))
		}
		all = append(all, raw)
	}
	return all, nil
}

func badField(name string) *fault {
	return newFault(http.StatusBadRequest, fmt.Sprintf("Field validation failed: error converting input for field %q", name))
}

// text is a string; numbers and truth values are taken as they are written.
func (f fields) text(name string) (string, *fault) {
	raw := f.raw(name)
	switch {
	case raw == nil:
		return "", nil
	case raw[0] == '{' || raw[0] == '[':
		return "", badField(name)
	case raw[0] != '"':
		return string(raw), nil
	case bytes.IndexByte(raw, '\\') < 0:
		return string(raw[1 : len(raw)-1]), nil
	}
	b, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return "", badField(name)
	}
	return string(b), nil
}

// number is a whole number, written as one or as a string.
func (f fields) number(name string) (int, *fault) {
	s, bad := f.text(name)
	if bad != nil || s == "" {
		return 0, bad
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0, badField(name)
	}
	return int(n), nil
}

// version is the number of a key's version; 0: none is named.
func (f fields) version(name string) (uint32, *fault) {
	n, bad := f.number(name)
	if bad == nil && n < 0 {
		bad = newFault(http.StatusBadRequest, "cannot use negative key version")
	}
	return uint32(max(n, 0)), bad //nolint:gosec // G115: from 32 bits, not negative
}

// yes is a truth value, also as a number or a string.
func (f fields) yes(name string) (bool, *fault) {
	s, bad := f.text(name)
	if bad != nil || s == "" {
		return false, bad
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, badField(name)
	}
	return b, nil
}

// span is a length of time: seconds, or a number with a unit: s, m, h or d.
func (f fields) span(name string) (time.Duration, *fault) {
	s, bad := f.text(name)
	if bad != nil || s == "" {
		return 0, bad
	}
	if days, is := strings.CutSuffix(s, "d"); is {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, badField(name)
		}
		return time.Duration(n) * 24 * time.Hour, nil //nolint:gosec // G115: 16 bits
	}
	if n, err := strconv.ParseInt(s, 10, 32); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, badField(name)
	}
	return d, nil
}

// blob is what a member holds in base64 (RFC 4648 §4), in the exchange's plain, which has room for all of them.
func (x *exchange) blob(f fields, name string) ([]byte, *fault) {
	raw := f.raw(name)
	if raw == nil {
		return nil, nil
	}
	if raw[0] != '"' {
		return nil, badField(name)
	}
	return x.unquoted(raw, func(s []byte) ([]byte, *fault) { return x.decode(s) })
}

// unquoted gives what stands in a JSON string to a function, which does not keep it.
func (x *exchange) unquoted(raw []byte, to func([]byte) ([]byte, *fault)) ([]byte, *fault) {
	if s := raw[1 : len(raw)-1]; bytes.IndexByte(s, '\\') < 0 {
		return to(s)
	}
	b, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return nil, badJSON(err)
	}
	defer clear(b)
	return to(b)
}

func (x *exchange) decode(s []byte) ([]byte, *fault) {
	at := len(x.plain)
	room := x.plain[at:cap(x.plain)]
	if base64.StdEncoding.DecodedLen(len(s)) > len(room) {
		return nil, newFault(http.StatusBadRequest, "illegal base64 data: too long")
	}
	n, err := base64.StdEncoding.Decode(room, s)
	if err != nil {
		return nil, newFault(http.StatusBadRequest, err.Error()) // "illegal base64 data at input byte N"
	}
	x.plain = x.plain[:at+n]
	return x.plain[at : at+n : at+n], nil
}
