package server

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/authn"
	"github.com/keyhold/keyhold/internal/kms"
)

func netipOf(r *http.Request) netip.AddrPort {
	at, _ := netip.ParseAddrPort(r.RemoteAddr)
	return at
}

// issuer is a certificate authority of a test.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	pair := i.issue(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	i.cert, i.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	return i
}

func (i *issuer) issue(t *testing.T, tmpl *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl.SerialNumber = big.NewInt(time.Now().UnixNano())
	tmpl.NotBefore = time.Now().Add(-time.Hour)
	if tmpl.NotAfter.IsZero() {
		tmpl.NotAfter = time.Now().Add(time.Hour)
	}
	parent, by := i.cert, i.key
	if parent == nil {
		parent, by = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (i *issuer) server(t *testing.T) tls.Certificate {
	return i.issue(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
}

func (i *issuer) client(t *testing.T, spiffe string) tls.Certificate {
	u, err := url.Parse(spiffe)
	if err != nil {
		t.Fatal(err)
	}
	return i.issue(t, &x509.Certificate{URIs: []*url.URL{u}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

func (i *issuer) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(i.cert)
	return p
}

func writePEM(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func writePair(t *testing.T, dir string, c tls.Certificate) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, filepath.Join(dir, "server.pem"), "CERTIFICATE", c.Certificate[0]), writePEM(t, filepath.Join(dir, "server.key"), "PRIVATE KEY", der)
}

func (s *site) dial(change func(*tls.Config)) (tls.ConnectionState, error) {
	c := &tls.Config{RootCAs: s.roots}
	if change != nil {
		change(c)
	}
	conn, err := tls.Dial("tcp", s.Addresses()[0].String(), c)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close() //nolint:errcheck // it was looked at
	return conn.ConnectionState(), nil
}

func TestTheKeyExchangeIsHybrid(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	state, err := s.dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	if state.Version != tls.VersionTLS13 || state.CurveID != tls.X25519MLKEM768 {
		t.Errorf("got version %x with %v, want TLS 1.3 with X25519MLKEM768", state.Version, state.CurveID)
	}
	if _, err := s.dial(func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} }); err != nil {
		t.Errorf("a client without hybrids: %v", err)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	only := func(v uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MinVersion, c.MaxVersion = v, v }
	}
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		if _, err := s.dial(only(v)); err == nil {
			t.Errorf("version %x was accepted", v)
		}
	}
	state, err := s.dial(only(tls.VersionTLS12))
	if err != nil || !slices.Contains(suites, state.CipherSuite) {
		t.Errorf("TLS 1.2: %v, suite %s", err, tls.CipherSuiteName(state.CipherSuite))
	}
	weak := func(c *tls.Config) {
		only(tls.VersionTLS12)(c)
		c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
	}
	if _, err := s.dial(weak); err == nil {
		t.Error("a suite without AEAD or forward secrecy was accepted")
	}
	strict := serve(t, nil, "tls.min_version=1.3")
	if _, err := strict.dial(only(tls.VersionTLS12)); err == nil {
		t.Error("TLS 1.2 was accepted although 1.3 is demanded")
	}
}

func TestPlaintextToTheTLSPortIsToldSo(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	conn, err := net.Dial("tcp", s.Addresses()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // it was read to its end
	_, _ = io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 400 {
		t.Fatalf("got %v %v", resp, err)
	}
	if body, _ := io.ReadAll(resp.Body); strings.Contains(string(body), "sealed") || !strings.Contains(string(body), "HTTPS") {
		t.Errorf("got %q", body)
	}
}

func TestHTTP2(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
	if status, _, body := get(t, s.client(http2Only), s.url+"/t/"); status != 200 || body != "HTTP/2.0" {
		t.Errorf("got %d %s", status, body)
	}
}

// A session that is resumed is no session that is still allowed: the standing of the credential is looked at again at
// every request, and the issuer at every handshake.
func TestResumptionChecksTheCertificatesStanding(t *testing.T) {
	t.Parallel()
	const orders = "spiffe://example.org/orders"
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			clients := newIssuer(t)
			file := writePEM(t, filepath.Join(t.TempDir(), "clients.pem"), "CERTIFICATE", clients.cert.Raw)
			var s *site
			s = serve(t, func(w http.ResponseWriter, r *http.Request) {
				p, err := s.authn.Authenticate(r.Context(), r.Header, r.TLS, netipOf(r))
				if err != nil {
					writeError(w, r, kms.AsError(err))
					return
				}
				_, _ = fmt.Fprint(w, p.Name, " ", r.TLS.DidResume)
			}, "tls.client_ca="+file, "tls.client_certificates=verified")
			s.records.subjects[orders] = authn.Identity{Principal: kms.Principal{Name: "svc/orders", Method: kms.AuthCertificate}, Rev: 1}
			cert := clients.client(t, orders)
			sessions := tls.NewLRUClientSessionCache(8)
			c := s.client(func(tr *http.Transport) {
				tr.DisableKeepAlives = true
				tr.TLSClientConfig.Certificates = []tls.Certificate{cert}
				tr.TLSClientConfig.ClientSessionCache = sessions
				tr.TLSClientConfig.MaxVersion = version
			})
			if status, _, body := get(t, c, s.url+"/t/"); status != 200 || body != "svc/orders false" {
				t.Fatalf("got %d %s", status, body)
			}
			if status, _, body := get(t, c, s.url+"/t/"); status != 200 || body != "svc/orders true" {
				t.Fatalf("got %d %s, want a resumed session", status, body)
			}
			s.records.mu.Lock()
			saved := s.records.subjects[orders]
			delete(s.records.subjects, orders)
			s.records.mu.Unlock()
			s.authn.ForgetCertificate(orders)
			if status, _, body := get(t, c, s.url+"/t/"); status != 401 {
				t.Errorf("a withdrawn binding, resumed: got %d %s", status, body)
			}
			s.records.mu.Lock()
			s.records.subjects[orders] = saved
			s.records.mu.Unlock()
			if status, _, body := get(t, c, s.url+"/t/"); status != 200 || body != "svc/orders true" {
				t.Errorf("bound again: got %d %s", status, body)
			}
			writePEM(t, file, "CERTIFICATE", newIssuer(t).cert.Raw) // the old authority is trusted no more
			if changed, err := s.certs.reload(time.Now()); !changed || err != nil {
				t.Fatal(changed, err)
			}
			if resp, err := c.Get(s.url + "/t/"); err == nil {
				body, _ := io.ReadAll(resp.Body)
				t.Errorf("a session whose issuer is out is resumed: %d %s", resp.StatusCode, body)
			}
		})
	}
}

