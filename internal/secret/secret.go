// Package secret holds bytes that must not be seen: key material, and what an operation releases by design.
//
// Neither type can be printed, logged or marshalled: every such attempt gives "[redacted]". Reading key material
// needs package secret/reveal, reading released bytes needs package secret/release; internal/archtest holds the
// lists of who may import them.
package secret

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"log/slog"

	"github.com/keyhold/keyhold/internal/secret/release"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

const redacted = "[redacted]"

// Bytes is key material. The zero value is empty.
type Bytes struct {
	b    []byte
	back func() // gives memory that is not of the heap back; nil for the heap
}

// Take makes the slice secret. The caller gives it up: it is erased by Zero.
func Take(b []byte) *Bytes { return &Bytes{b: b} }

// Held makes a secret of memory that is not of the heap (package arena). back is called by Zero, once, and erases it.
func Held(b []byte, back func()) *Bytes { return &Bytes{b: b, back: back} }

// Copy makes a secret copy and leaves b alone.
func Copy(b []byte) *Bytes { return &Bytes{b: append(make([]byte, 0, len(b)), b...)} }

// Random makes n bytes from the operating system's (or, in the FIPS build, the module's) random source.
func Random(n int) *Bytes {
	b := make([]byte, n)
	rand.Read(b) //nolint:errcheck // crypto/rand.Read never returns an error since Go 1.24: it ends the process
	return &Bytes{b: b}
}

// Reveal gives the bytes themselves, not a copy: do not keep them.
func (s *Bytes) Reveal(reveal.Key) []byte {
	if s == nil {
		return nil
	}
	return s.b
}

// Len is the number of bytes.
func (s *Bytes) Len() int {
	if s == nil {
		return 0
	}
	return len(s.b)
}

// Equal compares in constant time.
func (s *Bytes) Equal(t *Bytes) bool {
	return s != nil && t != nil && subtle.ConstantTimeCompare(s.b, t.b) == 1
}

// Zero erases the bytes. It may be called more than once.
func (s *Bytes) Zero() {
	if s == nil {
		return
	}
	if s.back != nil {
		s.back()
		s.b, s.back = nil, nil
		return
	}
	clear(s.b)
	s.b = nil
}

// String, GoString, Format, LogValue, MarshalText and MarshalJSON all hide the bytes.
func (s Bytes) String() string { return redacted }

// GoString hides the bytes from %#v.
func (s Bytes) GoString() string { return redacted }

// Format hides the bytes from every verb, %x included.
func (s Bytes) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides the bytes from log/slog.
func (s Bytes) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the bytes from encoders.
func (s Bytes) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON hides the bytes from encoding/json.
func (s Bytes) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Released is what an operation gives its caller by design: a data key, a decrypted plaintext, a new token.
// It leaves the engine in this type, so that only a dialect's encoder can read it.
type Released struct{ b []byte }

// Release wraps the bytes that an operation gives out. The caller gives the slice up.
func Release(b []byte) Released { return Released{b: b} }

// Wire gives the bytes to an encoder; they are erased by Zero when the answer is written.
func (r Released) Wire(release.Wire) []byte { return r.b }

// Len is the number of bytes.
func (r Released) Len() int { return len(r.b) }

// Zero erases the bytes.
func (r Released) Zero() { clear(r.b) }

// String, GoString, Format, LogValue, MarshalText and MarshalJSON all hide the bytes.
func (r Released) String() string { return redacted }

// GoString hides the bytes from %#v.
func (r Released) GoString() string { return redacted }

// Format hides the bytes from every verb, %x included.
func (r Released) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides the bytes from log/slog.
func (r Released) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the bytes from encoders.
func (r Released) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON hides the bytes from encoding/json.
func (r Released) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
