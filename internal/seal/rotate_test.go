package seal_test

import (
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/seal/sealtest"
)

func TestARotationIsDoneInStepsThatSurviveARestart(t *testing.T) {
	f := sealtest.New(t)
	h := build(t, f)
	old, oldConfig := f.Root, f.Config
	_, _, err := old.FinishRotation(f.Config, 0)
	wantCode(t, err, kms.CodeAlreadyDone)

	f.Config, f.Root, err = old.BeginRotation(f.Config, now)
	ok(t, err)
	if g := f.Config.Generations(); len(g) != 2 || f.Root.Generation() != 2 || !f.Root.Rotating() || !g[1].Created.Equal(now) {
		t.Fatalf("generations %v", g)
	}
	_, _, err = f.Root.BeginRotation(f.Config, now)
	wantCode(t, err, kms.CodeConflict)
	wantCode(t, old.Verify(f.Config), kms.CodeRecordDamaged)
	old.Zero()
	f.Reopen(t)
	h.check(t, f)

	// Re-wrap, restart in between, and repeat: the second time there is nothing to do.
	for round := range 2 {
		shred, err := f.Epochs.OpenShred(h.shredRow, namespacePlace)
		ok(t, err)
		var changed [2]bool
		h.wrapped, changed[0], err = f.Root.RewrapKEK(h.wrapped, shred, namespacePlace)
		ok(t, err)
		f.Blob, changed[1], err = f.Root.RewrapKeychain(f.Blob)
		ok(t, err)
		if want := round == 0; changed[0] != want || changed[1] != want {
			t.Errorf("round %d: changed %v, want %v", round, changed, want)
		}
		if got, want := f.Epochs.Left(f.Root), 1-round; got != want {
			t.Errorf("round %d: %d epoch files left, want %d", round, got, want)
		}
		ok(t, f.Epochs.RewrapRoot(f.Root, f.Config))
		f.Reopen(t)
		h.check(t, f)
	}
	for _, w := range [][]byte{h.wrapped, f.Blob} {
		if g, err := seal.WrappedUnder(w); g != 2 || err != nil {
			t.Errorf("wrapped under %d (%v), want 2", g, err)
		}
	}

	_, _, err = f.Root.FinishRotation(f.Config, 1)
	wantCode(t, err, kms.CodeConflict)
	f.Config, f.Root, err = f.Root.FinishRotation(f.Config, 0)
	ok(t, err)
	f.Reopen(t)
	h.check(t, f)
	if g := f.Config.Generations(); len(g) != 1 || g[0].Number != 2 || f.Root.Rotating() {
		t.Errorf("generations after the rotation: %v", g)
	}
	// The old configuration still opens, with the old root; what is wrapped now does not open with it.
	private, err := oldConfig.WithSeed(seal.KindKeyFile, f.Seed)
	ok(t, err)
	before, err := oldConfig.Open(private)
	ok(t, err)
	_, err = seal.OpenKeychain(before, f.Blob)
	wantCode(t, err, kms.CodeRecordDamaged)
	_, err = before.UnwrapKEK(h.wrapped, seal.NewShredSecret(), namespacePlace)
	wantCode(t, err, kms.CodeRecordDamaged)
	_, err = seal.OpenEpochs(f.Dirs, before, 0)
	wantCode(t, err, kms.CodeRecordDamaged)
}

func TestARecipientAddedDuringARotationGetsBothGenerations(t *testing.T) {
	f := sealtest.New(t)
	h := build(t, f)
	var err error
	f.Config, f.Root, err = f.Root.BeginRotation(f.Config, now)
	ok(t, err)
	f.Seed = seal.NewShredSecret() // any 32 random bytes
	e, err := seal.NewKeyFile(now, "late", f.Seed)
	ok(t, err)
	f.Config, err = f.Root.AddRecipient(f.Config, e)
	ok(t, err)
	f.Reopen(t)
	h.check(t, f)
}