func TestAStrangersCertificateIsRefusedOrPinned(t *testing.T) {
	t.Parallel()
	clients, stranger := newIssuer(t), newIssuer(t)
	file := writePEM(t, filepath.Join(t.TempDir(), "clients.pem"), "CERTIFICATE", clients.cert.Raw)
	cert := stranger.client(t, "spiffe://example.org/orders")
	with := func(tr *http.Transport) { tr.TLSClientConfig.Certificates = []tls.Certificate{cert} }
	verified := serve(t, nil, "tls.client_ca="+file, "tls.client_certificates=verified")
	// The client must be made to present it although the server's list of issuers does not have its own.
	forced := verified.client(func(tr *http.Transport) {
		tr.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	})
	if resp, err := forced.Get(verified.url + "/t/"); err == nil {
		t.Errorf("got %d, want no connection", resp.StatusCode)
	}
	var pinned *site
	pinned = serve(t, func(w http.ResponseWriter, r *http.Request) {
		p, err := pinned.authn.Authenticate(r.Context(), r.Header, r.TLS, netipOf(r))
		if err != nil {
			writeError(w, r, kms.AsError(err))
			return
		}
		_, _ = io.WriteString(w, p.Name)
	}, "tls.client_certificates=pinned")
	pinned.records.subjects["spiffe://example.org/orders"] = authn.Identity{Principal: kms.Principal{Name: "by name"}, Rev: 1}
	if status, _, _ := get(t, pinned.client(with), pinned.url+"/t/"); status != 401 {
		t.Errorf("a name nobody vouched for was believed: got %d", status)
	}
	pinned.records.mu.Lock()
	pinned.records.subjects[authn.FingerprintSubject(cert.Leaf)] = authn.Identity{Principal: kms.Principal{Name: "by print"}, Rev: 1}
	pinned.records.mu.Unlock()
	if status, _, body := get(t, pinned.client(with), pinned.url+"/t/"); status != 200 || body != "by print" {
		t.Errorf("got %d %s", status, body)
	}
}

