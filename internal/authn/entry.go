package authn

import (
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// The conditions of an entry. It moves from attached to one of the others and never back.
const (
	attached uint32 = iota // on the shelf: a withdrawal will reach it
	detached               // made room for others, or never got a place: nobody will tell it, so it asks
	ended                  // withdrawn
)

// entry is a credential as it was read. Nothing of it changes but its condition. It is the kms.Standing of its principal.
type entry struct {
	principal *kms.Principal
	digest    [32]byte
	rev       kms.Rev
	expires   int64   // Unix nanoseconds; 0: never
	bucket    *bucket // of the principal; nil: no limit

	signing *signing // nil: it does not sign
	parent  string   // of a session
	role    kms.ID   // of a session
	line    []kms.ID // of a token
	counted bool     // of a token: its uses are
	bound   []netip.Prefix

	condition atomic.Uint32
	again     func(context.Context) (Identity, error) // looks the credential up anew
}

func newEntry(id Identity, b *bucket, again func(context.Context) (Identity, error)) *entry {
	e := &entry{digest: id.Digest, rev: id.Rev, bucket: b, again: again, parent: id.Parent, role: id.Role, line: id.Line, counted: id.Uses > 0, bound: id.Bound}
	if id.Secret != nil {
		e.signing = &signing{secret: id.Secret}
	}
	p := id.Principal
	p.Standing = e
	e.principal = &p
	if !p.Expires.IsZero() {
		e.expires = p.Expires.UnixNano()
	}
	return e
}

// Stands tells whether the credential is still what it was when it admitted a call: one atomic load, unless the entry
// has left the shelf; then the records are asked, and if they cannot answer it does not stand.
func (e *entry) Stands() bool {
	switch e.condition.Load() {
	case attached:
		return true
	case detached:
		return e.standsInRecords()
	}
	return false
}

func (e *entry) standsInRecords() bool {
	ctx, cancel := context.WithTimeout(context.Background(), lookUpTime)
	defer cancel()
	id, err := e.again(ctx)
	id.Secret.Zero()
	if err != nil || id.Revoked || id.Rev != e.rev {
		if err == nil {
			e.condition.Store(ended) // a revision does not come back
		}
		return false
	}
	return e.condition.Load() != ended
}

func (e *entry) expired(now time.Time) bool { return e.expires != 0 && now.UnixNano() >= e.expires }

func (e *entry) detach() {
	e.condition.CompareAndSwap(attached, detached)
	e.erase()
}

func (e *entry) end() {
	e.condition.Store(ended)
	e.erase()
}

// erase forgets what signatures are verified with: who comes next looks it up anew.
func (e *entry) erase() {
	if e.signing != nil {
		e.signing.erase()
	}
}

// tokenEntry reads a token's record. A nil entry without an error: there is none, or it is revoked.
func (a *Authenticator) tokenEntry(ctx context.Context, id kms.ID, from netip.Addr, now time.Time) (*entry, *kms.Error) {
	return read(ctx, a, &a.tokens, id, from, now, func(ctx context.Context) (Identity, error) {
		i, err := a.identities.Token(ctx, id)
		if len(i.Line) > 0 && !a.lines.Load() {
			a.lines.Store(true) // before it is on the shelf: who forgets one after that looks
		}
		return i, err
	})
}

// subjectEntry reads a certificate binding's record.
func (a *Authenticator) subjectEntry(ctx context.Context, subject string, from netip.Addr, now time.Time) (*entry, *kms.Error) {
	return read(ctx, a, &a.subjects, subject, from, now, func(ctx context.Context) (Identity, error) {
		return a.identities.Certificate(ctx, subject)
	})
}

// read asks the records for a credential and puts it on the shelf. A source that has failed too often, and more
// look-ups at once than maxLookUps, have to wait.
func read[K comparable](ctx context.Context, a *Authenticator, s *shelf[K, *entry], k K, from netip.Addr, now time.Time,
	ask func(context.Context) (Identity, error),
) (*entry, *kms.Error) {
	if err := a.buckets.mayAsk(from, now); err != nil {
		return nil, err
	}
	select {
	case a.lookUps <- struct{}{}:
		defer func() { <-a.lookUps }()
	case <-ctx.Done():
		return nil, kms.Errorf(kms.CodeCancelled, "the request ended before its credential was looked up").Because(ctx.Err())
	}
	if e, ok := s.get(k); ok { // another request was quicker
		return e, nil
	}
	for try := 1; ; try++ {
		generation := s.generation(k)
		a.counts.lookUps.Add(1)
		id, err := ask(ctx)
		if kms.CodeOf(err) == kms.CodeUnauthenticated || err == nil && id.Revoked {
			id.Secret.Zero()
			return nil, nil //nolint:nilnil // "no such credential" is an answer, and must take the path of a wrong secret
		}
		if err != nil {
			return nil, kms.AsError(err)
		}
		e := newEntry(id, a.buckets.of(&id.Principal), ask)
		kept, ok := s.put(k, e, generation)
		if ok && kept != e {
			e.erase()
		}
		if ok {
			return kept, nil
		}
		if try == lookUpTries {
			e.condition.Store(detached) // withdrawals keep coming: leave it off the shelf, so that Stands asks again
			return e, nil
		}
		e.erase()
	}
}

// ForgetToken ends a token's entry at once: a call it admitted finds Stands false, the next one is looked up anew.
// The store's change must be readable before it is called.
func (a *Authenticator) ForgetToken(id kms.ID) {
	a.tokens.withdraw(id, (*entry).end)
	if a.lines.Load() {
		a.tokens.withdrawIf(func(e *entry) bool { return slices.Contains(e.line, id) }, (*entry).end)
	}
	a.forgetSessionsOf(id.String())
}

// ForgetCertificate does the same for a certificate binding, by its subject.
func (a *Authenticator) ForgetCertificate(subject string) {
	a.subjects.withdraw(subject, (*entry).end)
	a.forgetSessionsOf(subject)
}

// ForgetAll empties the shelves because it is not known what changed. Calls in flight ask the records whether their
// credential still stands.
func (a *Authenticator) ForgetAll() {
	a.tokens.withdrawAll((*entry).detach)
	a.subjects.withdrawAll((*entry).detach)
	a.accessKeys.withdrawAll((*entry).detach)
	a.sessions.withdrawAll((*entry).detach)
}
