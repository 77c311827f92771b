package jwt

import (
	"context"
	"crypto/x509"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/authn/oidc"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
)

// config is what is kept of a mount.
type config struct {
	Issuer      string   `json:"oidc_discovery_url"`
	IssuerCA    string   `json:"oidc_discovery_ca_pem"`
	Keys        string   `json:"jwks_url"`
	KeysCA      string   `json:"jwks_ca_pem"`
	PublicKeys  []string `json:"jwt_validation_pubkeys"`
	BoundIssuer string   `json:"bound_issuer"`
	Algorithms  []string `json:"jwt_supported_algs"`
	DefaultRole string   `json:"default_role"`
}

func readConfig(b []byte) (c config, err error) {
	if len(b) == 0 {
		return c, login.Refuse("the mount has no configuration")
	}
	return c, json.Unmarshal(b, &c)
}

// Config keeps what is asked for, in the place of all that was. The keys must be there to be had.
func (m *Method) Config(ctx context.Context, _, asked login.Document) (login.Document, error) {
	var c config
	if err := json.Unmarshal(asked.Public, &c); err != nil {
		return login.Document{}, kms.Errorf(kms.CodeBadRequest, "the configuration cannot be read").Because(err)
	}
	if c.IssuerCA != "" && c.Issuer == "" || c.KeysCA != "" && c.Keys == "" {
		return login.Document{}, kms.Errorf(kms.CodeBadRequest, "an authority is given without the address that it vouches for")
	}
	for _, a := range c.Algorithms {
		if !slices.Contains(oidc.Algorithms(), a) {
			return login.Document{}, kms.Errorf(kms.CodeBadRequest, "unsupported signing algorithm %q: want %s", login.Clip(a), strings.Join(oidc.Algorithms(), ", "))
		}
	}
	keys, err := m.keys(&c)
	if err != nil {
		return login.Document{}, err
	}
	if err := keys.Fetch(ctx); err != nil {
		return login.Document{}, err
	}
	b, err := json.Marshal(&c, json.Deterministic(true))
	return login.Document{Public: b}, err
}

// source says where the keys of a mount are.
func (c *config) source() (s oidc.Source, err error) {
	s = oidc.Source{Issuer: c.Issuer, Address: c.Keys}
	if ca := c.IssuerCA + c.KeysCA; ca != "" {
		s.Roots = x509.NewCertPool()
		if !s.Roots.AppendCertsFromPEM([]byte(ca)) {
			return s, kms.Errorf(kms.CodeBadRequest, "the certificates of the authority are not PEM, or none of them is one")
		}
	}
	for _, text := range c.PublicKeys {
		k, err := oidc.PublicKey(text)
		if err != nil {
			return s, err
		}
		s.Fixed = append(s.Fixed, k)
	}
	return s, nil
}
