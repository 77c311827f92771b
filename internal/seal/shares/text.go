package shares

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"fmt"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// The text form: prefix, then groups of 4 characters with dashes between them. 60 bytes are 96 characters.
//
//	version 01 | set id 4 | k u8 | n u8 | index u8 | value 48 | checksum 4
const (
	prefix       = "KHS1"
	version      = 1
	headSize     = 1 + 4 + 3
	checksumSize = 4
	binarySize   = headSize + payloadSize + checksumSize
	bodyChars    = binarySize * 8 / 5
	group        = 4
	TextSize     = len(prefix) + bodyChars + bodyChars/group // characters
	maxText      = 1024                                      // what is looked at, blanks and line ends included
)

// The alphabet has no I, L, O and U (Crockford), so that a share survives being written by hand.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

var encoding = base32.NewEncoding(alphabet).WithPadding(base32.NoPadding) //nolint:gochecknoglobals // a constant in all but name

func (id SetID) String() string { return hex.EncodeToString(id[:]) }

// Format hides the value from every verb.
func (s Share) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "share %d of %d (%d open) of set %s", s.Index, s.N, s.K, s.Set)
}

// Text is the printable form of the share, of TextSize characters: what its custodian gets, once.
func (s *Share) Text() (secret.Released, error) {
	value := s.value.Reveal(reveal.Key{})
	if len(value) != payloadSize {
		return secret.Released{}, kms.Errorf(kms.CodeInternal, "share %d was erased", s.Index)
	}
	raw := make([]byte, 0, binarySize)
	raw = append(raw, version)
	raw = append(raw, s.Set[:]...)
	raw = append(raw, s.K, s.N, s.Index)
	raw = append(raw, value...)
	raw = appendChecksum(raw, raw)
	defer clear(raw)
	var body [bodyChars]byte
	encoding.Encode(body[:], raw)
	defer clear(body[:])
	text := append(make([]byte, 0, TextSize), prefix...)
	for at := 0; at < bodyChars; at += group {
		text = append(text, '-')
		text = append(text, body[at:at+group]...)
	}
	return secret.Release(text), nil
}

// Parse reads the text of one share and checks it by itself. Blanks, line ends and dashes do not matter, nor does the case;
// O is read as 0, I and L as 1. Every error is CodeBadShare. It cannot say where a mistyped character is.
func Parse(text *secret.Bytes) (*Share, error) {
	in := text.Reveal(reveal.Key{})
	if len(in) > maxText {
		return nil, kms.Errorf(kms.CodeBadShare, "the text has %d bytes, a share has %d", len(in), TextSize)
	}
	compact := make([]byte, 0, len(prefix)+bodyChars)
	defer func() { clear(compact[:cap(compact)]) }()
	total := 0
	for _, c := range in {
		if bytes.IndexByte([]byte(" \t\r\n-"), c) >= 0 {
			continue
		}
		if total++; len(compact) < cap(compact) {
			compact = append(compact, fold(c, total <= len(prefix)))
		}
	}
	if !bytes.HasPrefix(compact, []byte(prefix)) {
		return nil, kms.Errorf(kms.CodeBadShare, "this is not a custodian share: a share starts with %s-", prefix)
	}
	if got := total - len(prefix); got != bodyChars {
		return nil, kms.Errorf(kms.CodeBadShare, "the share has %d characters after %s, want %d: %s", got, prefix, bodyChars, tooManyOrFew(got))
	}
	raw := make([]byte, binarySize)
	defer clear(raw)
	if _, err := encoding.Decode(raw, compact[len(prefix):]); err != nil {
		return nil, kms.Errorf(kms.CodeBadShare, "the share has a character that shares do not use: want digits and letters without U")
	}
	return parseBinary(raw)
}

func parseBinary(raw []byte) (*Share, error) {
	body := raw[:binarySize-checksumSize]
	want := appendChecksum(nil, body)
	if subtle.ConstantTimeCompare(want, raw[len(body):]) != 1 {
		return nil, kms.Errorf(kms.CodeBadShare, "the share's checksum is wrong: at least one character differs from what was printed")
	}
	if body[0] != version {
		return nil, kms.Errorf(kms.CodeBadShare, "the share is of version %d, this program reads version %d", body[0], version)
	}
	s := &Share{Set: SetID(body[1:5]), K: body[5], N: body[6], Index: body[7]}
	if CheckQuorum(int(s.K), int(s.N)) != nil || s.Index == 0 || s.Index > s.N {
		return nil, kms.Errorf(kms.CodeBadShare, "the share says it is number %d of %d with %d to open: that is not possible", s.Index, s.N, s.K)
	}
	s.value = secret.Copy(body[headSize:])
	return s, nil
}

func tooManyOrFew(got int) string {
	if got > bodyChars {
		return "some are too many"
	}
	return "some are missing"
}

// fold reads what a person may have written for a character of the alphabet. The prefix has its own letters.
func fold(c byte, inPrefix bool) byte {
	if 'a' <= c && c <= 'z' {
		c -= 'a' - 'A'
	}
	switch {
	case inPrefix:
	case c == 'O':
		return '0'
	case c == 'I' || c == 'L':
		return '1'
	}
	return c
}

// appendChecksum appends 4 bytes of SHA-256("keyhold/share/v1" ‖ 00 ‖ body): it finds typing errors, nothing else.
func appendChecksum(dst, body []byte) []byte {
	h := sha256.New()
	h.Write([]byte("keyhold/share/v1\x00"))
	h.Write(body)
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	dst = append(dst, sum[:checksumSize]...)
	clear(sum[:])
	return dst
}
