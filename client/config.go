package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Defaults of a Config.
const (
	DefaultAddress = "https://127.0.0.1:7443"
	DefaultTimeout = 30 * time.Second
)

// Config says which server to call, and as whom. The zero value calls DefaultAddress without a credential.
type Config struct {
	// Address is the server's URL (https://host:port), or its local socket (unix:///path). Empty: DefaultAddress.
	Address string
	// Token is a bearer token.
	Token string
	// TokenSource is asked for the token of each attempt, instead of Token. It must be safe for concurrent use.
	TokenSource func(context.Context) (string, error)
	// CACert holds certificates (PEM) that the server's certificate must chain to. Empty: those of the system.
	CACert []byte
	// Certificate authenticates the client by TLS, beside or instead of a token.
	Certificate *tls.Certificate
	// TLS replaces CACert and Certificate altogether.
	TLS *tls.Config
	// Namespace is that of all calls. Empty: the caller's own.
	Namespace string
	// Timeout bounds one call with all its attempts. 0: DefaultTimeout; negative: none but the context's.
	Timeout time.Duration
	// Retry says how often failed calls are repeated.
	Retry Retry
	// UserAgent is sent with each request. Empty: "keyhold-go".
	UserAgent string
}

// FromEnv makes a client from the environment: see ConfigFromEnv.
func FromEnv() (*Client, error) {
	cfg, err := ConfigFromEnv()
	if err != nil {
		return nil, err
	}
	return New(cfg)
}

// ConfigFromEnv reads KEYHOLD_ADDR, KEYHOLD_TOKEN, KEYHOLD_CACERT (a file), KEYHOLD_NAMESPACE and KEYHOLD_CLIENT_CERT with
// KEYHOLD_CLIENT_KEY (files). Variables that are not set leave the defaults.
func ConfigFromEnv() (Config, error) {
	cfg := Config{
		Address: os.Getenv("KEYHOLD_ADDR"), Token: os.Getenv("KEYHOLD_TOKEN"), Namespace: os.Getenv("KEYHOLD_NAMESPACE"),
	}
	if path := os.Getenv("KEYHOLD_CACERT"); path != "" {
		pem, err := os.ReadFile(path) //nolint:gosec // G304: the user's own setting
		if err != nil {
			return Config{}, fmt.Errorf("read KEYHOLD_CACERT: %w", err)
		}
		cfg.CACert = pem
	}
	cert, key := os.Getenv("KEYHOLD_CLIENT_CERT"), os.Getenv("KEYHOLD_CLIENT_KEY")
	if (cert == "") != (key == "") {
		return Config{}, errors.New("KEYHOLD_CLIENT_CERT and KEYHOLD_CLIENT_KEY go together: only one of them is set")
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return Config{}, fmt.Errorf("read KEYHOLD_CLIENT_CERT and KEYHOLD_CLIENT_KEY: %w", err)
		}
		cfg.Certificate = &pair
	}
	return cfg, nil
}

// tlsConfig builds what the transport uses.
func (cfg *Config) tlsConfig() (*tls.Config, error) {
	if cfg.TLS != nil {
		if len(cfg.CACert) > 0 || cfg.Certificate != nil {
			return nil, errors.New("the client's TLS setting replaces CACert and Certificate: set one or the other")
		}
		return cfg.TLS.Clone(), nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(cfg.CACert) > 0 {
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(cfg.CACert) {
			return nil, errors.New("the CA certificate is not PEM with at least one certificate")
		}
	}
	if cfg.Certificate != nil {
		t.Certificates = []tls.Certificate{*cfg.Certificate}
	}
	return t, nil
}

// transport makes the connection pool and the base URL of requests.
func (cfg *Config) transport() (*http.Transport, string, error) {
	address := cfg.Address
	if address == "" {
		address = DefaultAddress
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, "", fmt.Errorf("the server's address %q is not a URL: want %s or unix:///path", address, DefaultAddress)
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, Protocols: new(http.Protocols),
		MaxIdleConns: 256, MaxIdleConnsPerHost: 256, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second, DisableCompression: true,
	}
	t.Protocols.SetHTTP1(true)
	switch {
	case u.Scheme == "https" && u.Host != "" && (u.Path == "" || u.Path == "/") && u.RawQuery == "" && u.User == nil:
		t.TLSClientConfig, err = cfg.tlsConfig()
		return t, "https://" + u.Host, err
	case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		path := u.Path
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return dialer.DialContext(ctx, "unix", path) }
		return t, "http://localhost", nil // the name is never looked up
	case u.Scheme == "http":
		return nil, "", fmt.Errorf("the server's address %q is not protected by TLS: want https://", address)
	}
	return nil, "", fmt.Errorf("the server's address %q has not the form %s or unix:///path", address, DefaultAddress)
}
