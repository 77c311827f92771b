package authn

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// Limits of what a signed request says of its signature, in bytes.
const (
	maxAuthorization = 8 << 10  // the Authorization header
	maxScope         = 64       // a region, and a service
	maxSignedHeaders = 64       // names
	maxQueryItems    = 256      // of the query string
	maxQuery         = 32 << 10 // the query string
	maxSessionToken  = 4 << 10

	maxPresigned = 7 * 24 * time.Hour
)

// The fixed words of Signature Version 4.
const (
	algorithm4  = "AWS4-HMAC-SHA256"
	terminator4 = "aws4_request"
	stampForm   = "20060102T150405Z"
)

// What a signed request may be for.
const (
	serviceKMS = "kms"
	serviceSTS = "sts"
)

// claim is what a request says of its own signature, read and not yet believed.
type claim struct {
	key, date, region, service string // the credential scope
	scope                      string // date/region/service/aws4_request
	signed                     string // the names of the signed headers: lower case, sorted, ';' between them
	signature                  [32]byte
	stamp                      string // when it was signed, in stampForm
	at                         time.Time
	token                      string // of a session; empty: none
	presigned                  bool
	lifetime                   time.Duration // of a presigned request
}

func incomplete(format string, args ...any) *kms.Error {
	return kms.Errorf(kms.CodeSignatureIncomplete, format, args...)
}

// read takes the claim from the Authorization header, or from the query string of a presigned request. A request has one or the other.
func (c *claim) read(r *http.Request) *kms.Error {
	if len(r.URL.RawQuery) > maxQuery {
		return incomplete("The query string is longer than %d bytes.", maxQuery)
	}
	header, err := only(r.Header, "Authorization")
	if err != nil {
		return err
	}
	presigned := strings.Contains(r.URL.RawQuery, "X-Amz-Signature=")
	switch {
	case header != "" && presigned:
		return incomplete("The request carries a signature in its query string and another one in its Authorization header.")
	case presigned:
		err = c.fromQuery(r)
	case header != "":
		err = c.fromHeader(r, header)
	default:
		err = kms.Errorf(kms.CodeUnauthenticated, "the request is not signed")
	}
	if err != nil {
		return err
	}
	return c.covers(r)
}

// only gives the one value of a header that must not stand twice: which of two counts would be decided by whoever parses them first.
func only(h http.Header, name string) (string, *kms.Error) {
	switch v := h[name]; len(v) {
	case 0:
		return "", nil
	case 1:
		return v[0], nil
	default:
		return "", incomplete("The header %s stands %d times.", name, len(v))
	}
}

// fromHeader reads "AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…".
func (c *claim) fromHeader(r *http.Request, header string) *kms.Error {
	rest, ok := strings.CutPrefix(header, algorithm4)
	if !ok || len(header) > maxAuthorization || rest == "" || rest[0] != ' ' {
		return incomplete("The Authorization header is not of the form %s Credential=…, SignedHeaders=…, Signature=….", algorithm4)
	}
	var credential, signature string
	for len(rest) > 0 {
		var part string
		part, rest, _ = strings.Cut(rest, ",")
		name, value, ok := strings.Cut(strings.Trim(part, " \t"), "=")
		into := map3(name, &credential, &c.signed, &signature)
		if !ok || value == "" || into == nil || *into != "" {
			return incomplete("The Authorization header is not of the form %s Credential=…, SignedHeaders=…, Signature=….", algorithm4)
		}
		*into = value
	}
	for _, part := range [...]struct{ name, value string }{{"Credential", credential}, {"SignedHeaders", c.signed}, {"Signature", signature}} {
		if part.value == "" {
			return incomplete("Authorization header requires '%s' parameter.", part.name)
		}
	}
	if err := c.readScope(credential); err != nil {
		return err
	}
	if err := c.readSignature(signature); err != nil {
		return err
	}
	token, err := only(r.Header, "X-Amz-Security-Token")
	if err != nil {
		return err
	}
	c.token = token
	return c.readDate(r.Header)
}

// map3 gives the place of a part of the Authorization header; nil: there is no such part.
func map3(name string, credential, signed, signature *string) *string {
	switch name {
	case "Credential":
		return credential
	case "SignedHeaders":
		return signed
	case "Signature":
		return signature
	}
	return nil
}

