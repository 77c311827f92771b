package arena_test

import (
	"bytes"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/arena"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

func open(t *testing.T) *arena.Arena {
	t.Helper()
	a, err := arena.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func TestASecretMovesIntoTheArena(t *testing.T) {
	a := open(t)
	heap := bytes.Repeat([]byte{7}, 32)
	s := a.Keep(secret.Take(heap))
	if !bytes.Equal(heap, make([]byte, 32)) {
		t.Error("the bytes on the heap were not erased")
	}
	if got := s.Reveal(reveal.Key{}); !bytes.Equal(got, bytes.Repeat([]byte{7}, 32)) {
		t.Errorf("the secret is %x now", got)
	}
	if f := a.Figures(); f.Used != 1 || f.Slots != arena.Size/64 || f.Full != 0 {
		t.Errorf("figures after one secret: %+v", f)
	}
	t.Logf("the kernel gave %s", a.Figures().Kind)
}

func TestZeroErasesAndGivesBack(t *testing.T) {
	a := open(t)
	s := a.Keep(secret.Copy(bytes.Repeat([]byte{7}, 64)))
	seen := s.Reveal(reveal.Key{})
	s.Zero()
	s.Zero()
	if !bytes.Equal(seen, make([]byte, 64)) {
		t.Errorf("the slot holds %x", seen)
	}
	if f := a.Figures(); f.Used != 0 {
		t.Errorf("%d slots are in use, want 0", f.Used)
	}
}

// Who reads a secret after its erasure finds zeros for as long as can be, not the next secret.
func TestASlotIsUsedAgainLast(t *testing.T) {
	a := open(t)
	s := a.Keep(secret.Copy([]byte("first")))
	seen := s.Reveal(reveal.Key{})
	s.Zero()
	for range a.Figures().Slots - 1 {
		k := a.Keep(secret.Copy([]byte("other")))
		defer k.Zero()
	}
	if !bytes.Equal(seen, make([]byte, 5)) {
		t.Errorf("the slot holds %q already", seen)
	}
}

func TestAFullArenaLeavesSecretsOnTheHeap(t *testing.T) {
	a := open(t)
	var kept []*secret.Bytes
	for range a.Figures().Slots {
		kept = append(kept, a.Keep(secret.Copy([]byte("x"))))
	}
	late := secret.Copy([]byte("late"))
	if got := a.Keep(late); got != late || got.Len() != 4 {
		t.Error("a secret without a place was not left alone")
	}
	if f := a.Figures(); f.Full != 1 || f.Used != f.Slots {
		t.Errorf("figures of a full arena: %+v", f)
	}
	for _, s := range kept {
		s.Zero()
	}
	if f := a.Figures(); f.Used != 0 {
		t.Errorf("%d slots are in use, want 0", f.Used)
	}
}

func TestWhatDoesNotFitStaysOnTheHeap(t *testing.T) {
	a := open(t)
	for _, n := range []int{0, 65} {
		s := secret.Take(make([]byte, n))
		if a.Keep(s) != s {
			t.Errorf("a secret of %d bytes was moved", n)
		}
	}
	s := secret.Random(32)
	if (*arena.Arena)(nil).Keep(s) != s {
		t.Error("no arena moved a secret")
	}
}

// A secret that nobody erased does not hold its slot for ever.
func TestAForgottenSecretGivesItsSlotBack(t *testing.T) {
	a := open(t)
	func() { _ = a.Keep(secret.Random(32)).Len() }()
	for deadline := time.Now().Add(10 * time.Second); a.Figures().Used != 0; {
		if time.Now().After(deadline) {
			t.Fatal("the slot of a forgotten secret is still taken")
		}
		runtime.GC()
		runtime.Gosched()
	}
}

func TestErasingAfterCloseIsHarmless(t *testing.T) {
	a := open(t)
	s := a.Keep(secret.Random(32))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	s.Zero()
	if s.Len() != 0 {
		t.Errorf("an erased secret has %d bytes", s.Len())
	}
	late := secret.Random(32)
	if a.Keep(late) != late {
		t.Error("a closed arena took a secret")
	}
}

func TestArenaIsSafeForConcurrentUse(t *testing.T) {
	a := open(t)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			want := bytes.Repeat([]byte{byte(g + 1)}, 32)
			for range 500 {
				s := a.Keep(secret.Copy(want))
				if got := s.Reveal(reveal.Key{}); !bytes.Equal(got, want) {
					t.Errorf("got %x, want %x", got, want)
				}
				s.Zero()
			}
		})
	}
	all.Wait()
	if f := a.Figures(); f.Used != 0 {
		t.Errorf("%d slots are in use, want 0", f.Used)
	}
}
