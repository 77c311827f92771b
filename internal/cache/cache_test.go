package cache_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyhold/keyhold/internal/cache"
)

type value struct {
	n     int
	holds atomic.Int64
}

func (v *value) keep() bool {
	for {
		n := v.holds.Load()
		if n <= 0 {
			return false
		}
		if v.holds.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (v *value) drop() { v.holds.Add(-1) }

func fresh(n int) *value {
	v := &value{n: n}
	v.holds.Store(1)
	return v
}

// A load that began before a change and ends after it must not leave the old state behind.
func TestForgetBeatsALoadUnderWay(t *testing.T) {
	c := cache.New[string](1000, (*value).keep, (*value).drop)
	state := 1
	reads := 0
	v, err := c.Load(t.Context(), "k", func(context.Context) (*value, error) {
		reads++
		read := state
		if reads == 1 {
			state = 2 // the change commits after the read …
			c.Forget("k")
		}
		return fresh(read), nil
	})
	if err != nil || v.n != 2 || reads != 2 {
		t.Fatalf("got %d after %d reads (%v), want the new state after 2", v.n, reads, err)
	}
	if got, ok := c.Get("k"); !ok || got.n != 2 {
		t.Fatalf("cached %v %v, want the new state", got, ok)
	}
}

func TestCacheIsBoundedAndDropsWhatLeaves(t *testing.T) {
	const most = 256
	c := cache.New[int](most, (*value).keep, (*value).drop)
	var all []*value
	for i := range 10 * most {
		v, err := c.Load(t.Context(), i, func(context.Context) (*value, error) { return fresh(i), nil })
		if err != nil {
			t.Fatal(err)
		}
		v.drop()
		all = append(all, v)
	}
	if n := c.Len(); n > most {
		t.Fatalf("holds %d, limit %d", n, most)
	}
	held := 0
	for _, v := range all {
		switch v.holds.Load() {
		case 0:
		case 1:
			held++
		default:
			t.Fatalf("value %d has %d holds", v.n, v.holds.Load())
		}
	}
	if held != c.Len() {
		t.Fatalf("%d values are held, the cache has %d", held, c.Len())
	}
	c.Clear()
	for _, v := range all {
		if v.holds.Load() != 0 {
			t.Fatalf("value %d survived Clear", v.n)
		}
	}
}

func TestLoadsOfOneKeyReadOnce(t *testing.T) {
	c := cache.New[string](1000, (*value).keep, (*value).drop)
	var reads atomic.Int64
	gate := make(chan struct{})
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			v, err := c.Load(t.Context(), "k", func(context.Context) (*value, error) {
				reads.Add(1)
				<-gate
				return fresh(7), nil
			})
			if err != nil || v.n != 7 {
				t.Errorf("got %v %v", v, err)
			}
		})
	}
	close(gate)
	wg.Wait()
	if reads.Load() != 1 {
		t.Fatalf("read %d times, want once", reads.Load())
	}
}

func TestAFailedLoadIsNotKept(t *testing.T) {
	c := cache.New[string](1000, (*value).keep, (*value).drop)
	broken := errors.New("broken")
	if _, err := c.Load(t.Context(), "k", func(context.Context) (*value, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if v, err := c.Load(t.Context(), "k", func(context.Context) (*value, error) { return fresh(1), nil }); err != nil || v.n != 1 {
		t.Fatalf("got %v %v", v, err)
	}
}

func TestConcurrentForgetAndLoad(t *testing.T) {
	c := cache.New[int](128, (*value).keep, (*value).drop)
	var state [8]atomic.Int64
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 3000 {
				k := (w + i) % 8
				if i%5 == 0 {
					n := state[k].Add(1)
					c.Forget(k)
					v, err := c.Load(t.Context(), k, func(context.Context) (*value, error) { return fresh(int(state[k].Load())), nil })
					if err != nil || int64(v.n) < n {
						t.Errorf("after Forget at %d a load gave %d", n, v.n)
					}
					v.drop()
					continue
				}
				v, err := c.Load(t.Context(), k, func(context.Context) (*value, error) { return fresh(int(state[k].Load())), nil })
				if err != nil {
					t.Error(err)
				}
				v.drop()
			}
		})
	}
	wg.Wait()
}

func BenchmarkGet(b *testing.B) {
	c := cache.New[string](1000, func(*value) bool { return true }, func(*value) {})
	_, _ = c.Load(b.Context(), "payments", func(context.Context) (*value, error) { return fresh(1), nil })
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Get("payments")
		}
	})
}
