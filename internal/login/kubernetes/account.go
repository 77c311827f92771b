package kubernetes

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
)

// maxToken is how long a token can be, in bytes.
const maxToken = 16 << 10

// skew is between the clocks of cluster and server.
const skew = time.Minute

// account is a service account.
type account struct{ namespace, name, uid string }

// said is what a token says of itself, in the form of a bound token or in that of one that a Secret holds.
type said struct {
	Issuer   string    `json:"iss"`
	Audience audiences `json:"aud"`
	Until    float64   `json:"exp"`
	From     float64   `json:"nbf"`
	Bound    struct {
		Namespace string `json:"namespace"`
		Account   struct {
			Name string `json:"name"`
			UID  string `json:"uid"`
		} `json:"serviceaccount"`
	} `json:"kubernetes.io"`
	Namespace string `json:"kubernetes.io/serviceaccount/namespace"`
	Name      string `json:"kubernetes.io/serviceaccount/service-account.name"`
	UID       string `json:"kubernetes.io/serviceaccount/service-account.uid"`
}

// audiences are a text or a list of texts (RFC 7519 §4.1.3).
type audiences []string

// UnmarshalJSON reads either.
func (a *audiences) UnmarshalJSON(b []byte) error {
	if jsontext.Value(b).Kind() == '"' {
		*a = make(audiences, 1)
		return json.Unmarshal(b, &(*a)[0])
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// read reads what a token says. If the mount has keys it is signed by one of them; if it has none, the cluster will say whether it is true.
func (c *config) read(ctx context.Context, token string) (s said, err error) {
	if len(token) > maxToken {
		return s, login.Refuse("it is too long")
	}
	keys, err := c.keys()
	if err != nil {
		return s, err
	}
	var payload []byte
	if keys != nil {
		payload, err = keys.Payload(ctx, token, nil)
		if kms.CodeOf(err) == kms.CodeIdentityToken {
			return s, login.Refuse("%s", kms.AsError(err).What)
		}
	} else if payload, err = unproven(token); err != nil {
		return s, login.Refuse("it is not of the form of a signed token")
	}
	if err != nil {
		return s, err
	}
	if json.Unmarshal(payload, &s) != nil {
		return s, login.Refuse("what it says is not what tokens of service accounts say")
	}
	return s, nil
}

// unproven is the payload of a token whose signature nobody looked at (RFC 7515 §7.1).
func unproven(token string) ([]byte, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, base64.CorruptInputError(0)
	}
	return base64.RawURLEncoding.Strict().DecodeString(parts[1])
}

// account is whose token it says to be.
func (s *said) account() (*account, error) {
	a := account{s.Bound.Namespace, s.Bound.Account.Name, s.Bound.Account.UID}
	if a == (account{}) {
		a = account{s.Namespace, s.Name, s.UID}
	}
	if a.namespace == "" || a.name == "" || a.uid == "" {
		return nil, login.Refuse("it names no service account")
	}
	return &a, nil
}

// judge refuses a token that would not do even if the cluster knew it.
func (s *said) judge(c *config, r *role, now time.Time) error {
	at := float64(now.Unix())
	switch {
	case s.Until != 0 && at >= s.Until+skew.Seconds():
		return login.Refuse("it expired")
	case at < s.From-skew.Seconds():
		return login.Refuse("it is not good yet")
	case !c.NoIss && c.Issuer != "" && s.Issuer != c.Issuer:
		return login.Refuse("its issuer is %q", login.Clip(s.Issuer))
	case r.Audience != "" && !slices.Contains(s.Audience, r.Audience):
		return login.Refuse("its audience is %q", login.Clip(strings.Join(s.Audience, " ")))
	}
	return nil
}
