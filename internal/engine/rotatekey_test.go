package engine_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/release"
	"github.com/keyhold/keyhold/internal/store"
	"github.com/keyhold/keyhold/internal/store/mem"
)

func long() bool { return os.Getenv("KEYHOLD_LONG") == "1" }

// protected does what a key's usage is for, and answers what proves later that the version that did it still works.
func (w *world) protected(key kms.Ref, u kms.Usage) func() error {
	w.t.Helper()
	ctx := w.t.Context()
	text := []byte("123456789")
	must := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	same := func(got, want string) error {
		if got != want {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	}
	switch u {
	case kms.EncryptDecrypt:
		out, err := w.e.Encrypt(ctx, user, engine.EncryptInput{Key: key, Items: []engine.EncryptItem{{Plaintext: text}}})
		must(err)
		return func() error {
			got, err := w.decrypt(user, out.Items[0].Ciphertext, nil)
			if err != nil {
				return err
			}
			return same(got, string(text))
		}
	case kms.SignVerify:
		out, err := w.e.Sign(ctx, user, engine.SignInput{Key: key, Items: []engine.SignItem{{Message: text}}})
		must(err)
		return func() error {
			_, err := w.e.Verify(ctx, user, engine.VerifyInput{Key: key, Version: out.Version, Items: []engine.VerifyItem{{Message: text, Signature: out.Items[0].Signature}}})
			if err != nil {
				return err
			}
			_, err = w.e.GetPublicKey(ctx, user, engine.PublicKeyInput{Key: key, Version: out.Version})
			return err
		}
	case kms.MAC:
		out, err := w.e.GenerateMAC(ctx, user, engine.MACInput{Key: key, Items: []engine.MACItem{{Message: text}}})
		must(err)
		return func() error {
			_, err := w.e.VerifyMAC(ctx, user, engine.VerifyMACInput{Key: key, Version: out.Version, Items: []engine.VerifyMACItem{{Message: text, MAC: out.Items[0].MAC}}})
			return err
		}
	case kms.KeyAgreement:
		public, err := w.e.GetPublicKey(ctx, user, engine.PublicKeyInput{Key: key})
		must(err)
		z := func() (string, error) {
			out, err := w.e.DeriveSharedSecret(ctx, user, engine.DeriveInput{Key: key, Version: public.Version, PeerPublic: public.DER})
			return string(out.Secret.Wire(release.Wire{})), err
		}
		first, err := z()
		must(err)
		return func() error {
			again, err := z()
			if err != nil {
				return err
			}
			return same(again, first)
		}
	case kms.Encapsulation:
		out, err := w.e.Encapsulate(ctx, user, engine.EncapsulateInput{Key: key})
		must(err)
		return func() error {
			got, err := w.e.Decapsulate(ctx, user, engine.DecapsulateInput{Key: key, Version: out.Version, Ciphertext: out.Ciphertext})
			if err != nil {
				return err
			}
			return same(string(got.Secret.Wire(release.Wire{})), string(out.Secret.Wire(release.Wire{})))
		}
	case kms.Wrapping:
		out, err := w.e.WrapKey(ctx, user, engine.WrapInput{Key: key, Items: []engine.WrapItem{{Material: text}}})
		must(err)
		return func() error {
			got, err := w.e.UnwrapKey(ctx, user, engine.WrapInput{Key: key, Version: out.Version, Items: []engine.WrapItem{{Material: out.Items[0].Wrapped}}})
			if err != nil {
				return err
			}
			return same(string(got.Items[0].Material.Wire(release.Wire{})), string(text))
		}
	case kms.FormatPreserving:
		out, err := w.e.EncryptFormat(ctx, user, engine.FormatInput{Key: key, Items: []engine.FormatItem{{Text: text}}})
		must(err)
		return func() error {
			got, err := w.e.DecryptFormat(ctx, user, engine.FormatInput{Key: key, Version: out.Version, Items: []engine.FormatItem{{Text: []byte(out.Items[0].Text)}}})
			if err != nil {
				return err
			}
			return same(string(got.Items[0].Text.Wire(release.Wire{})), string(text))
		}
	}
	w.t.Fatalf("no test for %s", u)
	return nil
}

// GEN-5: a key goes through every algorithm of its usage, there and back, under one id; what each version made goes on opening under each that follows.
func TestAKeyGoesThroughEveryAlgorithmOfItsUsage(t *testing.T) {
	slow := []kms.Algorithm{kms.RSA3072, kms.RSA4096, kms.SLHDSASHA2128s, kms.SLHDSASHA2128f} // in long runs only
	for _, u := range kms.AllUsages() {
		for _, asymmetric := range []bool{false, true} {
			var chain []kms.Algorithm
			for _, a := range kms.AllAlgorithms() {
				if a.Facts().Asymmetric == asymmetric && slices.Contains(a.Usages(), u) && (long() || !slices.Contains(slow, a)) {
					chain = append(chain, a)
				}
			}
			if len(chain) == 0 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%v", u, asymmetric), func(t *testing.T) {
				w := newWorld(t)
				k := w.create("k", chain[0], u)
				made := map[kms.Algorithm]func() error{chain[0]: w.protected("k", u)}
				back := slices.Clone(chain[:len(chain)-1])
				slices.Reverse(back)
				for _, a := range append(chain[1:], back...) {
					out, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k", Algorithm: a})
					if err != nil || out.Key.ID != k.ID || out.Key.Algorithm != a || out.Versions[0].Algorithm != a || out.Key.Rotated.IsZero() {
						t.Fatalf("to %s: %v, %+v", a, err, out)
					}
					made[a] = w.protected("k", u)
					for from, opens := range made {
						if err := opens(); err != nil {
							t.Errorf("made by %s, primary is %s: %v", from, a, err)
						}
					}
				}
				w.restart()
				for from, opens := range made {
					if err := opens(); err != nil {
						t.Errorf("made by %s, after a restart: %v", from, err)
					}
				}
				if out, err := w.e.CheckStore(t.Context(), operator()); err != nil || out.DamagedCount != 0 {
					t.Errorf("the store's check: %+v %v", out, err)
				}
			})
		}
	}
}

