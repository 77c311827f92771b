package authn

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// DefaultSkew is how far a client's clock may be off.
const DefaultSkew = 5 * time.Minute

// canonicalRoom is how much of a canonical request stands on the stack: no SDK's is longer.
const canonicalRoom = 2 << 10

// Signature is what a verified signature says of its request.
type Signature struct {
	Principal *kms.Principal
	AccessKey string // "AKIA…", or "ASIA…" of a session
	Region    string // of the credential scope
	Service   string // of the credential scope: "kms" or "sts"; the caller must serve nothing else on it
	Presigned bool
	Time      time.Time // when it was signed

	digest [32]byte  // the signature itself
	until  time.Time // it is not accepted after this
}

// SigV4 authenticates a request by AWS Signature Version 4, in its Authorization header or (presigned) in its query string. body is the whole body,
// which the caller has bounded: what is signed is its digest, and an unsigned body is refused. The strings of the answer may point into the request.
//
// Errors: CodeUnauthenticated (not signed at all), CodeSignatureIncomplete, CodeSignatureTime, CodeCredentialUnknown, CodeSignature, CodeExpired,
// CodeLockedOut, CodeRateLimited, and those of the look-up. They are in the words of AWS where AWS has words.
func (a *Authenticator) SigV4(ctx context.Context, r *http.Request, body []byte, remote netip.AddrPort) (Signature, error) {
	now, from := a.now(), source(remote)
	if err := a.buckets.request(from, now); err != nil {
		return Signature{}, a.refuse(err, remote)
	}
	var c claim
	err := c.read(r)
	dates := a.dates()
	if err == nil {
		err = c.timely(dates, a.skew)
	}
	var text []byte
	if err == nil {
		text, err = c.toSign(r, body)
	}
	if err != nil {
		a.buckets.failure(from, now)
		return Signature{}, a.refuse(err, remote)
	}
	who := pair{subject: c.key, source: from}
	failed, locked := a.lockout.check(who, now)
	if locked != nil {
		return Signature{}, a.refuse(locked, remote)
	}
	e, err := a.signedBy(ctx, &c, text, from, now)
	if err != nil {
		if err.Code == kms.CodeSignature || err.Code == kms.CodeCredentialUnknown {
			who.subject = clone(clipped(c.key)) // the table outlives the request
			return Signature{}, a.failWith(err, who, e, kms.AuthSignature, now, remote)
		}
		return Signature{}, a.refuse(err, remote)
	}
	p, refused := a.admit(e, who, failed, now, remote)
	if refused != nil {
		return Signature{}, refused
	}
	s := Signature{Principal: p, AccessKey: c.key, Region: c.region, Service: c.service, Presigned: c.presigned, Time: c.at,
		digest: c.signature, until: c.at.Add(max(a.skew, c.lifetime))}
	return s, nil
}

// toSign is the string to sign: algorithm, date, scope, and the digest of the canonical request.
func (c *claim) toSign(r *http.Request, body []byte) ([]byte, *kms.Error) {
	digest := sha256.Sum256(body)
	if said := r.Header["X-Amz-Content-Sha256"]; len(said) > 0 {
		var sum [sha256.Size * 2]byte
		hex.Encode(sum[:], digest[:])
		if subtle.ConstantTimeCompare(sum[:], []byte(said[0])) != 1 {
			return nil, kms.Errorf(kms.CodeSignature, "The provided 'x-amz-content-sha256' header does not match what was computed: the body must be signed, whole and unchanged.")
		}
	}
	var room [canonicalRoom]byte
	canonical, err := c.appendCanonical(room[:0], r, digest)
	if err != nil {
		return nil, err
	}
	digest = sha256.Sum256(canonical)
	text := make([]byte, 0, len(algorithm4)+len(c.stamp)+len(c.scope)+3+sha256.Size*2)
	text = append(text, algorithm4+"\n"...)
	text = append(text, c.stamp...)
	text = append(text, '\n')
	text = append(text, c.scope...)
	text = append(text, '\n')
	return hex.AppendEncode(text, digest[:]), nil
}

// signedBy finds the credential that signed a text. What there is not takes the same path, with a secret that nobody has.
func (a *Authenticator) signedBy(ctx context.Context, c *claim, text []byte, from netip.Addr, now time.Time) (*entry, *kms.Error) {
	for range lookUpTries {
		e, err := a.signingEntry(ctx, c, from, now)
		if err != nil {
			return nil, err
		}
		of := &a.nobody
		if e != nil {
			of = e.signing
		}
		matches, alive := of.verify(c, text)
		switch {
		case !alive: // forgotten since it was looked up
			continue
		case e == nil:
			return nil, kms.Errorf(kms.CodeCredentialUnknown, "The security token included in the request is invalid.")
		case !matches:
			return e, kms.Errorf(kms.CodeSignature, "The request signature we calculated does not match the signature you provided. "+
				"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
		}
		return e, nil
	}
	return nil, kms.Errorf(kms.CodeBusy, "the access key changes all the time")
}

// signingEntry finds the entry of an access key, or of a session by the digest of its token. A nil entry without an error: there is none.
func (a *Authenticator) signingEntry(ctx context.Context, c *claim, from netip.Addr, now time.Time) (*entry, *kms.Error) {
	switch {
	case c.token == "" && accessKeyForm(c.key, "AKIA"):
		if e, ok := a.accessKeys.get(c.key); ok {
			return e, nil
		}
		id := clone(c.key)
		return read(ctx, a, &a.accessKeys, id, from, now, func(ctx context.Context) (Identity, error) {
			return a.identities.AccessKey(ctx, id)
		})
	case c.token != "" && accessKeyForm(c.key, "ASIA"):
		key := sha256.Sum256([]byte(c.token))
		e, ok := a.sessions.get(key)
		if !ok {
			token := clone(c.token)
			var err *kms.Error
			if e, err = read(ctx, a, &a.sessions, key, from, now, func(ctx context.Context) (Identity, error) {
				return a.identities.Session(ctx, token)
			}); err != nil {
				return nil, err
			}
		}
		if e != nil && e.principal.Credential != c.key {
			return nil, nil //nolint:nilnil // a token with another key's id is no credential
		}
		return e, nil
	}
	return nil, nil //nolint:nilnil // what does not have the form of an access key is none
}

// accessKeyForm tells whether a text is a prefix and 16 characters of A to Z and 2 to 7.
func accessKeyForm(s, prefix string) bool {
	if len(s) != 20 || !strings.HasPrefix(s, prefix) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

func clone(s string) string { return strings.Clone(s) }

// ForgetAccessKey ends the entry of an access key at once, and the sessions that it began.
func (a *Authenticator) ForgetAccessKey(id string) {
	a.accessKeys.withdraw(id, (*entry).end)
	a.forgetSessionsOf(id)
}

// ForgetRole makes the sessions of a role be looked up anew: what the role may do, and who may assume it, has changed.
func (a *Authenticator) ForgetRole(role kms.ID) {
	a.sessions.withdrawIf(func(e *entry) bool { return e.role == role }, (*entry).end)
}

// forgetSessionsOf ends the sessions that a credential began.
func (a *Authenticator) forgetSessionsOf(parent string) {
	a.sessions.withdrawIf(func(e *entry) bool { return e.parent == parent }, (*entry).end)
}

// strangerSecret is the secret of nobody: it makes an unknown access key cost what a known one costs.
func strangerSecret() *secret.Bytes { return secret.Random(accessSecretSize) }

// accessSecretSize is the length of an access key's secret, in characters.
const accessSecretSize = 40
