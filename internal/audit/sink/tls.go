package sink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// suites are those of TLS 1.2 with forward secrecy and an AEAD (RFC 9325 §4.2, RFC 9662 for syslog). Those of TLS 1.3 all are.
func suites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

// keepAlive finds peers that are gone without a word.
const keepAlive = 15 * time.Second

// dialer makes TLS connections for a sink. The files are read at each connection, so that new certificates need no restart.
type dialer struct{ ca, cert, key string }

func (d *dialer) dial(ctx context.Context, network, address string) (*tls.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	set, err := d.config(host)
	if err != nil {
		return nil, err
	}
	raw, err := (&net.Dialer{KeepAlive: keepAlive}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, set)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("TLS: %w", err), raw.Close())
	}
	return c, nil
}

func (d *dialer) config(host string) (*tls.Config, error) {
	set := &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: suites(), ServerName: host}
	if d.ca != "" {
		text, err := readFile(d.ca)
		if err != nil {
			return nil, err
		}
		set.RootCAs = x509.NewCertPool()
		if !set.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", d.ca)
		}
	}
	if d.cert != "" {
		cert, err := readFile(d.cert)
		if err != nil {
			return nil, err
		}
		key, err := readFile(d.key)
		if err != nil {
			return nil, err
		}
		defer clear(key)
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("%s and %s: %w", d.cert, d.key, err)
		}
		set.Certificates = []tls.Certificate{pair}
	}
	return set, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // G304: a path from the configuration
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return text, err
}
