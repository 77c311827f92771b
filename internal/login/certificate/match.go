package certificate

import (
	"bytes"
	"crypto/x509"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/login"
)

// list is one of the lists of a role, and what a certificate says of it.
type list struct {
	of         string // for the record
	want, says []string
}

// lists are those of a role. The certificate may be nil.
func (r *role) lists(c *x509.Certificate) []list {
	if c == nil {
		c = &x509.Certificate{}
	}
	uris := make([]string, len(c.URIs))
	for i, u := range c.URIs {
		uris[i] = u.String()
	}
	common := []string{c.Subject.CommonName}
	return []list{
		{"name", r.Names, slices.Concat(common, c.DNSNames, c.EmailAddresses)},
		{"common name", r.Common, common},
		{"DNS name", r.DNS, c.DNSNames},
		{"address", r.Email, c.EmailAddresses},
		{"URI", r.URI, uris},
		{"organizational unit", r.Units, c.Subject.OrganizationalUnit},
	}
}

// admits refuses a certificate that is not called as the role says.
func (r *role) admits(c *x509.Certificate) error {
	for _, l := range r.lists(c) {
		fits := slices.ContainsFunc(l.says, func(s string) bool {
			return slices.ContainsFunc(l.want, func(p string) bool { return login.Glob(p, s) })
		})
		if len(l.want) > 0 && !fits {
			return login.Refuse("its %s is not one that the role allows", l.of)
		}
	}
	return nil
}

// vouched refuses a certificate that none of the role's vouches for: it is one of them, or an authority of them signed it for clients.
func (r *role) vouched(presented []*x509.Certificate, now time.Time) error {
	trusted, err := parse(r.Certificate)
	if err != nil {
		return err
	}
	leaf := presented[0]
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	authorities := 0
	for _, c := range trusted {
		if bytes.Equal(c.Raw, leaf.Raw) && !c.IsCA {
			if now.Before(c.NotBefore) || now.After(c.NotAfter) {
				return login.Refuse("it is not good at this time")
			}
			return nil
		}
		if c.IsCA {
			roots.AddCert(c)
			authorities++
		}
	}
	if authorities == 0 {
		return login.Refuse("it is not the one of the role")
	}
	for _, c := range presented[1:] {
		between.AddCert(c)
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return login.Refuse("no authority of the role vouches for it: %s", login.Clip(err.Error()))
	}
	return nil
}
