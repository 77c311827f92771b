package aws

import (
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// encoder writes the shapes of the model as JSON. Members that are not set are left out, never null.
type encoder struct {
	b     []byte
	first bool // nothing stands in the object or list yet
	out   []secret.Released
}

func (e *encoder) open() { e.b, e.first = append(e.b, '{'), true }

func (e *encoder) close() { e.b, e.first = append(e.b, '}'), false }

func (e *encoder) end() { e.b, e.first = append(e.b, ']'), false }

// name begins a member. Names are those of the model: nothing in them needs an escape.
func (e *encoder) name(s string) {
	if !e.first {
		e.b = append(e.b, ',')
	}
	e.first = false
	e.b = append(append(append(e.b, '"'), s...), '"', ':')
}

func (e *encoder) list(name string) {
	e.name(name)
	e.b = append(e.b, '[')
}

func (e *encoder) item(i int) {
	if i > 0 {
		e.b = append(e.b, ',')
	}
}

func (e *encoder) text(name, s string) {
	if s != "" {
		e.always(name, s)
	}
}

func (e *encoder) always(name, s string) {
	e.name(name)
	e.quote(s)
}

// quote writes a string; what is not UTF-8 in it, which nothing that this server keeps is, becomes U+FFFD.
func (e *encoder) quote(s string) {
	e.b, _ = jsontext.AppendQuote(e.b, s)
}

func (e *encoder) strings(name string, all []string) {
	if all == nil {
		return
	}
	e.list(name)
	for i, s := range all {
		e.item(i)
		e.quote(s)
	}
	e.end()
}

func (e *encoder) texts(name string, m map[string]string) {
	if m == nil {
		return
	}
	e.name(name)
	e.open()
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !e.first {
			e.b = append(e.b, ',')
		}
		e.first = false
		e.quote(k)
		e.b = append(e.b, ':')
		e.quote(m[k])
	}
	e.close()
}

func (e *encoder) integer(name string, n Int) {
	if n.Set {
		e.name(name)
		e.b = strconv.AppendInt(e.b, int64(n.Value), 10)
	}
}

func (e *encoder) bool(name string, v bool) {
	e.name(name)
	e.b = strconv.AppendBool(e.b, v)
}

func (e *encoder) optional(name string, v Bool) {
	if v.Set {
		e.bool(name, v.Value)
	}
}

// time writes seconds since 1970, with milliseconds where there are any.
func (e *encoder) time(name string, t time.Time) {
	if t.IsZero() {
		return
	}
	e.name(name)
	ms := t.UnixMilli()
	e.b = strconv.AppendInt(e.b, ms/1000, 10)
	if part := ms % 1000; part > 0 {
		e.b = append(e.b, '.', byte('0'+part/100), byte('0'+part/10%10), byte('0'+part%10))
	}
}

func (e *encoder) blob(name string, b []byte) {
	if b != nil {
		e.base64(name, b)
	}
}

func (e *encoder) base64(name string, b []byte) {
	e.name(name)
	e.b = append(e.b, '"')
	e.b = base64.StdEncoding.AppendEncode(e.b, b)
	e.b = append(e.b, '"')
}

// secret writes what the operation releases; it is erased when the answer is written.
func (e *encoder) secret(name string, r secret.Released) {
	if r.Len() > 0 {
		e.out = append(e.out, r)
		e.base64(name, r.Wire(release.Wire{}))
	}
}
