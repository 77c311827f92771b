package engine_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// GEN-3: every algorithm, in every usage that it serves, goes through the whole life of a key: made, used, rotated, used by what the old version made, deactivated, destroyed.
func TestEveryAlgorithmGoesThroughAWholeLife(t *testing.T) {
	slow := []kms.Algorithm{kms.RSA3072, kms.RSA4096, kms.SLHDSASHA2128s} // in long runs only
	w := newWorld(t)
	type life struct {
		name       string
		first, now func() error // use what the two versions made
	}
	var all []life
	for _, a := range kms.AllAlgorithms() {
		if !long() && slices.Contains(slow, a) {
			continue
		}
		for _, u := range a.Usages() {
			l := life{name: fmt.Sprintf("%s/%s", a, u)}
			key := kms.Ref(l.name)
			w.create(l.name, a, u)
			l.first = w.protected(key, u)
			out, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: key})
			if err != nil || out.Key.Primary != 2 || out.Key.Algorithm != a || out.Key.Usage != u {
				t.Fatalf("%s: rotated: %v, %+v", l.name, err, out)
			}
			l.now = w.protected(key, u)
			if err := l.first(); err != nil {
				t.Errorf("%s: what the old version made: %v", l.name, err)
			}
			if _, err := w.e.DeactivateVersion(t.Context(), admin, engine.DeactivateInput{Key: key, Version: 1}); err != nil {
				t.Errorf("%s: deactivate: %v", l.name, err)
			}
			if got := kms.CodeOf(l.first()); got != kms.CodeVersionState {
				t.Errorf("%s: deactivated, the old version answers %v, want %s", l.name, got, kms.CodeVersionState)
			}
			if err := l.now(); err != nil {
				t.Errorf("%s: what the new version made: %v", l.name, err)
			}
			all = append(all, l)
		}
	}
	if !long() && len(all) < 35 {
		t.Fatalf("%d lives", len(all))
	}
	w.restart()
	for _, l := range all {
		if err := l.now(); err != nil {
			t.Errorf("%s: after a restart: %v", l.name, err)
		}
		if _, err := w.schedule(admin, engine.DestroyInput{Key: kms.Ref(l.name), Window: week}); err != nil {
			t.Fatalf("%s: %v", l.name, err)
		}
		if got := kms.CodeOf(l.now()); got != kms.CodeKeyPendingDestruction {
			t.Errorf("%s: about to be destroyed it answers %v, want %s", l.name, got, kms.CodeKeyPendingDestruction)
		}
	}
	w.now = w.now.Add(week)
	for range 3 { // as many as a round does
		w.e.Upkeep(t.Context())
	}
	for _, l := range all {
		out, err := w.e.DescribeKey(t.Context(), user, engine.KeyInput{Key: kms.Ref(l.name)})
		if err != nil || out.Key.Switch != kms.DestroyedKey || len(out.Versions) != 2 || out.Versions[0].State != kms.Destroyed || out.Versions[1].State != kms.Destroyed {
			t.Errorf("%s: destroyed: %+v %v", l.name, out, err)
		}
		if got := kms.CodeOf(l.now()); got != kms.CodeKeyDestroyed {
			t.Errorf("%s: destroyed it answers %v, want %s", l.name, got, kms.CodeKeyDestroyed)
		}
	}
}