func TestCertificatesAreReloadedWhenTheyChange(t *testing.T) {
	t.Parallel()
	ca := newIssuer(t)
	dir := t.TempDir()
	first := ca.server(t)
	cert, key := writePair(t, dir, first)
	s := serve(t, nil, "tls.cert="+cert, "tls.key="+key)
	s.roots = ca.pool()
	presented := func() *big.Int {
		t.Helper()
		state, err := s.dial(nil)
		if err != nil {
			t.Fatal(err)
		}
		return state.PeerCertificates[0].SerialNumber
	}
	if got := presented(); got.Cmp(first.Leaf.SerialNumber) != 0 {
		t.Fatal("another certificate")
	}
	if changed, err := s.certs.reload(time.Now()); changed || err != nil {
		t.Errorf("without a change: %v %v", changed, err)
	}
	second := ca.server(t)
	writePEM(t, cert, "CERTIFICATE", second.Certificate[0]) // half of the change: the key is still the old one
	if _, err := s.certs.reload(time.Now()); err == nil {
		t.Error("a certificate without its key was loaded")
	}
	if got := presented(); got.Cmp(first.Leaf.SerialNumber) != 0 {
		t.Error("half a change took effect")
	}
	writePair(t, dir, second)
	if changed, err := s.certs.reload(time.Now()); !changed || err != nil {
		t.Errorf("got %v %v", changed, err)
	}
	if got := presented(); got.Cmp(second.Leaf.SerialNumber) != 0 {
		t.Error("the old certificate is still presented")
	}
	writePair(t, dir, ca.issue(t, &x509.Certificate{NotAfter: time.Now().Add(-time.Minute), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}))
	if _, err := s.certs.reload(time.Now()); err == nil {
		t.Error("an expired certificate replaced a good one")
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := s.certs.reload(time.Now()); err == nil {
		t.Error("a missing key is no error")
	}
	if got := presented(); got.Cmp(second.Leaf.SerialNumber) != 0 {
		t.Error("the good certificate is gone")
	}
}

func TestTheWatchReloadsByItself(t *testing.T) {
	t.Parallel()
	ca := newIssuer(t)
	dir := t.TempDir()
	cert, key := writePair(t, dir, ca.server(t))
	s := serve(t, nil, "tls.cert="+cert, "tls.key="+key, "tls.reload=1s")
	s.roots = ca.pool()
	second := ca.server(t)
	writePair(t, dir, second)
	for end := time.Now().Add(10 * time.Second); ; {
		state, err := s.dial(nil)
		if err != nil {
			t.Fatal(err)
		}
		if state.PeerCertificates[0].SerialNumber.Cmp(second.Leaf.SerialNumber) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("not reloaded")
		}
		time.Sleep(50 * time.Millisecond) // the files' watcher runs by the clock
	}
}

func TestTheOwnCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	s := &site{t: t, dir: t.TempDir()}
	now := time.Now()
	srv, err := New(Config{Settings: s.settings("local_socket=off"), Condition: func(context.Context) Condition { return Condition{} }, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close() //nolint:errcheck // it was never run
	before := srv.certs.expires()
	if changed, err := srv.certs.reload(before.Add(-24 * time.Hour)); !changed || err != nil || !srv.certs.expires().After(before) {
		t.Errorf("got %v %v, from %s to %s", changed, err, before, srv.certs.expires())
	}
}
