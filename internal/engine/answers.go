package engine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"time"

	"github.com/keyhold/keyhold/internal/clock"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
	"github.com/keyhold/keyhold/internal/wire/token"
)

// An answer can be put away for somebody else to fetch: who asked is given a token instead, which gives the answer out once and is good for nothing
// else. Whether it was fetched by the one it was meant for shows: to everybody after the first it is not there.

// Limits of answers that wait.
const (
	MaxAnswer     = MaxSecretValue
	MaxAnswerPath = 512                 // bytes
	maxAnswerTTL  = 32 * 24 * time.Hour // as long as Vault's
	maxAnswers    = 4096                // of one namespace
)

// The descriptors of answers that wait.
var (
	wrapAnswer = change[WrapAnswerInput, WrapAnswerOutput]{
		name: kms.WrapAnswer, check: checkWrapAnswer, prepare: prepareAnswer, do: doWrapAnswer, secret: true,
	}
	unwrapAnswer = change[AnswerInput, UnwrapAnswerOutput]{
		name: kms.UnwrapAnswer, check: checkAnswer, prepare: openAnswer, do: doUnwrapAnswer, secret: true,
	}
	rewrapAnswer = change[AnswerInput, WrapAnswerOutput]{
		name: kms.RewrapAnswer, check: checkAnswer, prepare: prepareRewrap, do: doRewrapAnswer, secret: true,
	}
	lookUpAnswer = op[AnswerInput, AnswerOutput]{
		name: kms.LookUpAnswer, check: checkAnswer,
		do: func(ctx context.Context, w *work, in *AnswerInput) (AnswerOutput, error) {
			a, err := w.answer(ctx, in)
			if err != nil {
				return AnswerOutput{}, err
			}
			return AnswerOutput{answerInfo(&a)}, nil
		},
	}
)

// WrapAnswerInput is an answer to be put away.
type WrapAnswerInput struct {
	Value  *secret.Bytes // the caller erases it
	Path   string        // of the request that it answers
	TTL    time.Duration // 1 s to 32 days
	Digest [32]byte      // of the value: given, not told

	made *madeSealed
}

// AnswerInput is a token that leads to an answer.
type AnswerInput struct {
	Token *secret.Bytes // the caller erases it

	id     kms.ID
	digest [32]byte // of its secret
	row    records.Answer
	plain  []byte
	made   *madeSealed
}

// AnswerInfo tells of an answer that waits.
type AnswerInfo struct {
	ID      kms.ID
	Path    string
	Created time.Time
	Expires time.Time
}

// AnswerOutput tells of one.
type AnswerOutput struct{ Info AnswerInfo }

// WrapAnswerOutput shows the token, this once.
type WrapAnswerOutput struct {
	Token secret.Released
	Info  AnswerInfo
}

// UnwrapAnswerOutput is the answer.
type UnwrapAnswerOutput struct {
	Value secret.Released
	Info  AnswerInfo
}

// WrapAnswer puts an answer away and gives out the token that leads to it.
func (e *Engine) WrapAnswer(ctx context.Context, c kms.Call, in WrapAnswerInput) (WrapAnswerOutput, error) {
	return alter(ctx, e, c, &wrapAnswer, &in)
}

// UnwrapAnswer gives an answer out, once. CodeNotFound: the token leads to nothing, or does so no more.
func (e *Engine) UnwrapAnswer(ctx context.Context, c kms.Call, in AnswerInput) (UnwrapAnswerOutput, error) {
	out, err := alter(ctx, e, c, &unwrapAnswer, &in)
	if err != nil {
		clear(in.plain)
	}
	return out, err
}

// LookUpAnswer tells how long an answer waits, and lets it wait.
func (e *Engine) LookUpAnswer(ctx context.Context, c kms.Call, in AnswerInput) (AnswerOutput, error) {
	return use(ctx, e, c, &lookUpAnswer, &in)
}

// RewrapAnswer puts an answer away anew, under another token and for as long as the first time.
func (e *Engine) RewrapAnswer(ctx context.Context, c kms.Call, in AnswerInput) (WrapAnswerOutput, error) {
	return alter(ctx, e, c, &rewrapAnswer, &in)
}

