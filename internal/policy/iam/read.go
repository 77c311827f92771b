package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Limits of a document.
const (
	MaxBytes      = 32 << 10 // of text, as AWS limits key policies
	MaxStatements = 100
	MaxConditions = 24  // operators and keys of one statement
	MaxValues     = 256 // strings in one list
	MaxFindings   = 20  // reported at once

	maxDepth = 6 // Condition { operator { key [ value ] } } in a list of statements
)

// Finding is one thing that is wrong with a document, and where.
type Finding struct {
	Line   int // from 1
	Column int // in characters, from 1
	What   string
	Want   string // what would be right; may be empty
}

// Findings are all that is wrong with a document, at most MaxFindings.
type Findings []Finding

func (f Findings) Error() string {
	lines := make([]string, len(f))
	for i, one := range f {
		lines[i] = fmt.Sprintf("line %d, column %d: %s", one.Line, one.Column, one.What)
		if one.Want != "" {
			lines[i] += ": " + one.Want
		}
	}
	return strings.Join(lines, "\n")
}

// form is the form of a JSON value.
type form uint8

const (
	text form = iota + 1
	list
	object
	other // numbers, booleans, null
)

// value is a JSON value with its place.
type value struct {
	form    form
	text    string // of text; of other, as it is written
	items   []value
	members []member
	from    int // in bytes
	to      int
}

type member struct {
	name string
	at   int
	value
}

// reader reads JSON into values, within the limits.
type reader struct {
	text  []byte
	dec   *json.Decoder
	found Findings
}

var errStop = errors.New("reading stopped at a finding")

// read reads one JSON value and nothing after it.
func read(b []byte) (value, Findings) {
	r := &reader{text: b}
	switch {
	case len(b) > MaxBytes:
		return value{}, Findings{{1, 1, fmt.Sprintf("the document has %d bytes", len(b)), fmt.Sprintf("%d are the limit", MaxBytes)}}
	case !utf8.Valid(b):
		return value{}, Findings{{1, 1, "the text is not UTF-8", ""}}
	}
	r.dec = json.NewDecoder(bytes.NewReader(b))
	r.dec.UseNumber()
	v, err := r.value(0)
	if err == nil {
		if _, err = r.dec.Token(); errors.Is(err, io.EOF) {
			return v, nil
		}
		r.report(r.next(), "something follows the document", "one JSON object and nothing else")
		return v, r.found
	}
	if !errors.Is(err, errStop) {
		at := int(r.dec.InputOffset())
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			at = int(syntax.Offset) - 1
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			at = len(b)
		}
		r.report(at, "this is not JSON: "+strings.TrimPrefix(err.Error(), "json: "), "")
	}
	return v, r.found
}

func (r *reader) report(at int, what, want string) { r.found = report(r.found, r.text, at, what, want) }

func report(found Findings, b []byte, at int, what, want string) Findings {
	if len(found) >= MaxFindings {
		return found
	}
	at = min(max(at, 0), len(b))
	line := 1 + bytes.Count(b[:at], []byte("\n"))
	start := bytes.LastIndexByte(b[:at], '\n') + 1
	return append(found, Finding{line, 1 + utf8.RuneCount(b[start:at]), what, want})
}

// next is where the next token begins.
func (r *reader) next() int {
	at := int(r.dec.InputOffset())
	for at < len(r.text) && strings.IndexByte(" \t\r\n,:", r.text[at]) >= 0 {
		at++
	}
	return at
}

func (r *reader) value(depth int) (value, error) {
	v := value{from: r.next()}
	t, err := r.dec.Token()
	if err != nil {
		return v, err
	}
	switch t := t.(type) {
	case string:
		v.form, v.text = text, t
	case json.Delim:
		if depth++; depth > maxDepth {
			r.report(v.from, fmt.Sprintf("nested deeper than %d", maxDepth), "")
			return v, errStop
		}
		if t == '[' {
			v.form = list
			err = r.list(&v, depth)
		} else {
			v.form = object
			err = r.object(&v, depth)
		}
	default:
		v.form, v.text = other, string(r.text[v.from:r.dec.InputOffset()])
	}
	v.to = int(r.dec.InputOffset())
	return v, err
}

func (r *reader) list(v *value, depth int) error {
	for r.dec.More() {
		item, err := r.value(depth)
		if err != nil {
			return err
		}
		if v.items = append(v.items, item); len(v.items) > MaxValues {
			r.report(v.from, fmt.Sprintf("a list of more than %d", MaxValues), "divide it")
			return errStop
		}
	}
	_, err := r.dec.Token()
	return err
}

func (r *reader) object(v *value, depth int) error {
	for r.dec.More() {
		m := member{at: r.next()}
		t, err := r.dec.Token()
		if err != nil {
			return err
		}
		m.name, _ = t.(string) // the decoder answers nothing else here
		for i := range v.members {
			if v.members[i].name == m.name {
				r.report(m.at, fmt.Sprintf("%q is there twice", m.name), "one of them")
				return errStop
			}
		}
		if m.value, err = r.value(depth); err != nil {
			return err
		}
		if v.members = append(v.members, m); len(v.members) > MaxValues {
			r.report(v.from, fmt.Sprintf("an object of more than %d members", MaxValues), "divide it")
			return errStop
		}
	}
	_, err := r.dec.Token()
	return err
}
