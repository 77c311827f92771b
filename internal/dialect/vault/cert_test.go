package vault_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
)

// issuer signs certificates.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
	n    int64
}

func newIssuer(t *testing.T, name string) *issuer {
	t.Helper()
	a := &issuer{n: 1}
	root := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	made := a.issue(t, root)
	a.cert, a.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey) //nolint:forcetypeassert // issue made it
	a.pem = pemOf(a.cert)
	return a
}

func pemOf(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// issue makes a certificate of a template. Without other dates it is good now; without an authority yet it signs itself.
func (a *issuer) issue(t *testing.T, c *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.n++
	c.SerialNumber = big.NewInt(a.n)
	if c.NotBefore.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	if !c.IsCA && c.ExtKeyUsage == nil {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	parent, signs := a.cert, a.key
	if parent == nil {
		parent, signs = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signs)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func called(name string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name, OrganizationalUnit: []string{"tills"}}, DNSNames: []string{name + ".shop.example"}}
}

// TestACertificateLogsIn that an authority of the mount vouches for, or that is there itself; the server's own authority has nothing to do with it.
func TestACertificateLogsIn(t *testing.T) {
	s := vaulttest.Open(t)
	ca := newIssuer(t, "shop")
	answers(t, s.Ask(t, s.Admin, "POST", "sys/auth/cert", `{"type":"cert"}`), http.StatusNoContent, "")
	answers(t, s.Ask(t, s.Admin, "POST", "auth/cert/certs/shop", vaulttest.Body(t, "certificate", ca.pem, "allowed_common_names", "till-*", "token_policies", "user")), http.StatusNoContent, "")
	self := (&issuer{}).issue(t, called("lone"))
	answers(t, s.Ask(t, s.Admin, "POST", "auth/cert/certs/lone", vaulttest.Body(t, "certificate", pemOf(self.Leaf), "token_policies", "auditor")), http.StatusNoContent, "")
	answers(t, s.Ask(t, s.Admin, "GET", "auth/cert/certs/shop", ""), http.StatusOK, `"allowed_common_names":["till-*"]`)
	answers(t, s.Ask(t, s.Admin, "LIST", "auth/cert/certs", ""), http.StatusOK, `"keys":["lone","shop"]`)

	for _, body := range []string{`{}`, `{"name":"shop"}`, ``} {
		in, _ := authOf(t, s.AskWith(t, ca.issue(t, called("till-7")), "POST", "auth/cert/login", body))
		look := s.Ask(t, in.Token, "GET", "auth/token/lookup-self", "")
		for _, text := range []string{`"display_name":"cert/till-7"`, `"cert_name":"shop"`, `"policies":["user"]`} {
			answers(t, look, http.StatusOK, text)
		}
	}
	in, _ := authOf(t, s.AskWith(t, self, "POST", "auth/cert/login", `{}`))
	answers(t, s.Ask(t, in.Token, "GET", "auth/token/lookup-self", ""), http.StatusOK, `"display_name":"cert/lone"`)

	// an authority between: it comes with the certificate
	between := &issuer{n: 100}
	made := ca.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "between"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	between.cert, between.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey) //nolint:forcetypeassert // issue made it
	leaf := between.issue(t, called("till-8"))
	leaf.Certificate = append(leaf.Certificate, made.Certificate[0])
	authOf(t, s.AskWith(t, leaf, "POST", "auth/cert/login", `{}`))

	// the certificate is good for that, and for nothing else
	answers(t, s.AskWith(t, leaf, "GET", "auth/token/lookup-self", ""), http.StatusForbidden, "permission denied")
	answers(t, s.Ask(t, s.Admin, "POST", "auth/cert/crls/a", `{}`), http.StatusMethodNotAllowed, "revoked")
}

