package keyring_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/keyhold/keyhold/internal/keyring"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/secret/arena"
)

func inArena(t *testing.T, x *fixture) *arena.Arena {
	t.Helper()
	a, err := arena.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	if err := x.f.Root.Move(a); err != nil {
		t.Fatal(err)
	}
	return a
}

// Sealing erases KEKs at once, and does not wait for the collector.
func TestClearingErasesKEKs(t *testing.T) {
	x := setup(t, keyring.Config{})
	a := inArena(t, x)
	root := a.Figures().Used
	x.key(1, 1)
	if got := a.Figures().Used; got != root+1 {
		t.Fatalf("%d secrets are in the arena, want the root key's %d and a KEK", got, root)
	}
	x.ring.Clear()
	if got := a.Figures().Used; got != root {
		t.Errorf("%d secrets are in the arena after clearing, want %d", got, root)
	}
}

// A KEK that leaves the cache while it is used works for whoever has it, and is erased after the last one.
func TestAKEKInUseIsNotErased(t *testing.T) {
	x := setup(t, keyring.Config{})
	a := inArena(t, x)
	root := a.Figures().Used
	id := x.key(1, 1)
	k, err := x.ring.Key(t.Context(), "default", id)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 100 {
				switch g {
				case 0:
					x.ring.Forget(records.Touch{Kind: records.TouchNamespace, Namespace: "default"})
				case 1:
					x.ring.Forget(records.Touch{Kind: records.TouchVersion, ID: id, Version: 1})
				default:
					place, err := x.ring.NewPlace(t.Context(), "default", kms.ID{byte(g), byte(i), 1}, 1)
					if err != nil {
						t.Error(fmt.Errorf("new place: %w", err))
						return
					}
					place.Wrap.Zero()
					v, err := x.ring.Version(t.Context(), k, 1) // a zeroed KEK would not open it
					if err != nil {
						t.Error(fmt.Errorf("open version: %w", err))
						return
					}
					v.Release()
				}
			}
		})
	}
	all.Wait()
	x.ring.Clear()
	if got := a.Figures().Used; got != root {
		t.Errorf("%d secrets are in the arena after clearing, want %d", got, root)
	}
}
