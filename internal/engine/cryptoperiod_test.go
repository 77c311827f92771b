package engine_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

func (w *world) period(name string, p kms.Period) kms.Key {
	w.t.Helper()
	out, err := w.e.ScheduleRotation(w.t.Context(), admin, engine.ScheduleRotationInput{Key: kms.Ref(name), Period: p})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Key
}

func (w *world) keyNow(name string) kms.Key {
	w.t.Helper()
	out, err := w.e.DescribeKey(w.t.Context(), user, engine.KeyInput{Key: kms.Ref(name)})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Key
}

// LIF-4: a key is rotated by its schedule, once, and after a restart too; the old version decrypts.
func TestAKeyIsRotatedBySchedule(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	c := w.encrypt("k", "x", nil)
	k := w.period("k", kms.Period{Every: 86400})
	if !k.RotateAt.Equal(w.now.Add(day).Truncate(time.Second)) {
		t.Fatalf("due at %s", k.RotateAt)
	}
	w.restart()
	w.e.Upkeep(t.Context())
	if got := w.keyNow("k"); got.Primary != 1 {
		t.Fatalf("rotated before its date: version %d", got.Primary)
	}
	for n := uint32(2); n <= 4; n++ {
		w.now = w.now.Add(day + time.Second)
		w.e.Upkeep(t.Context())
		w.e.Upkeep(t.Context())
		if got := w.keyNow("k"); got.Primary != n || !got.RotateAt.Equal(got.Rotated.Truncate(time.Second).Add(day)) {
			t.Fatalf("want version %d: %+v", n, got)
		}
	}
	if got, err := w.decrypt(user, c, nil); err != nil || got != "x" {
		t.Fatalf("got %q %v", got, err)
	}
	recs := w.records(audit.Filter{Action: kms.RotateKey})
	if len(recs) != 3 || recs[0].Name != "keyhold" || !strings.Contains(recs[0].Detail, "by schedule; self-test passed") {
		t.Fatalf("recorded: %+v", recs)
	}
	// By hand the period begins anew; off ends it.
	if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	if k = w.period("k", kms.Period{}); !k.RotateAt.IsZero() || !k.Period.IsZero() {
		t.Fatalf("off: %+v", k)
	}
	w.now = w.now.Add(3 * day)
	w.e.Upkeep(t.Context())
	if got := w.keyNow("k"); got.Primary != 5 {
		t.Fatalf("rotated to %d although it is off", got.Primary)
	}
}

func TestAKeyThatIsOffIsRotatedWhenItIsOnAgain(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	w.period("k", kms.Period{Every: 86400})
	if _, err := w.e.DisableKey(t.Context(), admin, engine.KeyInput{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(2 * day)
	w.e.Upkeep(t.Context())
	if len(w.dueJobs()) != 0 || len(w.records(audit.Filter{Action: kms.RotateKey})) != 0 {
		t.Fatal("a disabled key was tried")
	}
	if _, err := w.e.EnableKey(t.Context(), admin, engine.KeyInput{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	w.e.Upkeep(t.Context())
	if got := w.keyNow("k"); got.Primary != 2 {
		t.Fatalf("version %d", got.Primary)
	}
}

// LIF-5, W8: at 100 % protection is refused, exactly, with 16 clients and a crash; processing goes on.
func TestALimitIsNeverPassed(t *testing.T) {
	const limit = 400
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	w.period("k", kms.Period{Operations: limit})
	c := w.encrypt("k", "x", nil)
	var done atomic.Int64
	done.Add(1)
	use := func(most int64) {
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				for done.Load() < most {
					_, err := w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: "k", Items: []engine.EncryptItem{{Plaintext: []byte("x")}}})
					if kms.CodeOf(err) == kms.CodeCryptoperiod {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					done.Add(1)
				}
			})
		}
		all.Wait()
	}
	use(150)
	// A crash: nothing is given back. What is reserved and not used counts, at most 1 % of the limit.
	if err := w.log.Close(); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.unseal()
	use(limit * 2)
	if n := done.Load(); n > limit || n < limit-limit/100 {
		t.Fatalf("%d operations under a limit of %d", n, limit)
	}
	if got, err := w.decrypt(user, c, nil); err != nil || got != "x" {
		t.Fatalf("processing: %q %v", got, err)
	}
	w.e.Upkeep(t.Context()) // asked for at 80 %
	if got := w.keyNow("k"); got.Primary != 2 {
		t.Fatalf("not rotated: version %d", got.Primary)
	}
	w.encrypt("k", "x", nil)
	if recs := w.records(audit.Filter{Action: kms.RotateKey}); len(recs) != 1 || !strings.Contains(recs[0].Detail, "by limit") {
		t.Fatalf("recorded: %+v", recs)
	}
}

func TestBytesAndItemsOfABatchCountAndWhatIsNotUsedIsGivenBack(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	w.period("k", kms.Period{Operations: 1_000_000, Bytes: 1 << 30})
	batch := make([]engine.EncryptItem, 10)
	for i := range batch {
		batch[i].Plaintext = make([]byte, 100)
	}
	if _, err := w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: "k", Items: batch}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.GenerateDataKey(t.Context(), user, engine.DataKeyInput{Key: "k", Bytes: 32, Count: 3}); err != nil {
		t.Fatal(err)
	}
	report := func() engine.RotationRow {
		t.Helper()
		out, err := w.e.RotationReport(t.Context(), user, engine.RotationReportInput{})
		if err != nil || len(out.Rows) != 1 || out.Rows[0].SelfTest != "passed" {
			t.Fatalf("got %+v %v", out, err)
		}
		return out.Rows[0]
	}
	if r := report(); r.Operations != 1000 {
		t.Fatalf("reserved %d", r.Operations)
	}
	w.restart()
	if r := report(); r.Operations != 13 || r.Bytes != 1096 {
		t.Fatalf("used %d operations and %d bytes, want 13 and 1096", r.Operations, r.Bytes)
	}
}