// readDate reads when the request was signed: X-Amz-Date, else Date in the form of HTTP or of ISO 8601.
func (c *claim) readDate(h http.Header) *kms.Error {
	text, err := only(h, "X-Amz-Date")
	if err != nil {
		return err
	}
	if text == "" {
		if text, err = only(h, "Date"); err != nil {
			return err
		}
		if at, bad := http.ParseTime(text); bad == nil {
			text = at.UTC().Format(stampForm)
		}
	}
	if text == "" {
		return incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	return c.readStamp(text)
}

func (c *claim) readStamp(text string) *kms.Error {
	at, err := time.Parse(stampForm, text)
	if err != nil {
		return incomplete("The date of the request must be in ISO-8601 'basic format': YYYYMMDD'T'HHMMSS'Z'.")
	}
	c.stamp, c.at = text, at
	return nil
}

// readScope reads "KEY/YYYYMMDD/REGION/SERVICE/aws4_request".
func (c *claim) readScope(credential string) *kms.Error {
	key, scope, ok := strings.Cut(credential, "/")
	if !ok || strings.Count(scope, "/") != 3 {
		return incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.")
	}
	c.key, c.scope = key, scope
	c.date, scope, _ = strings.Cut(scope, "/")
	c.region, scope, _ = strings.Cut(scope, "/")
	var term string
	c.service, term, _ = strings.Cut(scope, "/")
	switch {
	case term != terminator4:
		return kms.Errorf(kms.CodeSignature, "Credential should be scoped with a valid terminator: '%s'.", terminator4)
	case c.service != serviceKMS && c.service != serviceSTS:
		return kms.Errorf(kms.CodeSignature, "Credential should be scoped to correct service: '%s'.", serviceKMS)
	case !plain(c.region):
		return kms.Errorf(kms.CodeSignature, "Credential should be scoped to a valid region.")
	}
	return nil
}

// plain tells whether a region has the form of one: letters, digits and dashes, maxScope at most.
func plain(s string) bool {
	if s == "" || len(s) > maxScope {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

func (c *claim) readSignature(text string) *kms.Error {
	if len(text) != hex.EncodedLen(len(c.signature)) || strings.ToLower(text) != text {
		return incomplete("The signature is not %d lower-case hexadecimal digits.", hex.EncodedLen(len(c.signature)))
	}
	var raw [64]byte
	copy(raw[:], text)
	if _, err := hex.Decode(c.signature[:], raw[:]); err != nil {
		return incomplete("The signature is not %d lower-case hexadecimal digits.", hex.EncodedLen(len(c.signature)))
	}
	return nil
}

// fromQuery reads the signature of a presigned request: every part of it is a parameter, and stands once.
func (c *claim) fromQuery(r *http.Request) *kms.Error {
	items, err := queryItems(r.URL.RawQuery)
	if err != nil {
		return err
	}
	var got struct{ algorithm, credential, date, expires, signed, signature, token string }
	parts := [...]struct {
		name string
		into *string
	}{
		{"X-Amz-Algorithm", &got.algorithm}, {"X-Amz-Credential", &got.credential}, {"X-Amz-Date", &got.date}, {"X-Amz-Expires", &got.expires},
		{"X-Amz-SignedHeaders", &got.signed}, {"X-Amz-Signature", &got.signature}, {"X-Amz-Security-Token", &got.token},
	}
	for _, item := range items {
		for _, p := range parts {
			if item.name != p.name {
				continue
			}
			if *p.into != "" || item.value == "" {
				return incomplete("The query parameter %s stands twice or is empty.", p.name)
			}
			*p.into = item.value
		}
	}
	for _, p := range parts[:6] {
		if *p.into == "" {
			return incomplete("AWS query-string parameters must include '%s'.", p.name)
		}
	}
	if got.algorithm != algorithm4 {
		return incomplete("X-Amz-Algorithm must be '%s'.", algorithm4)
	}
	seconds, bad := strconv.ParseUint(got.expires, 10, 32)
	if c.lifetime = time.Duration(seconds) * time.Second; bad != nil || seconds == 0 || c.lifetime > maxPresigned { //nolint:gosec // G115: 32 bits
		return incomplete("X-Amz-Expires must be a number of seconds from 1 to %d.", int(maxPresigned/time.Second))
	}
	c.presigned, c.signed, c.token = true, got.signed, got.token
	if c.token == "" { // added after signing, as some services want it: it must be signed here
		if c.token, err = only(r.Header, "X-Amz-Security-Token"); err != nil {
			return err
		}
	}
	if err := c.readScope(got.credential); err != nil {
		return err
	}
	if err := c.readSignature(got.signature); err != nil {
		return err
	}
	return c.readStamp(got.date)
}

// covers checks that the list of signed headers has its form and names what it must: host, the date, and of the others that mean something
// here those that are sent. On KMS the operation is a header, so that without it any operation could be put in its place.
func (c *claim) covers(r *http.Request) *kms.Error {
	if len(c.token) > maxSessionToken {
		return kms.Errorf(kms.CodeCredentialUnknown, "The security token included in the request is invalid.")
	}
	if strings.Count(c.signed, ";") >= maxSignedHeaders {
		return incomplete("More than %d headers are signed.", maxSignedHeaders)
	}
	var host, date, target, token bool
	last := ""
	for name := range strings.SplitSeq(c.signed, ";") {
		if name <= last || !lowerToken(name) {
			return incomplete("SignedHeaders is not a sorted list of lower-case names with semicolons between them.")
		}
		last = name
		switch name {
		case "host":
			host = true
		case "x-amz-date":
			date = true
		case "date":
			date = date || len(r.Header["X-Amz-Date"]) == 0
		case "x-amz-target":
			target = true
		case "x-amz-security-token":
			token = true
		}
	}
	sent := func(name string) bool { return len(r.Header[name]) > 0 }
	switch {
	case !host:
		return incomplete("'Host' must be a signed header.")
	case !date && !c.presigned:
		return incomplete("'X-Amz-Date' must be a signed header.")
	case !target && (sent("X-Amz-Target") || c.service == serviceKMS):
		return incomplete("'X-Amz-Target' must be a signed header.")
	case !token && sent("X-Amz-Security-Token"):
		return incomplete("'X-Amz-Security-Token' must be a signed header.")
	case c.presigned && sent("X-Amz-Date"):
		return incomplete("A presigned request carries its date in the query string, not in a header.")
	}
	for _, name := range [...]string{"X-Amz-Target", "X-Amz-Content-Sha256"} {
		if _, err := only(r.Header, name); err != nil {
			return err
		}
	}
	return nil
}

// lowerToken tells whether a name has the form of a header's (RFC 9110 §5.6.2) without capitals.
func lowerToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// timely checks when the request was signed: within the skew of now, or before a presigned one is over.
func (c *claim) timely(now time.Time, skew time.Duration) *kms.Error {
	if c.stamp[:8] != c.date {
		return kms.Errorf(kms.CodeSignature, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.",
			clipped(c.date), c.stamp[:8], c.stamp)
	}
	late := c.at.Add(max(skew, c.lifetime))
	said := func(t time.Time) string { return t.UTC().Format(stampForm) }
	switch {
	case now.After(late) && c.presigned:
		return kms.Errorf(kms.CodeSignatureTime, "Signature expired: %s is now earlier than %s (it was presigned for %s)", said(late), said(now), c.lifetime)
	case now.After(late):
		return kms.Errorf(kms.CodeSignatureTime, "Signature expired: %s is now earlier than %s (%s - %s.)", c.stamp, said(now.Add(-skew)), said(now), minutes(skew))
	case c.at.After(now.Add(skew)):
		return kms.Errorf(kms.CodeSignatureTime, "Signature not yet current: %s is still later than %s (%s + %s.)", c.stamp, said(now.Add(skew)), said(now), minutes(skew))
	}
	return nil
}

func minutes(d time.Duration) string {
	if d%time.Minute == 0 {
		return strconv.Itoa(int(d/time.Minute)) + " min"
	}
	return strconv.Itoa(int(d/time.Second)) + " s"
}

func clipped(s string) string { return s[:min(len(s), 32)] }

// item is a parameter of a query string, decoded.
type item struct{ name, value string }

func queryItems(raw string) ([]item, *kms.Error) {
	if strings.Count(raw, "&") >= maxQueryItems {
		return nil, incomplete("The query string has more than %d parameters.", maxQueryItems)
	}
	var all []item
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		n, err := url.QueryUnescape(name)
		v, bad := url.QueryUnescape(value)
		if err != nil || bad != nil {
			return nil, incomplete("The query string is not properly encoded.")
		}
		all = append(all, item{n, v})
	}
	return all, nil
}
