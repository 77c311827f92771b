package authn

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// leaf makes a certificate that is good for an hour from the clock's time.
func leaf(t testing.TB, c *clock, uris ...string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: c.now(), NotAfter: c.now().Add(time.Hour)}
	for _, s := range uris {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		tmpl.URIs = append(tmpl.URIs, u)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func presented(cert *x509.Certificate, chains ...[]*x509.Certificate) *tls.ConnectionState {
	return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: chains}
}

func (r *records) bind(subject, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rev++
	r.subjects[subject] = Identity{
		Principal: kms.Principal{Name: name, Namespace: kms.DefaultNamespace, Method: kms.AuthCertificate, Credential: subject}, Rev: r.rev,
	}
}

func TestACertificatesNameCountsOnlyIfVouchedFor(t *testing.T) {
	const workload = "spiffe://example.org/orders"
	r, c := newRecords(), newClock()
	a := New(Config{Identities: r, Now: c.now})
	r.bind(workload, "svc/orders")
	cert, renewed := leaf(t, c, workload), leaf(t, c, workload)
	two := leaf(t, c, workload, "spiffe://example.org/billing")
	r.bind(FingerprintSubject(two), "svc/two")

	for _, tc := range []struct {
		name  string
		state *tls.ConnectionState
		want  string // empty: refused
	}{
		{"verified", presented(cert, []*x509.Certificate{cert}), "svc/orders"},
		{"renewed, verified", presented(renewed, []*x509.Certificate{renewed}), "svc/orders"},
		{"not verified", presented(cert), ""},
		{"two names are none", presented(two, []*x509.Certificate{two}), "svc/two"},
		{"pinned, not verified", presented(two), "svc/two"},
	} {
		p, err := a.Authenticate(context.Background(), nil, tc.state, here)
		if tc.want == "" {
			wantCode(t, err, kms.CodeUnauthenticated)
		} else if err != nil || p.Name != tc.want {
			t.Errorf("%s: got %v %v, want %s", tc.name, p, err, tc.want)
		}
	}
	p, err := a.Authenticate(context.Background(), nil, presented(cert, []*x509.Certificate{cert}), here)
	if err != nil {
		t.Fatal(err)
	}
	delete(r.subjects, workload)
	a.ForgetCertificate(workload)
	if p.Standing.Stands() {
		t.Error("the withdrawn binding still stands")
	}
	_, err = a.Authenticate(context.Background(), nil, presented(cert, []*x509.Certificate{cert}), here)
	wantCode(t, err, kms.CodeUnauthenticated)
}

func TestACertificatesDatesAreCheckedAtEveryRequest(t *testing.T) {
	r, c := newRecords(), newClock()
	a := New(Config{Identities: r, Now: c.now})
	ca := leaf(t, c)
	c.advance(30 * time.Minute)
	cert := leaf(t, c)
	r.bind(FingerprintSubject(cert), "svc/x")
	ask := func(state *tls.ConnectionState) error {
		_, err := a.Authenticate(context.Background(), nil, state, here)
		return err
	}
	both := presented(cert, []*x509.Certificate{cert, ca})
	if err := ask(both); err != nil {
		t.Fatal(err)
	}
	c.advance(31 * time.Minute) // the issuer is over, the leaf is not
	wantCode(t, ask(both), kms.CodeExpired)
	if err := ask(presented(cert, []*x509.Certificate{cert, ca}, []*x509.Certificate{cert, cert})); err != nil {
		t.Errorf("another chain is whole: %v", err)
	}
	if err := ask(presented(cert)); err != nil {
		t.Errorf("a pinned certificate has no issuer: %v", err)
	}
	c.advance(time.Hour)
	wantCode(t, ask(presented(cert)), kms.CodeExpired)
	c.advance(-3 * time.Hour)
	wantCode(t, ask(presented(cert)), kms.CodeExpired)
}

func BenchmarkAuthenticateCertificate(b *testing.B) {
	r, c := newRecords(), newClock()
	cert := leaf(b, c, "spiffe://example.org/orders")
	r.bind("spiffe://example.org/orders", "svc/orders")
	a := New(Config{Identities: r, Now: c.now})
	state := presented(cert, []*x509.Certificate{cert})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Authenticate(context.Background(), nil, state, here); err != nil {
			b.Fatal(err)
		}
	}
}
