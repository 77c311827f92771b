package authn

import (
	"net/http"

	"github.com/keyhold/keyhold/internal/kms"
)

const scheme = "Bearer "

// bearer finds the token of an Authorization header, RFC 6750 §2.1; the scheme's case does not matter, RFC 9110 §11.1.
// Two such headers are refused: which of them counts would be decided by whoever parses them first.
func bearer(h http.Header) (text string, given bool, err *kms.Error) {
	values := h["Authorization"]
	switch len(values) {
	case 0:
		return "", false, nil
	case 1:
	default:
		return "", false, kms.Errorf(kms.CodeUnauthenticated, "the request carries %d Authorization headers, want one", len(values))
	}
	v := values[0]
	if len(v) < len(scheme) || v[6] != ' ' {
		return "", false, kms.Errorf(kms.CodeUnauthenticated, "the Authorization header is not of the form: Bearer TOKEN")
	}
	for i := range 6 {
		if v[i]|0x20 != scheme[i]|0x20 {
			return "", false, kms.Errorf(kms.CodeUnauthenticated, "the Authorization header is not of the form: Bearer TOKEN")
		}
	}
	return v[len(scheme):], true, nil
}
