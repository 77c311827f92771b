package box

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha512"
	"hash"
	"sync"
	"weak"

	"github.com/keyhold/keyhold/internal/kdf"
	"github.com/keyhold/keyhold/internal/secret"
)

// prf derives the keys of messages under one hot key, over and over: the key is absorbed once and not for every message, and so is
// associated data that is the same as in the message before, which is most of the cost of a small box. What is kept is referred
// to weakly: a key that is used often finds it, and one that is not (of many thousands in memory, most) has it only until the
// next collection. It cannot be erased, like every state that Go's hashes leave behind: there are fewer of them this way.
type prf struct {
	mu   sync.Mutex // guards what follows, and what kept refers to
	uses int
	kept weak.Pointer[state]
}

// few is how many messages a key has before anything is kept: many keys are made, tried (a self-test, a canary) and put away.
const few = 4

// state is what one derivation works with.
type state struct {
	h      hash.Hash // HMAC-SHA-512 under the key
	info   [160]byte // what it hashes: label and header are short
	okm    [sha512.Size]byte
	aad    []byte // of the message before, if it was short
	digest [sha512.Size256]byte
	known  bool // aad and digest are set
	used   bool // h has to be reset: the first time that costs as much as absorbing the key, and many keys are used once
}

// keptAAD is how much associated data is compared with that of the message before, in bytes.
const keptAAD = 256

// newState absorbs the key. What the hash keeps of it is erased when it is collected (package secret).
func newState(key []byte) *state {
	s := new(state)
	secret.Do(func() { s.h = hmac.New(sha512.New, key) })
	return s
}

// expand is HKDF-Expand of the key over a message's context. Its output is never longer than one block of SHA-512, for which
// RFC 5869 §2.3 comes to T(1) = HMAC(K, info ‖ 01), cut to size. Two callers at a time do not wait for each other: the second
// goes without what is kept.
func (p *prf) expand(key []byte, label Label, header, salt, aad []byte) [sha512.Size]byte {
	if !p.mu.TryLock() {
		return expand(key, label, header, salt, aad)
	}
	defer p.mu.Unlock()
	if p.uses < few {
		p.uses++
		return expand(key, label, header, salt, aad)
	}
	s := p.kept.Value()
	if s == nil {
		s = newState(key)
		p.kept = weak.Make(s)
	}
	return s.expand(label, header, salt, aad)
}

// expand is the same for a key of which nothing is kept.
func expand(key []byte, label Label, header, salt, aad []byte) [sha512.Size]byte {
	digest := sha512.Sum512_256(aad)
	return kdf.Expand(key, []byte(label), zero, header, salt, digest[:])
}

var zero = []byte{0} // between a label and its header

func (s *state) expand(label Label, header, salt, aad []byte) [sha512.Size]byte {
	digest := s.digestOf(aad)
	info := append(s.info[:0], label...)
	info = append(info, 0)
	info = append(info, header...)
	info = append(info, salt...)
	info = append(info, digest[:]...)
	info = append(info, 1)
	if s.used {
		s.h.Reset()
	}
	s.used = true
	s.h.Write(info)
	s.h.Sum(s.okm[:0])
	okm := s.okm
	clear(s.okm[:])
	return okm
}

// digestOf is SHA-512/256 of associated data. That is no secret: it may be compared in whatever time it takes.
func (s *state) digestOf(aad []byte) [sha512.Size256]byte {
	if s.known && bytes.Equal(aad, s.aad) {
		return s.digest
	}
	digest := sha512.Sum512_256(aad)
	if len(aad) <= keptAAD {
		s.aad, s.digest, s.known = append(s.aad[:0], aad...), digest, true
	}
	return digest
}

// forget lets go of what is kept.
func (p *prf) forget() {
	p.mu.Lock()
	p.kept = weak.Pointer[state]{}
	p.mu.Unlock()
}
