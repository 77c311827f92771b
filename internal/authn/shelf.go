package authn

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

const (
	shards  = 64 // power of two
	sampled = 8  // values looked at to find one to drop
)

// shelf is a bounded map for many readers. A full shard drops a value that was not used lately (second chance over a
// random sample: a map read and one flag, no list to keep).
//
// Every shard has a generation that a withdrawal moves on. Who fills the shelf notes the generation, asks the records, and
// puts the answer only if the generation is still the same: an answer from before a withdrawal cannot come in after it.
type shelf[K comparable, V any] struct {
	seed    maphash.Seed
	most    int     // values in a shard
	dropped func(V) // told of values that make room; may be nil; called with the shard locked
	shard   [shards]shelfShard[K, V]
}

type shelfShard[K comparable, V any] struct {
	mu         sync.RWMutex // guards values and generation
	values     map[K]*slot[V]
	generation uint64
	_          [64]byte // keeps shards off each other's cache line
}

type slot[V any] struct {
	value V
	used  atomic.Bool
}

func (s *shelf[K, V]) init(most int, dropped func(V)) {
	s.seed = maphash.MakeSeed()
	s.most = max(1, (most+shards-1)/shards)
	s.dropped = dropped
	for i := range s.shard {
		s.shard[i].values = make(map[K]*slot[V])
	}
}

func (s *shelf[K, V]) of(k K) *shelfShard[K, V] {
	return &s.shard[maphash.Comparable(s.seed, k)&(shards-1)]
}

func (s *shelf[K, V]) get(k K) (V, bool) {
	sh := s.of(k)
	sh.mu.RLock()
	at, ok := sh.values[k]
	sh.mu.RUnlock()
	if !ok {
		var none V
		return none, false
	}
	if !at.used.Load() {
		at.used.Store(true)
	}
	return at.value, true
}

// generation is to be noted before the records are asked.
func (s *shelf[K, V]) generation(k K) uint64 {
	sh := s.of(k)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.generation
}

// put adds a value unless the generation has moved on; ok tells whether it had not. If another value came first,
// that one stays and is the result.
func (s *shelf[K, V]) put(k K, v V, generation uint64) (kept V, ok bool) {
	sh := s.of(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.generation != generation {
		return v, false
	}
	return s.add(sh, k, v), true
}

// keep adds a value whatever the generation, for values that nothing withdraws.
func (s *shelf[K, V]) keep(k K, v V) V {
	sh := s.of(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return s.add(sh, k, v)
}

func (s *shelf[K, V]) add(sh *shelfShard[K, V], k K, v V) V {
	if at, ok := sh.values[k]; ok {
		return at.value
	}
	if len(sh.values) >= s.most {
		s.makeRoom(sh)
	}
	sh.values[k] = &slot[V]{value: v}
	return v
}

// makeRoom drops one value. Go begins a map's iteration at a random place, so the first few are a sample.
func (s *shelf[K, V]) makeRoom(sh *shelfShard[K, V]) {
	var victim K
	n := 0
	for k, at := range sh.values {
		victim = k
		if n++; n == sampled || !at.used.Swap(false) {
			break
		}
	}
	at := sh.values[victim]
	delete(sh.values, victim)
	if s.dropped != nil {
		s.dropped(at.value)
	}
}

// withdraw takes a value out, tells gone of it, and moves the generation on, there or not.
func (s *shelf[K, V]) withdraw(k K, gone func(V)) {
	sh := s.of(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.generation++
	if at, ok := sh.values[k]; ok {
		delete(sh.values, k)
		gone(at.value)
	}
}

// withdrawIf takes the values out that a test picks, tells gone of each, and moves all generations on.
func (s *shelf[K, V]) withdrawIf(picked func(V) bool, gone func(V)) {
	for i := range s.shard {
		sh := &s.shard[i]
		sh.mu.Lock()
		sh.generation++
		for k, at := range sh.values {
			if picked(at.value) {
				delete(sh.values, k)
				gone(at.value)
			}
		}
		sh.mu.Unlock()
	}
}

// withdrawAll takes every value out and tells gone of each.
func (s *shelf[K, V]) withdrawAll(gone func(V)) {
	for i := range s.shard {
		sh := &s.shard[i]
		sh.mu.Lock()
		sh.generation++
		for _, at := range sh.values {
			gone(at.value)
		}
		clear(sh.values)
		sh.mu.Unlock()
	}
}

func (s *shelf[K, V]) size() int {
	n := 0
	for i := range s.shard {
		sh := &s.shard[i]
		sh.mu.RLock()
		n += len(sh.values)
		sh.mu.RUnlock()
	}
	return n
}
