package kms

import (
	"encoding/hex"
	"time"
)

// ID is the immutable identity of a key, record or cluster: a UUID (RFC 9562), 16 bytes.
type ID [16]byte

// NewID makes a UUIDv7 from a time and 10 random bytes. Ids made later sort later,
// so that a listing in id order is a listing in order of creation.
func NewID(now time.Time, random [10]byte) ID {
	var id ID
	ms := uint64(now.UnixMilli()) //nolint:gosec // G115: times before 1970 do not occur
	id[0], id[1], id[2] = byte(ms>>40), byte(ms>>32), byte(ms>>24)
	id[3], id[4], id[5] = byte(ms>>16), byte(ms>>8), byte(ms)
	copy(id[6:], random[:])
	id[6] = id[6]&0x0f | 0x70 // version 7, RFC 9562 §5.7
	id[8] = id[8]&0x3f | 0x80 // variant, RFC 9562 §4.1
	return id
}

// ParseID reads the 36-character form. The second result tells whether s is an id.
func ParseID(s string) (ID, bool) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, false
	}
	at := 0
	for i := 0; i < 36; i += 2 {
		switch i {
		case 8, 13, 18, 23: // the hyphens, and only they
			i++
		}
		hi, ok1 := nibble(s[i])
		lo, ok2 := nibble(s[i+1])
		if !ok1 || !ok2 {
			return ID{}, false
		}
		id[at] = hi<<4 | lo
		at++
	}
	return id, true
}

func nibble(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// String is the 36-character lower-case form.
func (id ID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], id[0:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:36], id[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// Global makes an id that of a multi-Region key: a UUID of version 8 (RFC 9562 §5.8), where every other key's is of version 7. It sorts as before.
func (id ID) Global() ID {
	id[6] = id[6]&0x0f | 0x80
	return id
}

// MultiRegion tells whether an id is that of a multi-Region key.
func (id ID) MultiRegion() bool { return id[6]>>4 == 8 }

// IsZero tells whether no id was set.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText writes the 36-character form.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the 36-character form.
func (id *ID) UnmarshalText(b []byte) error {
	got, ok := ParseID(string(b))
	if !ok {
		return Errorf(CodeBadRequest, "%q is not a UUID", clip(string(b)))
	}
	*id = got
	return nil
}

// Time is the time that an id says it was made at, to the millisecond.
func (id ID) Time() time.Time {
	ms := int64(id[0])<<40 | int64(id[1])<<32 | int64(id[2])<<24 | int64(id[3])<<16 | int64(id[4])<<8 | int64(id[5])
	return time.UnixMilli(ms)
}
