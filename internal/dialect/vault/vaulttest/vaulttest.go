// Package vaulttest runs a whole server of the Vault dialect for tests, and asks it over TLS as clients do.
package vaulttest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/dialect/native/nativetest"
	"github.com/keyhold/keyhold/internal/dialect/vault"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/login/certificate"
	"github.com/keyhold/keyhold/internal/login/jwt"
	"github.com/keyhold/keyhold/internal/login/kubernetes"
	"github.com/keyhold/keyhold/internal/login/userpass"
)

// Where things are mounted.
var mounts, kv = []string{"transit", "team/t"}, []string{"secret", "team/kv"}

// Server is a running server. Separation of duties is on, as it is outside development: Admin manages keys, User uses them.
type Server struct {
	*nativetest.Server
	Vault http.Handler
	URL   string
	TLS   *httptest.Server
	wire  *http.Client
}

// Open starts a server that is unsealed, with the tokens of package nativetest, transit at "transit" and "team/t", and secrets at "secret" and "team/kv".
func Open(t testing.TB, opts ...func(*engine.Config)) *Server {
	t.Helper()
	return serve(t, nativetest.Open(t, append([]func(*engine.Config){func(c *engine.Config) {
		c.Paths = vault.Paths(mounts, kv)
		tokens := jwt.New(nil)
		c.Logins = map[login.Type]login.Method{
			login.Userpass: userpass.New(), login.JWT: tokens, login.OIDC: tokens, login.Kubernetes: kubernetes.New(), login.Certificate: certificate.New(),
		}
	}}, opts...)...))
}

// Start starts a server that is not initialised yet.
func Start(t testing.TB) *Server {
	t.Helper()
	return serve(t, nativetest.Start(t))
}

func serve(t testing.TB, n *nativetest.Server) *Server {
	t.Helper()
	h := vault.Handler(vault.Config{Engine: n.Engine, Authn: n.Authn, Mounts: mounts, KV: kv})
	wire := httptest.NewUnstartedServer(h)
	wire.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13} // as tls.client_certificates: pinned has it
	wire.StartTLS()
	t.Cleanup(wire.Close)
	roots := x509.NewCertPool()
	roots.AddCert(wire.Certificate())
	c := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}}
	t.Cleanup(c.CloseIdleConnections)
	return &Server{Server: n, Vault: h, URL: wire.URL, TLS: wire, wire: c}
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Ask sends a request to a path below /v1/. Further headers are given as "Name: value".
func (s *Server) Ask(t testing.TB, token, method, path, body string, headers ...string) Answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("X-Vault-Token", token)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	return s.Do(t, r)
}

// AskWith sends a request without a token, on a connection of its own with a client certificate.
func (s *Server) AskWith(t testing.TB, with tls.Certificate, method, path, body string) Answer {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(s.TLS.Certificate())
	c := *s
	c.wire = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{with}}}}
	return c.Ask(t, "", method, path, body)
}

// Do sends a request as it is.
func (s *Server) Do(t testing.TB, r *http.Request) Answer {
	t.Helper()
	w, err := s.wire.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	b, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Answer{w.StatusCode, w.Header, b}
}

// Into reads the member "data" of an answer of status 200.
func (a Answer) Into(t testing.TB, to any) {
	t.Helper()
	if a.Status != http.StatusOK {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	a.Data(t, to)
}

// Data reads the member "data" of an answer of any status.
func (a Answer) Data(t testing.TB, to any) {
	t.Helper()
	var envelope struct{ Data json.RawMessage }
	if err := json.Unmarshal(a.Body, &envelope); err != nil || len(envelope.Data) == 0 {
		t.Fatalf("%d %s: %v", a.Status, a.Body, err)
	}
	if err := json.Unmarshal(envelope.Data, to); err != nil {
		t.Fatalf("%s: %v", a.Body, err)
	}
}

// Errors are the texts of a refusal; nil: it is none.
func (a Answer) Errors() []string {
	var f struct{ Errors []string }
	if json.NewDecoder(bytes.NewReader(a.Body)).Decode(&f) != nil {
		return nil
	}
	return f.Errors
}
