// Package authn says who calls: it turns a bearer token, the signature of a request, a TLS client certificate or the peer of
// the local socket into a *kms.Principal, and counts what does not add up to one.
//
// It refuses to say what a principal may do (that is the engine's), to say whether an id or a secret was wrong, to trust
// a name in a certificate that no configured authority vouched for, and to let strangers cost more than a bounded amount
// of memory, store reads, log lines or audit records.
//
// Tokens: RFC 6750 §2.1 in the form of internal/wire/token. Certificates: the SPIFFE id of an X.509-SVID (SPIFFE X509-SVID
// §2, one URI SAN), else the SHA-256 fingerprint of the certificate. Signatures: AWS Signature Version 4, in the header and presigned.
//
// Invariants:
//   - One immutable principal is shared by all requests of a credential; its Standing ends the moment Forget returns.
//   - A look-up that began before a withdrawal never becomes a cached entry after it (shelf generations).
//   - The expiry of a token, a binding and a certificate is checked at every request, resumed TLS sessions included.
//   - Without a good credential nothing is learnt: every failure is the same error by the same path. Of signatures, whose clients expect to be told, an
//     unknown access key is another error than a wrong signature, by the same path.
package authn

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/keyhold/keyhold/internal/authn/oidc"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/wire/token"
)

// Identity is what the server's records know of a credential.
type Identity struct {
	Principal kms.Principal // Standing is nil; authn sets it
	Digest    [32]byte      // SHA-256 of a token's secret; zero for a certificate
	Revoked   bool
	Rev       kms.Rev // of the record: an identity of another revision is another identity

	Secret *secret.Bytes  // of an access key or a session: the receiver erases it; nil: it does not sign
	Parent string         // of a session: the public id of the credential that began it; empty: none of the server's
	Role   kms.ID         // of a session
	Line   []kms.ID       // of a token: those that it comes from, and where it was given; forgetting one of them forgets it
	Uses   uint32         // of a token: how often it can be used; 0: as often as one likes
	Bound  []netip.Prefix // from where it is used; none: from anywhere
}

// Identities looks credentials up. Its methods answer CodeUnauthenticated if there is no such credential; any other
// error means that the question could not be answered (sealed, store out of order) and is passed on as it is.
type Identities interface {
	Token(ctx context.Context, id kms.ID) (Identity, error)
	// UseToken counts a use of a token that has only so many. CodeUnauthenticated: there is none left.
	UseToken(ctx context.Context, id kms.ID) error
	// Certificate looks up "spiffe://…" or "sha256:" and 64 hexadecimal digits.
	Certificate(ctx context.Context, subject string) (Identity, error)
	// AccessKey looks up "AKIA" and 16 characters of A to Z and 2 to 7.
	AccessKey(ctx context.Context, id string) (Identity, error)
	// Session opens a session token; its principal's Credential is the access key that belongs to it.
	Session(ctx context.Context, token string) (Identity, error)
}

// Limits of what is kept, in entries.
const (
	DefaultEntries = 1 << 16 // credentials
	maxSources     = 1 << 16 // addresses with buckets
	maxPrincipals  = 1 << 16 // principals with buckets
	maxNamed       = 1 << 14 // certificates whose subject is known
	maxLookUps     = 64      // look-ups at the same time
	lookUpTries    = 3       // look-ups for one request, when withdrawals keep coming between

	lookUpTime = 2 * time.Second // of a look-up that no request waits for
)

// Config says what an Authenticator needs. Only Identities is required.
type Config struct {
	Identities Identities
	Now        func() time.Time // for limits and locks; nil: time.Now
	Dates      func() time.Time // what the dates of credentials are compared with; nil: Now
	Entries    int              // credentials kept in memory; 0: DefaultEntries
	LockOut    LockOut          // zero fields: the defaults of LockOut
	Skew       time.Duration    // between the clocks of the server and of who signs; 0: DefaultSkew

	Principals Rate // requests of one principal, all its credentials together; zero: no limit
	Sources    Rate // requests from one address (IPv6: one /64); zero: no limit
	Failures   Rate // failed authentications from one address before it may not ask the store again; zero: 5 a second; no Burst: ten times as many

	OIDC *oidc.Verifier // of identity tokens; nil: no issuer is known

	LocalUIDs []uint32 // users that the local socket admits; nil: nobody

	Locked  func(Lock)                             // called when a credential is locked out for a source; nil: nobody
	Refused func(code kms.Code, at netip.AddrPort) // called for every refusal; it must return at once; nil: nobody
}

