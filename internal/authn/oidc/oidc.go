// Package oidc verifies identity tokens of OpenID Connect issuers (OpenID Connect Core 1.0 §3.1.3.7, RFC 7519, RFC 8725): signature, issuer, audience, dates
// and the claims that are asked for.
//
// It asks only issuers that it was told of, over TLS, follows no redirect, and reads bounded answers; a token can neither name where its keys come from nor
// choose an algorithm that is not in the list. It refuses to say what a subject may do, and it remembers no token: one that verifies, verifies until it expires.
package oidc

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/keyhold/keyhold/internal/kms"
)

// Limits.
const (
	MaxIssuers = 64
	maxToken   = 16 << 10  // bytes of a token
	maxAnswer  = 256 << 10 // bytes of what an issuer answers
	maxKeys    = 64        // of an issuer
	minRSA     = 2048      // bits

	leeway     = time.Minute      // between the clocks of issuer and server
	fetchTime  = 10 * time.Second // for one question to an issuer
	keysFresh  = time.Hour        // before an issuer's keys are fetched again
	fetchPause = 10 * time.Second // between two questions to one issuer
)

// algorithms are those of a public key. None that an issuer and a server would share a secret for.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

// Trust is what a token has to say.
type Trust struct {
	Issuer    string
	Audiences []string          // it must be for one of them
	Claims    map[string]string // it must make all of them, as text or in a list of texts
}

// Identity is what a verified token says.
type Identity struct {
	Issuer, Subject, Audience string
	Expires                   time.Time
	Trust                     int // which of the trusts it met
}

// Config says which issuers there are.
type Config struct {
	Issuers []string         // https://…, as they stand in tokens; no other is ever asked
	Roots   *x509.CertPool   // of their certificates; nil: the system's
	Now     func() time.Time // nil: time.Now
}

// Verifier verifies tokens. It is safe for concurrent use. The nil Verifier knows no issuer.
type Verifier struct {
	issuers map[string]*issuer
	now     func() time.Time
}

// New makes a verifier. It asks no issuer before a token names it.
func New(c Config) (*Verifier, error) {
	if len(c.Issuers) > MaxIssuers {
		return nil, kms.Errorf(kms.CodeBadSetting, "%d issuers are more than %d", len(c.Issuers), MaxIssuers)
	}
	v := &Verifier{issuers: make(map[string]*issuer, len(c.Issuers)), now: c.Now}
	if v.now == nil {
		v.now = time.Now
	}
	wire := wireTo(c.Roots)
	for _, name := range c.Issuers {
		v.issuers[name] = newIssuer(name, wire, v.now)
	}
	return v, nil
}

// wireTo makes a client that asks issuers.
func wireTo(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Timeout:       fetchTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("the issuer sends elsewhere") },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true, ForceAttemptHTTP2: true,
			Proxy: http.ProxyFromEnvironment, MaxResponseHeaderBytes: maxAnswer},
	}
}

// invalid is the one error for a token that proves nothing. The reason is for the log, and for nobody else.
func invalid(why string, cause error) *kms.Error {
	return kms.Errorf(kms.CodeIdentityToken, "the identity token is not valid here: %s", why).Because(cause)
}

// Verify verifies a token by one of the trusts. Errors: CodeIdentityToken, CodeExpired, CodeIssuer.
func (v *Verifier) Verify(ctx context.Context, token string, trusts []Trust) (Identity, error) {
	if len(token) > maxToken {
		return Identity{}, invalid("it is too long", nil)
	}
	t, err := jwt.ParseSigned(token, algorithms)
	if err != nil || len(t.Headers) != 1 {
		return Identity{}, invalid("it is no signed token of a form and an algorithm that is accepted", err)
	}
	var unproven struct {
		Issuer string `json:"iss"`
	}
	if err := t.UnsafeClaimsWithoutVerification(&unproven); err != nil { // it only chooses whose keys to try
		return Identity{}, invalid("its claims cannot be read", err)
	}
	wanted := slices.ContainsFunc(trusts, func(t Trust) bool { return t.Issuer == unproven.Issuer })
	if v == nil || !wanted || v.issuers[unproven.Issuer] == nil {
		return Identity{}, invalid("nobody here trusts its issuer", nil)
	}
	key, refused := v.issuers[unproven.Issuer].key(ctx, t.Headers[0].KeyID)
	if refused != nil {
		return Identity{}, refused
	}
	var claims jwt.Claims
	var party struct {
		Authorized string `json:"azp"`
	}
	all := map[string]claim{}
	if err := t.Claims(key.Key, &claims, &party, &all); err != nil {
		return Identity{}, invalid("its signature does not verify", err)
	}
	if key.Algorithm != "" && key.Algorithm != t.Headers[0].Algorithm { // RFC 8725 §3.1
		return Identity{}, invalid("its key is for another algorithm", nil)
	}
	return v.judge(&claims, party.Authorized, all, trusts)
}

// judge checks what a token says, now that it is known who says it.
func (v *Verifier) judge(c *jwt.Claims, authorized string, all map[string]claim, trusts []Trust) (Identity, error) {
	now := v.now()
	switch {
	case c.Expiry == nil || c.Subject == "" || len(c.Subject) > 255:
		return Identity{}, invalid("it has no expiry or no subject", nil)
	case now.After(c.Expiry.Time().Add(leeway)):
		return Identity{}, kms.Errorf(kms.CodeExpired, "the identity token expired at %s", c.Expiry.Time().UTC().Format(time.RFC3339))
	case c.NotBefore != nil && now.Before(c.NotBefore.Time().Add(-leeway)), c.IssuedAt != nil && now.Before(c.IssuedAt.Time().Add(-leeway)):
		return Identity{}, invalid("it is not valid yet", nil)
	}
	for i, t := range trusts {
		if t.Issuer != c.Issuer {
			continue
		}
		at := slices.IndexFunc(t.Audiences, func(a string) bool { return slices.Contains(c.Audience, a) })
		if at < 0 || authorized != "" && len(c.Audience) > 1 && !slices.Contains(t.Audiences, authorized) { // OpenID Connect Core §3.1.3.7, 4 and 5
			continue
		}
		if met(t.Claims, all) {
			return Identity{Issuer: c.Issuer, Subject: c.Subject, Audience: t.Audiences[at], Expires: c.Expiry.Time(), Trust: i}, nil
		}
	}
	return Identity{}, invalid("its audience or its claims are others", nil)
}

func met(want map[string]string, all map[string]claim) bool {
	for name, value := range want {
		if !slices.Contains(all[name], value) {
			return false
		}
	}
	return true
}

// strong tells whether a key can be used: public, whole and long enough.
func strong(k *jose.JSONWebKey) bool {
	if !k.IsPublic() || !k.Valid() || k.Use != "" && k.Use != "sig" {
		return false
	}
	if r, is := k.Key.(*rsa.PublicKey); is {
		return r.N.BitLen() >= minRSA
	}
	return true
}
