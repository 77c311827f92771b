package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/tlsca"
)

// suites are those of TLS 1.2 with forward secrecy and an AEAD (RFC 9325 §4.2). Those of TLS 1.3 all are and need no list.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// groups puts hybrids with ML-KEM first: what is recorded today must not be read by a quantum computer later
// (draft-ietf-tls-ecdhe-mlkem).
var groups = []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024, tls.X25519, tls.CurveP256, tls.CurveP384}

// tlsConfig is the base configuration. Session tickets are on; their keys rotate daily by themselves.
func (s *Server) tlsConfig() *tls.Config {
	base := &tls.Config{
		MinVersion:       s.set.TLS.MinVersion,
		CipherSuites:     suites,
		CurvePreferences: groups,
		GetCertificate:   func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &s.certs.now.Load().server, nil },
		NextProtos:       []string{"h2", "http/1.1"},
		Time:             s.now,
	}
	switch s.set.TLS.Clients {
	case config.ClientsPinned:
		base.ClientAuth = tls.RequestClientCert
	case config.ClientsVerified:
		base.ClientAuth = tls.VerifyClientCertIfGiven
		base.ClientCAs = s.certs.now.Load().clients
		// The pool can change, so it is looked up at every handshake; ticket keys stay those of base.
		base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c := base.Clone()
			c.GetConfigForClient = nil
			c.ClientCAs = s.certs.now.Load().clients
			return c, nil
		}
		base.VerifyConnection = s.verifyResumed
	}
	return base
}

// verifyResumed verifies the client's certificate of a resumed session anew: its issuer may have been taken out of the
// pool since the first handshake. Whether its holder still stands, authn checks at every request.
func (s *Server) verifyResumed(state tls.ConnectionState) error {
	if !state.DidResume || len(state.PeerCertificates) == 0 {
		return nil
	}
	opts := x509.VerifyOptions{
		Roots: s.certs.now.Load().clients, Intermediates: x509.NewCertPool(), CurrentTime: s.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, c := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := state.PeerCertificates[0].Verify(opts); err != nil {
		return fmt.Errorf("client certificate of a resumed session: %w", err)
	}
	return nil
}

// certificates are the server's certificate and the pool of client authorities, replaced as a whole when their files change.
type certificates struct {
	set *config.Config
	ca  string // file of the own authority; empty: the certificate is configured
	now atomic.Pointer[loaded]
}

// loaded is what was read, with the texts it was read from.
type loaded struct {
	server  tls.Certificate
	clients *x509.CertPool
	texts   [3][]byte // certificate, key (in memory as it is), client authorities
}

func loadCertificates(set *config.Config, now func() time.Time) (*certificates, error) {
	c := &certificates{set: set}
	if set.TLS.Cert == "" {
		c.ca = tlsca.In(c.ownDir()).CA
	}
	_, err := c.reload(now())
	return c, err
}

func (c *certificates) ownDir() string { return filepath.Join(c.set.DataDir, "tls") }

// maxCertFile is the largest file that is read, in bytes.
const maxCertFile = 4 << 20

// reload reads the files again and tells whether they changed. On an error what was loaded stays.
func (c *certificates) reload(now time.Time) (bool, error) {
	certFile, keyFile := c.set.TLS.Cert, c.set.TLS.Key
	if certFile == "" {
		own, _, err := tlsca.Ensure(c.ownDir(), c.set.TLS.Names, now)
		if err != nil {
			return false, err
		}
		certFile, keyFile = own.Cert, own.Key
	}
	next := &loaded{}
	for i, name := range []string{certFile, keyFile, c.set.TLS.ClientCA} {
		if name == "" {
			continue
		}
		st, err := os.Stat(name)
		if err != nil {
			return false, err
		}
		if st.Size() > maxCertFile {
			return false, fmt.Errorf("%s has %d bytes, the limit is %d", name, st.Size(), maxCertFile)
		}
		if next.texts[i], err = os.ReadFile(filepath.Clean(name)); err != nil {
			return false, err
		}
	}
	if was := c.now.Load(); was != nil && was.same(next) {
		return false, nil
	}
	pair, err := tls.X509KeyPair(next.texts[0], next.texts[1])
	if err != nil {
		return false, fmt.Errorf("%s and %s: %w", certFile, keyFile, err)
	}
	if now.After(pair.Leaf.NotAfter) {
		return false, fmt.Errorf("%s expired at %s", certFile, pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	next.server = pair
	if c.set.TLS.ClientCA != "" {
		next.clients = x509.NewCertPool()
		if !next.clients.AppendCertsFromPEM(next.texts[2]) {
			return false, errors.New(c.set.TLS.ClientCA + " holds no certificate")
		}
	}
	c.now.Store(next)
	return true, nil
}

func (l *loaded) same(m *loaded) bool {
	for i := range l.texts {
		if !bytes.Equal(l.texts[i], m.texts[i]) {
			return false
		}
	}
	return true
}

func (c *certificates) expires() time.Time { return c.now.Load().server.Leaf.NotAfter }
