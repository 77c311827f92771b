package engine

import (
	"context"
	"crypto/rand"
	"net/netip"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/clock"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/wire/token"
)

// Identity is what is known of a credential: who it stands for, and what to compare a token's secret with.
type Identity struct {
	Principal kms.Principal
	Digest    [32]byte
	Revoked   bool
	Rev       kms.Rev

	Secret *secret.Bytes  // of an access key or a session: the receiver erases it
	Parent string         // of a session: the public id of the credential that began it
	Role   kms.ID         // of a session
	Line   []kms.ID       // of a token: those that it comes from, and the mount of its login: their end or renewal changes what it is
	Uses   uint32         // of a token: how often it can be used, which Identities.Use counts; 0: as often as one likes
	Bound  []netip.Prefix // from where a credential is used; none: from anywhere
}

// Identities looks up credentials for authn.
type Identities struct{ e *Engine }

// Identities is the port through which authn learns who a credential stands for.
func (e *Engine) Identities() Identities { return Identities{e} }

// Token finds the identity of a token by its public id. CodeUnauthenticated: there is none.
func (i Identities) Token(ctx context.Context, id kms.ID) (Identity, error) {
	o, err := i.e.hold(ctx)
	if err != nil {
		return Identity{}, err
	}
	defer o.release()
	t, err := o.records.Token(ctx, id)
	if err != nil {
		return Identity{}, err
	}
	if t.Rev == 0 {
		return i.answerIdentity(ctx, o, id)
	}
	// One that was made in the future was made by a clock that was wrong, and would outlive its time.
	if t.Created.After(i.e.now().Add(clock.Tolerance)) {
		return Identity{}, unknownCredential()
	}
	if err := o.standing(ctx, t.Namespace); err != nil {
		return Identity{}, err
	}
	p := kms.Principal{Name: t.Principal, Namespace: t.Namespace, Roles: t.Roles, Groups: t.Groups, Method: kms.AuthToken,
		Credential: t.ID.String(), Expires: t.Expires, Scope: t.Scope}
	d, err := o.descentOf(ctx, &t)
	if err != nil {
		return Identity{}, err
	}
	p.Expires = d.end(p.Expires)
	o.identify(&p)
	return Identity{Principal: p, Digest: t.Digest, Revoked: d.over || !t.Revoked.IsZero(), Rev: t.Rev, Line: append(d.mounts, t.Line...), Uses: t.Uses, Bound: t.Bound}, nil
}

// UseToken counts a use of a token that has only so many, for good: whatever comes of the request, it is used. CodeUnauthenticated: there is none left.
func (i Identities) UseToken(ctx context.Context, id kms.ID) error {
	o, err := i.e.hold(ctx)
	if err != nil {
		return err
	}
	defer o.release()
	_, _, err = o.records.Update(context.WithoutCancel(ctx), func(tx *records.Tx) error {
		left, there, err := tx.TokenUses(id)
		if err != nil {
			return err
		}
		if !there {
			t, is, err := tx.Token(id)
			if err != nil {
				return err
			}
			if !is || t.Uses == 0 {
				return unknownCredential()
			}
			left = t.Uses
		}
		if left == 0 {
			return unknownCredential()
		}
		return tx.PutTokenUses(id, left-1)
	})
	return err
}

// Certificate finds the identity that a certificate's subject is bound to. CodeUnauthenticated: there is none.
func (i Identities) Certificate(ctx context.Context, subject string) (Identity, error) {
	o, err := i.e.hold(ctx)
	if err != nil {
		return Identity{}, err
	}
	defer o.release()
	c, err := o.records.Credential(ctx, subject)
	if err != nil {
		return Identity{}, err
	}
	if c.Rev == 0 {
		return Identity{}, unknownCredential()
	}
	if err := o.standing(ctx, c.Namespace); err != nil {
		return Identity{}, err
	}
	p := kms.Principal{Name: c.Principal, Namespace: c.Namespace, Roles: c.Roles, Groups: c.Groups, Method: kms.AuthCertificate, Credential: subject}
	o.identify(&p)
	return Identity{Principal: p, Revoked: !c.Revoked.IsZero(), Rev: c.Rev}, nil
}

// identify computes, once for a credential, what its records carry instead of the name.
func (o *opened) identify(p *kms.Principal) {
	p.Alias = o.aliasOf(p.Namespace, p.Name)
	rand.Read(p.Salt[:]) //nolint:errcheck // never fails since Go 1.24
}

// aliasOf is the keyed hash that stands for a principal in records.
func (o *opened) aliasOf(home kms.Namespace, name string) [16]byte {
	return o.chain.Alias(string(home) + "\x00" + name)
}

func unknownCredential() error {
	return kms.Errorf(kms.CodeUnauthenticated, "the credential is not valid")
}

// putToken makes a token and writes its digest.
func (w *work) putToken(tx *records.Tx, t records.Token, ttl time.Duration) (CreateTokenOutput, error) {
	if ttl == 0 {
		ttl = defaultTTL
	}
	random := make([]byte, token.SecretSize)
	rand.Read(random) //nolint:errcheck // never fails since Go 1.24
	defer clear(random)
	t.ID = w.e.orderedID(w.now)
	t.Digest = token.Digest(random)
	t.TTL = wholeSeconds(ttl)
	t.Created, t.Expires, t.By = w.now.UTC(), w.now.Add(ttl).UTC(), w.call.Principal.Name
	w.rec.Resource = t.ID.String()
	w.rec.Detail = "for " + t.Principal
	w.onCommit([32]byte{}, func(leaf [32]byte) error {
		t.Change = leaf
		return tx.PutToken(t)
	})
	return CreateTokenOutput{Token: secret.Release(token.Format(t.ID, random)), Info: tokenInfo(t)}, nil
}

// RecordAuthentication records what is worth a record of a failed authentication: a lock-out. Single failures are counted
// and sampled into the log, so that strangers cannot flood the trail.
func (e *Engine) RecordAuthentication(c kms.Call, code kms.Code, detail string) {
	w := &work{e: e, call: &c, now: e.now()}
	w.begin(kms.Authenticate)
	w.rec.Outcome, w.rec.Code, w.rec.Detail = audit.Denied, code, clipTo(detail, 1024)
	_, _ = e.record(&w.rec) // the refusal stands whether or not it could be recorded; record logs the failure
}
