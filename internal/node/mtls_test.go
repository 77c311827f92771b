package node_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/node"
)

// certificate issues a client certificate, by an authority or by itself, with a SPIFFE id if one is given.
func certificate(t *testing.T, by *tls.Certificate, spiffe string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "client"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if spiffe != "" {
		u, err := url.Parse(spiffe)
		if err != nil {
			t.Fatal(err)
		}
		tmpl.URIs = []*url.URL{u}
	}
	parent, signer := tmpl, any(key)
	if by == nil {
		tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	} else {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// A workload calls with nothing but its SPIFFE certificate; the binding ends at once, on open connections too.
func TestAClientCertificateIsAPrincipal(t *testing.T) {
	ca := certificate(t, nil, "")
	caFile := filepath.Join(t.TempDir(), "clients.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	const id = "spiffe://example.org/payments"
	mine, stranger := certificate(t, ca, id), certificate(t, certificate(t, nil, ""), id)
	r := start(t, t.TempDir(), node.Options{Dev: true},
		config.Override{Name: "tls.client_ca", Value: caFile, Flag: "test"}, config.Override{Name: "tls.client_certificates", Value: "verified", Flag: "test"})
	env := r.env()
	admin := r.client(client.Config{Address: env["KEYHOLD_ADDR"], Token: env["KEYHOLD_TOKEN"], CACert: r.file("tls/ca.pem")})
	if _, err := admin.CreateKey(t.Context(), client.CreateKeyInput{Name: "k", Algorithm: "aes-256-gcm"}); err != nil {
		t.Fatal(err)
	}
	svc := r.client(client.Config{Address: env["KEYHOLD_ADDR"], CACert: r.file("tls/ca.pem"), Certificate: mine})
	try := func() error {
		_, err := svc.Encrypt(t.Context(), client.EncryptInput{Key: "k", Plaintext: []byte("x")})
		return err
	}
	wantCode(t, try(), kms.CodeUnauthenticated)
	if _, err := admin.CreateCredential(t.Context(), client.CreateCredentialInput{Subject: id, Principal: "svc/payments", Roles: []string{"user"}}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, try(), 0)
	who, err := svc.WhoAmI(t.Context())
	if err != nil || who.Principal != "svc/payments" || who.Method != "certificate" {
		t.Fatalf("the server takes it for %+v (%v)", who, err)
	}
	forged := r.client(client.Config{Address: env["KEYHOLD_ADDR"], CACert: r.file("tls/ca.pem"), Certificate: stranger, Retry: client.Retry{Attempts: 1}})
	if _, err := forged.WhoAmI(t.Context()); err == nil {
		t.Fatal("a certificate of another authority was taken for the workload's")
	}
	if _, err := admin.RevokeCredential(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	wantCode(t, try(), kms.CodeUnauthenticated)

	sum := sha256.Sum256(mine.Certificate[0])
	if _, err := admin.CreateCredential(t.Context(), client.CreateCredentialInput{Subject: "sha256:" + hex.EncodeToString(sum[:]), Principal: "x"}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, try(), kms.CodeUnauthenticated) // a certificate with a SPIFFE id is known by it alone
}