// TestWhatACertificateDoesNotProve: each answers the same, and is on the record with the reason.
func TestWhatACertificateDoesNotProve(t *testing.T) {
	s := vaulttest.Open(t)
	ca, other := newIssuer(t, "shop"), newIssuer(t, "shop")
	answers(t, s.Ask(t, s.Admin, "POST", "sys/auth/cert", `{"type":"cert"}`), http.StatusNoContent, "")
	put := func(name string, members ...any) {
		t.Helper()
		answers(t, s.Ask(t, s.Admin, "POST", "auth/cert/certs/"+name, vaulttest.Body(t, append(members, "token_policies", "user")...)), http.StatusNoContent, "")
	}
	put("shop", "certificate", ca.pem, "allowed_common_names", "till-*", "allowed_organizational_units", "tills", "allowed_dns_sans", "*.shop.example")
	lone := ca.issue(t, called("lone"))
	put("lone", "certificate", pemOf(lone.Leaf))
	u, err := url.Parse("spiffe://shop/till")
	if err != nil {
		t.Fatal(err)
	}
	put("uri", "certificate", ca.pem, "allowed_uri_sans", u.String(), "allowed_email_sans", "a@shop.example")
	old := called("till-1")
	old.NotBefore, old.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	young := called("till-1")
	young.NotBefore, young.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
	server := called("till-1")
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	unit := called("till-1")
	unit.Subject.OrganizationalUnit = []string{"guests"}
	far := called("till-1")
	far.DNSNames = []string{"shop.example.evil"}
	nameless := called("")
	nameless.DNSNames, nameless.URIs, nameless.EmailAddresses = nil, []*url.URL{u}, []string{"b@shop.example"}
	for name, c := range map[string]struct {
		with tls.Certificate
		role string
		why  string
	}{
		"none":                    {tls.Certificate{}, "shop", "no client certificate"},
		"another authority":       {other.issue(t, called("till-1")), "shop", "no authority of the role vouches"},
		"itself":                  {(&issuer{}).issue(t, called("till-1")), "shop", "no authority of the role vouches"},
		"another name":            {ca.issue(t, called("safe-1")), "shop", "its common name"},
		"another unit":            {ca.issue(t, unit), "shop", "its organizational unit"},
		"another host":            {ca.issue(t, far), "shop", "its DNS name"},
		"expired":                 {ca.issue(t, old), "shop", "no authority of the role vouches"},
		"not yet":                 {ca.issue(t, young), "shop", "no authority of the role vouches"},
		"one of a server":         {ca.issue(t, server), "shop", "no authority of the role vouches"},
		"another of the same":     {ca.issue(t, called("lone")), "lone", "not the one of the role"},
		"another address":         {ca.issue(t, nameless), "uri", "its address"},
		"a role that there's not": {ca.issue(t, called("till-1")), "x", `no role "x"`},
		"no role fits":            {ca.issue(t, called("safe-1")), "", "none of the 3"},
	} {
		body := fmt.Sprintf(`{"name":%q}`, c.role)
		var a vaulttest.Answer
		if c.with.PrivateKey == nil {
			a = s.Ask(t, "", "POST", "auth/cert/login", body)
		} else {
			a = s.AskWith(t, c.with, "POST", "auth/cert/login", body)
		}
		answers(t, a, http.StatusBadRequest, `{"errors":["invalid certificate or no client certificate supplied"]}`)
		if r := lastLogin(t, s); r.Outcome != audit.Denied || !strings.Contains(r.Detail, c.why) {
			t.Errorf("%s: on the record as %v %q, want %s", name, r.Outcome, r.Detail, c.why)
		}
	}
}

// TestWhatAMountOfCertificatesIsNotTold: roles that say nothing, or more than there is.
func TestWhatAMountOfCertificatesIsNotTold(t *testing.T) {
	s := vaulttest.Open(t)
	ca := newIssuer(t, "shop")
	host := (&issuer{}).issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "h"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	answers(t, s.Ask(t, s.Admin, "POST", "sys/auth/cert", `{"type":"cert"}`), http.StatusNoContent, "")
	for body, why := range map[string]string{
		`{}`:                  "failed to parse certificate",
		`{"certificate":"x"}`: "failed to parse certificate",
		vaulttest.Body(t, "certificate", strings.Repeat(ca.pem, 17)):                                       "failed to parse certificate",
		vaulttest.Body(t, "certificate", pemOf(host.Leaf)):                                                 "client authentication",
		vaulttest.Body(t, "certificate", ca.pem, "required_extensions", []string{"1.2:a"}):                 "not supported",
		vaulttest.Body(t, "certificate", ca.pem, "ocsp_enabled", true):                                     "not supported",
		vaulttest.Body(t, "certificate", ca.pem, "allowed_common_names", strings.Repeat("a", 2000)):        "at most",
		vaulttest.Body(t, "certificate", ca.pem, "allowed_common_names", strings.Repeat("a,", 129)):        "at most",
		vaulttest.Body(t, "certificate", ca.pem, "token_policies", "operator"):                             "operator",
		vaulttest.Body(t, "certificate", strings.ReplaceAll(ca.pem, "CERTIFICATE", "TRUSTED CERTIFICATE")): "failed to parse certificate",
	} {
		a := s.Ask(t, s.Admin, "POST", "auth/cert/certs/a", body)
		if a.Status < 400 || !strings.Contains(string(a.Body), why) {
			t.Errorf("%.80s: got %d %s, want %s", body, a.Status, a.Body, why)
		}
	}
	answers(t, s.Ask(t, s.Admin, "POST", "auth/cert/config", `{}`), http.StatusMethodNotAllowed, "nothing to configure")
}
