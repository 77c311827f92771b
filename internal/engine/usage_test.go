package engine_test

import (
	"testing"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

func (w *world) usage(key string) engine.UsageOutput {
	w.t.Helper()
	out, err := w.e.ReadUsage(w.t.Context(), admin, engine.UsageInput{Key: kms.Ref(key)})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// assess looks at what the destruction of a key would reach, as has to be done before.
func (w *world) assess(ref kms.Ref) {
	w.t.Helper()
	if _, err := w.e.AssessKey(w.t.Context(), admin, engine.AssessInput{Key: ref}); err != nil {
		w.t.Fatal(err)
	}
}

// schedule asks for the destruction of a key, whose reach was looked at just before.
func (w *world) schedule(c kms.Call, in engine.DestroyInput) (engine.KeyOutput, error) {
	looks := c
	looks.Token = ""
	if _, err := w.e.AssessKey(w.t.Context(), looks, engine.AssessInput{Key: in.Key}); err != nil {
		return engine.KeyOutput{}, err
	}
	return w.e.ScheduleKeyDestruction(w.t.Context(), c, in)
}

// done adds up what principals did with a version.
func done(out engine.UsageOutput, version uint32) map[string]uint64 {
	all := map[string]uint64{}
	for _, v := range out.Versions {
		if v.Version != version {
			continue
		}
		for _, u := range v.Users {
			for _, o := range u.Operations {
				name := u.Name + " " + o.Action.String()
				if o.Code != 0 {
					name += " " + o.Code.String()
				}
				all[name] += o.Count
			}
		}
	}
	return all
}

// TestEveryUseIsCountedOnce counts single uses, items of batches, refusals and both sides of a re-encryption, again after restarts.
func TestEveryUseIsCountedOnce(t *testing.T) { // LIF-13
	w := newWorld(t)
	w.create("a", kms.AES256GCM, 0)
	w.create("b", kms.AES256GCM, 0)
	c := w.encrypt("a", "one", nil)
	for range 3 {
		if _, err := w.decrypt(user, c, nil); err != nil {
			t.Fatal(err)
		}
	}
	items := []engine.EncryptItem{{Plaintext: []byte("x")}, {Plaintext: []byte("y")}, {Plaintext: []byte("z")}}
	if _, err := w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: "a", Items: items}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.ReEncrypt(t.Context(), user, engine.ReEncryptInput{To: "b", Items: []engine.ReEncryptItem{{Ciphertext: c}}}); err != nil {
		t.Fatal(err)
	}
	_, err := w.decrypt(carol, c, nil)
	wantCode(t, err, kms.CodeDenied)
	want := map[string]uint64{"svc/orders Encrypt": 4, "svc/orders Decrypt": 3, "svc/orders ReEncryptFrom": 1}
	for range 3 {
		out := w.usage("a")
		wantCounts(t, done(out, 1), want)
		wantCounts(t, done(out, 0), map[string]uint64{"carol Decrypt " + kms.CodeDenied.String(): 1})
		wantCounts(t, done(w.usage("b"), 1), map[string]uint64{"svc/orders ReEncryptTo": 1})
		w.restart()
	}
}

func wantCounts(t *testing.T, got, want map[string]uint64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got %v want %v", got, want)
		return
	}
	for k, n := range want {
		if got[k] != n {
			t.Errorf("got %v want %v", got, want)
			return
		}
	}
}