// Authenticator answers who calls. Its methods may be called at the same time from many goroutines.
type Authenticator struct {
	identities Identities
	now        func() time.Time
	dates      func() time.Time

	tokens     shelf[kms.ID, *entry]
	lines      atomic.Bool // a token with a line was read: before, forgetting one need not look for others
	subjects   shelf[string, *entry]
	named      shelf[string, named]    // by the raw bytes of a certificate
	accessKeys shelf[string, *entry]   // by id
	sessions   shelf[[32]byte, *entry] // by the SHA-256 of their tokens
	nobody     signing                 // in the place of an access key that there is not
	seen       seen
	skew       time.Duration
	lookUps    chan struct{}
	oidc       *oidc.Verifier

	buckets buckets
	lockout lockout
	locals  map[uint32]*kms.Principal // never changed

	locked  func(Lock)
	refused func(kms.Code, netip.AddrPort)
	counts  counts
}

// New makes an Authenticator.
func New(c Config) *Authenticator {
	a := &Authenticator{
		identities: c.Identities,
		now:        c.Now,
		dates:      c.Dates,
		lookUps:    make(chan struct{}, maxLookUps),
		locals:     make(map[uint32]*kms.Principal, len(c.LocalUIDs)),
		oidc:       c.OIDC,
		locked:     c.Locked,
		refused:    c.Refused,
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.dates == nil {
		a.dates = a.now
	}
	entries := c.Entries
	if entries <= 0 {
		entries = DefaultEntries
	}
	a.tokens.init(entries, (*entry).detach)
	a.subjects.init(entries, (*entry).detach)
	a.named.init(maxNamed, nil)
	a.accessKeys.init(entries, (*entry).detach)
	a.sessions.init(entries, (*entry).detach)
	a.nobody.secret = strangerSecret()
	a.seen.init(maxSeen)
	a.skew = cmp.Or(c.Skew, DefaultSkew)
	a.buckets.init(c)
	a.lockout.init(c.LockOut)
	a.counts.reports = Rate{reportsPerSecond, reportsBurst}.bucket()
	for _, uid := range c.LocalUIDs {
		a.locals[uid] = localPrincipal(uid)
	}
	return a
}

// Authenticate says who calls. A bearer token wins over a client certificate, and that over the local socket's peer (see
// WithPeer): a caller that names a credential is judged by it and by nothing else. The principal is shared: do not change it.
//
// Errors: CodeUnauthenticated, CodeExpired, CodeLockedOut, CodeRateLimited, and those of the look-up.
func (a *Authenticator) Authenticate(ctx context.Context, h http.Header, state *tls.ConnectionState, remote netip.AddrPort) (*kms.Principal, error) {
	text, given, err := bearer(h)
	switch {
	case err != nil:
		return nil, a.refuse(err, remote)
	case given:
		return a.Token(ctx, text, remote)
	case state != nil && len(state.PeerCertificates) > 0:
		return a.certificate(ctx, state, remote)
	}
	if uid, ok := peer(ctx); ok {
		return a.local(uid, remote)
	}
	now, from := a.now(), source(remote)
	if err := a.buckets.request(from, now); err != nil {
		return nil, a.refuse(err, remote)
	}
	return nil, a.refuse(kms.Errorf(kms.CodeUnauthenticated, "the request carries neither a token nor a client certificate"), remote)
}

// Token authenticates the text of a bearer token, for dialects that carry it in a field of their own.
func (a *Authenticator) Token(ctx context.Context, text string, remote netip.AddrPort) (*kms.Principal, error) {
	e, err := a.prove(ctx, text, remote)
	if err != nil {
		return nil, err
	}
	if e.counted {
		id, _ := kms.ParseID(e.principal.Credential)
		if err := a.identities.UseToken(ctx, id); err != nil {
			return nil, a.refuse(kms.AsError(err), remote)
		}
	}
	return e.principal, nil
}

// Known tells whose token a text is, as Token does, without that being a use of it: for who asks about it and does not come with it.
func (a *Authenticator) Known(ctx context.Context, text string, remote netip.AddrPort) (*kms.Principal, error) {
	e, err := a.prove(ctx, text, remote)
	if err != nil {
		return nil, err
	}
	return e.principal, nil
}

// prove finds the token that a text proves.
func (a *Authenticator) prove(ctx context.Context, text string, remote netip.AddrPort) (*entry, error) {
	now, from := a.now(), source(remote)
	if err := a.buckets.request(from, now); err != nil {
		return nil, a.refuse(err, remote)
	}
	id, presented, ok := token.Parse(text)
	if !ok {
		a.buckets.failure(from, now)
		return nil, a.refuse(errNotValid(), remote)
	}
	digest := token.Digest(presented)
	clear(presented)

	who := pair{id: id, source: from}
	failed, locked := a.lockout.check(who, now)
	if locked != nil {
		return nil, a.refuse(locked, remote)
	}
	e, ok := a.tokens.get(id)
	if !ok {
		var err *kms.Error
		if e, err = a.tokenEntry(ctx, id, from, now); err != nil {
			return nil, a.refuse(err, remote)
		}
	}
	want := &nobody
	if e != nil {
		want = &e.digest
	}
	if subtle.ConstantTimeCompare(digest[:], want[:]) != 1 || e == nil {
		return nil, a.fail(who, e, kms.AuthToken, now, remote)
	}
	if _, err := a.admit(e, who, failed, now, remote); err != nil {
		return nil, err
	}
	return e, nil
}

// nobody is compared with where there is no record, so that an unknown id takes the path of a wrong secret.
var nobody = sha256.Sum256([]byte("keyhold: no such credential"))

// admit checks what is left when a credential has been proven: its dates, and how often its principal comes.
func (a *Authenticator) admit(e *entry, who pair, failed bool, now time.Time, remote netip.AddrPort) (*kms.Principal, error) {
	if e.expired(a.dates()) {
		a.buckets.failure(who.source, now)
		return nil, a.refuse(kms.Errorf(kms.CodeExpired, "the credential %s expired at %s",
			e.principal.Credential, e.principal.Expires.UTC().Format(time.RFC3339)), remote)
	}
	if len(e.bound) > 0 && !inside(e.bound, remote.Addr()) {
		a.buckets.failure(who.source, now)
		return nil, a.refuse(errNotValid(), remote)
	}
	if failed {
		a.lockout.forgive(who)
	}
	if err := a.buckets.principal(e.bucket, now); err != nil {
		return nil, a.refuse(err, remote)
	}
	return e.principal, nil
}

// inside tells whether an address is in one of the networks.
func inside(all []netip.Prefix, at netip.Addr) bool {
	at = at.Unmap()
	return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(at) })
}

