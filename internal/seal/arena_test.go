package seal_test

import (
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/seal/sealtest"
	"github.com/keyhold/keyhold/internal/secret/arena"
)

// Whatever is opened under a root that lives in an arena lives there, too, works as before, and is erased from there.
func TestTheHierarchyLivesInTheArena(t *testing.T) {
	f := sealtest.New(t)
	h := build(t, f)
	a, err := arena.New()
	ok(t, err)
	defer a.Close() //nolint:errcheck // of a test
	used := func(what string, want int) {
		t.Helper()
		if got := a.Figures(); got.Used != want || got.Full != 0 {
			t.Errorf("%s: %d secrets are in the arena, want %d", what, got.Used, want)
		}
	}
	ok(t, f.Root.Move(a))
	used("root key", 1)
	f.Keychain, err = seal.OpenKeychain(f.Root, f.Blob)
	ok(t, err)
	used("keychain: three keys of one use, the signing seed, one store key, one MAC key", 1+6)
	if _, err := f.Keychain.Signer().Sign([]byte("checkpoint")); err != nil { // ed25519 wants its key on the heap
		t.Errorf("sign with a key of the arena: %v", err)
	}
	f.Epochs, err = seal.OpenEpochs(f.Dirs, f.Root, 1)
	ok(t, err)
	used("epoch KEK", 1+6+1)
	h.check(t, f)
	before := a.Figures().Used
	f.Config, f.Root, err = f.Root.BeginRotation(f.Config, f.Now.Add(time.Hour))
	ok(t, err)
	used("second generation of the root key, beside the first root", before+2)
}
