package jwt

import (
	"context"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
)

// Limits of a role.
const (
	maxAudiences = 64
	maxClaims    = 64
	maxName      = 256           // bytes of the name of a claim
	maxValue     = 1024          // bytes of what it must be
	maxLeeway    = 7 * 24 * 3600 // seconds
)

// role is what is kept of a role. Leeways are in seconds; 0: as it is without, below 0: none.
type role struct {
	Type      string   `json:"role_type"`
	UserClaim string   `json:"user_claim"`
	Pointer   bool     `json:"user_claim_json_pointer"` // of UserClaim
	Audiences []string `json:"bound_audiences"`
	Subject   string   `json:"bound_subject"`
	Claims    claims   `json:"bound_claims"`
	Match     string   `json:"bound_claims_type"`
	Groups    string   `json:"groups_claim"`
	Mappings  mappings `json:"claim_mappings"`
	Skew      int64    `json:"clock_skew_leeway"`
	Expiry    int64    `json:"expiration_leeway"`
	NotBefore int64    `json:"not_before_leeway"`
}

// claims say what a token must claim: by the name of a claim a value, or a list of those of which it must be one.
type claims map[string]jsontext.Value

// mappings say what of a token its holder's token carries: by the name of a claim the name that it has there.
type mappings map[string]string

// UnmarshalJSON reads all of them: what was there is no part of it.
func (c *claims) UnmarshalJSON(b []byte) error {
	m := map[string]jsontext.Value{}
	err := json.Unmarshal(b, &m)
	*c = m
	return err
}

// UnmarshalJSON does the same.
func (c *mappings) UnmarshalJSON(b []byte) error {
	m := map[string]string{}
	err := json.Unmarshal(b, &m)
	*c = m
	return err
}

const (
	typeJWT     = "jwt"
	matchString = "string"
	matchGlob   = "glob"
)

// Role changes what is asked for of a role.
func (m *Method) Role(_ context.Context, _ string, was, asked login.Document) (login.Document, error) {
	r := role{Type: typeJWT, Match: matchString, Claims: claims{}, Mappings: mappings{}}
	if len(was.Public) > 0 {
		if err := json.Unmarshal(was.Public, &r); err != nil {
			return login.Document{}, err
		}
	}
	if len(asked.Public) > 0 {
		if err := json.Unmarshal(asked.Public, &r); err != nil {
			return login.Document{}, kms.Errorf(kms.CodeBadRequest, "the role cannot be read: bound_claims and claim_mappings are objects").Because(err)
		}
	}
	if err := r.check(); err != nil {
		return login.Document{}, err
	}
	b, err := json.Marshal(&r, json.Deterministic(true))
	return login.Document{Public: b}, err
}

func (r *role) check() error {
	switch {
	case r.Type == "oidc":
		return kms.Errorf(kms.CodeBadRequest, "role_type \"oidc\" is not supported: nobody is sent through a browser here; want \"jwt\"")
	case r.Type != typeJWT:
		return kms.Errorf(kms.CodeBadRequest, "invalid role_type: %s", login.Clip(r.Type))
	case r.UserClaim == "":
		return kms.Errorf(kms.CodeBadRequest, "a user claim must be defined on the role")
	case r.Match != matchString && r.Match != matchGlob:
		return kms.Errorf(kms.CodeBadRequest, "invalid bound_claims_type: %s", login.Clip(r.Match))
	case len(r.Audiences) == 0 && r.Subject == "" && len(r.Claims) == 0:
		return kms.Errorf(kms.CodeBadRequest, "must have at least one bound constraint when creating/updating a role: bound_audiences, bound_subject or bound_claims")
	case len(r.Audiences) > maxAudiences || len(r.Claims) > maxClaims || len(r.Mappings) > maxClaims:
		return kms.Errorf(kms.CodeTooLarge, "a role has %d audiences, and %d claims that it binds or maps, at most", maxAudiences, maxClaims)
	}
	for _, s := range append([]string{r.Subject}, r.Audiences...) {
		if len(s) > maxValue {
			return kms.Errorf(kms.CodeTooLarge, "what a role binds has %d bytes at most", maxValue)
		}
	}
	for _, s := range []int64{r.Skew, r.Expiry, r.NotBefore} {
		if s > maxLeeway {
			return kms.Errorf(kms.CodeBadRequest, "a leeway is of %d seconds at most", maxLeeway)
		}
	}
	return r.checkClaims()
}

func (r *role) checkClaims() error {
	names := []string{r.UserClaim, r.Groups}
	for name, v := range r.Claims {
		names = append(names, name)
		all, ok := scalars(v)
		if !ok || len(all) == 0 {
			return kms.Errorf(kms.CodeBadRequest, "received unexpected type for claim %q: want a text, a number, true or false, or a list of them", login.Clip(name))
		}
		for _, s := range all {
			if len(s.text) > maxValue {
				return kms.Errorf(kms.CodeTooLarge, "what a role binds has %d bytes at most", maxValue)
			}
			if r.Match == matchGlob && !s.quoted {
				return kms.Errorf(kms.CodeBadRequest, "claim is not a string: %s", login.Clip(s.text))
			}
		}
	}
	var to []string
	for name, as := range r.Mappings {
		names = append(names, name)
		if as == "" || as == metaRole || slices.Contains(to, as) {
			return kms.Errorf(kms.CodeBadRequest, "metadata key %q is reserved, empty, or mapped twice and may not be a mapping destination", login.Clip(as))
		}
		to = append(to, as)
	}
	for _, name := range names {
		if len(name) > maxName || strings.HasPrefix(name, "/") && !pointer(name) {
			return kms.Errorf(kms.CodeBadRequest, "%q is not the name of a claim, or a JSON pointer (RFC 6901) to one, of %d bytes at most", login.Clip(name), maxName)
		}
	}
	return nil
}
