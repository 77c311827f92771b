package records

import (
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// q 00 id: an answer that waits to be fetched; q 01 namespace 00 id: which ones a namespace has
const kindAnswer kind = 'q'

// Answer is what was answered to somebody and waits, sealed, for who has the token of its id. The value is kept like a secret's, with this id.
type Answer struct {
	ID        kms.ID        `json:"id"`
	Namespace kms.Namespace `json:"ns"`
	Digest    [32]byte      `json:"digest"` // SHA-256 of the token's secret
	Path      string        `json:"path"`   // of the request that it answers
	Created   time.Time     `json:"created"`
	Expires   time.Time     `json:"expires"`
	By        string        `json:"by"`
	Change    [32]byte      `json:"change"`

	Rev kms.Rev `json:"-"`
}

func answerPath(id kms.ID) []byte { return append([]byte{byte(kindAnswer), 0}, id[:]...) }

func answersOf(ns kms.Namespace) []byte {
	return append(append([]byte{byte(kindAnswer), 1}, ns...), 0)
}

// Answer reads an answer that waits; a zero Rev means there is none.
func (r *Records) Answer(ctx context.Context, id kms.ID) (Answer, error) {
	a, rev, err := load[Answer](ctx, r, answerPath(id))
	a.Rev = rev
	return a, err
}

// Answers reads a page of those of all namespaces in order of their making.
func (r *Records) Answers(ctx context.Context, after kms.ID, n int) (all []Answer, next kms.ID, err error) {
	var from []byte
	if !after.IsZero() {
		from = answerPath(after)
	}
	more, err := scan(ctx, r, []byte{byte(kindAnswer), 0}, from, n, func(_ []byte, a Answer, rev kms.Rev) {
		a.Rev = rev
		all = append(all, a)
	})
	if err == nil && more != nil {
		next = all[len(all)-1].ID
	}
	return all, next, err
}

// CountAnswers counts those of a namespace, up to atMost. It opens none of them.
func (r *Records) CountAnswers(ctx context.Context, ns kms.Namespace, atMost int) (int, error) {
	return r.countUnder(ctx, answersOf(ns), atMost)
}

// Answer reads an answer within the transaction.
func (tx *Tx) Answer(id kms.ID) (Answer, bool, error) {
	a, rev, ok, err := fetch[Answer](tx, answerPath(id))
	a.Rev = rev
	return a, ok, err
}

// InsertAnswer writes an answer whose id is new, with its value.
func (tx *Tx) InsertAnswer(a Answer, v Sealed, s Shred) error {
	if err := tx.InsertSealed(a.ID, v, s); err != nil {
		return err
	}
	if err := tx.insert(append(answersOf(a.Namespace), a.ID[:]...), underVersion{}); err != nil {
		return err
	}
	return tx.insert(answerPath(a.ID), a)
}

// RemoveAnswer forgets an answer that the transaction has read, with its value. Its token is worth nothing any more.
func (tx *Tx) RemoveAnswer(a Answer) error {
	tx.touched = append(tx.touched, Touch{Kind: TouchToken, Namespace: a.Namespace, ID: a.ID})
	tx.EraseSealed(a.ID)
	tx.drop(append(answersOf(a.Namespace), a.ID[:]...))
	return tx.remove(answerPath(a.ID))
}
