// Package arena keeps small secrets that live long (the root key, the keys of the keychain, KEKs) in memory of their own, away from
// the Go heap: the best that the kernel has. It erases what is given back, and says which memory it got.
//
// It does not hold what lives on the heap by necessity: expanded cipher keys, parsed private keys, buffers of requests.
//
// Sources: memfd_secret(2), mlock(2), madvise(2).
package arena

import (
	"runtime"
	"sync"

	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Kind is the memory that an arena got, from the best to the worst.
type Kind uint8

// The kinds.
const (
	Hidden  Kind = iota + 1 // memfd_secret: not in the kernel's direct map; no other process reads it, root's included; never swapped
	Locked                  // locked in memory, left out of core files and of child processes
	Visible                 // the kernel gave no such memory: an ordinary mapping, which may be swapped
)

func (k Kind) String() string {
	switch k {
	case Hidden:
		return "memfd_secret"
	case Locked:
		return "mlock"
	case Visible:
	}
	return "none"
}

// Sizes in bytes.
const (
	slotSize = 64        // of one secret: the longest that is kept here
	Size     = 256 << 10 // of an arena's memory: 4,096 secrets
)

// Arena is memory for secrets. It is safe for concurrent use. A nil *Arena keeps nothing: secrets stay where they are.
type Arena struct {
	kind   Kind
	memory []byte // slots
	unmap  func() error

	mu     sync.Mutex // guards the fields below
	free   []int      // slots, the one given back longest ago first
	full   uint64     // secrets that found no place
	closed bool
}

// New maps an arena. It fails only if the system gives no memory at all.
func New() (*Arena, error) {
	memory, kind, unmap, err := mapMemory(Size)
	if err != nil {
		return nil, err
	}
	a := &Arena{kind: kind, memory: memory, unmap: unmap, free: make([]int, len(memory)/slotSize)}
	for i := range a.free {
		a.free[i] = i
	}
	return a, nil
}

// Keep moves a secret into the arena: s is erased, and what is returned stands for it. Where there is no place, or the secret is
// longer than 64 bytes, or empty, s itself is returned and stays on the heap.
func (a *Arena) Keep(s *secret.Bytes) *secret.Bytes {
	n := s.Len()
	if a == nil || n == 0 || n > slotSize {
		return s
	}
	slot, ok := a.take()
	if !ok {
		return s
	}
	b := a.memory[slot*slotSize : slot*slotSize+n : slot*slotSize+n]
	copy(b, s.Reveal(reveal.Key{}))
	s.Zero()
	once := new(sync.Once)
	back := func() { once.Do(func() { a.give(slot) }) }
	kept := secret.Held(b, back)
	runtime.AddCleanup(kept, func(back func()) { back() }, back) // a secret that is forgotten, not erased
	return kept
}

func (a *Arena) take() (int, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || len(a.free) == 0 {
		a.full++
		return 0, false
	}
	slot := a.free[0]
	a.free = a.free[1:]
	return slot, true
}

// give erases a slot. It is used again as late as possible, so that whoever erred and still reads it finds zeros, not another's key.
func (a *Arena) give(slot int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	clear(a.memory[slot*slotSize : (slot+1)*slotSize])
	a.free = append(a.free, slot)
}

// Figures tell how an arena stands.
type Figures struct {
	Kind  Kind
	Slots int    // places in all
	Used  int    // places taken
	Full  uint64 // secrets that found no place and stayed on the heap
}

// Figures of a nil arena are those of Visible memory without a place.
func (a *Arena) Figures() Figures {
	if a == nil {
		return Figures{Kind: Visible}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	slots := len(a.memory) / slotSize
	return Figures{Kind: a.kind, Slots: slots, Used: slots - len(a.free), Full: a.full}
}

// Close erases everything and gives the memory back. Nothing may use a secret of the arena afterwards.
func (a *Arena) Close() error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	clear(a.memory)
	a.memory = nil
	return a.unmap()
}
