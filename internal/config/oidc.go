package config

import (
	"fmt"
	"net/url"
	"slices"
)

// OIDC says which issuers of identity tokens the server asks.
type OIDC struct {
	Issuers []string // https://…, as they stand in tokens
	CAFile  string   // path; empty: the system's authorities
}

const maxIssuers = 64

// issuers makes a row for issuers of identity tokens.
func issuers(name string, at func(*Config) *[]string, help string) setting {
	return setting{name: name, form: "https://HOST or https://HOST/PATH, as it stands in the issuer's tokens; or a list of them", help: help, list: true,
		assign: func(c *Config, vs []string, _ string) error {
			if len(vs) > maxIssuers {
				return fmt.Errorf("%d issuers are more than %d", len(vs), maxIssuers)
			}
			for i, v := range vs {
				u, err := url.Parse(v)
				if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
					return fmt.Errorf("%q is not an https address of an issuer", clip(v))
				}
				if slices.Contains(vs[:i], v) {
					return fmt.Errorf("%q is there twice", clip(v))
				}
			}
			*at(c) = slices.Clone(vs)
			return nil
		}}
}
