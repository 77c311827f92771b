package migrate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Limits of what a server is asked, and of what it answers.
const (
	maxAnswer    = 8 << 20 // bytes of an answer: the text of the largest backup, or the names of 100,000 keys, and what stands around
	maxHeader    = 64 << 10
	maxRedirects = 3 // within one host
	attempts     = 5 // of one request
	longestPause = 5 * time.Second
	longestAsked = 30 * time.Second // of the pauses that a server may ask for
	connections  = 2 * MaxParallel
)

// Defaults.
const (
	DefaultMount   = "transit"
	DefaultTimeout = 30 * time.Second
	firstPause     = 250 * time.Millisecond
)

// ServerConfig says how a server is reached.
type ServerConfig struct {
	What    string // it is called so in errors: "the source"
	Code    kms.Code
	Address string        // https://HOST:PORT
	Token   *secret.Bytes // the caller erases it when the server is not used any more

	CACert      []byte // PEM; empty: the authorities of the system
	ServerName  string // that the certificate is for; empty: the host of the address
	Certificate *tls.Certificate
	Namespace   string // empty: none is named
	Mount       string // of transit; empty: DefaultMount

	Timeout time.Duration // of one attempt of a request; 0: DefaultTimeout
	Pause   time.Duration // before the second attempt, at most; doubled each time. 0: a quarter of a second
}

// Server is a server that has transit.
type Server struct {
	cfg  ServerConfig
	base string // https://HOST:PORT/v1/
	http *http.Client
}

// NewServer checks the configuration. It asks the server nothing yet.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Mount = strings.Trim(cfg.Mount, "/"); cfg.Mount == "" {
		cfg.Mount = DefaultMount
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Pause <= 0 {
		cfg.Pause = firstPause
	}
	s := &Server{cfg: cfg}
	u, err := url.Parse(cfg.Address)
	switch {
	case cfg.Address == "":
		return nil, s.trouble("", "no address of %s is given", cfg.What)
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, s.trouble("", "the address of %s is not of the form https://HOST:PORT", cfg.What)
	case u.Scheme != "https":
		return nil, s.trouble("give an address that begins with https://: keys and tokens travel over it", "the address of %s, %s, is not protected by TLS", cfg.What, clip(cfg.Address))
	case cfg.Token.Len() == 0:
		return nil, s.trouble("", "there is no token for %s", cfg.What)
	}
	for part := range strings.SplitSeq(cfg.Mount, "/") {
		if !pathSafe(part) {
			return nil, s.trouble("", "%q is not the path of a mount", clip(cfg.Mount))
		}
	}
	for _, text := range []string{cfg.Namespace, string(cfg.Token.Reveal(reveal.Key{}))} {
		if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return nil, s.trouble("", "the token or the namespace for %s holds characters that neither has", cfg.What)
		}
	}
	s.base = "https://" + u.Host + strings.TrimSuffix(u.Path, "/") + "/v1/"
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cfg.ServerName}
	if len(cfg.CACert) > 0 {
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(cfg.CACert) {
			return nil, s.trouble("", "the file of the authority of %s holds no certificate in PEM", cfg.What)
		}
	}
	if cfg.Certificate != nil {
		t.Certificates = []tls.Certificate{*cfg.Certificate}
	}
	s.http = &http.Client{CheckRedirect: within, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: t, TLSHandshakeTimeout: cfg.Timeout, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
		DialContext:  (&net.Dialer{Timeout: cfg.Timeout}).DialContext,
		MaxIdleConns: connections, MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections, IdleConnTimeout: time.Minute,
	}}
	return s, nil
}

// Close ends the connections.
func (s *Server) Close() { s.http.CloseIdleConnections() }

// within follows redirects on the same host that keep method and body. A standby refers to the active node: the token is not for whoever is named there.
func within(r *http.Request, via []*http.Request) error {
	status := r.Response.StatusCode
	if len(via) > maxRedirects || r.URL.Scheme != "https" || r.URL.Host != via[0].URL.Host || status != http.StatusTemporaryRedirect && status != http.StatusPermanentRedirect {
		return http.ErrUseLastResponse
	}
	return nil
}

// transit is the path of something of the mount. Its parts were checked to need no escapes.
func (s *Server) transit(parts ...string) string {
	return s.cfg.Mount + "/" + strings.Join(parts, "/")
}

