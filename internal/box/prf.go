package box

import (
	"crypto/hmac"
	"crypto/sha512"
	"hash"
	"sync"
	"weak"

	"github.com/keyhold/keyhold/internal/secret"
)

// prf computes HMAC-SHA-512 under one key, over and over: the key is absorbed once and not for every message, which is most of
// the cost of a small box. What is kept is referred to weakly: a key that is used often finds it, and one that is not (of many
// thousands in memory, most) has it only until the next collection. It cannot be erased, like every state that Go's hashes leave
// behind: there are fewer of them this way.
type prf struct {
	mu   sync.Mutex // guards kept, and what it refers to
	kept weak.Pointer[state]
}

type state struct{ h hash.Hash }

// sum is HMAC-SHA-512(key, message). Two callers at a time do not wait for each other: the second makes a state of its own.
func (p *prf) sum(key, message []byte) (out [sha512.Size]byte) {
	if !p.mu.TryLock() {
		h := absorb(key)
		h.Write(message)
		h.Sum(out[:0])
		return out
	}
	defer p.mu.Unlock()
	s := p.kept.Value()
	if s == nil {
		s = &state{absorb(key)}
		p.kept = weak.Make(s)
	}
	s.h.Reset()
	s.h.Write(message)
	s.h.Sum(out[:0])
	return out
}

// absorb begins an HMAC. What it keeps of the key is erased when it is collected (package secret).
func absorb(key []byte) (h hash.Hash) {
	secret.Do(func() { h = hmac.New(sha512.New, key) })
	return h
}

// forget lets go of what is kept.
func (p *prf) forget() {
	p.mu.Lock()
	p.kept = weak.Pointer[state]{}
	p.mu.Unlock()
}
