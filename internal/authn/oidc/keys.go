package oidc

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyhold/keyhold/internal/kms"
)

// MaxFixed is how many keys can be given instead of an address.
const MaxFixed = 32

// Source says where the keys are of those who sign tokens: one of Issuer, Address and Fixed does.
type Source struct {
	Issuer  string             // https://…, as it calls itself; its configuration says where its keys are
	Address string             // https://… of a key set (RFC 7517 §5)
	Fixed   []crypto.PublicKey // at most MaxFixed
	Roots   *x509.CertPool     // of the certificate of Issuer or Address; nil: the system's
}

// Keys are those of a source, fetched and held as those of a Verifier's issuers are. They are safe for concurrent use.
type Keys struct {
	of    *issuer // nil: fixed
	fixed []jose.JSONWebKey
}

// NewKeys makes them. It asks nobody before a token comes, or Fetch is called. Error: CodeBadRequest.
func NewKeys(s Source, now func() time.Time) (*Keys, error) {
	ways := 0
	for _, is := range []bool{s.Issuer != "", s.Address != "", len(s.Fixed) > 0} {
		if is {
			ways++
		}
	}
	at := s.Issuer + s.Address
	switch {
	case ways != 1:
		return nil, kms.Errorf(kms.CodeBadRequest, "keys come from an issuer, from the address of a key set, or are given: one of these, and not %d", ways)
	case len(s.Fixed) > MaxFixed:
		return nil, kms.Errorf(kms.CodeTooLarge, "%d keys are given, at most %d can be", len(s.Fixed), MaxFixed)
	case at != "" && !overTLS(at):
		return nil, kms.Errorf(kms.CodeBadRequest, "issuers and key sets are asked over TLS only: an address is https://…")
	case at != "":
		i := newIssuer(at, wireTo(s.Roots), now)
		i.at = s.Address
		return &Keys{of: i}, nil
	}
	k := &Keys{}
	for _, public := range s.Fixed {
		key := jose.JSONWebKey{Key: public}
		if !strong(&key) {
			return nil, kms.Errorf(kms.CodeBadRequest, "a key is not of a kind that verifies tokens: want ECDSA, Ed25519, or RSA of %d bits at least", minRSA)
		}
		k.fixed = append(k.fixed, key)
	}
	return k, nil
}

// Fetch finds out whether the keys can be had, unless they are. Error: CodeIssuer.
func (k *Keys) Fetch(ctx context.Context) error {
	if k.of == nil {
		return nil
	}
	if _, err := k.of.key(ctx, ""); err != nil && err.Code != kms.CodeIdentityToken { // that there is none without a name says that there are others
		return err
	}
	return nil
}

// Algorithms are the names of those by which tokens are signed (RFC 7518 §3.1). None with a secret that two share, and not "none".
func Algorithms() []string {
	all := make([]string, len(algorithms))
	for i, a := range algorithms {
		all[i] = string(a)
	}
	return all
}

// Payload verifies the signature of a token, by one of the algorithms that are named (none: all that there are), and answers what it says: JSON, of 16 KiB at
// most. Whether that is good, and still is, is the caller's to judge. Errors: CodeIdentityToken, CodeIssuer, CodeCancelled.
func (k *Keys) Payload(ctx context.Context, token string, by []string) ([]byte, error) {
	if len(token) > maxToken {
		return nil, invalid("it is too long", nil)
	}
	among := algorithms
	if len(by) > 0 {
		among = slices.DeleteFunc(slices.Clone(algorithms), func(a jose.SignatureAlgorithm) bool { return !slices.Contains(by, string(a)) })
	}
	t, err := jose.ParseSignedCompact(token, among)
	if err != nil {
		return nil, invalid("it is no signed token of a form and an algorithm that is accepted", err)
	}
	header := t.Signatures[0].Protected
	candidates := k.fixed
	if k.of != nil {
		key, refused := k.of.key(ctx, header.KeyID)
		if refused != nil {
			return nil, refused
		}
		candidates = []jose.JSONWebKey{key}
	}
	for i := range candidates {
		c := &candidates[i]
		if c.Algorithm != "" && c.Algorithm != header.Algorithm { // RFC 8725 §3.1
			return nil, invalid("its key is for another algorithm", nil)
		}
		if said, err := t.Verify(c.Key); err == nil {
			return said, nil
		}
	}
	return nil, invalid("its signature does not verify", nil)
}

// PublicKey reads a public key in PEM (RFC 7468 §13), or that of a certificate in PEM. Error: CodeBadRequest.
func PublicKey(text string) (crypto.PublicKey, error) {
	bad := kms.Errorf(kms.CodeBadRequest, "error parsing public key: want one public key or certificate in PEM")
	block, rest := pem.Decode([]byte(text))
	if block == nil || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, bad
	}
	switch block.Type {
	case "PUBLIC KEY":
		k, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, bad.Because(err)
		}
		return k, nil
	case "CERTIFICATE":
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, bad.Because(err)
		}
		return c.PublicKey, nil
	}
	return nil, bad
}