func TestOnlyAnAlgorithmOfTheSamePurposeFollows(t *testing.T) {
	w := newWorld(t)
	w.create("aes", kms.AES256GCM, 0)
	w.create("rsa", kms.RSA2048, kms.EncryptDecrypt)
	w.create("hmac", kms.HMACSHA256, 0)
	for _, c := range []struct {
		key  kms.Ref
		to   kms.Algorithm
		want kms.Code
	}{
		{"aes", kms.HMACSHA256, kms.CodeUsage}, {"aes", kms.Ed25519, kms.CodeUsage}, {"aes", kms.AES256Wrap, kms.CodeUsage},
		{"aes", kms.RSA2048, kms.CodeAlgorithm}, {"rsa", kms.AES256GCM, kms.CodeAlgorithm},
		{"rsa", kms.MLKEM768, kms.CodeUsage}, {"rsa", kms.MLDSA65, kms.CodeUsage}, {"aes", kms.Algorithm(250), kms.CodeAlgorithm},
	} {
		for _, rehearsal := range []bool{true, false} {
			call := admin
			call.DryRun = rehearsal
			_, err := w.e.RotateKey(t.Context(), call, engine.RotateKeyInput{Key: c.key, Algorithm: c.to})
			if got := kms.CodeOf(err); got != c.want {
				t.Errorf("%s to %s (rehearsal %v): got %v (%v), want %v", c.key, c.to, rehearsal, got, err, c.want)
			}
		}
	}
}

func TestARotationSaysWhoWhenAndWhy(t *testing.T) {
	w := newWorld(t)
	k := w.create("k", kms.AES128GCM, 0)
	call := admin
	call.Reason = "stronger"
	if _, err := w.e.RotateKey(t.Context(), call, engine.RotateKeyInput{Key: "k", Algorithm: kms.AES256GCM}); err != nil {
		t.Fatal(err)
	}
	recs := w.records(audit.Filter{Action: kms.RotateKey, Key: k.ID})
	if len(recs) != 1 || recs[0].Name != "alice" || recs[0].Reason != "stronger" || recs[0].Keys[0].Version != 2 ||
		recs[0].Detail != "primary 1 to 2, by hand; self-test passed; aes-128-gcm to aes-256-gcm" {
		t.Fatalf("got %+v", recs)
	}
	// W11: the version before stays active, so that clients which look at its state go on.
	out, err := w.e.DescribeKey(t.Context(), user, engine.KeyInput{Key: "k"})
	if err != nil || len(out.Versions) != 2 || out.Versions[1].State != kms.Active || !out.Key.Rotated.Equal(w.now) {
		t.Fatalf("got %+v %v", out, err)
	}
}

// damageVersion flips a bit of a stored version.
func (w *world) damageVersion(id kms.ID, n uint32) {
	w.t.Helper()
	path := append([]byte{'V'}, id[:]...)
	path = append(path, 0, 0, 0, byte(n))
	recs, _, err := w.store.Get(w.t.Context(), path)
	if err != nil || recs[0].Rev == 0 {
		w.t.Fatalf("no version: %v", err)
	}
	bad := slices.Clone(recs[0].Value)
	bad[len(bad)/2] ^= 4
	if _, err := w.store.Commit(w.t.Context(), store.Txn{Then: []store.Write{{Key: path, Value: bad}}}); err != nil {
		w.t.Fatal(err)
	}
}

