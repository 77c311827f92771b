package engine_test

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/store"
)

// ledgerRows are the records of the usage ledger as the store has them.
func (w *world) ledgerRows() []store.Record {
	w.t.Helper()
	recs, _, err := w.store.Scan(w.t.Context(), []byte("U"), nil, store.MaxPage)
	if err != nil {
		w.t.Fatal(err)
	}
	return recs
}

// damageLedger flips a bit in every record of the ledger that a test names.
func (w *world) damageLedger(which func(path []byte) bool) (n int) {
	w.t.Helper()
	for _, r := range w.ledgerRows() {
		if !which(r.Key) {
			continue
		}
		value := slices.Clone(r.Value)
		value[len(value)-1] ^= 1
		if _, err := w.store.Commit(w.t.Context(), store.Txn{Then: []store.Write{{Key: r.Key, Value: value}}}); err != nil {
			w.t.Fatal(err)
		}
		n++
	}
	return n
}

// TestADamagedLedgerIsCountedAnew: whatever of it is damaged, and whenever the server stops meanwhile, it is what it was.
func TestADamagedLedgerIsCountedAnew(t *testing.T) {
	w := newWorld(t)
	w.create("a", kms.AES256GCM, 0)
	for range 230 { // more rows than one transaction removes
		w.rotate("a")
		w.encrypt("a", "x", nil)
	}
	want := w.usage("a")
	_, err := w.e.RebuildUsage(t.Context(), admin)
	wantCode(t, err, kms.CodeDenied)
	dry := operator()
	dry.DryRun = true
	out, err := w.e.RebuildUsage(t.Context(), dry)
	if err != nil || out.From.IsZero() || out.Was.IsZero() || len(w.ledgerRows()) < 230 {
		t.Fatalf("a dry run: got %+v, %v, %d rows", out, err, len(w.ledgerRows()))
	}
	for name, which := range map[string]func([]byte) bool{
		"rows":                           func(path []byte) bool { return path[1] != 0 },
		"how far it is":                  func(path []byte) bool { return path[1] == 0 },
		"nothing of it, as a precaution": func([]byte) bool { return false },
	} {
		if n := w.damageLedger(which); n > 0 {
			if _, err := w.e.ReadUsage(t.Context(), admin, engine.UsageInput{Key: "a"}); kms.CodeOf(err) != kms.CodeRecordDamaged {
				t.Fatalf("%s: got %v", name, err)
			}
		}
		if _, err := w.e.RebuildUsage(t.Context(), operator()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		retire := admin
		retire.DryRun = true
		for step := range 4 { // the server stops after each transaction
			_, err := w.e.RetireVersion(t.Context(), retire, engine.RetireInput{Key: "a", Version: 1})
			wantCode(t, err, kms.CodeBusy)
			if _, err := w.e.CountChunk(t.Context()); err != nil {
				t.Fatalf("%s, step %d: %v", name, step, err)
			}
			w.restart()
		}
		got := w.usage("a")
		if !reflect.DeepEqual(got.Versions, want.Versions) || !got.Since.Equal(want.Since) {
			t.Errorf("%s: got %d versions since %s, want %d since %s", name, len(got.Versions), got.Since, len(want.Versions), want.Since)
		}
		if _, err := w.e.RetireVersion(t.Context(), retire, engine.RetireInput{Key: "a", Version: 1}); kms.CodeOf(err) != 0 {
			t.Errorf("%s: afterwards: %v", name, err)
		}
		if j := w.job("count-key-uses"); j.State != "idle" || !strings.HasPrefix(j.LastNote, "counted anew: ") || j.Done == 0 {
			t.Errorf("%s: the job says %+v", name, j)
		}
	}
	recs := w.records(audit.Filter{Action: kms.RebuildUsage, Outcome: audit.OK})
	if len(recs) != 3 || !recs[0].Change || !strings.HasPrefix(recs[0].Detail, "counted from 20") {
		t.Errorf("got %+v", recs)
	}
}

// TestWhoWaitsForTheLedgerWaitsNoLongerThanAsked: while others read the log.
func TestWhoWaitsForTheLedgerWaitsNoLongerThanAsked(t *testing.T) {
	w := newWorld(t)
	w.create("a", kms.AES256GCM, 0)
	leave := w.e.HoldLedger()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := w.e.ReadUsage(ctx, admin, engine.UsageInput{Key: "a"})
	wantCode(t, err, kms.CodeCancelled)
	leave()
	w.usage("a")
}

// TestWhoIsErasedFromTheLogIsErasedFromTheLedger: the name goes from every row when the ledger reads of it, the counts stay, and nobody else is touched.
func TestWhoIsErasedFromTheLogIsErasedFromTheLedger(t *testing.T) {
	w := newWorld(t)
	w.create("a", kms.AES256GCM, 0)
	w.create("b", kms.AES256GCM, 0)
	gone := as("svc/gone", kms.RoleUser)
	gone.Principal.Alias = [16]byte{1, 2, 3}
	use := func(k kms.Ref) {
		t.Helper()
		for _, c := range []kms.Call{gone, user} {
			if _, err := w.e.Encrypt(t.Context(), c, engine.EncryptInput{Key: k, Items: []engine.EncryptItem{{Plaintext: []byte("x")}}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	use("a")
	w.usage("a") // it is in the ledger
	use("b")     // it is not, yet
	r := &audit.Record{Time: w.now, Action: kms.EraseAudit, Outcome: audit.OK, Dialect: kms.DialectNative, Namespace: kms.SystemNamespace, Name: "op"}
	if n, _, err := w.log.Erase(t.Context(), gone.Principal.Alias, r); err != nil || n != 2 {
		t.Fatalf("erased %d: %v", n, err)
	}
	for range 2 {
		for _, k := range []string{"a", "b"} {
			out := w.usage(k)
			wantCounts(t, done(out, 1), map[string]uint64{" Encrypt": 1, "svc/orders Encrypt": 1})
			for _, u := range out.Versions[len(out.Versions)-1].Users {
				if (u.Name == "") != (u.Alias == gone.Principal.Alias) || u.Name == "" && u.Namespace != "" {
					t.Errorf("got %+v", u)
				}
			}
		}
		w.restart()
	}
}
