package authn

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
	"sync/atomic"

	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// maxSigners is how many signing keys a credential keeps: a day's turn, for two services in a few regions.
const maxSigners = 8

// signing is the secret of a credential that signs, with the signing keys that were derived from it: one for each date, region and service.
// They go with the credential's entry, so that a change of the credential drops them.
type signing struct {
	keys atomic.Pointer[[]*signer] // newest first, at most maxSigners; never changed, only replaced

	mu     sync.Mutex // guards secret, and the replacement of keys
	secret *secret.Bytes
}

// signer is a signing key, as hash states that are ready to be used.
type signer struct {
	scope string
	ready sync.Pool // of hash.Hash
}

func newSigner(scope string, key [sha256.Size]byte) *signer {
	return &signer{scope: scope, ready: sync.Pool{New: func() any { return hmac.New(sha256.New, key[:]) }}}
}

// matches tells whether a text has been signed with this key.
func (s *signer) matches(text []byte, signature *[32]byte) bool {
	mac, _ := s.ready.Get().(hash.Hash)
	defer s.ready.Put(mac)
	mac.Reset()
	mac.Write(text)
	var sum [sha256.Size]byte
	return hmac.Equal(mac.Sum(sum[:0]), signature[:])
}

func (s *signing) known(scope string) *signer {
	if all := s.keys.Load(); all != nil {
		for _, k := range *all {
			if k.scope == scope {
				return k
			}
		}
	}
	return nil
}

// verify tells whether a text was signed with the secret for a scope. A key is derived anew unless it is kept and matches, so that failures
// cost the same whether a key was kept or not. alive is false if the secret was erased meanwhile.
func (s *signing) verify(c *claim, text []byte) (matches, alive bool) {
	k := s.known(c.scope)
	if k != nil && k.matches(text, &c.signature) {
		return true, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secret == nil {
		return false, false
	}
	fresh := newSigner(clone(c.scope), derive(s.secret, c))
	if !fresh.matches(text, &c.signature) {
		return false, true
	}
	if k == nil { // kept only when it has verified something: a stranger cannot fill the list
		s.keep(fresh)
	}
	return true, true
}

func (s *signing) keep(k *signer) {
	all := []*signer{k}
	if was := s.keys.Load(); was != nil {
		all = append(all, (*was)[:min(len(*was), maxSigners-1)]...)
	}
	s.keys.Store(&all)
}

// erase forgets the secret and what came of it.
func (s *signing) erase() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secret.Zero()
	s.secret = nil
	s.keys.Store(nil)
}

// derive makes the signing key: HMAC over date, region, service and terminator, each with the one before as its key.
func derive(from *secret.Bytes, c *claim) (key [sha256.Size]byte) {
	secret.Do(func() {
		first := append([]byte("AWS4"), from.Reveal(reveal.Key{})...)
		step := func(k []byte, text string) []byte {
			mac := hmac.New(sha256.New, k)
			mac.Write([]byte(text))
			next := mac.Sum(nil)
			clear(k)
			return next
		}
		last := step(step(step(step(first, c.date), c.region), c.service), terminator4)
		copy(key[:], last)
		clear(last)
	})
	return key
}