// W6: every rotation tests itself before the switch.
func TestARotationWhoseSelfTestFailsChangesNothing(t *testing.T) {
	for name, damage := range map[string]func(w *world, k kms.Key){
		"the record is damaged": func(w *world, k kms.Key) { w.damageVersion(k.ID, 1) },
		"the canary is another's": func(w *world, k kms.Key) {
			w.e.SetCanary(w.t.Context(), k.ID, 1, w.e.CanaryOf(w.t.Context(), w.create("other", kms.AES256GCM, 0).ID, 1))
		},
		"the canary was shortened":  func(w *world, k kms.Key) { w.e.SetCanary(w.t.Context(), k.ID, 1, []byte{1, 2, 3}) },
		"the material is another's": func(w *world, k kms.Key) { w.e.SwapCheck(w.t.Context(), k.ID, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			k := w.create("k", kms.AES256GCM, 0)
			damage(w, k)
			w.restart()
			_, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k"})
			wantCode(t, err, kms.CodeSelfTest)
			out, err := w.e.DescribeKey(t.Context(), user, engine.KeyInput{Key: "k"})
			if name != "the record is damaged" && (err != nil || out.Key.Primary != 1 || out.Key.Latest != 1 || len(out.Versions) != 1) {
				t.Errorf("something changed: %+v %v", out, err)
			}
			if recs := w.records(audit.Filter{Action: kms.RotateKey}); len(recs) != 1 || recs[0].Outcome != audit.Failed || recs[0].Code != kms.CodeSelfTest {
				t.Errorf("recorded: %+v", recs)
			}
			if !strings.Contains(w.output.String(), "rotation_self_test_failed") {
				t.Error("operators are not told")
			}
			if check, err := w.e.CheckStore(t.Context(), operator()); err != nil || check.DamagedCount == 0 {
				t.Errorf("the store's check found nothing: %+v %v", check, err)
			}
		})
	}
}

// LIF-4: the switch is atomic for clients.
func TestClientsNoticeNothingOfRotations(t *testing.T) {
	rotations := 100
	if long() {
		rotations = 1000
	}
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all sync.WaitGroup
	var done atomic.Int64
	for range 4 {
		all.Go(func() {
			var last []byte
			for ctx.Err() == nil {
				out, err := w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: "k", Items: []engine.EncryptItem{{Plaintext: []byte("x")}}})
				if err != nil {
					t.Errorf("encrypt: %v", err)
					return
				}
				for _, c := range [][]byte{out.Items[0].Ciphertext, last} {
					if c == nil {
						continue
					}
					if got, err := w.decrypt(user, c, nil); err != nil || got != "x" {
						t.Errorf("decrypt: %q %v", got, err)
						return
					}
				}
				last = out.Items[0].Ciphertext
				done.Add(1)
			}
		})
	}
	for range rotations {
		if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k"}); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	all.Wait()
	if done.Load() == 0 {
		t.Fatal("nobody used the key meanwhile")
	}
}

// P5: what a rotation and a decryption cost does not depend on the number of versions. The records that they read are counted; with KEYHOLD_LONG=1 decrypting is timed as well.
func TestRotationsCostTheSameHoweverManyVersionsThereAre(t *testing.T) {
	versions, decryptions := size(300, 10_000), size(300, 20_000)
	st := &counted{Store: mem.Open(mem.Config{})}
	w := newWorldOn(t, st)
	w.create("k", kms.AES256GCM, 0)
	w.create("one", kms.AES256GCM, 0)
	one, old := w.encrypt("one", "x", nil), [][]byte{w.encrypt("k", "x", nil)}
	rotate := func(n int) (each []int64) {
		for range n {
			each = append(each, st.during(func() {
				if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k"}); err != nil {
					t.Fatal(err)
				}
			}, 'K', 'V', 'R', 'n'))
			old = append(old, w.encrypt("k", "x", nil))
		}
		slices.Sort(each)
		return each
	}
	first := rotate(versions / 10)
	rotate(versions - 2*(versions/10) - 1)
	last := rotate(versions / 10)
	if f, l := first[len(first)/2], last[len(last)/2]; l > f || f == 0 {
		t.Errorf("a rotation read %d records at the beginning, and %d with %d versions", f, l, len(old))
	}

	decrypt := func(c []byte) time.Duration {
		began := time.Now()
		if _, err := w.decrypt(user, c, nil); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	decrypt(one)
	for _, c := range old { // each is opened once
		decrypt(c)
	}
	var few, many []time.Duration // by turns, so that what else the machine does meets both
	read := st.during(func() {
		for i := range decryptions {
			if i%2 == 0 {
				few = append(few, decrypt(one))
			}
			many = append(many, decrypt(old[i*7919%len(old)]))
			if i%2 == 1 {
				few = append(few, decrypt(one))
			}
		}
	}, 'K', 'V', 'R', 'n')
	if read > int64(decryptions)/10 && !long() { // what else the server does may read a few
		t.Errorf("%d decryptions with versions that were opened read %d records", 2*decryptions, read)
	}
	slices.Sort(few)
	slices.Sort(many)
	f50, f99, m50, m99 := quantile(few, 0.5), quantile(few, 0.99), quantile(many, 0.5), quantile(many, 0.99)
	t.Logf("decrypting: p50 %s p99 %s with one version, p50 %s p99 %s with any of %d", f50, f99, m50, m99, len(old))
	if long() && (m50 > 2*f50+time.Millisecond || m99 > f99+f99/5) {
		t.Errorf("decrypting takes %s, and %s at the 99th percentile, with one version, %s and %s with many", f50, f99, m50, m99)
	}
}
