package engine_test

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/verify"
	"github.com/keyhold/keyhold/internal/dialect/statetest"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/usage"
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

// TestEachItemOfABatchCountsForTheVersionThatItUsed: what a mixed batch does with an old version is seen, by whoever asks whether it may be retired.
func TestEachItemOfABatchCountsForTheVersionThatItUsed(t *testing.T) { // LIF-13
	w := newWorld(t)
	w.create("a", kms.AES256GCM, 0)
	w.create("b", kms.AES256GCM, 0)
	const versions = 110 // more than one transaction of the ledger takes
	var made [][]byte
	for range versions {
		made = append(made, w.encrypt("a", "data", nil))
		w.rotate("a")
	}
	late := w.encrypt("a", "data", nil)
	broken := slices.Clone(made[1])
	broken[len(broken)-1] ^= 1
	mixed := []engine.DecryptItem{{Ciphertext: []byte("nothing")}, {Ciphertext: late}, {Ciphertext: late}, {Ciphertext: broken}}
	var moved []engine.ReEncryptItem
	for _, c := range made {
		mixed = append(mixed, engine.DecryptItem{Ciphertext: c})
		moved = append(moved, engine.ReEncryptItem{Ciphertext: c})
	}
	out, err := w.e.Decrypt(t.Context(), user, engine.DecryptInput{Key: "a", Items: mixed})
	if err != nil {
		t.Fatal(err)
	}
	for i, it := range out.Items {
		if want := i == 0 || i == 3; (it.Err != nil) != want {
			t.Fatalf("item %d: got %v", i, it.Err)
		}
	}
	if _, err := w.e.ReEncrypt(t.Context(), user, engine.ReEncryptInput{From: "a", To: "b", Items: moved}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		used := w.usage("a")
		for v := uint32(1); v <= versions; v++ {
			want := map[string]uint64{"svc/orders Encrypt": 1, "svc/orders Decrypt": 1, "svc/orders ReEncryptFrom": 1}
			if v == 2 {
				want["svc/orders Decrypt "+kms.CodeDecryptFailed.String()] = 1
			}
			got, err := w.e.ReadUsage(t.Context(), admin, engine.UsageInput{Key: "a", Version: v})
			if err != nil {
				t.Fatal(err)
			}
			wantCounts(t, done(got, v), want)
		}
		last, err := w.e.ReadUsage(t.Context(), admin, engine.UsageInput{Key: "a", Version: versions + 1})
		if err != nil {
			t.Fatal(err)
		}
		wantCounts(t, done(last, versions+1), map[string]uint64{"svc/orders Encrypt": 1, "svc/orders Decrypt": 2})
		wantCounts(t, done(used, 0), map[string]uint64{"svc/orders Decrypt " + out.Items[0].Err.Code.String(): 1})
		wantCounts(t, done(w.usage("b"), 1), map[string]uint64{"svc/orders ReEncryptTo": versions})
		w.restart()
	}
	check, err := w.e.CheckRetirement(t.Context(), admin, engine.RetireInput{Key: "a", Version: 2})
	if err != nil || check.Evidence.Retirable || len(check.Evidence.Users) != 1 || check.Evidence.Users[0].Done != 3 {
		t.Errorf("got %+v, %v", check.Evidence, err)
	}
}

// TestARecordTellsWhichItemsUsedWhichVersion, and nothing more than before where all used the same one.
func TestARecordTellsWhichItemsUsedWhichVersion(t *testing.T) {
	w := newWorld(t)
	w.create("a", kms.AES256GCM, 0)
	old := w.encrypt("a", "data", nil)
	w.rotate("a")
	fresh := w.encrypt("a", "data", nil)
	for _, c := range []struct {
		items [][]byte
		want  []audit.Run
	}{
		{[][]byte{old, old}, nil},
		{[][]byte{fresh, fresh, fresh}, nil},
		{[][]byte{{1}, {2}}, nil},
		{[][]byte{old, fresh}, []audit.Run{{Items: 1, Version: 1}, {Items: 1, Version: 2}}},
		{[][]byte{{1}, fresh, fresh, old}, []audit.Run{{Items: 1}, {Items: 2, Version: 2}, {Items: 1, Version: 1}}},
	} {
		in := engine.DecryptInput{Key: "a"}
		for _, it := range c.items {
			in.Items = append(in.Items, engine.DecryptItem{Ciphertext: it})
		}
		if _, err := w.e.Decrypt(t.Context(), user, in); err != nil {
			t.Fatal(err)
		}
		all := w.records(audit.Filter{Action: kms.Decrypt})
		if got := all[0].Versions; !reflect.DeepEqual(got, c.want) {
			t.Errorf("got %v want %v", got, c.want)
		}
	}
	w.stop()
	rep, err := verify.Dir(t.Context(), verify.Options{Dir: filepath.Join(w.dir, "audit"), Keys: w.keys()})
	if err != nil || !rep.Verified {
		t.Errorf("the log does not verify: %+v, %v", rep, err)
	}
	w.start()
}

