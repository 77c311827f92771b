package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// A grant's token names the grant: base64url of version u8, key id, grant id, and the first 4 bytes of the SHA-256 of these. It is no secret
// and permits nothing: grants take effect at once, so that nobody has to show one.
const grantTokenV1 = 1

// grantToken writes the token of a grant.
func grantToken(key kms.ID, id records.GrantID) string {
	b := append([]byte{grantTokenV1}, key[:]...)
	b = append(b, id[:]...)
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(append(b, sum[:4]...))
}

func parseGrantToken(s string) (key kms.ID, id records.GrantID, ok bool) {
	const body = 1 + len(key) + len(id)
	if len(s) != base64.RawURLEncoding.EncodedLen(body+4) {
		return key, id, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || b[0] != grantTokenV1 {
		return key, id, false
	}
	sum := sha256.Sum256(b[:body])
	copy(key[:], b[1:])
	copy(id[:], b[1+len(key):])
	return key, id, bytes.Equal(sum[:4], b[body:])
}

// CheckGrantToken refuses what is not the token of a grant, of this server or another. CodeBadToken.
func CheckGrantToken(s string) error {
	if _, _, ok := parseGrantToken(s); !ok {
		return kms.Errorf(kms.CodeBadToken, "this is not the token of a grant")
	}
	return nil
}
