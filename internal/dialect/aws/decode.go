package aws

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Int is a number that may not be there.
type Int struct {
	Value int32
	Set   bool
}

// Bool is a truth value that may not be there.
type Bool struct{ Value, Set bool }

// decoder reads a request's JSON, member by member, into the shapes of the model. What is not of the type that the model says is an error; so are
// members that stand twice, text that is not UTF-8 and whatever follows the object. Members that the model does not have are passed over, as
// AWS does. After an error nothing more is read.
type decoder struct {
	j     jsontext.Decoder
	name  []byte // of the member
	plain []byte // what base64 held; it never grows, so that slices of it stay good
	err   *fault
}

// reset starts on a body. What its base64 holds goes behind what plain has, which must have room for all of it.
func (d *decoder) reset(body, plain []byte) {
	d.j.Reset(bytes.NewBuffer(body))
	d.name, d.plain, d.err = nil, plain, nil
}

// end makes sure that nothing follows.
func (d *decoder) end() {
	if d.err != nil {
		return
	}
	if _, err := d.j.ReadToken(); !errors.Is(err, io.EOF) {
		d.err = unreadable("something follows the JSON object")
	}
}

func unreadable(why string) *fault { return newFault("SerializationException", why) }

func (d *decoder) fail(err error) {
	if d.err == nil {
		why := "the body is not a JSON object as the operation takes it"
		var syntax *jsontext.SyntacticError
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
			why = "the body ends before its JSON object does"
		case errors.Is(err, jsontext.ErrDuplicateName):
			why = "a member of the JSON object stands twice"
		case errors.As(err, &syntax):
			why = "the body is not JSON (RFC 8259) at byte " + strconv.FormatInt(syntax.ByteOffset, 10)
		}
		d.err = unreadable(why)
	}
}

// kinds are the names that AWS gives to kinds of JSON values.
var kinds = map[jsontext.Kind]string{'n': "NULL_VALUE", 'f': "FALSE_VALUE", 't': "TRUE_VALUE", '"': "STRING_VALUE", '0': "NUMBER_VALUE", '{': "START_OBJECT", '[': "START_ARRAY"}

// wrong says that a member has the wrong type.
func (d *decoder) wrong(k jsontext.Kind, want string) {
	if d.err != nil {
		return
	}
	if kinds[k] == "" { // no value at all
		_, err := d.j.ReadToken()
		d.fail(err)
		return
	}
	d.err = unreadable(kinds[k] + " can not be converted to " + want)
}

// open enters an object.
func (d *decoder) open() { d.enter('{', "an object") }

func (d *decoder) enter(k jsontext.Kind, what string) {
	if d.err != nil {
		return
	}
	if got := d.j.PeekKind(); got != k {
		d.wrong(got, what)
		return
	}
	if _, err := d.j.ReadToken(); err != nil {
		d.fail(err)
	}
}

// next goes to the next member; false: there is none.
func (d *decoder) next() bool {
	if d.err != nil {
		return false
	}
	if d.j.PeekKind() == '}' {
		if _, err := d.j.ReadToken(); err != nil {
			d.fail(err)
		}
		return false
	}
	raw, err := d.j.ReadValue()
	if err != nil {
		d.fail(err)
		return false
	}
	d.name = raw[1 : len(raw)-1]
	if bytes.IndexByte(d.name, '\\') >= 0 {
		d.name, err = jsontext.AppendUnquote(nil, raw)
		if err != nil {
			d.fail(err)
		}
	}
	return d.err == nil
}

// there tells whether the member has a value, and notes that it has.
func (d *decoder) there(set *uint32, i int) bool {
	if d.err != nil {
		return false
	}
	if d.j.PeekKind() == 'n' {
		d.skip()
		return false
	}
	*set |= 1 << i
	return true
}

func (d *decoder) skip() {
	if err := d.j.SkipValue(); err != nil {
		d.fail(err)
	}
}

// list enters an array.
func (d *decoder) list() { d.enter('[', "a list") }

