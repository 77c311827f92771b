package authn

import (
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
)

// appendCanonical appends the canonical form of a request (AWS Signature Version 4, "Create a canonical request"): method, path, query, the
// signed headers with their values, their names, and the digest of the body; byte for byte as the SDKs write it.
func (c *claim) appendCanonical(b []byte, r *http.Request, body [32]byte) ([]byte, *kms.Error) {
	b = append(b, r.Method...)
	b = append(b, '\n')
	b = appendPath(b, r.URL.EscapedPath())
	b = append(b, '\n')
	if r.URL.RawQuery != "" {
		var err *kms.Error
		if b, err = appendQuery(b, r.URL.RawQuery); err != nil {
			return nil, err
		}
	}
	b = append(b, '\n')
	for name := range strings.SplitSeq(c.signed, ";") {
		b = append(b, name...)
		b = append(b, ':')
		b = appendHeader(b, r, name)
		b = append(b, '\n')
	}
	b = append(b, '\n')
	b = append(b, c.signed...)
	b = append(b, '\n')
	return hex.AppendEncode(b, body[:]), nil
}

// appendPath appends a path whose segments are encoded once more, as for every service but S3.
func appendPath(b []byte, escaped string) []byte {
	if escaped == "" {
		return append(b, '/')
	}
	return appendEncoded(b, escaped, true)
}

// appendQuery appends the parameters encoded anew and in the order of their encoded form, without the signature.
func appendQuery(b []byte, raw string) ([]byte, *kms.Error) {
	items, err := queryItems(raw)
	if err != nil {
		return nil, err
	}
	encoded := make([]item, 0, len(items))
	for _, i := range items {
		if i.name != "X-Amz-Signature" {
			encoded = append(encoded, item{string(appendEncoded(nil, i.name, false)), string(appendEncoded(nil, i.value, false))})
		}
	}
	slices.SortFunc(encoded, func(x, y item) int {
		if n := strings.Compare(x.name, y.name); n != 0 {
			return n
		}
		return strings.Compare(x.value, y.value)
	})
	for n, i := range encoded {
		if n > 0 {
			b = append(b, '&')
		}
		b = append(b, i.name...)
		b = append(b, '=')
		b = append(b, i.value...)
	}
	return b, nil
}

// appendEncoded percent-encodes all but the unreserved characters of RFC 3986 §2.3, and slashes where they stay.
func appendEncoded(b []byte, s string, slashes bool) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~', c == '/' && slashes:
			b = append(b, c)
		default:
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}

// appendHeader appends the value of a signed header. net/http takes some headers away and keeps them elsewhere: they are put back. One that was not
// sent has an empty value.
func appendHeader(b []byte, r *http.Request, name string) []byte {
	values := r.Header[headerKey(name)]
	if len(values) == 0 {
		switch name {
		case "host":
			return appendTrimmed(b, r.Host)
		case "content-length":
			if r.ContentLength >= 0 {
				return strconv.AppendInt(b, r.ContentLength, 10)
			}
		case "transfer-encoding":
			return append(b, strings.Join(r.TransferEncoding, ",")...)
		case "expect": // HTTP/2 takes it away when it was this; HTTP/1 answers anything else by itself
			return append(b, "100-continue"...)
		}
		return b
	}
	for n, v := range values {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendTrimmed(b, v)
	}
	return b
}

// appendTrimmed appends a value without space around it, and with one space where there were several.
func appendTrimmed(b []byte, v string) []byte {
	v = strings.Trim(v, " \t")
	if !strings.Contains(v, "  ") {
		return append(b, v...)
	}
	for i := range len(v) {
		if v[i] != ' ' || v[i-1] != ' ' {
			b = append(b, v[i])
		}
	}
	return b
}

// headerKey is the form of a header's name in an http.Header. The names that the SDKs sign are spelled out, because http.CanonicalHeaderKey would make
// each anew at every request.
func headerKey(lower string) string {
	switch lower {
	case "x-amz-date":
		return "X-Amz-Date"
	case "x-amz-target":
		return "X-Amz-Target"
	case "x-amz-security-token":
		return "X-Amz-Security-Token"
	case "x-amz-content-sha256":
		return "X-Amz-Content-Sha256"
	case "x-amz-user-agent":
		return "X-Amz-User-Agent"
	case "amz-sdk-invocation-id":
		return "Amz-Sdk-Invocation-Id"
	case "amz-sdk-request":
		return "Amz-Sdk-Request"
	}
	return http.CanonicalHeaderKey(lower)
}
