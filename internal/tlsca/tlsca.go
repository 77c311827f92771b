// Package tlsca is a small certificate authority of the server's own, for a server that was given no certificate: TLS is
// on from the first start. It keeps four files in one directory: ca.pem, which clients trust, ca.key (the authority itself:
// its key and its certificate in one file, so that no crash can part them), server.pem (with its chain) and server.key.
//
// It refuses to issue anything but one server certificate, and to vouch, where all names are loopback, for any other
// machine: the authority's name constraints (RFC 5280 §4.2.1.10) say so, since people will trust ca.pem.
//
// Invariants: private keys are ECDSA P-256, mode 0600 from their first byte, and never leave the directory; every file
// appears whole (written aside, synced, renamed); a certificate is renewed before it ends, or when its names change.
package tlsca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Lifetimes. A server certificate lives no longer than what strict clients accept (398 days).
const (
	caLife      = 10 * 365 * 24 * time.Hour
	serverLife  = 397 * 24 * time.Hour
	renewBefore = 30 * 24 * time.Hour
	backdate    = time.Hour // clocks of clients differ
)

// Files are the paths of what Ensure keeps.
type Files struct {
	CA   string // certificate of the authority: what clients trust
	Cert string // chain of the server
	Key  string // private key of the server
}

// In names the files in a directory.
func In(dir string) Files {
	return Files{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "server.pem"), Key: filepath.Join(dir, "server.key")}
}

// Ensure makes what is missing, damaged or about to end: the directory (0700), the authority, and a server certificate for
// loopback and the further DNS names and IP addresses. It changes nothing if all is well, and tells whether it did.
func Ensure(dir string, names []string, now time.Time) (f Files, changed bool, err error) {
	f = In(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return f, false, fmt.Errorf("make the directory of the server's authority: %w", err)
	}
	want := subjects(names)
	ca, madeCA, err := authority(dir, f.CA, want, now)
	if err != nil {
		return f, false, err
	}
	if !madeCA && usable(f, ca.cert, want, now) {
		return f, false, nil
	}
	return f, true, issue(f, ca, want, now)
}

// names of a certificate, sorted.
type names struct {
	dns      []string
	ips      []net.IP
	loopback bool // nothing else
}

func subjects(more []string) names {
	all := slices.Concat([]string{"localhost", "127.0.0.1", "::1"}, more)
	slices.Sort(all)
	n := names{loopback: true}
	for _, s := range slices.Compact(all) {
		if ip, err := netip.ParseAddr(s); err == nil {
			n.ips = append(n.ips, net.IP(ip.Unmap().AsSlice()))
			n.loopback = n.loopback && ip.Unmap().IsLoopback()
			continue
		}
		n.dns = append(n.dns, s)
		n.loopback = n.loopback && s == "localhost"
	}
	return n
}

// signer is a certificate and its private key.
type signer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// authority reads the authority, or makes one if there is none, it is near its end, or it may not vouch for the names.
func authority(dir, certFile string, want names, now time.Time) (signer, bool, error) {
	keyFile := filepath.Join(dir, "ca.key")
	pair, err := tls.LoadX509KeyPair(keyFile, keyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		// Clients trust the old one: a damaged file is for people to look at, not to be replaced in silence.
		return signer{}, false, fmt.Errorf("read the server's own authority (remove %s to have a new one made): %w", keyFile, err)
	default:
		key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
		if ok && now.Add(renewBefore).Before(pair.Leaf.NotAfter) && (want.loopback || !constrained(pair.Leaf)) {
			return signer{pair.Leaf, key}, false, errors.Join(os.Chmod(keyFile, 0o600), publish(certFile, pair.Leaf))
		}
	}
	tmpl, err := template("Keyhold authority", now, caLife)
	if err != nil {
		return signer{}, false, err
	}
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.MaxPathLenZero = true, true, true
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	if want.loopback {
		tmpl.PermittedDNSDomainsCritical = true
		tmpl.PermittedDNSDomains = []string{"localhost"}
		tmpl.PermittedIPRanges = []*net.IPNet{
			{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)}, {IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return signer{}, false, fmt.Errorf("make the authority's key: %w", err)
	}
	made, err := sign(tmpl, signer{tmpl, key}, &key.PublicKey)
	if err != nil {
		return signer{}, false, err
	}
	if err := writeKey(keyFile, key, made); err != nil {
		return signer{}, false, err
	}
	if err := publish(certFile, made); err != nil {
		return signer{}, false, err
	}
	return signer{made, key}, true, nil
}

// publish writes the authority's certificate for clients to trust, if it is not there as it should be.
func publish(name string, ca *x509.Certificate) error {
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})
	if have, err := os.ReadFile(filepath.Clean(name)); err == nil && bytes.Equal(have, text) {
		return nil
	}
	return replace(name, text, 0o644)
}

func constrained(c *x509.Certificate) bool {
	return len(c.PermittedDNSDomains) > 0 || len(c.PermittedIPRanges) > 0
}

// usable tells whether the server's files are whole, of this authority, for these names, and good for a while.
func usable(f Files, ca *x509.Certificate, want names, now time.Time) bool {
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return false
	}
	c := pair.Leaf
	sameIPs := slices.EqualFunc(c.IPAddresses, want.ips, func(a, b net.IP) bool { return a.Equal(b) })
	return slices.Equal(c.DNSNames, want.dns) && sameIPs && c.CheckSignatureFrom(ca) == nil &&
		now.After(c.NotBefore) && now.Add(renewBefore).Before(c.NotAfter) && os.Chmod(f.Key, 0o600) == nil
}

// issue makes a new key and certificate of the server.
func issue(f Files, ca signer, want names, now time.Time) error {
	tmpl, err := template("Keyhold server", now, serverLife)
	if err != nil {
		return err
	}
	if tmpl.NotAfter.After(ca.cert.NotAfter) {
		tmpl.NotAfter = ca.cert.NotAfter
	}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	tmpl.BasicConstraintsValid = true
	tmpl.DNSNames, tmpl.IPAddresses = want.dns, want.ips
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the server's TLS key: %w", err)
	}
	made, err := sign(tmpl, ca, &key.PublicKey)
	if err != nil {
		return err
	}
	return errors.Join(writeKey(f.Key, key), writeCerts(f.Cert, made, ca.cert))
}

func template(name string, now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // RFC 5280 §4.1.2.2: at most 20 octets
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: fmt.Sprintf("%s %08x", name, new(big.Int).Rsh(serial, 95).Uint64()), Organization: []string{"Keyhold"}},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(life),
	}, nil
}

func sign(tmpl *x509.Certificate, by signer, public *ecdsa.PublicKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, by.cert, public, by.key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// writeKey writes a private key, and the certificates that belong to it in the same file.
func writeKey(name string, key *ecdsa.PrivateKey, with ...*x509.Certificate) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode a TLS key: %w", err)
	}
	defer clear(der)
	head := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	defer clear(head)
	text := [][]byte{head}
	for _, c := range with {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	whole := bytes.Join(text, nil)
	defer clear(whole)
	return replace(name, whole, 0o600)
}

func writeCerts(name string, certs ...*x509.Certificate) error {
	var text bytes.Buffer
	for _, c := range certs {
		if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
			return fmt.Errorf("encode a certificate: %w", err)
		}
	}
	return replace(name, text.Bytes(), 0o644)
}

// replace puts a whole file in place of another, durably.
func replace(name string, text []byte, mode fs.FileMode) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", name, errors.Join(err, os.Remove(tmp.Name())))
		}
	}()
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err = os.Rename(tmp.Name(), name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
