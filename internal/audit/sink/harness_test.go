package sink

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/audittest"
	"github.com/keyhold/keyhold/internal/kms"
)

// bench is a log, and what ships it.
type bench struct {
	t       *testing.T
	dir     string
	keys    audit.Keys
	log     *audit.Log
	written int
	pace    Pace
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	b.pace = Pace{Poll: 5 * time.Millisecond, First: 5 * time.Millisecond, Most: 50 * time.Millisecond, Refused: 5 * time.Millisecond, Settle: 50 * time.Millisecond}
	b.keys, _ = audittest.Keys(t)
	b.boot()
	t.Cleanup(func() { _ = b.log.Close() })
	return b
}

// boot opens the log in a new boot epoch, whose first record is one too.
func (b *bench) boot() {
	b.t.Helper()
	if b.log != nil {
		if err := b.log.Close(); err != nil {
			b.t.Fatal(err)
		}
	}
	var err error
	b.log, err = audit.Open(audit.Config{Dir: filepath.Join(b.dir, "audit"), Node: "n1", Cluster: audittest.Cluster, SegmentBytes: 1 << 20, ReserveBytes: 64 << 10})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.log.Keyed(b.keys); err != nil {
		b.t.Fatal(err)
	}
	b.written++
}

// write appends records.
func (b *bench) write(n int) {
	b.t.Helper()
	const group = 1000
	for n > 0 {
		rs := make([]*audit.Record, min(n, group))
		for i := range rs {
			rs[i] = audittest.Record(b.written + i)
		}
		if _, err := b.log.AppendAll(rs); err != nil {
			b.t.Fatal(err)
		}
		b.written, n = b.written+len(rs), n-len(rs)
	}
}

// ship runs sinks, as a server does.
func (b *bench) ship(sinks ...Sink) *Set {
	b.t.Helper()
	set := b.set(sinks...)
	set.Start()
	b.t.Cleanup(func() { _ = set.Close() })
	return set
}

func (b *bench) set(sinks ...Sink) *Set {
	b.t.Helper()
	set, err := New(Config{
		Log: b.log, Dir: filepath.Join(b.dir, "sinks"), Node: "n1", Cluster: audittest.Cluster, Host: "host.example", Version: "test", Sinks: sinks,
		Logger: slog.New(slog.DiscardHandler),
		Pace:   b.pace,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return set
}

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !ok(); {
		if time.Now().After(limit) {
			t.Fatalf("%s: not within %s", what, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// shipped waits until a sink has everything.
func shipped(t *testing.T, set *Set, name string) {
	t.Helper()
	limit := time.Now().Add(patience)
	for {
		s := status(t, set, name)
		if s.Lag == 0 {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%s did not catch up: %+v", name, s)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func status(t *testing.T, set *Set, name string) Status {
	t.Helper()
	for _, s := range set.Status() {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("there is no sink %s", name)
	return Status{}
}

// secret is what webhooks are signed with.
const secret = "a secret of more than thirty-two bytes"

func sign(msg []byte) ([]byte, error) {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write(msg)
	return h.Sum(nil), nil
}

// authority issues certificates for tests.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.issue(t, "ca", nil)
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// issue writes NAME.pem and NAME.key.
func (a *authority) issue(t *testing.T, name string, names []string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), DNSNames: names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if len(names) > 0 {
		tmpl.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage, tmpl.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(a.file(file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// server is a TLS configuration for a receiver on this machine.
func (a *authority) server(t *testing.T) *tls.Config {
	t.Helper()
	a.issue(t, "server", []string{"localhost"})
	pair, err := tls.LoadX509KeyPair(a.file("server.pem"), a.file("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

// typical is a record in a namespace.
func typical(i int, in kms.Namespace) *audit.Record {
	r := audittest.Record(i)
	r.Namespace = in
	return r
}