func checkWrapAnswer(in *WrapAnswerInput) error {
	switch n := in.Value.Len(); {
	case n > MaxAnswer:
		return kms.Errorf(kms.CodeTooLarge, "the answer has %d bytes, at most %d can be put away", n, MaxAnswer)
	case in.TTL < time.Second || in.TTL > maxAnswerTTL:
		return kms.Errorf(kms.CodeBadRequest, "an answer waits for 1s to %s, not %s", maxAnswerTTL, in.TTL)
	case len(in.Path) > MaxAnswerPath:
		return kms.Errorf(kms.CodeTooLarge, "the path has %d bytes, at most %d", len(in.Path), MaxAnswerPath)
	}
	in.Digest = sha256.Sum256(in.Value.Reveal(reveal.Key{}))
	return nil
}

func checkAnswer(in *AnswerInput) error {
	id, random, ok := token.Parse(string(in.Token.Reveal(reveal.Key{})))
	defer clear(random)
	if !ok {
		return noAnswer()
	}
	in.id, in.digest = id, token.Digest(random)
	return nil
}

func noAnswer() error {
	return kms.Errorf(kms.CodeNotFound, "the wrapping token leads to no answer: it is wrong, was used, or its time is over")
}

// answerName is the name of whom a wrapping token stands for. No principal can be given it.
const answerName = "wrapping token"

// answer finds the answer that a token leads to. Whom the token itself let in is given that one and no other.
func (w *work) answer(ctx context.Context, in *AnswerInput) (records.Answer, error) {
	w.rec.Resource = in.id.String()
	a, err := w.o.records.Answer(ctx, in.id)
	if err != nil {
		return a, err
	}
	p := w.call.Principal
	if a.Rev == 0 || subtle.ConstantTimeCompare(a.Digest[:], in.digest[:]) != 1 || a.Namespace != w.call.Namespace || !w.now.Before(a.Expires) ||
		p.Name == answerName && p.Credential != a.ID.String() {
		return records.Answer{}, noAnswer()
	}
	return a, nil
}

// fewAnswers bounds how many wait. Some that are put away at the same moment may all pass: the bound is against piling up.
func (w *work) fewAnswers(ctx context.Context) error {
	n, err := w.o.records.CountAnswers(ctx, w.call.Namespace, maxAnswers)
	if err == nil && n >= maxAnswers {
		err = kms.Errorf(kms.CodeTooMany, "%d answers wait in this namespace, as many as can", n)
	}
	return err
}

func prepareAnswer(ctx context.Context, w *work, in *WrapAnswerInput) (err error) {
	if err = w.fewAnswers(ctx); err == nil {
		in.made, err = w.sealValue(ctx, in.Value)
	}
	return err
}

func doWrapAnswer(_ context.Context, w *work, tx *records.Tx, in *WrapAnswerInput) (WrapAnswerOutput, error) {
	return w.putAnswer(tx, in.made, in.Path, in.TTL, [32]byte{}, nil)
}

// putAnswer puts a sealed value away under a new token. first is what happens in the same change.
func (w *work) putAnswer(tx *records.Tx, made *madeSealed, path string, ttl time.Duration, previous [32]byte, first func() error) (WrapAnswerOutput, error) {
	a := records.Answer{Namespace: w.call.Namespace, Path: path, Created: w.now.UTC(), Expires: w.now.Add(ttl).UTC(), By: w.call.Principal.Name}
	w.rec.Detail = path + ", until " + spelt(a.Expires)
	if made == nil { // a dry run
		return WrapAnswerOutput{Info: answerInfo(&a)}, nil
	}
	random := make([]byte, token.SecretSize)
	rand.Read(random) //nolint:errcheck // never fails since Go 1.24
	defer clear(random)
	a.ID, a.Digest = made.id, token.Digest(random)
	w.rec.Resource = a.ID.String()
	w.onCommit(previous, func(leaf [32]byte) error {
		if first != nil {
			if err := first(); err != nil {
				return err
			}
		}
		a.Change = leaf
		return tx.InsertAnswer(a, made.value, made.shred)
	})
	return WrapAnswerOutput{Token: secret.Release(token.Format(a.ID, random)), Info: answerInfo(&a)}, nil
}

