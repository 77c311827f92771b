package vault

import (
	"encoding/base64"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// encoder writes answers.
type encoder struct {
	b    []byte
	data int // where the member "data" begins
	out  []secret.Released
}

// erase erases what was released to the answer; the buffer itself is erased by whoever keeps it.
func (e *encoder) erase() {
	for _, r := range e.out {
		r.Zero()
	}
	clear(e.out)
}

// envelope begins an answer. All members are there; request ids need no escape.
func (e *encoder) envelope(requestID string) {
	e.b = append(e.b[:0], `{"request_id":`...)
	e.quote(requestID)
	e.b = append(e.b, `,"lease_id":"","renewable":false,"lease_duration":0,"data":`...)
	e.data = len(e.b)
}

// finish ends an answer. Nothing written since envelope stands for null. echo repeats the members of data beside it, as some routes do.
func (e *encoder) finish(echo bool, warnings []string, auth []byte) {
	if len(e.b) == e.data {
		e.b = append(e.b, "null"...)
	}
	end := len(e.b)
	e.b = append(e.b, `,"wrap_info":null,"warnings":`...)
	if len(warnings) == 0 {
		e.b = append(e.b, "null"...)
	} else {
		e.texts(warnings)
	}
	e.b = append(e.b, `,"auth":`...)
	if len(auth) == 0 {
		auth = []byte("null")
	}
	e.b = append(e.b, auth...)
	if echo && end > e.data+2 {
		e.b = append(e.b, ',')
		e.b = append(e.b, e.b[e.data+1:end-1]...)
	}
	e.b = append(e.b, '}', '\n')
}

func (e *encoder) open() { e.b = append(e.b, '{') }

func (e *encoder) close() { e.b = append(e.b, '}') }

func (e *encoder) list() { e.b = append(e.b, '[') }

func (e *encoder) end() { e.b = append(e.b, ']') }

// comma separates a value from one before it.
func (e *encoder) comma() {
	if n := len(e.b); n > 0 && e.b[n-1] != '{' && e.b[n-1] != '[' && e.b[n-1] != ':' {
		e.b = append(e.b, ',')
	}
}

// name begins a member. Names that are not constants go through key.
func (e *encoder) name(s string) {
	e.comma()
	e.b = append(append(append(e.b, '"'), s...), '"', ':')
}

func (e *encoder) key(s string) {
	e.comma()
	e.quote(s)
	e.b = append(e.b, ':')
}

// slack is what follows a value at most before the next one makes room for itself: names and punctuation.
const slack = 512

func (e *encoder) quote(s string) {
	e.room(6*len(s) + slack)              // \u and four digits for each byte
	e.b, _ = jsontext.AppendQuote(e.b, s) // what is not UTF-8 becomes U+FFFD
}

func (e *encoder) text(name, s string) {
	e.name(name)
	e.quote(s)
}

func (e *encoder) number(name string, n int64) {
	e.name(name)
	e.b = strconv.AppendInt(e.b, n, 10)
}

func (e *encoder) yes(name string, v bool) {
	e.name(name)
	e.b = strconv.AppendBool(e.b, v)
}

func (e *encoder) null(name string) {
	e.name(name)
	e.b = append(e.b, "null"...)
}

func (e *encoder) time(name string, t time.Time) {
	e.name(name)
	if t.IsZero() {
		e.b = append(e.b, "null"...)
		return
	}
	e.b = append(t.UTC().AppendFormat(append(e.b, '"'), time.RFC3339Nano), '"')
}

func (e *encoder) texts(all []string) {
	e.list()
	for _, s := range all {
		e.comma()
		e.quote(s)
	}
	e.end()
}

// room makes sure that n bytes can be appended without leaving a copy of what is there behind.
func (e *encoder) room(n int) {
	if cap(e.b)-len(e.b) >= n {
		return
	}
	grown := make([]byte, len(e.b), 2*cap(e.b)+n)
	copy(grown, e.b)
	clear(e.b)
	e.b = grown
}

// versioned writes "vault:vN:" and base64.
func (e *encoder) versioned(name string, version uint32, b []byte) {
	e.name(name)
	e.room(len(prefix) + base64.StdEncoding.EncodedLen(len(b)) + slack)
	e.b = strconv.AppendUint(append(append(e.b, '"'), prefix...), uint64(version), 10)
	e.b = append(base64.StdEncoding.AppendEncode(append(e.b, ':'), b), '"')
}

// released writes what an operation gives out, in base64. It is erased with the answer.
func (e *encoder) released(name string, r secret.Released) {
	e.out = append(e.out, r)
	e.name(name)
	e.room(base64.StdEncoding.EncodedLen(r.Len()) + slack)
	e.b = append(base64.StdEncoding.AppendEncode(append(e.b, '"'), r.Wire(release.Wire{})), '"')
}

// document writes what an operation gives out, which is JSON. It is erased with the answer.
func (e *encoder) document(name string, r secret.Released) {
	e.out = append(e.out, r)
	e.name(name)
	e.room(r.Len() + slack)
	e.b = append(e.b, r.Wire(release.Wire{})...)
}

// plain writes what an operation gives out and needs no escape: a token. It is erased with the answer.
func (e *encoder) plain(name string, r secret.Released) {
	e.out = append(e.out, r)
	e.name(name)
	e.room(r.Len() + slack)
	e.b = append(append(append(e.b, '"'), r.Wire(release.Wire{})...), '"')
}

// secretText writes what an operation gives out, which is any text. It is erased with the answer.
func (e *encoder) secretText(name string, r secret.Released) {
	e.out = append(e.out, r)
	e.name(name)
	b := r.Wire(release.Wire{})
	e.room(6*len(b) + slack)
	e.b, _ = jsontext.AppendQuote(e.b, b) // what is not UTF-8 becomes U+FFFD
}

// pem writes what an operation gives out, which is base64 or PEM: nothing of it needs an escape but ends of lines. It is erased with the answer.
func (e *encoder) pem(name string, r secret.Released) {
	e.out = append(e.out, r)
	e.name(name)
	e.room(2*r.Len() + slack)
	e.b = append(e.b, '"')
	for _, c := range r.Wire(release.Wire{}) {
		if c == '\n' {
			e.b = append(e.b, '\\')
			c = 'n'
		}
		e.b = append(e.b, c)
	}
	e.b = append(e.b, '"')
}

// whole writes what an operation gives out, in the place of everything. It is erased with the answer.
func (e *encoder) whole(r secret.Released) {
	e.out = append(e.out, r)
	e.b = e.b[:0]
	e.room(r.Len() + slack)
	e.b = append(e.b, r.Wire(release.Wire{})...)
}
