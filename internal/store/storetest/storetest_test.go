package storetest

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyhold/keyhold/internal/store"
	"github.com/keyhold/keyhold/internal/store/mem"
)

// liar is a store with one fault.
type liar struct {
	*mem.Store
	n      atomic.Int64
	commit func(l *liar, n int64, x store.Txn) (store.Rev, error) // the n-th
	get    func(l *liar, ctx context.Context, keys ...[]byte) ([]store.Record, store.Rev, error)
	scan   func(l *liar, ctx context.Context) ([]store.Record, store.Rev, error)
	head   func(l *liar, ctx context.Context) (store.Head, error)
}

func (l *liar) Commit(ctx context.Context, x store.Txn) (store.Rev, error) {
	if l.commit != nil {
		return l.commit(l, l.n.Add(1), x)
	}
	return l.Store.Commit(ctx, x)
}

func (l *liar) Get(ctx context.Context, keys ...[]byte) ([]store.Record, store.Rev, error) {
	if l.get != nil {
		return l.get(l, ctx, keys...)
	}
	return l.Store.Get(ctx, keys...)
}

func (l *liar) Scan(ctx context.Context, prefix, after []byte, n int) ([]store.Record, store.Rev, error) {
	if l.scan != nil {
		return l.scan(l, ctx)
	}
	return l.Store.Scan(ctx, prefix, after, n)
}

func (l *liar) Confirm(ctx context.Context) (store.Head, error) {
	if l.head != nil {
		return l.head(l, ctx)
	}
	return l.Store.Confirm(ctx)
}

// TestTheCheckerFindsLies: a history of a store with a fault does not pass, one of a store without passes.
func TestTheCheckerFindsLies(t *testing.T) {
	var old atomic.Pointer[store.Record]
	for name, l := range map[string]*liar{
		"": {},
		"conditions are ignored": {commit: func(l *liar, n int64, x store.Txn) (store.Rev, error) {
			x.If = nil
			return l.Store.Commit(t.Context(), x)
		}},
		"a conflict out of nothing": {commit: func(l *liar, n int64, x store.Txn) (store.Rev, error) {
			if len(x.If) == 0 {
				return 0, store.ErrConflict
			}
			return l.Store.Commit(t.Context(), x)
		}},
		"an acknowledged commit is lost": {commit: func(l *liar, n int64, x store.Txn) (store.Rev, error) {
			if n == 50 {
				h, err := l.Store.Confirm(t.Context())
				return h.Rev + 1, err
			}
			return l.Store.Commit(t.Context(), x)
		}},
		"an old record": {get: func(l *liar, ctx context.Context, keys ...[]byte) ([]store.Record, store.Rev, error) {
			rs, rev, err := l.Store.Get(ctx, keys...)
			if now := rs[0]; now.Rev > 0 {
				old.CompareAndSwap(nil, &now)
			}
			if first := old.Load(); first != nil && string(first.Key) == string(rs[0].Key) {
				rs[0] = *first
			}
			return rs, rev, err
		}},
		"an old snapshot": {get: func(l *liar, ctx context.Context, keys ...[]byte) ([]store.Record, store.Rev, error) {
			rs, rev, err := l.Store.Get(ctx, keys...)
			return rs, rev / 2, err
		}},
		"a record is left out": {scan: func(l *liar, ctx context.Context) ([]store.Record, store.Rev, error) {
			rs, rev, err := l.Store.Scan(ctx, []byte("key/"), nil, 100)
			return rs[:max(0, len(rs)-1)], rev, err
		}},
		"a head that stands still": {head: func(l *liar, ctx context.Context) (store.Head, error) {
			return store.Head{}, nil
		}},
		"another hash": {head: func(l *liar, ctx context.Context) (store.Head, error) {
			h, err := l.Store.Confirm(ctx)
			h.Hash[0] ^= 1
			return h, err
		}},
	} {
		l.Store = mem.Open(mem.Config{})
		r := &recorder{s: l}
		var wg sync.WaitGroup
		for c := range 6 {
			wg.Go(func() { r.wander(t, rand.New(rand.NewPCG(uint64(c), 7)), 100) })
		}
		wg.Wait()
		if err := r.check(); (err == nil) != (name == "") {
			t.Errorf("%q: the checker says %v", name, err)
		}
	}
}
