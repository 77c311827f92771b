package authn

import (
	"math"
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"github.com/keyhold/keyhold/internal/kms"
)

// Rate is how often something may happen: so many times a second, and Burst at once. A zero PerSecond is no limit.
type Rate struct {
	PerSecond float64
	Burst     int // 0: as many as one second brings, at least one
}

// The default of Config.Failures: a client that retries with a wrong token a few times must not stop its neighbours.
const (
	defaultFailuresPerSecond = 5
	failuresBurst            = 10 // times as many at once
)

// Lock-outs handed to Config.Locked, all sources together: strangers must not be able to flood the audit log.
const (
	reportsPerSecond = 5
	reportsBurst     = 100
)

// sourceBits is how much of an IPv6 address names a source: one subscriber has a /64 to choose addresses from (RFC 6177).
const sourceBits = 64

// source reduces an address to what is counted together. The local socket has the zero address.
func source(remote netip.AddrPort) netip.Addr {
	at := remote.Addr().Unmap()
	if !at.Is6() {
		return at
	}
	p, err := at.WithZone("").Prefix(sourceBits)
	if err != nil {
		return at
	}
	return p.Addr()
}

// bucket limits one thing. The nil bucket is no limit.
type bucket struct{ l *rate.Limiter }

func (r Rate) bucket() *bucket {
	if r.PerSecond <= 0 {
		return nil
	}
	burst := r.Burst
	if burst <= 0 {
		burst = max(1, int(math.Ceil(min(r.PerSecond, math.MaxInt32))))
	}
	return &bucket{rate.NewLimiter(rate.Limit(r.PerSecond), burst)}
}

func (b *bucket) take(now time.Time) bool { return b == nil || b.l.AllowN(now, 1) }

// empty tells whether nothing can be taken now, without taking anything.
func (b *bucket) empty(now time.Time) bool { return b != nil && b.l.TokensAt(now) < 1 }

// wait is how long until one can be taken, in milliseconds, at least one.
func (b *bucket) wait(now time.Time) int64 {
	missing := 1 - b.l.TokensAt(now)
	return max(1, int64(math.Ceil(missing/float64(b.l.Limit())*1000)))
}

// perSource is what one source has to spend.
type perSource struct {
	requests *bucket
	failures *bucket
}

// buckets are the rate limits. Both tables are bounded: who fills them with many addresses only makes others start
// over with a full bucket.
type buckets struct {
	sources    shelf[netip.Addr, *perSource]
	principals shelf[principalName, *bucket]
	perSource  Rate
	perPerson  Rate
	failures   Rate
}

type principalName struct {
	namespace kms.Namespace
	name      string
}

func (b *buckets) init(c Config) {
	b.sources.init(maxSources, nil)
	b.principals.init(maxPrincipals, nil)
	b.perSource, b.perPerson, b.failures = c.Sources, c.Principals, c.Failures
	if b.failures.PerSecond <= 0 {
		b.failures = Rate{PerSecond: defaultFailuresPerSecond}
	}
	if b.failures.Burst <= 0 {
		b.failures.Burst = max(1, int(min(b.failures.PerSecond*failuresBurst, math.MaxInt32)))
	}
}

func (b *buckets) at(from netip.Addr) *perSource {
	if s, ok := b.sources.get(from); ok {
		return s
	}
	return b.sources.keep(from, &perSource{requests: b.perSource.bucket(), failures: b.failures.bucket()})
}

// request counts a request of a source.
func (b *buckets) request(from netip.Addr, now time.Time) *kms.Error {
	if b.perSource.PerSecond <= 0 {
		return nil
	}
	if s := b.at(from); !s.requests.take(now) {
		return limited("requests from this address", b.perSource, s.requests.wait(now))
	}
	return nil
}

// principal counts a request of a principal.
func (b *buckets) principal(of *bucket, now time.Time) *kms.Error {
	if of.take(now) {
		return nil
	}
	return limited("requests of this principal", b.perPerson, of.wait(now))
}

// of finds the bucket of a principal; an entry keeps it, so that a request need not look for it.
func (b *buckets) of(p *kms.Principal) *bucket {
	if b.perPerson.PerSecond <= 0 {
		return nil
	}
	name := principalName{p.Namespace, p.Name}
	if have, ok := b.principals.get(name); ok {
		return have
	}
	return b.principals.keep(name, b.perPerson.bucket())
}

// failure counts a failed authentication of a source.
func (b *buckets) failure(from netip.Addr, now time.Time) { b.at(from).failures.take(now) }

// mayAsk tells whether a source has failed seldom enough for the records to be asked on its behalf. Credentials that
// are in memory are not asked for, so a neighbour's failures do not stop them.
func (b *buckets) mayAsk(from netip.Addr, now time.Time) *kms.Error {
	s, ok := b.sources.get(from)
	if !ok || !s.failures.empty(now) {
		return nil
	}
	return limited("failed authentications from this address", b.failures, s.failures.wait(now))
}

func limited(what string, r Rate, wait int64) *kms.Error {
	err := kms.Errorf(kms.CodeRateLimited, "%s: more than %g a second; retry in %d ms", what, r.PerSecond, wait)
	err.RetryMS = wait
	return err
}
