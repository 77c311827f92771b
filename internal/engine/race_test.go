package engine_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/store"
	"github.com/keyhold/keyhold/internal/store/mem"
)

// slowProvider makes material when it is told to.
type slowProvider struct {
	provider.Provider
	begun, proceed chan struct{}
}

func (p *slowProvider) Generate(s provider.Spec, wrap *box.Key, place []byte) (provider.Generated, error) {
	if p.begun != nil {
		p.begun <- struct{}{}
		<-p.proceed
	}
	return p.Provider.Generate(s, wrap, place)
}

// A key whose shred secret was wrapped before an epoch rolled, and stored after, is not lost with the old epoch.
func TestAKeyMadeWhileTheEpochRollsIsNotLost(t *testing.T) {
	slow := &slowProvider{}
	w := newWorld(t, func(c *engine.Config) { slow.Provider, c.Provider = c.Provider, slow })
	slow.begun, slow.proceed = make(chan struct{}), make(chan struct{})
	created, rolled := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: "k", Algorithm: kms.AES256GCM})
		created <- err
	}()
	<-slow.begun
	go func() {
		_, err := w.e.RollEpoch(t.Context(), operator())
		rolled <- err
	}()
	select {
	case <-rolled:
		t.Error("the epoch rolled while a key was being made under it")
	case <-time.After(200 * time.Millisecond): // it waits
	}
	close(slow.proceed)
	wantCode(t, <-created, 0)
	if !t.Failed() {
		wantCode(t, <-rolled, 0)
	}
	w.encrypt("k", "x", nil)
	if out, err := w.e.CheckStore(t.Context(), operator()); err != nil || out.DamagedCount != 0 || out.Versions != 1 {
		t.Fatalf("got %+v %v", out, err)
	}
}

// tripped runs something once, between a read of the store and what the reader does with it.
type tripped struct {
	store.Store
	trip atomic.Pointer[func()]
}

func (s *tripped) Get(ctx context.Context, keys ...[]byte) ([]store.Record, kms.Rev, error) {
	recs, rev, err := s.Store.Get(ctx, keys...)
	if len(keys) == 2 && keys[0][0] == 'V' { // a version and its shred row
		if f := s.trip.Swap(nil); f != nil {
			(*f)()
		}
	}
	return recs, rev, err
}

// A version that was read before an epoch rolled opens after it.
func TestAKeyOpensWhileTheEpochRolls(t *testing.T) {
	st := &tripped{Store: mem.Open(mem.Config{})}
	w := newWorldOn(t, st)
	w.create("k", kms.AES256GCM, 0)
	c := w.encrypt("k", "x", nil)
	w.restart() // nothing is in memory
	roll := func() {
		if _, err := w.e.RollEpoch(t.Context(), operator()); err != nil {
			t.Error(err)
		}
	}
	st.trip.Store(&roll)
	if got, err := w.decrypt(user, c, nil); err != nil || got != "x" {
		t.Fatalf("got %q %v", got, err)
	}
	if st.trip.Load() != nil || w.e.Status(t.Context()).Epoch != 2 {
		t.Fatal("no epoch rolled")
	}
}

// A repeated creation is decided anew on the key that it is about, not on the namespace.
func TestARepeatedCreationSurvivesAChangeOfPolicies(t *testing.T) {
	f := &faulty{}
	w := newWorld(t, withFaults(f))
	once := admin
	once.Token = "once"
	in := engine.CreateKeyInput{Name: "k", Algorithm: kms.AES256GCM}
	first, err := w.e.CreateKey(t.Context(), once, in)
	wantCode(t, err, 0)
	for _, c := range []struct {
		text string
		want kms.Code
	}{
		{`permit (principal == Principal::"nobody", action == Action::"Encrypt", resource);`, 0},
		{`forbid (principal == Principal::"alice", action == Action::"CreateKey", resource);`, kms.CodeWithheld},
	} {
		f.before = func(r *audit.Record) {
			if r.Outcome == audit.Replayed {
				f.before = nil
				_, err := w.e.PutPolicy(t.Context(), admin, engine.PutPolicyInput{ID: "p", Text: c.text})
				wantCode(t, err, 0)
			}
		}
		out, err := w.e.CreateKey(t.Context(), once, in)
		wantCode(t, err, c.want)
		if f.before != nil || c.want == 0 && out.Key.ID != first.Key.ID {
			t.Fatalf("got %+v", out)
		}
	}
}

// A rehearsal of a rotation names a version that is not there, and needs none.
func TestARehearsedRotationSurvivesAChangeOfPolicies(t *testing.T) {
	f := &faulty{}
	w := newWorld(t, withFaults(f))
	w.create("k", kms.AES256GCM, 0)
	f.before = func(r *audit.Record) {
		if r.Outcome == audit.DryRun {
			f.before = nil
			_, err := w.e.PutPolicy(t.Context(), admin, engine.PutPolicyInput{ID: "p", Text: `permit (principal == Principal::"nobody", action == Action::"Encrypt", resource);`})
			wantCode(t, err, 0)
		}
	}
	rehearsal := admin
	rehearsal.DryRun = true
	out, err := w.e.RotateKey(t.Context(), rehearsal, engine.RotateKeyInput{Key: "k"})
	wantCode(t, err, 0)
	if f.before != nil || out.Key.Primary != 2 {
		t.Fatalf("got %+v", out.Key)
	}
}

// What a batch used has to be permitted until its answer leaves, and nothing else: every version that opened an item, and none of those that
// were refused.
func TestABatchIsHeldToTheVersionsThatItUsed(t *testing.T) {
	f := &faulty{}
	w := newWorld(t, withFaults(f))
	w.create("k", kms.AES256GCM, 0)
	var made [][]byte
	for range 3 {
		made = append(made, w.encrypt("k", "x", nil))
		if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k"}); err != nil {
			t.Fatal(err)
		}
	}
	deactivate := func(n uint32) {
		_, err := w.e.DeactivateVersion(t.Context(), admin, engine.DeactivateInput{Key: "k", Version: n})
		wantCode(t, err, 0)
	}
	decrypt := func(meanwhile func(), items ...int) (engine.DecryptOutput, error) {
		f.before = func(r *audit.Record) {
			if r.Action == kms.Decrypt {
				f.before = nil
				meanwhile()
			}
		}
		in := engine.DecryptInput{}
		for _, i := range items {
			in.Items = append(in.Items, engine.DecryptItem{Ciphertext: made[i]})
		}
		return w.e.Decrypt(t.Context(), user, in)
	}
	deactivate(1)
	about := "changed"
	out, err := decrypt(func() {
		_, err := w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: "k", Description: &about})
		wantCode(t, err, 0)
	}, 0, 1)
	wantCode(t, err, 0)
	if out.Items[0].Err == nil || out.Items[0].Err.Code != kms.CodeVersionState || out.Items[1].Err != nil {
		t.Fatalf("got %+v", out.Items)
	}
	_, err = decrypt(func() { deactivate(2) }, 2, 1)
	wantCode(t, err, kms.CodeWithheld)
}
