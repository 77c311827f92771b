package engine

import (
	"context"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// descent is what the tokens that a token comes from, and the mounts of their logins, make of it.
type descent struct {
	over   bool      // one of them has ended
	ends   time.Time // when the first of the tokens ends; zero: it comes from none
	from   []kms.ID  // those that it comes from still, the first one first
	mounts []kms.ID
}

// end is when a token ends that has an end of its own.
func (d *descent) end(own time.Time) time.Time {
	if !d.ends.IsZero() && d.ends.Before(own) {
		return d.ends
	}
	return own
}

// descentOf looks at all that a token ends with. It goes from the token backwards, as far as one that was revoked alone: what was behind that one has nothing
// to do with the token since.
func (o *opened) descentOf(ctx context.Context, t *records.Token) (d descent, err error) {
	d.from = t.Line
	if err := o.mountOver(ctx, t, &d); err != nil {
		return d, err
	}
	for i, id := range slices.Backward(t.Line) {
		from, err := o.records.Token(ctx, id)
		if err != nil {
			return d, err
		}
		if from.Freed {
			d.from = t.Line[i+1:]
			return d, nil
		}
		if from.Rev == 0 || !from.Revoked.IsZero() {
			d.over = true
			continue
		}
		if d.ends.IsZero() || from.Expires.Before(d.ends) {
			d.ends = from.Expires
		}
		if err := o.mountOver(ctx, &from, &d); err != nil {
			return d, err
		}
	}
	return d, nil
}

// mountOver looks whether the mount is there at which a token was given.
func (o *opened) mountOver(ctx context.Context, t *records.Token, d *descent) error {
	if t.Login.Mount.IsZero() || t.Login.Path == tokenMount {
		return nil
	}
	d.mounts = append(d.mounts, t.Login.Mount)
	r, err := o.rules.get(ctx, t.Namespace)
	if err != nil {
		return err
	}
	d.over = d.over || r.logins[t.Login.Path].id != t.Login.Mount
	return nil
}

// tokenStands tells, within a transaction, whether nothing of what a token ends with has ended, nor the token. It reads every token of the line, so that none of
// them ends while the transaction is under way.
func (w *work) tokenStands(tx *records.Tx, t *records.Token) (bool, error) {
	one := func(t *records.Token) bool {
		l := &t.Login
		return t.Revoked.IsZero() && w.now.Before(t.Expires) && (l.Mount.IsZero() || l.Path == tokenMount || w.rules.logins[l.Path].id == l.Mount)
	}
	if !one(t) {
		return false, nil
	}
	for _, id := range slices.Backward(t.Line) {
		switch from, there, err := tx.Token(id); {
		case err != nil || !there:
			return false, err
		case from.Freed:
			return true, nil
		case !one(&from):
			return false, nil
		}
	}
	return true, nil
}

// LetGoInput names a token that is revoked alone.
type LetGoInput struct {
	ID    kms.ID
	Alone bool // set by the engine: an approval of the one is none of the other
}

// revokeTokenAlone is the same permission as revoking all: who may do that can make another token for each one that ends.
var revokeTokenAlone = change[LetGoInput, TokenOutput]{name: kms.RevokeToken, do: doRevokeTokenAlone}

// RevokeTokenAlone ends a token at once. What comes from it lives on, and comes from nothing. CodeNotFound: there is none, or it has ended, and with it all
// that came from it.
func (e *Engine) RevokeTokenAlone(ctx context.Context, c kms.Call, in LetGoInput) (TokenOutput, error) {
	in.Alone = true
	return alter(ctx, e, c, &revokeTokenAlone, &in)
}

func doRevokeTokenAlone(_ context.Context, w *work, tx *records.Tx, in *LetGoInput) (TokenOutput, error) {
	t, there, err := tx.Token(in.ID)
	if err != nil {
		return TokenOutput{}, err
	}
	if !there || t.Namespace != w.call.Namespace {
		return TokenOutput{}, noTokenHere(in.ID)
	}
	w.rec.Resource = t.ID.String()
	switch stands, err := w.tokenStands(tx, &t); {
	case err != nil:
		return TokenOutput{}, err
	case !stands: // what came from it has ended with it, and does not come back
		return TokenOutput{}, noTokenHere(in.ID)
	}
	t.Freed = true
	out, err := w.endToken(tx, t)
	w.rec.Detail += ", alone"
	return out, err
}

// dropTokens removes tokens that ended before a time. One that was revoked alone stays as long as there is one that came from it.
func (e *Engine) dropTokens(ctx context.Context, o *opened, ended time.Time) error {
	freed := map[kms.ID]bool{}
	err := eachToken(ctx, o, func(t *records.Token) error {
		switch {
		case t.Expires.After(ended):
			return nil
		case t.Freed && len(freed) < maxFreed:
			freed[t.ID] = true
			return nil
		case t.Freed: // at another time
			return nil
		}
		return e.drop(ctx, o, func(tx *records.Tx) error { return tx.RemoveToken(t.ID) })
	})
	if err != nil || len(freed) == 0 {
		return err
	}
	err = eachToken(ctx, o, func(t *records.Token) error {
		for _, id := range t.Line {
			delete(freed, id)
		}
		return nil
	})
	for id := range freed {
		if err == nil {
			err = e.drop(ctx, o, func(tx *records.Tx) error { return tx.RemoveToken(id) })
		}
	}
	return err
}

// maxFreed is of how many tokens that were revoked alone one sweep looks for others that came from them.
const maxFreed = 10_000

func eachToken(ctx context.Context, o *opened, each func(*records.Token) error) error {
	for after := (kms.ID{}); ; {
		page, next, err := o.records.Tokens(ctx, after, scanPage)
		if err != nil {
			return err
		}
		for i := range page {
			if err := each(&page[i]); err != nil {
				return err
			}
		}
		if after = next; next.IsZero() {
			return nil
		}
	}
}