// TestWhatADataKeyIsOpenedWithIsUsed: the version that a ciphertext was taken over from. What a campaign of the server itself moved is told, and is no reason to
// keep the version that it left.
func TestWhatADataKeyIsOpenedWithIsUsed(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	w.register("k", "row-1")
	w.register("k", "row-2")
	old := w.encrypt("k", "0123456789abcdef0123456789abcdef", nil)
	w.rotate("k")
	if _, err := w.e.RegisterDataKey(t.Context(), user, engine.RegisterDataKeyInput{Key: "k", Ciphertext: old, Algorithm: kms.AES256GCM}); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(20 * 24 * time.Hour)
	w.e.Upkeep(t.Context())
	w.e.Settle()
	if c := w.campaign("k"); c.State != "done" {
		t.Fatalf("got %+v", c)
	}
	for range 2 {
		out := w.usage("k")
		moved := done(out, 1)
		for name := range moved {
			if strings.HasSuffix(name, " RewrapDataKeys") {
				moved["RewrapDataKeys"] = moved[name]
				delete(moved, name)
			}
		}
		wantCounts(t, moved, map[string]uint64{"svc/orders RegisterDataKey": 2, "svc/orders Encrypt": 1, "svc/orders ReEncryptFrom": 1, "RewrapDataKeys": 2})
		for _, v := range out.Versions {
			if v.Version == 1 && (v.Done != 4 || v.Last.Equal(w.now)) {
				t.Errorf("got %d uses, the last at %s", v.Done, v.Last)
			}
		}
		w.restart()
	}
	check := engine.RetireInput{Key: "k", Version: 1, Window: 21 * 24 * time.Hour}
	for _, want := range []bool{false, true} {
		got, err := w.e.CheckRetirement(t.Context(), admin, check)
		if err != nil || got.Evidence.Retirable != want {
			t.Errorf("window %s: got %+v, %v", check.Window, got.Evidence, err)
		}
		check.Window = 19 * 24 * time.Hour
	}
	seen, err := w.e.ObserveKey(t.Context(), admin, engine.ObserveInput{Key: "k"})
	if err != nil || len(seen.Callers) != 0 {
		t.Errorf("got %+v, %v", seen.Callers, err)
	}
}

// TestWhatProtectsIsExposedByACompromise: what is counted as made with a version is what its state must permit to protect.
func TestWhatProtectsIsExposedByACompromise(t *testing.T) {
	for _, o := range statetest.Operations() {
		if got, want := usage.Protects(o.Action), usage.Counts(o.Action) && o.Need == lifecycle.Protect; got != want {
			t.Errorf("%s: got %v want %v", o.Action, got, want)
		}
	}
}

// TestNamesOfUsersAreForThoseWhoMayKnow: a reader of a key sees its own use, and that of all others together; the counts are whole.
func TestNamesOfUsersAreForThoseWhoMayKnow(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	other := as("svc/other", kms.RoleUser)
	c := w.encrypt("k", "x", nil)
	for range 2 {
		if _, err := w.decrypt(other, c, nil); err != nil {
			t.Fatal(err)
		}
	}
	read := func(c kms.Call) (names []string, done uint64) {
		t.Helper()
		out, err := w.e.ReadUsage(t.Context(), c, engine.UsageInput{Key: "k"})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range out.Versions {
			for _, u := range v.Users {
				if u.Others {
					u.Name = "(others)"
				}
				names, done = append(names, u.Name), done+u.Done
			}
		}
		slices.Sort(names)
		return names, done
	}
	for _, c := range []struct {
		who  kms.Call
		want string
	}{{admin, "svc/orders svc/other"}, {as("auditor", kms.RoleAuditor), "svc/orders svc/other"}, {user, "(others) svc/orders"}, {as("svc/third", kms.RoleUser), "(others)"}} {
		names, done := read(c.who)
		if got := strings.Join(names, " "); got != c.want || done != 3 {
			t.Errorf("%s: got %s, %d uses; want %s, 3", c.who.Principal.Name, got, done, c.want)
		}
		seen, err := w.e.ObserveKey(t.Context(), c.who, engine.ObserveInput{Key: "k"})
		if err != nil || len(seen.Callers) != len(strings.Fields(c.want)) {
			t.Errorf("%s observes %+v, %v", c.who.Principal.Name, seen.Callers, err)
		}
		report, err := w.e.AssessKey(t.Context(), c.who, engine.AssessInput{Key: "k"})
		if err != nil || report.Report.Done != 3 {
			t.Fatalf("%+v %v", report, err)
		}
		if named := len(report.Report.Users) > 0; named == strings.Contains(c.want, "(others)") || !named && report.Report.Others != 3 {
			t.Errorf("%s is told %+v", c.who.Principal.Name, report.Report)
		}
	}
	// The report that was made last, by somebody who may not know, still lets a destruction go: what is stored names everybody.
	if _, err := w.e.ScheduleKeyDestruction(t.Context(), admin, engine.DestroyInput{Key: "k"}); err != nil {
		t.Error(err)
	}
}
