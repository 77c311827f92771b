package pebble

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/keyhold/keyhold/internal/store"
)

// stallMax is how long a caller whose context has ended waits for the outcome of what is being committed already.
// A healthy disk answers in milliseconds; knowing is worth more than returning early.
const stallMax = 5 * time.Second

// The states of a request.
const (
	waiting   = iota
	claimed   // the committer has it
	withdrawn // the caller has given up; it will not be committed
)

// request is a transaction on its way. It owns its bytes: a caller may give up and reuse his.
type request struct {
	txn    store.Txn
	trace  []byte // for the running hash
	events []byte // for the feed
	size   int    // bytes of keys and values
	state  atomic.Int32
	done   chan result
}

// result answers a request.
type result struct {
	rev store.Rev
	err error
}

func newRequest(t *store.Txn) *request {
	r := &request{trace: t.Trace(), done: make(chan result, 1)}
	for i := range t.If {
		r.size += len(t.If[i].Key)
	}
	keys := 0
	for i := range t.Then {
		keys += len(t.Then[i].Key)
		r.size += len(t.Then[i].Key) + len(t.Then[i].Value)
	}
	own := make([]byte, 0, r.size)
	clone := func(b []byte) []byte {
		own = append(own, b...)
		return own[len(own)-len(b) : len(own) : len(own)]
	}
	r.txn.Token, r.txn.Fresh = t.Token, t.Fresh
	r.txn.If = make([]store.Cond, len(t.If))
	for i, c := range t.If {
		r.txn.If[i] = store.Cond{Key: clone(c.Key), Rev: c.Rev}
	}
	r.txn.Then = make([]store.Write, len(t.Then))
	for i, w := range t.Then {
		r.txn.Then[i] = store.Write{Key: clone(w.Key), Value: clone(w.Value), Delete: w.Delete}
	}
	r.events = appendFeedEvents(make([]byte, 0, len(t.Then)*feedEntry+keys), r.txn.Then)
	return r
}

func (r *request) claim() bool    { return r.state.CompareAndSwap(waiting, claimed) }
func (r *request) withdraw() bool { return r.state.CompareAndSwap(waiting, withdrawn) }

func (r *request) refuse(err error) {
	if r.claim() {
		r.done <- result{err: err}
	}
}

// Commit implements store.Store. A transaction whose context ends while it waits its turn is not committed; one
// that is being committed already is waited for, five seconds at most, and then store.ErrUnknown. While the store is opening its
// database again the error is store.ErrFull or store.ErrDamaged or store.ErrClosed, by its cause.
func (s *Store) Commit(ctx context.Context, t store.Txn) (store.Rev, error) {
	if err := t.Check(); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	r := newRequest(&t)
	select {
	case s.queue <- r:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-s.gone:
		return 0, store.ErrClosed
	}
	select {
	case res := <-r.done:
		return res.rev, res.err
	case <-ctx.Done():
		if r.withdraw() {
			return 0, ctx.Err()
		}
	case <-s.gone:
		if r.withdraw() {
			return 0, store.ErrClosed
		}
	}
	patience := time.NewTimer(stallMax)
	defer patience.Stop()
	select {
	case res := <-r.done:
		return res.rev, res.err
	case <-patience.C:
		return 0, fmt.Errorf("%w: the disk does not answer", store.ErrUnknown)
	}
}
