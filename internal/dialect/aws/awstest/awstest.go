// Package awstest runs a whole server of the AWS dialect for tests, and asks it as an SDK does: the requests are signed, over TLS, by an
// implementation of Signature Version 4 that shares nothing with the server's.
package awstest

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/dialect/aws"
	"github.com/keyhold/keyhold/internal/dialect/native/nativetest"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// Server is a running server. Separation of duties is on, as it is outside development: Admin manages keys, User uses them.
type Server struct {
	*nativetest.Server
	AWS         http.Handler
	URL         string
	Admin, User Client // in us-east-1
	Account     string
}

// Open starts a server with an access key each for an administrator ("alice") and a user ("svc/orders") of the default namespace.
func Open(t testing.TB, opts ...func(*engine.Config)) *Server {
	t.Helper()
	n := nativetest.Open(t, opts...)
	handler := aws.Handler(aws.Config{Engine: n.Engine, Authn: n.Authn})
	h := httptest.NewTLSServer(handler)
	t.Cleanup(h.Close)
	s := &Server{Server: n, AWS: handler, URL: h.URL, Account: "000000000000"}
	roots := x509.NewCertPool()
	roots.AddCert(h.Certificate())
	wire := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}}
	t.Cleanup(wire.CloseIdleConnections)
	s.Admin = s.client(t, wire, "alice", kms.RoleAdmin)
	s.User = s.client(t, wire, "svc/orders", kms.RoleUser)
	return s
}

// Caller makes an access key for a principal of the default namespace.
func (s *Server) Caller(t testing.TB, name string, roles ...kms.Role) Client {
	t.Helper()
	return s.client(t, s.Admin.wire, name, roles...)
}

func (s *Server) client(t testing.TB, wire *http.Client, name string, roles ...kms.Role) Client {
	t.Helper()
	by := kms.Call{Principal: &kms.Principal{Name: "alice", Namespace: kms.DefaultNamespace, Roles: []kms.Role{kms.RoleAdmin}, Method: kms.AuthToken}, Namespace: kms.DefaultNamespace}
	out, err := s.Engine.CreateAccessKey(t.Context(), by, engine.CreateAccessKeyInput{Principal: name, Roles: roles})
	if err != nil {
		t.Fatal(err)
	}
	return Client{url: s.URL, wire: wire, ID: out.Info.ID, Secret: string(out.Secret.Wire(release.Wire{})), Region: "us-east-1"}
}

// Client signs requests with one access key.
type Client struct {
	url        string
	wire       *http.Client
	ID, Secret string
	Region     string
	Token      string // of a session
	Now        func() time.Time
}

// In is the client in another region.
func (c Client) In(region string) Client {
	c.Region = region
	return c
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Fault is the code of an error, without what may stand before a #; empty: there was none.
func (a Answer) Fault() string {
	var f struct {
		Type string `json:"__type"`
	}
	_ = json.Unmarshal(a.Body, &f) // a body that is no JSON shows as no fault and a status
	return f.Type[strings.LastIndexByte(f.Type, '#')+1:]
}

// Message is the text of an error.
func (a Answer) Message() string {
	var f struct{ Message string }
	_ = json.Unmarshal(a.Body, &f)
	return f.Message
}

// Into reads the answer of a request that succeeded.
func (a Answer) Into(t testing.TB, to any) {
	t.Helper()
	if a.Status != http.StatusOK {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	if err := json.Unmarshal(a.Body, to); err != nil {
		t.Fatalf("%s: %v", a.Body, err)
	}
}

// Ask sends an operation with a JSON body.
func (c Client) Ask(t testing.TB, operation, body string) Answer {
	t.Helper()
	return c.Send(t, c.Request(t, operation, body))
}

// Do sends an operation with what json.Marshal makes of in, wants it to succeed, and reads the answer into out, which may be nil.
func (c Client) Do(t testing.TB, operation string, in, out any) {
	t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	a := c.Ask(t, operation, string(b))
	if out == nil {
		out = &struct{}{}
	}
	a.Into(t, out)
}

// Request makes the request of an operation, signed.
func (c Client) Request(t testing.TB, operation, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService."+operation)
	r.Header.Set("Amz-Sdk-Invocation-Id", rand.Text()) // as SDKs do, so that two requests of a second are not the same
	c.Sign(r, "kms", body)
	return r
}

// Send sends a request as it is.
func (c Client) Send(t testing.TB, r *http.Request) Answer {
	t.Helper()
	res, err := c.wire.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Answer{Status: res.StatusCode, Header: res.Header, Body: b}
}

// Sign signs a request with all headers it has, by AWS's description of Signature Version 4.
func (c Client) Sign(r *http.Request, service, body string) {
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	at := now().UTC().Format("20060102T150405Z")
	r.Header.Set("X-Amz-Date", at)
	if c.Token != "" {
		r.Header.Set("X-Amz-Security-Token", c.Token)
	}
	lines := []string{"host:" + r.URL.Host}
	for name, values := range r.Header {
		lines = append(lines, strings.ToLower(name)+":"+strings.Join(values, ","))
	}
	slices.Sort(lines)
	var names []string
	for _, l := range lines {
		name, _, _ := strings.Cut(l, ":")
		names = append(names, name)
	}
	signed := strings.Join(names, ";")
	canonical := r.Method + "\n/\n\n" + strings.Join(lines, "\n") + "\n\n" + signed + "\n" + digest(body)
	scope := at[:8] + "/" + c.Region + "/" + service + "/aws4_request"
	key := []byte("AWS4" + c.Secret)
	for _, part := range []string{at[:8], c.Region, service, "aws4_request"} {
		key = mac(key, part)
	}
	signature := mac(key, "AWS4-HMAC-SHA256\n"+at+"\n"+scope+"\n"+digest(canonical))
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+c.ID+"/"+scope+", SignedHeaders="+signed+", Signature="+hex.EncodeToString(signature))
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = io.Copy(h, bytes.NewReader([]byte(text))) // never fails
	return h.Sum(nil)
}
