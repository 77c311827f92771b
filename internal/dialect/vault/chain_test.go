package vault_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
)

// authority issues certificates for public keys in PEM.
type authority struct {
	key *ecdsa.PrivateKey
	own *x509.Certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, own: &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}}
	der, err := x509.CreateCertificate(rand.Reader, a.own, a.own, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.own, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

// chain is a certificate for a public key, and the authority's, in PEM.
func (a *authority) chain(t testing.TB, public string) string {
	t.Helper()
	block, _ := pem.Decode([]byte(public))
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.own, key, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.own.Raw}))
}

// shown is a key with its public keys and certificates.
type shown struct {
	Keys map[string]struct {
		Public string `json:"public_key"`
		Chain  string `json:"certificate_chain"`
	}
}

// TestCertificatesStandBesideTheirVersion: of every type that certificates speak of, in what is read, exported, backed up and restored.
func TestCertificatesStandBesideTheirVersion(t *testing.T) {
	s := vaulttest.Open(t)
	a := newAuthority(t)
	for _, kind := range []string{"ecdsa-p256", "ecdsa-p521", "rsa-2048"} {
		made(t, s, kind, `{"type":"`+kind+`","exportable":true,"allow_plaintext_backup":true}`)
		s.Ask(t, s.Admin, "POST", "transit/keys/"+kind+"/rotate", "")
		var k shown
		s.Ask(t, s.Admin, "GET", "transit/keys/"+kind, "").Into(t, &k)
		first, second := a.chain(t, k.Keys["1"].Public), a.chain(t, k.Keys["2"].Public)
		for _, members := range [][]any{{"certificate_chain", second}, {"certificate_chain", "\n" + first + "\n", "version", "1"}} {
			if a := s.Ask(t, s.Admin, "POST", "transit/keys/"+kind+"/set-certificate", body(t, members...)); a.Status != http.StatusNoContent {
				t.Fatalf("%s: got %d %s", kind, a.Status, a.Body)
			}
		}
		var b struct{ Backup string }
		s.Ask(t, s.Admin, "GET", "transit/backup/"+kind, "").Into(t, &b)
		restored(t, s, kind+"-again", b.Backup)
		for _, name := range []string{kind, kind + "-again"} {
			if s.Ask(t, s.Admin, "GET", "transit/keys/"+name, "").Into(t, &k); k.Keys["1"].Chain != first || k.Keys["2"].Chain != second {
				t.Errorf("%s: got %+v", name, k)
			}
			var e struct{ Keys map[string]string }
			if s.Ask(t, s.Admin, "GET", "transit/export/certificate-chain/"+name, "").Into(t, &e); e.Keys["1"] != first || e.Keys["2"] != second {
				t.Errorf("%s exported: got %+v", name, e)
			}
		}
		s.Ask(t, s.Admin, "POST", "transit/keys/"+kind+"/rotate", "")
		if a := s.Ask(t, s.Admin, "GET", "transit/export/certificate-chain/"+kind+"/latest", ""); a.Status != http.StatusBadRequest || a.Errors()[0] != "selected key version does not have a certificate chain imported" {
			t.Errorf("of a version without: got %d %s", a.Status, a.Body)
		}
	}
}

// TestCertificatesOfOthersAreRefused: also what is none, too many, and keys that have no public key.
func TestCertificatesOfOthersAreRefused(t *testing.T) {
	s := vaulttest.Open(t)
	a := newAuthority(t)
	made(t, s, "k", `{"type":"ecdsa-p256"}`)
	made(t, s, "other", `{"type":"ecdsa-p256"}`)
	made(t, s, "symmetric", `{}`)
	made(t, s, "derived", `{"type":"ed25519","derived":true}`)
	var k shown
	s.Ask(t, s.Admin, "GET", "transit/keys/k", "").Into(t, &k)
	good := a.chain(t, k.Keys["1"].Public)
	s.Ask(t, s.Admin, "GET", "transit/keys/other", "").Into(t, &k)
	others := a.chain(t, k.Keys["1"].Public)
	garbage := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("garbage")}))
	for _, c := range []struct {
		name, token, key string
		members          []any
		status           int
		text             string
	}{
		{"of another key", s.Admin, "k", []any{"certificate_chain", others}, 400, ""},
		{"in the wrong order", s.Admin, "k", []any{"certificate_chain", good[strings.LastIndex(good, "-----BEGIN"):] + good}, 400, ""},
		{"no certificate", s.Admin, "k", []any{"certificate_chain", garbage}, 400, ""},
		{"a broken one behind", s.Admin, "k", []any{"certificate_chain", good + garbage}, 400, ""},
		{"no PEM", s.Admin, "k", []any{"certificate_chain", good + "x"}, 400, "the certificate chain is not PEM"},
		{"another block", s.Admin, "k", []any{"certificate_chain", k.Keys["1"].Public}, 400, "the certificate chain has a block that is no certificate"},
		{"nothing", s.Admin, "k", nil, 400, "missing certificate_chain"},
		{"too many", s.Admin, "k", []any{"certificate_chain", strings.Repeat(good, 6)}, 413, ""},
		{"too long", s.Admin, "k", []any{"certificate_chain", strings.Repeat(" ", 33<<10)}, 413, "the certificate chain is too long"},
		{"of no version", s.Admin, "k", []any{"certificate_chain", good, "version", 2}, 400, "invalid key version"},
		{"a negative version", s.Admin, "k", []any{"certificate_chain", good, "version", -1}, 400, "cannot use negative key version"},
		{"of no key", s.Admin, "none", []any{"certificate_chain", good}, 400, "key with name 'none' not found"},
		{"a symmetric key", s.Admin, "symmetric", []any{"certificate_chain", good}, 400, ""},
		{"a derived key", s.Admin, "derived", []any{"certificate_chain", good}, 400, ""},
		{"who may not", s.User, "k", []any{"certificate_chain", good}, 403, ""},
	} {
		a := s.Ask(t, c.token, "POST", "transit/keys/"+c.key+"/set-certificate", body(t, c.members...))
		if a.Status != c.status || c.text != "" && !strings.HasPrefix(a.Errors()[0], c.text) {
			t.Errorf("%s: got %d %s, want %d %s", c.name, a.Status, a.Body, c.status, c.text)
		}
	}
	if a := s.Ask(t, s.Admin, "GET", "transit/export/certificate-chain/k", ""); a.Status != http.StatusBadRequest {
		t.Errorf("a refused chain stays: got %d %s", a.Status, a.Body)
	}
}
