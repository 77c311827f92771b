package authn

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net/netip"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/keyhold/keyhold/internal/kms"
)

// named is what a certificate says of its holder; it follows from the bytes alone and never changes.
type named struct {
	spiffe      string // empty: no SPIFFE id, or not exactly one URI
	fingerprint string // "sha256:" and 64 hexadecimal digits
}

// FingerprintSubject is the subject of a certificate without a vouched-for SPIFFE id.
func FingerprintSubject(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func nameOf(cert *x509.Certificate) named {
	n := named{fingerprint: FingerprintSubject(cert)}
	if len(cert.URIs) != 1 { // SPIFFE X509-SVID §2: exactly one URI SAN
		return n
	}
	if id, err := spiffeid.FromURI(cert.URIs[0]); err == nil && !cert.IsCA { // §5.2: a leaf has no CA flag
		n.spiffe = id.String()
	}
	return n
}

// certificate authenticates a TLS client certificate. The handshake proved possession of its key; that its name can be
// believed is proven by a chain to a configured authority only, so without one the certificate is no more than itself.
func (a *Authenticator) certificate(ctx context.Context, state *tls.ConnectionState, remote netip.AddrPort) (*kms.Principal, error) {
	now, from := a.now(), source(remote)
	if err := a.buckets.request(from, now); err != nil {
		return nil, a.refuse(err, remote)
	}
	leaf := state.PeerCertificates[0]
	n, ok := a.named.get(string(leaf.Raw))
	if !ok {
		n = a.named.keep(string(leaf.Raw), nameOf(leaf))
	}
	verified := len(state.VerifiedChains) > 0
	subject := n.fingerprint
	if verified && n.spiffe != "" {
		subject = n.spiffe
	}

	who := pair{subject: subject, source: from}
	failed, locked := a.lockout.check(who, now)
	if locked != nil {
		return nil, a.refuse(locked, remote)
	}
	if !current(state, verified, a.dates()) {
		a.buckets.failure(from, now)
		return nil, a.refuse(kms.Errorf(kms.CodeExpired, "the client certificate or its issuer is not valid at this time: it runs from %s to %s",
			leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339)), remote)
	}
	e, ok := a.subjects.get(subject)
	if !ok {
		var err *kms.Error
		if e, err = a.subjectEntry(ctx, subject, from, now); err != nil {
			return nil, a.refuse(err, remote)
		}
	}
	if e == nil {
		return nil, a.fail(who, nil, kms.AuthCertificate, now, remote)
	}
	return a.admit(e, who, failed, now, remote)
}

// current tells whether the leaf, and with a verified certificate at least one whole chain, is within its dates. TLS checks
// them at the handshake; a connection and a resumed session outlive that.
func current(state *tls.ConnectionState, verified bool, now time.Time) bool {
	if !within(state.PeerCertificates[0], now) {
		return false
	}
	if !verified {
		return true
	}
	for _, chain := range state.VerifiedChains {
		good := true
		for _, cert := range chain {
			good = good && within(cert, now)
		}
		if good {
			return true
		}
	}
	return false
}

func within(cert *x509.Certificate, now time.Time) bool {
	return !now.Before(cert.NotBefore) && !now.After(cert.NotAfter)
}
