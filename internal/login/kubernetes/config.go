package kubernetes

import (
	"context"
	"crypto/x509"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/authn/oidc"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// config is what is kept of a mount. The token of the reviewer is the document's secret.
type config struct {
	Host    string   `json:"kubernetes_host"`
	CA      string   `json:"kubernetes_ca_cert"`
	Keys    []string `json:"pem_keys"`
	Issuer  string   `json:"issuer"`
	NoLocal bool     `json:"disable_local_ca_jwt"`
	NoIss   bool     `json:"disable_iss_validation"`
	Set     bool     `json:"token_reviewer_jwt_set"`
}

// Config keeps what is asked for, in the place of all that was.
func (m *Method) Config(_ context.Context, _, asked login.Document) (login.Document, error) {
	c := config{NoIss: true}
	if err := json.Unmarshal(asked.Public, &c); err != nil {
		return login.Document{}, kms.Errorf(kms.CodeBadRequest, "the configuration cannot be read").Because(err)
	}
	u, err := url.Parse(c.Host)
	switch {
	case c.Host == "":
		return login.Document{}, kms.Errorf(kms.CodeBadRequest, "no host provided")
	case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return login.Document{}, kms.Errorf(kms.CodeBadRequest, "kubernetes_host is the address of the cluster over TLS: https://HOST:PORT")
	case asked.Secret.Len() > maxToken:
		return login.Document{}, kms.Errorf(kms.CodeTooLarge, "the token of a reviewer has %d bytes at most", maxToken)
	}
	if _, err := c.roots(); err != nil {
		return login.Document{}, err
	}
	if _, err := c.keys(); err != nil {
		return login.Document{}, err
	}
	d := login.Document{}
	if c.Set = asked.Secret.Len() > 0; c.Set {
		b := asked.Secret.Reveal(reveal.Key{})
		for _, ch := range b {
			if ch <= ' ' || ch >= 0x7f { // it becomes a header
				return login.Document{}, kms.Errorf(kms.CodeBadRequest, "token_reviewer_jwt is not a token")
			}
		}
		d.Secret = secret.Copy(b)
	}
	d.Public, err = json.Marshal(&c, json.Deterministic(true))
	return d, err
}

// roots are the authorities of the cluster; nil: the system's.
func (c *config) roots() (*x509.CertPool, error) {
	if strings.TrimSpace(c.CA) == "" {
		return nil, nil //nolint:nilnil // none is what there is
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM([]byte(c.CA)) {
		return nil, kms.Errorf(kms.CodeBadRequest, "kubernetes_ca_cert is not PEM, or holds no certificate")
	}
	return p, nil
}

// keys are those that sign the cluster's tokens; nil: nobody said which.
func (c *config) keys() (*oidc.Keys, error) {
	if len(c.Keys) == 0 {
		return nil, nil //nolint:nilnil // none is what there is
	}
	var s oidc.Source
	for _, text := range c.Keys {
		k, err := oidc.PublicKey(text)
		if err != nil {
			return nil, err
		}
		s.Fixed = append(s.Fixed, k)
	}
	return oidc.NewKeys(s, nil)
}
