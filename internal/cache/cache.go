// Package cache is a bounded map that loads what it lacks, once, and forgets what changed: safely even where a load
// that began before the change ends after it.
package cache

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
)

const shardCount = 64 // power of two

// Cache is a bounded map in shards, with CLOCK eviction and single-flight loading. Reading takes one shard's read lock
// for one map look-up; nothing is shared by all requests.
//
// A value that a load began to read before Forget, and would insert after it, is never kept: Forget moves the shard's
// generation on, and a load whose generation has passed starts again.
type Cache[K comparable, V any] struct {
	seed   maphash.Seed
	shards [shardCount]shard[K, V]
	keep   func(V) bool // takes a hold of a value for a caller; false: it is ending, load anew
	drop   func(V)      // told when a value leaves the cache
}

type shard[K comparable, V any] struct {
	mu      sync.RWMutex // guards all below
	slots   map[K]*slot[K, V]
	clock   []*slot[K, V]
	hand    int
	most    int
	gen     uint64
	flights map[K]*flight
}

type slot[K comparable, V any] struct {
	key   K
	value V
	used  atomic.Bool
	at    int // index in clock
}

type flight struct{ done chan struct{} }

// New makes a cache of at most most values (at least 4 in each shard).
// keep takes a hold of a value for a caller and tells whether it still can; drop is told when a value leaves.
func New[K comparable, V any](most int, keep func(V) bool, drop func(V)) *Cache[K, V] {
	c := &Cache[K, V]{seed: maphash.MakeSeed(), keep: keep, drop: drop}
	for i := range c.shards {
		c.shards[i] = shard[K, V]{slots: map[K]*slot[K, V]{}, flights: map[K]*flight{}, most: max(most/shardCount, 4)}
	}
	return c
}

func (c *Cache[K, V]) shard(k K) *shard[K, V] {
	return &c.shards[maphash.Comparable(c.seed, k)&(shardCount-1)]
}

// Get answers a cached value.
func (c *Cache[K, V]) Get(k K) (V, bool) {
	s := c.shard(k)
	s.mu.RLock()
	e, ok := s.slots[k]
	if ok && c.keep(e.value) {
		s.mu.RUnlock()
		if !e.used.Load() {
			e.used.Store(true)
		}
		return e.value, true
	}
	s.mu.RUnlock()
	var zero V
	return zero, false
}

// Load answers a cached value, or the one that read gives. Concurrent loads of one key read once.
func (c *Cache[K, V]) Load(ctx context.Context, k K, read func(context.Context) (V, error)) (V, error) {
	s := c.shard(k)
	var zero V
	for {
		if v, ok := c.Get(k); ok {
			return v, nil
		}
		s.mu.Lock()
		if f, ok := s.flights[k]; ok {
			s.mu.Unlock()
			select {
			case <-f.done:
				continue
			case <-ctx.Done():
				return zero, context.Cause(ctx)
			}
		}
		if e, ok := s.slots[k]; ok && c.keep(e.value) { // a flight landed since we looked
			s.mu.Unlock()
			return e.value, nil
		}
		f := &flight{done: make(chan struct{})}
		s.flights[k] = f
		gen := s.gen
		s.mu.Unlock()

		v, fresh, err := c.fly(ctx, s, k, gen, f, read)
		if err != nil || fresh {
			return v, err
		}
	}
}

// fly reads, inserts unless something was forgotten meanwhile, and lands the flight whatever happens.
func (c *Cache[K, V]) fly(ctx context.Context, s *shard[K, V], k K, gen uint64, f *flight, read func(context.Context) (V, error)) (v V, fresh bool, err error) {
	defer func() {
		s.mu.Lock()
		delete(s.flights, k)
		s.mu.Unlock()
		close(f.done)
	}()
	if v, err = read(ctx); err != nil {
		return v, false, err
	}
	var out V
	evicted := false
	s.mu.Lock()
	if fresh = s.gen == gen; fresh {
		out, evicted = s.insert(k, v)
		c.keep(v)
	}
	s.mu.Unlock()
	if evicted {
		c.drop(out)
	}
	if !fresh {
		c.drop(v)
	}
	return v, fresh, nil
}

func (s *shard[K, V]) insert(k K, v V) (out V, evicted bool) {
	e := &slot[K, V]{key: k, value: v}
	if old, ok := s.slots[k]; ok {
		e.at = old.at
		s.slots[k], s.clock[old.at] = e, e
		return old.value, true
	}
	if len(s.clock) < s.most {
		e.at = len(s.clock)
		s.clock = append(s.clock, e)
		s.slots[k] = e
		return out, false
	}
	for s.clock[s.hand].used.Swap(false) {
		s.hand = (s.hand + 1) % len(s.clock)
	}
	victim := s.clock[s.hand]
	delete(s.slots, victim.key)
	e.at = s.hand
	s.clock[s.hand], s.slots[k] = e, e
	s.hand = (s.hand + 1) % len(s.clock)
	return victim.value, true
}

// Forget removes a key, and makes every load of its shard that is under way start again.
func (c *Cache[K, V]) Forget(k K) {
	s := c.shard(k)
	s.mu.Lock()
	s.gen++
	e, ok := s.slots[k]
	if ok {
		s.remove(e)
	}
	s.mu.Unlock()
	if ok {
		c.drop(e.value)
	}
}

func (s *shard[K, V]) remove(e *slot[K, V]) {
	last := len(s.clock) - 1
	s.clock[e.at] = s.clock[last]
	s.clock[e.at].at = e.at
	s.clock[last] = nil
	s.clock = s.clock[:last]
	if s.hand >= len(s.clock) {
		s.hand = 0
	}
	delete(s.slots, e.key)
}

// Clear removes everything.
func (c *Cache[K, V]) Clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.gen++
		old := s.clock
		s.clock, s.hand = nil, 0
		s.slots = map[K]*slot[K, V]{}
		s.mu.Unlock()
		for _, e := range old {
			c.drop(e.value)
		}
	}
}

// Len counts the values held.
func (c *Cache[K, V]) Len() int {
	n := 0
	for i := range c.shards {
		c.shards[i].mu.RLock()
		n += len(c.shards[i].slots)
		c.shards[i].mu.RUnlock()
	}
	return n
}
