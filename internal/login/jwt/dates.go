package jwt

import (
	"time"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/login"
)

// What holds of a role that says nothing else, in seconds.
const (
	usualSkew = 60  // between two clocks
	usualLife = 150 // of a token that does not say when it expires, or from when it is good
)

// dates are those of a token, in seconds since 1970; 0: it does not have that one (RFC 7519 §4.1.4–6).
type dates struct{ issued, from, until float64 }

func (s said) dates() (d dates, err error) {
	for _, of := range []struct {
		name string
		to   *float64
	}{{"iat", &d.issued}, {"nbf", &d.from}, {"exp", &d.until}} {
		v := s[of.name]
		if v == nil || v.Kind() == 'n' {
			continue
		}
		if json.Unmarshal([]byte(v), of.to) != nil || *of.to <= 0 || *of.to > maxDate {
			return d, login.Refuse("its claim %s is not a date", of.name)
		}
	}
	return d, nil
}

// maxDate is the last second of the year 9999.
const maxDate = 253402300799

func leeway(asked, usual int64) float64 {
	switch {
	case asked < 0:
		return 0
	case asked == 0:
		return float64(usual)
	}
	return float64(asked)
}

// timely refuses a token that is not good at a moment. One that says of itself neither from when nor until when it is good has both follow from what it
// does say, and from the leeways of the role.
func (r *role) timely(d dates, now time.Time) error {
	if d == (dates{}) {
		return login.Refuse("it has none of the claims exp, nbf and iat")
	}
	if d.until == 0 {
		d.until = max(d.issued, d.from) + leeway(r.Expiry, usualLife)
	}
	if d.from == 0 {
		if d.from = d.issued; d.from == 0 {
			d.from = d.until - leeway(r.NotBefore, usualLife)
		}
	}
	at, skew := float64(now.UnixMilli())/1000, leeway(r.Skew, usualSkew)
	switch {
	case at >= d.until+skew:
		return login.Refuse("it expired at %s", second(d.until))
	case at < d.from-skew:
		return login.Refuse("it is good from %s on", second(d.from))
	case at < d.issued-skew:
		return login.Refuse("it says that it was issued at %s", second(d.issued))
	}
	return nil
}

func second(s float64) string { return time.Unix(int64(s), 0).UTC().Format(time.RFC3339) }