// openAnswer opens an answer outside the transaction that ends its waiting.
func openAnswer(ctx context.Context, w *work, in *AnswerInput) error {
	a, err := w.answer(ctx, in)
	if err != nil {
		return err
	}
	clear(in.plain) // of an admission before
	value, there, err := w.o.ring.OpenSecret(ctx, a.Namespace, a.ID)
	if err == nil && !there {
		err = noAnswer() // fetched in between
	}
	in.row, in.plain = a, value
	return err
}

// unread takes an answer away that nobody has fetched since it was opened.
func (in *AnswerInput) unread(tx *records.Tx) (records.Answer, error) {
	a, there, err := tx.Answer(in.id)
	if err == nil && (!there || a.Rev != in.row.Rev) {
		err = noAnswer()
	}
	return a, err
}

func doUnwrapAnswer(_ context.Context, w *work, tx *records.Tx, in *AnswerInput) (UnwrapAnswerOutput, error) {
	a, err := in.unread(tx)
	if err != nil {
		return UnwrapAnswerOutput{}, err
	}
	w.rec.Detail = a.Path
	if w.call.DryRun {
		return UnwrapAnswerOutput{Info: answerInfo(&a)}, nil
	}
	w.onCommit(a.Change, func([32]byte) error { return tx.RemoveAnswer(a) })
	return UnwrapAnswerOutput{Value: secret.Release(in.plain), Info: answerInfo(&a)}, nil
}

func prepareRewrap(ctx context.Context, w *work, in *AnswerInput) error {
	if err := openAnswer(ctx, w, in); err != nil {
		return err
	}
	value := secret.Take(in.plain)
	defer value.Zero()
	var err error
	in.made, err = w.sealValue(ctx, value)
	return err
}

func doRewrapAnswer(_ context.Context, w *work, tx *records.Tx, in *AnswerInput) (WrapAnswerOutput, error) {
	a, err := in.unread(tx)
	if err != nil {
		return WrapAnswerOutput{}, err
	}
	return w.putAnswer(tx, in.made, a.Path, a.Expires.Sub(a.Created), a.Change, func() error { return tx.RemoveAnswer(a) })
}

func answerInfo(a *records.Answer) AnswerInfo {
	return AnswerInfo{ID: a.ID, Path: a.Path, Created: a.Created, Expires: a.Expires}
}

// answerIdentity is whom a wrapping token stands for: somebody who can fetch that answer, and nothing else.
func (i Identities) answerIdentity(ctx context.Context, o *opened, id kms.ID) (Identity, error) {
	a, err := o.records.Answer(ctx, id)
	if err != nil {
		return Identity{}, err
	}
	if a.Rev == 0 || a.Created.After(i.e.now().Add(clock.Tolerance)) {
		return Identity{}, unknownCredential()
	}
	if err := o.standing(ctx, a.Namespace); err != nil {
		return Identity{}, err
	}
	p := kms.Principal{Name: answerName, Namespace: a.Namespace, Method: kms.AuthToken, Credential: a.ID.String(), Expires: a.Expires,
		Scope: []kms.Action{kms.UnwrapAnswer, kms.LookUpAnswer, kms.RewrapAnswer}}
	o.identify(&p)
	return Identity{Principal: p, Digest: a.Digest, Rev: a.Rev}, nil
}

// dropAnswers removes answers that nobody fetched in time, or whose namespace is no more.
func (e *Engine) dropAnswers(ctx context.Context, o *opened, now time.Time) error {
	for after := (kms.ID{}); ; {
		page, next, err := o.records.Answers(ctx, after, 500)
		if err != nil {
			return err
		}
		gone, err := destroyedAmong(ctx, o, page, func(a *records.Answer) kms.Namespace { return a.Namespace })
		if err != nil {
			return err
		}
		for i := range page {
			if page[i].Expires.After(now) && !gone[page[i].Namespace] {
				continue
			}
			_, touched, err := o.records.Update(ctx, func(tx *records.Tx) error {
				a, there, err := tx.Answer(page[i].ID)
				if err != nil || !there {
					return err
				}
				return tx.RemoveAnswer(a)
			})
			if err != nil {
				return err
			}
			e.tell(touched)
		}
		if after = next; next.IsZero() {
			return nil
		}
	}
}
