// Package token is the text form of a bearer token: a public id, by which it is looked up, counted and revoked, and a
// secret, of which the server keeps a digest only.
//
//	kh_<id: 26 characters, base32 of 16 bytes>_<secret: 43 characters, base64url of 32 bytes>
//
// The fixed prefix lets secret scanners find tokens that were committed by mistake.
package token

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
)

// SecretSize is the length of a token's secret in bytes.
const SecretSize = 32

const (
	prefix = "kh_"
	idLen  = 26
	// Length of the whole text.
	Length = len(prefix) + idLen + 1 + 43
)

var ids = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Format writes a token.
func Format(id kms.ID, secret []byte) []byte {
	b := make([]byte, 0, Length)
	b = append(b, prefix...)
	b = ids.AppendEncode(b, id[:])
	b = append(b, '_')
	return base64.RawURLEncoding.AppendEncode(b, secret)
}

// Parse reads a token into its id and its 32-byte secret. ok tells whether the text has the form of a token.
func Parse(s string) (id kms.ID, secret []byte, ok bool) {
	if len(s) != Length || !strings.HasPrefix(s, prefix) || s[len(prefix)+idLen] != '_' {
		return kms.ID{}, nil, false
	}
	if n, err := ids.Decode(id[:], []byte(s[len(prefix):len(prefix)+idLen])); err != nil || n != len(id) {
		return kms.ID{}, nil, false
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(s[len(prefix)+idLen+1:])
	if err != nil || len(secret) != SecretSize || ids.EncodeToString(id[:]) != s[len(prefix):len(prefix)+idLen] {
		return kms.ID{}, nil, false // one spelling only: the last character of an id has two bits to spare
	}
	return id, secret, true
}

// Digest is what the server stores of a secret: SHA-256. The secret has 256 random bits, so no slow hash is needed.
func Digest(secret []byte) [32]byte { return sha256.Sum256(secret) }