// call sends a request until there is an answer that stays, and answers it whatever its status is. The caller erases it. in may be nil, and is the caller's to erase.
func (s *Server) call(ctx context.Context, method, path string, in []byte) (*answer, error) {
	for n := 1; ; n++ {
		a, err := s.try(ctx, method, path, in)
		if n == attempts || ctx.Err() != nil || !passing(a, err) {
			return a, err
		}
		if !s.pause(ctx, n, a) {
			return a, err
		}
		a.erase()
	}
}

// passing tells whether the same request may go better later.
func passing(a *answer, err error) bool {
	if err != nil {
		var untrusted *tls.CertificateVerificationError
		var stays *refusal
		return !errors.As(err, &untrusted) && !errors.As(err, &stays)
	}
	switch a.status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusPreconditionFailed: // 412: a replica that is behind
		return true
	case http.StatusServiceUnavailable:
		return !strings.Contains(a.refusal().text, "sealed")
	}
	return false
}

// pause waits as long as the server asked for, and a random part of a bound that doubles.
func (s *Server) pause(ctx context.Context, n int, a *answer) bool {
	bound := min(s.cfg.Pause<<(n-1), longestPause)
	wait := rand.N(bound) //nolint:gosec // G404: it spreads retries, and protects nothing
	if a != nil {
		wait += a.asked
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (s *Server) try(ctx context.Context, method, path string, in []byte) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.base+path, nil)
	if err != nil {
		return nil, s.trouble("", "%s cannot be asked for %s", s.cfg.What, clip(path))
	}
	body := &lent{b: in}
	defer body.takeBack()
	if in != nil {
		body.into(r)
	}
	h := r.Header
	h.Set("X-Vault-Token", string(s.cfg.Token.Reveal(reveal.Key{})))
	h.Set("X-Vault-Request", "true")
	h.Set("Accept", "application/json")
	h.Set("User-Agent", "keyhold-migrate")
	if s.cfg.Namespace != "" {
		h.Set("X-Vault-Namespace", s.cfg.Namespace)
	}
	w, err := s.http.Do(r)
	if err != nil {
		return nil, s.unreachable(ctx, err)
	}
	defer w.Body.Close() //nolint:errcheck // it was only read
	if w.StatusCode >= 300 && w.StatusCode < 400 {
		return nil, s.elsewhere(w)
	}
	a := &answer{of: s, what: method + " " + path, status: w.StatusCode, asked: asked(w.Header)}
	a.body, err = readAll(w.Body, w.ContentLength)
	if err == nil {
		err = ctx.Err() // a server that notices that the connection closes can end its answer as if it were whole
	}
	if err != nil {
		a.erase()
		if errors.Is(err, errTooLarge) {
			return nil, a.stays("has more than %d bytes", maxAnswer)
		}
		return nil, s.unreachable(ctx, err)
	}
	return a, nil
}

// asked is how long a server wants to be left alone (RFC 9110 §10.2.3), where it says so in seconds.
func asked(h http.Header) time.Duration {
	n, err := strconv.ParseUint(h.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, longestAsked)
}

// elsewhere is the error of a redirect that is not followed.
func (s *Server) elsewhere(w *http.Response) error {
	to, err := w.Location()
	if err != nil {
		return &refusal{status: w.StatusCode, err: s.trouble("", "%s refers to nowhere", s.cfg.What)}
	}
	return &refusal{status: w.StatusCode, err: s.trouble("if that is the right one, name it as the address: the token is not sent on by itself", "%s refers to %s", s.cfg.What, clip(to.Scheme+"://"+to.Host))}
}

// unreachable is the error of a request without an answer.
func (s *Server) unreachable(ctx context.Context, err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	next := ""
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		next = "name the authority that its certificate comes from; a certificate that is not verified is never accepted"
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("no whole answer in %s", s.cfg.Timeout)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		err = errors.New("its answer breaks off")
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return s.trouble(next, "%s does not answer: %v", s.cfg.What, err).Because(err)
}

// trouble is an error about the server.
func (s *Server) trouble(next, format string, args ...any) *kms.Error {
	e := kms.Errorf(s.cfg.Code, format, args...)
	if next != "" {
		e.Next = next
	}
	return e
}

// pathSafe tells whether a text can stand in a path as it is, as one segment.
func pathSafe(s string) bool {
	return s != "" && s[0] != '.' && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	})
}

// clip shortens a stranger's text before it is repeated.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// Address is where the server is.
func (s *Server) Address() string { return s.cfg.Address }
