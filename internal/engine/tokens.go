package engine

import (
	"context"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// A token can be made to be renewed, and to come from another one. What it comes from is written into it when it is made, so that its end needs no
// walk over what came of it: whoever looks a token up sees that one of its line has ended.

// Limits of tokens.
const (
	renewableFor = 32 * 24 * time.Hour // from its making on, unless it is made with a limit of its own; Vault's default
	maxLine      = 8                   // tokens that one comes from
	maxMeta      = 16
	maxMetaName  = 64  // bytes
	maxMetaValue = 512 // bytes
	maxTokenPath = 255 // bytes
)

// The descriptors of single tokens.
var (
	readToken = op[IDInput, TokenOutput]{name: kms.ReadToken, do: doReadToken}
	ownToken  = op[struct{}, TokenOutput]{
		name: kms.WhoAmI,
		do: func(ctx context.Context, w *work, _ *struct{}) (TokenOutput, error) {
			id, err := w.ownToken()
			if err != nil {
				return TokenOutput{}, err
			}
			t, err := w.o.records.Token(ctx, id)
			if err == nil && t.Rev == 0 {
				err = noTokenHere(id)
			}
			if err != nil {
				return TokenOutput{}, err
			}
			return w.tokenLeft(ctx, t)
		},
	}
	renewToken    = change[RenewTokenInput, RenewTokenOutput]{name: kms.RenewToken, check: checkRenewal, do: doRenewToken}
	renewOwnToken = change[RenewTokenInput, RenewTokenOutput]{
		name:  kms.RenewOwnToken,
		check: checkRenewal,
		do: func(_ context.Context, w *work, tx *records.Tx, in *RenewTokenInput) (RenewTokenOutput, error) {
			t, err := w.readOwnToken(tx)
			if err != nil {
				return RenewTokenOutput{}, err
			}
			return w.renew(tx, t, in.TTL)
		},
	}
	revokeOwnToken = change[struct{}, TokenOutput]{
		name: kms.RevokeOwnToken,
		do: func(_ context.Context, w *work, tx *records.Tx, _ *struct{}) (TokenOutput, error) {
			t, err := w.readOwnToken(tx)
			if err != nil {
				return TokenOutput{}, err
			}
			return w.endToken(tx, t)
		},
	}
)

func noTokenHere(id kms.ID) error {
	return kms.Errorf(kms.CodeNotFound, "there is no token %s in this namespace", id)
}

// checkLife checks what is said of a token's renewals and of what describes it.
func checkLife(in *CreateTokenInput) error {
	switch {
	case in.Period < 0 || in.Period > maxTTL:
		return kms.Errorf(kms.CodeBadRequest, "a token's period is %s at most", maxTTL)
	case in.Most < 0 || in.Most > maxTTL:
		return kms.Errorf(kms.CodeBadRequest, "a token lives for %s at most, with all its renewals, unless it has a period", maxTTL)
	case len(in.Bound) > maxBound:
		return kms.Errorf(kms.CodeTooLarge, "a token is used from %d networks at most", maxBound)
	case in.Period > 0 && !in.Renewable:
		return kms.Errorf(kms.CodeBadRequest, "a token with a period is one that can be renewed")
	case len(in.Path) > maxTokenPath:
		return kms.Errorf(kms.CodeTooLarge, "the path has %d bytes, at most %d", len(in.Path), maxTokenPath)
	}
	return checkMeta(in.Meta)
}

func checkMeta(meta map[string]string) error {
	if len(meta) > maxMeta {
		return kms.Errorf(kms.CodeTooLarge, "there are %d metadata, at most %d", len(meta), maxMeta)
	}
	for name, value := range meta {
		if name == "" || len(name) > maxMetaName || len(value) > maxMetaValue {
			return kms.Errorf(kms.CodeTooLarge, "metadata have names of 1 to %d bytes and values of at most %d", maxMetaName, maxMetaValue)
		}
	}
	return nil
}

// lifeOf says how long a new token lives at first, and writes into it how long it may live and what it ends with.
func (w *work) lifeOf(tx *records.Tx, t *records.Token, in *CreateTokenInput) (time.Duration, error) {
	ttl := in.TTL
	if in.Period > 0 {
		ttl = in.Period
	} else if ttl == 0 {
		ttl = defaultTTL
	}
	if in.Most > 0 {
		ttl = min(ttl, in.Most)
	}
	t.Renewable, t.Period, t.Limit = in.Renewable, wholeSeconds(in.Period), wholeSeconds(in.Most)
	switch {
	case in.Most > 0:
		t.Until = w.now.Add(in.Most).UTC()
	case in.Renewable && in.Period == 0:
		t.Until = w.now.Add(max(ttl, renewableFor)).UTC()
	}
	if !in.Child || w.call.Principal.Method != kms.AuthToken {
		return ttl, nil
	}
	id, err := w.ownToken()
	if err != nil {
		return 0, err
	}
	from, there, err := tx.Token(id)
	switch {
	case err != nil:
		return 0, err
	case !there || !from.Revoked.IsZero():
		return 0, noTokenHere(id)
	case from.Uses > 0:
		return 0, kms.Errorf(kms.CodeBadRequest, "restricted use token cannot generate child tokens")
	case len(from.Line) == maxLine:
		return 0, kms.Errorf(kms.CodeTooMany, "the token comes from %d others, as many as can be: make one that comes from none", maxLine)
	}
	t.Line = append(slices.Clone(from.Line), id)
	return ttl, nil
}

// ownToken is the id of the token that the call came with.
func (w *work) ownToken() (kms.ID, error) {
	p := w.call.Principal
	if id, ok := kms.ParseID(p.Credential); ok && p.Method == kms.AuthToken {
		return id, nil
	}
	return kms.ID{}, kms.Errorf(kms.CodeNotFound, "the call did not come with a token")
}

func (w *work) readOwnToken(tx *records.Tx) (records.Token, error) {
	id, err := w.ownToken()
	if err != nil {
		return records.Token{}, err
	}
	t, there, err := tx.Token(id)
	if err == nil && !there {
		err = noTokenHere(id)
	}
	return t, err
}

func doReadToken(ctx context.Context, w *work, in *IDInput) (TokenOutput, error) {
	w.rec.Resource = in.ID.String()
	t, err := w.o.records.Token(ctx, in.ID)
	if err == nil && (t.Rev == 0 || t.Namespace != w.call.Namespace) {
		err = noTokenHere(in.ID)
	}
	if err != nil {
		return TokenOutput{}, err
	}
	return w.tokenLeft(ctx, t)
}

// tokenLeft tells of a token with what it ends with, and how often it can still be used. One that ended with another one, or is used up, is there no more; the
// last use of a token may ask about itself.
func (w *work) tokenLeft(ctx context.Context, t records.Token) (TokenOutput, error) {
	d, err := w.o.descentOf(ctx, &t)
	if err != nil {
		return TokenOutput{}, err
	}
	out := TokenOutput{tokenInfo(t)}
	out.Token.Line, out.Token.Expires = d.from, d.end(t.Expires)
	if out.Token.Left, err = w.o.usesOf(ctx, &t); err != nil {
		return TokenOutput{}, err
	}
	if t.Revoked.IsZero() && (d.over || out.Token.UsedUp() && w.call.Principal.Credential != t.ID.String()) {
		return TokenOutput{}, noTokenHere(t.ID)
	}
	return out, nil
}

// usesOf is how often a token can still be used; 0 of one that is used as often as one likes.
func (o *opened) usesOf(ctx context.Context, t *records.Token) (uint32, error) {
	if t.Uses == 0 {
		return 0, nil
	}
	left, used, err := o.records.TokenUses(ctx, t.ID)
	if !used {
		left = t.Uses
	}
	return left, err
}

func checkRenewal(in *RenewTokenInput) error {
	if in.TTL < 0 || in.TTL > maxTTL {
		return kms.Errorf(kms.CodeBadRequest, "a token is renewed for %s at most", maxTTL)
	}
	return nil
}

func doRenewToken(_ context.Context, w *work, tx *records.Tx, in *RenewTokenInput) (RenewTokenOutput, error) {
	t, there, err := tx.Token(in.ID)
	if err != nil {
		return RenewTokenOutput{}, err
	}
	if !there || t.Namespace != w.call.Namespace {
		return RenewTokenOutput{}, noTokenHere(in.ID)
	}
	return w.renew(tx, t, in.TTL)
}

// renew lets a token live for ttl from now on, or as long as its own rule gives it.
func (w *work) renew(tx *records.Tx, t records.Token, ttl time.Duration) (RenewTokenOutput, error) {
	w.rec.Resource = t.ID.String()
	switch {
	case !t.Revoked.IsZero():
		return RenewTokenOutput{}, noTokenHere(t.ID)
	case !w.now.Before(t.Expires):
		return RenewTokenOutput{}, kms.Errorf(kms.CodeExpired, "the token %s expired at %s", t.ID, spelt(t.Expires))
	case !t.Renewable:
		return RenewTokenOutput{}, kms.Errorf(kms.CodeBadRequest, "lease is not renewable: the token was made to end at %s", spelt(t.Expires))
	}
	if t.Uses > 0 && w.call.Principal.Credential != t.ID.String() {
		if left, used, err := tx.TokenUses(t.ID); err != nil {
			return RenewTokenOutput{}, err
		} else if used && left == 0 {
			return RenewTokenOutput{}, noTokenHere(t.ID)
		}
	}
	if err := loginHolds(tx, &t); err != nil {
		return RenewTokenOutput{}, err
	}
	if t.Period > 0 { // whatever was asked for
		ttl = t.Period.Duration()
	} else if ttl == 0 {
		ttl = t.TTL.Duration()
	}
	until, capped := w.now.Add(ttl).UTC(), false
	if !t.Until.IsZero() && until.After(t.Until) {
		until, capped = t.Until, true
	}
	t.Expires, t.Renewed = until, w.now.UTC()
	w.rec.Detail = "of " + t.Principal + ", until " + spelt(until)
	w.onCommit(t.Change, func(leaf [32]byte) error {
		t.Change = leaf
		return tx.PutToken(t)
	})
	return RenewTokenOutput{Token: tokenInfo(t), Capped: capped}, nil
}

// loginHolds tells whether the role that a token came by is there, and still gives what the token has: what was taken from a role must end with the tokens
// that have it.
func loginHolds(tx *records.Tx, t *records.Token) error {
	l := &t.Login
	if l.Mount.IsZero() {
		return nil
	}
	if l.Path != tokenMount {
		m, there, err := tx.LoginMount(t.Namespace, l.Path)
		if err != nil {
			return err
		}
		m.Erase()
		if !there || m.ID != l.Mount {
			return noTokenHere(t.ID)
		}
	}
	r, there, err := tx.LoginRole(l.Mount, l.Role)
	if err != nil {
		return err
	}
	r.Erase()
	if !there || r.ID != l.RoleID {
		return kms.Errorf(kms.CodeBadRequest, "role %q does not exist during renewal: log in anew", l.Role)
	}
	if l.Path == tokenMount {
		return nil // what its role allows is asked when it is made
	}
	if !slices.Equal(r.Terms.Roles, t.Roles) || !slices.Equal(r.Terms.Groups, l.Groups) {
		return kms.Errorf(kms.CodeBadRequest, "policies have changed, not renewing: log in anew")
	}
	return nil
}

// wholeSeconds is how a length of time is kept: rounded up, so that none becomes nothing.
func wholeSeconds(d time.Duration) kms.Seconds {
	return kms.Seconds((d + time.Second - 1) / time.Second)
}