// fail counts a credential that was not proven, and says so without saying why.
func (a *Authenticator) fail(who pair, e *entry, method kms.AuthMethod, now time.Time, remote netip.AddrPort) error {
	return a.failWith(errNotValid(), who, e, method, now, remote)
}

// failWith counts a credential that was not proven, and says err.
func (a *Authenticator) failWith(err *kms.Error, who pair, e *entry, method kms.AuthMethod, now time.Time, remote netip.AddrPort) error {
	a.buckets.failure(who.source, now)
	if lock, is := a.lockout.fail(who, now); is {
		lock.Method, lock.Credential, lock.Remote = method, who.credential(), remote
		if e != nil {
			lock.Principal = e.principal
		}
		switch {
		case !a.counts.reports.take(now):
			a.counts.unreported.Add(1)
		case a.locked != nil:
			a.locked(lock)
		}
	}
	return a.refuse(err, remote)
}

// refuse counts a refusal and hands it on.
func (a *Authenticator) refuse(err *kms.Error, remote netip.AddrPort) error {
	a.counts.count(err.Code)
	if a.refused != nil {
		a.refused(err.Code, remote)
	}
	return err
}

// errNotValid is the one answer to every credential that does not prove anything.
func errNotValid() *kms.Error {
	return kms.Errorf(kms.CodeUnauthenticated, "the token or certificate is not valid")
}

// Stats are counters since the start.
type Stats struct {
	Unauthenticated uint64 // no credential, or none that proves anything
	Expired         uint64
	LockedOut       uint64 // requests refused because their credential is locked out
	RateLimited     uint64
	Unanswered      uint64 // the look-up failed: sealed, store out of order
	LookUps         uint64 // questions to the records
	Locks           uint64 // lock-outs that began
	Unreported      uint64 // lock-outs that were not handed to Config.Locked because there were too many
	Uncounted       uint64 // failures that found no room in the lock-out table
	Credentials     int    // in memory
}

type counts struct {
	unauthenticated, expired, lockedOut, rateLimited, unanswered, lookUps, unreported atomic.Uint64
	reports                                                                           *bucket
}

func (c *counts) count(code kms.Code) {
	switch code {
	case kms.CodeUnauthenticated, kms.CodeCredentialUnknown, kms.CodeSignatureIncomplete, kms.CodeSignature, kms.CodeSignatureTime,
		kms.CodeIdentityToken:
		c.unauthenticated.Add(1)
	case kms.CodeExpired:
		c.expired.Add(1)
	case kms.CodeLockedOut:
		c.lockedOut.Add(1)
	case kms.CodeRateLimited:
		c.rateLimited.Add(1)
	default:
		c.unanswered.Add(1)
	}
}

// Stats reads the counters.
func (a *Authenticator) Stats() Stats {
	locks, uncounted := a.lockout.figures()
	return Stats{
		Unauthenticated: a.counts.unauthenticated.Load(),
		Expired:         a.counts.expired.Load(),
		LockedOut:       a.counts.lockedOut.Load(),
		RateLimited:     a.counts.rateLimited.Load(),
		Unanswered:      a.counts.unanswered.Load(),
		LookUps:         a.counts.lookUps.Load(),
		Locks:           locks,
		Unreported:      a.counts.unreported.Load(),
		Uncounted:       uncounted,
		Credentials:     a.tokens.size() + a.subjects.size() + a.accessKeys.size() + a.sessions.size(),
	}
}
