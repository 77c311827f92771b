package engine_test

import (
	"crypto/rand"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider/soft"
)

// How a random source is out of order.
const (
	sound int32 = iota
	stuck       // it repeats one byte: the health test fails, which is final
	gone        // it cannot be read: it may come back
)

// fallible is a random source that a test breaks.
type fallible struct{ how atomic.Int32 }

func (f *fallible) Read(b []byte) (int, error) {
	switch f.how.Load() {
	case stuck:
		for i := range b {
			b[i] = 0x5a
		}
		return len(b), nil
	case gone:
		return 0, errors.New("device gone")
	}
	return rand.Read(b)
}

func (f *fallible) option(t *testing.T) option {
	t.Helper()
	return func(c *engine.Config) {
		p, err := soft.New(soft.Config{Random: f})
		if err != nil {
			t.Fatal(err)
		}
		c.Provider = p
	}
}

// GEN-1: a random source that fails stops whatever needs it, with a named error, and nothing is made; the server lives, says that it is not well, and goes on when the source
// is sound again: by itself if it could not be read, after a restart if it failed its health test.
func TestAFailedRandomSourceMakesNothing(t *testing.T) {
	for name, how := range map[string]int32{"stuck": stuck, "gone": gone} {
		t.Run(name, func(t *testing.T) {
			source := &fallible{}
			w := newWorld(t, source.option(t))
			k := w.create("k", kms.AES256GCM, 0)
			w.create("leaked", kms.AES256GCM, 0)
			w.period("k", kms.Period{Every: 86400})
			c := w.encrypt("k", "x", nil)
			source.how.Store(how)
			for what, do := range map[string]func(kms.Call) error{
				"create": func(c kms.Call) error {
					return second(w.e.CreateKey(t.Context(), c, engine.CreateKeyInput{Name: "n", Algorithm: kms.AES256GCM}))
				},
				"create rsa": func(c kms.Call) error {
					return second(w.e.CreateKey(t.Context(), c, engine.CreateKeyInput{Name: "n", Algorithm: kms.RSA2048, Usage: kms.SignVerify}))
				},
				"create pair": func(c kms.Call) error {
					return second(w.e.CreateKey(t.Context(), c, engine.CreateKeyInput{Name: "n", Algorithm: kms.MLKEM768}))
				},
				"rotate": func(c kms.Call) error { return second(w.e.RotateKey(t.Context(), c, engine.RotateKeyInput{Key: "k"})) },
				"data key": func(kms.Call) error {
					return second(w.e.GenerateDataKey(t.Context(), user, engine.DataKeyInput{Key: "k", Bytes: 32}))
				},
				"data keys": func(kms.Call) error {
					return second(w.e.RegisterDataKey(t.Context(), user, engine.RegisterDataKeyInput{Key: "k", Name: "d"}))
				},
				"random": func(kms.Call) error {
					return second(w.e.GenerateRandom(t.Context(), user, engine.RandomInput{Bytes: 16}))
				},
			} {
				if got := kms.CodeOf(do(admin)); got != kms.CodeRandomness {
					t.Errorf("%s: got %v, want %s", what, got, kms.CodeRandomness)
				}
			}
			if st := w.e.Status(t.Context()); st.Ready || st.Sealed || st.Problem == nil || st.Problem.Code != kms.CodeRandomness {
				t.Errorf("it says of itself: %+v", st)
			}
			w.now = w.now.Add(day + 1)
			w.e.Upkeep(t.Context())
			if got := w.keyNow("k"); got.Latest != 1 || got.Primary != 1 {
				t.Errorf("a version was made: %+v", got)
			}
			if out, err := w.e.ListKeys(t.Context(), user, engine.ListKeysInput{}); err != nil || len(out.Keys) != 2 {
				t.Errorf("%d keys, %v; want the two that were there", len(out.Keys), err)
			}
			if recs := w.records(audit.Filter{Action: kms.RotateKey, Key: k.ID}); len(recs) != 2 || recs[0].Outcome != audit.Failed || recs[0].Code != kms.CodeRandomness || recs[0].Name != "keyhold" {
				t.Errorf("recorded: %+v", recs)
			}
			// What needs nothing new goes on, and what is dangerous is stopped although nothing can take its place.
			if got, err := w.decrypt(user, c, nil); err != nil || got != "x" {
				t.Errorf("decrypting: %q %v", got, err)
			}
			out, err := w.e.CompromiseVersion(t.Context(), admin, engine.CompromiseInput{Key: "leaked", Versions: []uint32{1}})
			if err != nil || out.Key.Latest != 1 || out.Versions[0].State != kms.Compromised {
				t.Errorf("compromise: %+v %v", out, err)
			}
			wantCode(t, second(w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: "leaked", Items: []engine.EncryptItem{{Plaintext: []byte("x")}}})), kms.CodeVersionState)

			source.how.Store(sound)
			if how == stuck { // a source that failed once is not trusted because it recovered
				wantCode(t, second(w.e.GenerateRandom(t.Context(), user, engine.RandomInput{Bytes: 16})), kms.CodeRandomness)
				w.restart(source.option(t))
			}
			if st := w.e.Status(t.Context()); !st.Ready {
				t.Errorf("well again, it says: %+v", st.Problem)
			}
			w.e.Upkeep(t.Context())
			if got := w.keyNow("k"); got.Primary != 2 {
				t.Errorf("what was due did not happen: %+v", got)
			}
			w.rotate("leaked")
			w.encrypt("leaked", "x", nil)
		})
	}
}
