package certificate

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
)

// Limits of a role.
const (
	maxPEM          = 48 << 10 // bytes
	maxCertificates = 16
	maxPatterns     = 128
	maxPattern      = 1024 // bytes
)

// role is what is kept of a role. In the lists * stands for any text; of each that is not empty one must fit.
type role struct {
	Certificate string   `json:"certificate"` // PEM: authorities, or what holders themselves have
	DisplayName string   `json:"display_name"`
	Names       []string `json:"allowed_names"` // of any kind
	Common      []string `json:"allowed_common_names"`
	DNS         []string `json:"allowed_dns_sans"`
	Email       []string `json:"allowed_email_sans"`
	URI         []string `json:"allowed_uri_sans"`
	Units       []string `json:"allowed_organizational_units"`
}

// Role changes what is asked for of a role.
func (m *Method) Role(_ context.Context, name string, was, asked login.Document) (login.Document, error) {
	var r role
	if len(was.Public) > 0 {
		if err := json.Unmarshal(was.Public, &r); err != nil {
			return login.Document{}, err
		}
	}
	if len(asked.Public) > 0 {
		if err := json.Unmarshal(asked.Public, &r); err != nil {
			return login.Document{}, kms.Errorf(kms.CodeBadRequest, "the role cannot be read").Because(err)
		}
	}
	if r.DisplayName == "" {
		r.DisplayName = name
	}
	all, err := parse(r.Certificate)
	if err != nil {
		return login.Document{}, err
	}
	for _, c := range all {
		if !c.IsCA && len(c.ExtKeyUsage) > 0 && !forClients(c) {
			return login.Document{}, kms.Errorf(kms.CodeBadRequest, "non-CA certificates should have TLS client authentication set as an extended key usage")
		}
	}
	for _, list := range r.lists(nil) {
		if len(list.want) > maxPatterns {
			return login.Document{}, kms.Errorf(kms.CodeTooLarge, "a role allows %d names of a kind at most", maxPatterns)
		}
		for _, s := range list.want {
			if len(s) > maxPattern {
				return login.Document{}, kms.Errorf(kms.CodeTooLarge, "a name that a role allows has %d bytes at most", maxPattern)
			}
		}
	}
	b, err := json.Marshal(&r, json.Deterministic(true))
	return login.Document{Public: b}, err
}

func forClients(c *x509.Certificate) bool {
	for _, u := range c.ExtKeyUsage {
		if u == x509.ExtKeyUsageClientAuth || u == x509.ExtKeyUsageAny {
			return true
		}
	}
	return false
}

// parse reads the certificates of a role.
func parse(text string) (all []*x509.Certificate, err error) {
	bad := kms.Errorf(kms.CodeBadRequest, "failed to parse certificate: want 1 to %d certificates in PEM, of %d bytes at most", maxCertificates, maxPEM)
	if len(text) > maxPEM {
		return nil, bad
	}
	for rest := []byte(strings.TrimSpace(text)); len(rest) > 0; {
		block, after := pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" || len(all) == maxCertificates {
			return nil, bad
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, bad.Because(err)
		}
		all = append(all, c)
		rest = []byte(strings.TrimSpace(string(after)))
	}
	if len(all) == 0 {
		return nil, bad
	}
	return all, nil
}