// more tells whether the array goes on.
func (d *decoder) more() bool {
	if d.err != nil {
		return false
	}
	if d.j.PeekKind() == ']' {
		if _, err := d.j.ReadToken(); err != nil {
			d.fail(err)
		}
		return false
	}
	return true
}

// value reads a value of a kind as it is written.
func (d *decoder) value(k jsontext.Kind, want string) jsontext.Value {
	if d.err != nil {
		return nil
	}
	if got := d.j.PeekKind(); got != k {
		d.wrong(got, want)
		return nil
	}
	raw, err := d.j.ReadValue()
	if err != nil {
		d.fail(err)
		return nil
	}
	return raw
}

func (d *decoder) text() string {
	raw := d.value('"', "String")
	if raw == nil {
		return ""
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	b, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		d.fail(err)
	}
	return string(b)
}

// blob reads base64 with padding (RFC 4648 §4). What it held lies in the decoder's plain.
func (d *decoder) blob() []byte {
	raw := d.value('"', "a blob")
	if raw == nil {
		return nil
	}
	if text := raw[1 : len(raw)-1]; bytes.IndexByte(text, '\\') < 0 {
		raw = text
	} else { // some encoders write a slash as \/
		b, err := jsontext.AppendUnquote(nil, raw)
		if err != nil {
			d.fail(err)
			return nil
		}
		defer clear(b)
		raw = b
	}
	at := len(d.plain)
	room := d.plain[at:cap(d.plain)]
	if base64.StdEncoding.DecodedLen(len(raw)) > len(room) || bytes.ContainsAny(raw, "\r\n") { // which package base64 passes over
		d.err = unreadable("a blob is not base64 (RFC 4648, with padding)")
		return nil
	}
	n, err := base64.StdEncoding.Strict().Decode(room, raw)
	if err != nil {
		d.err = unreadable("a blob is not base64 (RFC 4648, with padding)")
		return nil
	}
	d.plain = d.plain[:at+n]
	return d.plain[at : at+n : at+n]
}

func (d *decoder) integer() Int {
	raw := d.value('0', "Integer")
	if raw == nil {
		return Int{}
	}
	n, err := strconv.ParseInt(string(raw), 10, 32)
	if err != nil {
		f, bad := strconv.ParseFloat(string(raw), 64)
		if bad != nil || f != math.Trunc(f) || f < math.MinInt32 || f > math.MaxInt32 { // 1e3 and 5.0 are whole numbers too
			d.err = unreadable("NUMBER_VALUE can not be converted to Integer")
			return Int{}
		}
		n = int64(f)
	}
	return Int{Value: int32(n), Set: true} //nolint:gosec // G115: within int32, see above
}

func (d *decoder) bool() bool {
	switch k := d.j.PeekKind(); {
	case d.err != nil:
	case k == 't' || k == 'f':
		_, err := d.j.ReadToken()
		if err != nil {
			d.fail(err)
		}
		return k == 't'
	default:
		d.wrong(k, "Boolean")
	}
	return false
}

// The years that a timestamp can lie in: beyond them it is a mistake of units.
var (
	earliest = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
)

// time reads seconds since 1970, with or without a fraction.
func (d *decoder) time() time.Time {
	raw := d.value('0', "Timestamp")
	if raw == nil {
		return time.Time{}
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f < float64(earliest.Unix()) || f > float64(latest.Unix()) {
		d.err = unreadable("NUMBER_VALUE can not be converted to Timestamp: want seconds since 1970")
		return time.Time{}
	}
	whole, part := math.Modf(f)
	return time.Unix(int64(whole), int64(math.Round(part*1e3))*1e6).UTC()
}

// texts reads an object of strings.
func (d *decoder) texts() map[string]string {
	m := map[string]string{}
	for d.open(); d.next(); {
		name := string(d.name)
		m[name] = d.text()
	}
	return m
}

func (d *decoder) strings() []string {
	all := []string{}
	for d.list(); d.more(); {
		all = append(all, d.text())
	}
	return all
}
