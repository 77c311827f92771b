package engine_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/store"
)

func (w *world) mustRotate(key string, d engine.Dates) kms.Key {
	w.t.Helper()
	out, err := w.e.RotateKey(w.t.Context(), admin, engine.RotateKeyInput{Key: kms.Ref(key), Dates: d})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Key
}

func (w *world) shown(key string) engine.KeyOutput {
	w.t.Helper()
	out, err := w.e.DescribeKey(w.t.Context(), admin, engine.KeyInput{Key: kms.Ref(key)})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) stateOf(key string, n uint32) kms.State {
	w.t.Helper()
	for _, v := range w.shown(key).Versions {
		if v.Number == n {
			return v.State
		}
	}
	w.t.Fatalf("no version %d", n)
	return 0
}

func (w *world) tryEncrypt(key string) error {
	return second(w.e.Encrypt(w.t.Context(), user, engine.EncryptInput{Key: kms.Ref(key), Items: []engine.EncryptItem{{Plaintext: []byte("x")}}}))
}

func (w *world) deactivate(key string, n uint32) {
	w.t.Helper()
	wantCode(w.t, second(w.e.DeactivateVersion(w.t.Context(), admin, engine.DeactivateInput{Key: kms.Ref(key), Version: n})), 0)
}

// TestAPreActiveKeyBeginsAtItsSecond: LIF-2.
func TestAPreActiveKeyBeginsAtItsSecond(t *testing.T) {
	w := newWorld(t)
	at := w.now.Add(time.Hour + 300*time.Millisecond)
	begins := at.Truncate(time.Second)
	out, err := w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: "k", Algorithm: kms.AES256GCM, Dates: engine.Dates{ActivateAt: at, DeactivateAt: begins.Add(time.Hour)}})
	wantCode(t, err, 0)
	if v := out.Versions[0]; v.State != kms.PreActive || !v.ActivateAt.Equal(begins) {
		t.Fatalf("got %s at %s", v.State, v.ActivateAt)
	}
	w.now = begins.Add(-time.Nanosecond)
	wantCode(t, w.tryEncrypt("k"), kms.CodeVersionState)
	w.now = begins
	wantCode(t, w.tryEncrypt("k"), 0)
	if got := w.stateOf("k", 1); got != kms.Active {
		t.Errorf("shown as %s", got)
	}
	list, err := w.e.ListVersions(t.Context(), admin, engine.VersionsInput{Key: "k"})
	if v := list.Versions[0]; err != nil || v.State != kms.Active || len(v.History) != 2 || !v.History[1].At.Equal(begins) || v.History[1].By != "keyhold" {
		t.Errorf("listed as %+v, %v", v, err)
	}
	w.now = begins.Add(time.Hour)
	wantCode(t, w.tryEncrypt("k"), kms.CodeVersionState)
	if got := w.stateOf("k", 1); got != kms.Deactivated {
		t.Errorf("at the end shown as %s", got)
	}
	// What is written down later says when it was, not when it was written.
	w.now = begins.Add(3 * time.Hour)
	for range 3 {
		w.e.Upkeep(t.Context())
	}
	w.restart()
	v := w.shown("k").Versions[0]
	if len(v.History) != 3 || v.History[1].To != kms.Active || !v.History[1].At.Equal(begins) || v.History[2].To != kms.Deactivated || !v.History[2].At.Equal(begins.Add(time.Hour)) {
		t.Errorf("history %+v", v.History)
	}
	n := 0
	for _, r := range w.records(audit.Filter{Key: out.Key.ID}) {
		if r.Record.Change && r.Record.Name == "keyhold" {
			n++
		}
	}
	if n < 1 || n > 2 {
		t.Errorf("%d records of the dates", n)
	}
}

// TestARotationWithADateIsAtomic: from one second to the next another version protects, and both process. LIF-2, LIF-7.
func TestARotationWithADateIsAtomic(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	before := w.encrypt("k", "old", nil)
	at := w.now.Add(time.Hour)
	k := w.mustRotate("k", engine.Dates{ActivateAt: at})
	if k.Primary != 1 || k.Next != 2 || !k.NextAt.Equal(at) || k.Latest != 2 {
		t.Fatalf("got %+v", k)
	}
	_, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k", Dates: engine.Dates{PreActive: true}})
	wantCode(t, err, kms.CodeConflict)
	w.now = at.Add(-time.Nanosecond)
	if c := w.encrypt("k", "x", nil); w.versionOf(c) != 1 {
		t.Errorf("before its date version %d protects", w.versionOf(c))
	}
	w.now = at
	if c := w.encrypt("k", "x", nil); w.versionOf(c) != 2 {
		t.Errorf("at its date version %d protects", w.versionOf(c))
	}
	if got, err := w.decrypt(user, before, nil); err != nil || got != "old" {
		t.Errorf("got %q, %v", got, err)
	}
	keys, err := w.e.ListKeys(t.Context(), admin, engine.ListKeysInput{})
	if err != nil || keys.Keys[0].Primary != 2 || keys.Keys[0].Next != 0 || !keys.Keys[0].Rotated.Equal(at) {
		t.Errorf("listed as %+v, %v", keys.Keys, err)
	}
	w.restart()
	w.e.Upkeep(t.Context())
	if k := w.shown("k").Key; k.Primary != 2 || k.Next != 0 {
		t.Errorf("written down as %+v", k)
	}
	// A plan is no obstacle to an emergency, and goes on behind it.
	w.mustRotate("k", engine.Dates{ActivateAt: at.Add(time.Hour)})
	if k := w.mustRotate("k", engine.Dates{}); k.Primary != 4 || k.Next != 3 {
		t.Errorf("got %+v", k)
	}
}

// versionOf is the version that made a ciphertext.
func (w *world) versionOf(c []byte) uint32 {
	w.t.Helper()
	out, err := w.e.Decrypt(w.t.Context(), user, engine.DecryptInput{Items: []engine.DecryptItem{{Ciphertext: c}}})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Items[0].Version
}

func TestActivationByHandAndNewDates(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	w.mustRotate("k", engine.Dates{PreActive: true})
	activate := func(in engine.ActivateInput) error {
		in.Key, in.Version = "k", 2
		return second(w.e.ActivateVersion(t.Context(), admin, in))
	}
	wantCode(t, activate(engine.ActivateInput{At: w.now}), kms.CodeBadRequest)
	wantCode(t, activate(engine.ActivateInput{At: w.now.Add(time.Hour), ByHand: true}), kms.CodeBadRequest)
	wantCode(t, activate(engine.ActivateInput{At: w.now.AddDate(200, 0, 0)}), kms.CodeBadRequest)
	wantCode(t, activate(engine.ActivateInput{At: w.now.Add(time.Hour)}), 0)
	wantCode(t, activate(engine.ActivateInput{At: w.now.Add(2 * time.Hour)}), 0)
	wantCode(t, second(w.e.DeactivateVersion(t.Context(), admin, engine.DeactivateInput{Key: "k", Version: 2, At: w.now.Add(time.Hour)})), kms.CodeBadRequest)
	w.now = w.now.Add(90 * time.Minute)
	w.e.Upkeep(t.Context())
	if k := w.shown("k").Key; k.Primary != 1 || k.Next != 2 {
		t.Fatalf("a date that was replaced took effect: %+v", k)
	}
	wantCode(t, activate(engine.ActivateInput{ByHand: true}), 0)
	w.now = w.now.Add(24 * time.Hour)
	if k := w.shown("k").Key; k.Primary != 1 || k.Next != 2 || !k.NextAt.IsZero() {
		t.Fatalf("got %+v", k)
	}
	wantCode(t, activate(engine.ActivateInput{}), 0)
	wantCode(t, activate(engine.ActivateInput{}), 0) // nothing to do
	if k := w.shown("k").Key; k.Primary != 2 || k.Next != 0 || !k.Rotated.Equal(w.now) {
		t.Errorf("got %+v", k)
	}
	wantCode(t, activate(engine.ActivateInput{At: w.now.Add(time.Hour)}), kms.CodeVersionState)
}

// TestSuspensionOfAVersion stops protection, and processing too under the preset freeze. LIF-3.
func TestSuspensionOfAVersion(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	c := w.encrypt("k", "x", nil)
	suspend := engine.VersionInput{Key: "k", Version: 1}
	wantCode(t, second(w.e.SuspendVersion(t.Context(), admin, suspend)), 0)
	wantCode(t, w.tryEncrypt("k"), kms.CodeVersionState)
	wantCode(t, second(w.decrypt(user, c, nil)), 0)
	freeze := true
	wantCode(t, second(w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: "k", Freeze: &freeze})), 0)
	wantCode(t, second(w.decrypt(user, c, nil)), kms.CodeVersionState)
	wantCode(t, second(w.e.ResumeVersion(t.Context(), admin, suspend)), 0)
	wantCode(t, w.tryEncrypt("k"), 0)
	wantCode(t, second(w.e.SuspendVersion(t.Context(), user, suspend)), kms.CodeDenied)
	wantCode(t, second(w.e.SuspendVersion(t.Context(), admin, engine.VersionInput{Key: "k", Version: 9})), kms.CodeVersionNotFound)
}

// TestADeactivatedVersionProcessesIfTheKeySaysSo: LIF-8.
func TestADeactivatedVersionProcessesIfTheKeySaysSo(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	c := w.encrypt("k", "x", nil)
	w.mustRotate("k", engine.Dates{})
	w.deactivate("k", 1)
	wantCode(t, second(w.decrypt(user, c, nil)), kms.CodeVersionState)
	yes := true
	wantCode(t, second(w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: "k", ProcessDeactivated: &yes})), 0)
	wantCode(t, second(w.decrypt(user, c, nil)), 0)
}

// recall goes through an approval.
func (w *world) recall(key string, n uint32, d time.Duration) {
	w.t.Helper()
	alice, bob := w.holder("alice", kms.RoleAdmin), w.holder("bob", kms.RoleAdmin)
	carl := w.holder("carl", kms.RoleAdmin)
	in := engine.RecallInput{Key: kms.Ref(key), Version: n, For: d}
	wantCode(w.t, second(w.e.RecallVersion(w.t.Context(), alice, in)), kms.CodeApprovalRequired)
	id := askedFor(w.t, second(w.e.RecallVersion(w.t.Context(), asking(alice), in)))
	for _, who := range []kms.Call{bob, carl} {
		if err := w.approve(who, id); err != nil && kms.CodeOf(err) != kms.CodeExists && kms.CodeOf(err) != kms.CodeNotApproved {
			w.t.Fatal(err)
		}
	}
	wantCode(w.t, second(w.e.RecallVersion(w.t.Context(), under(alice, id), in)), 0)
}

// TestAnArchivedVersionIsAway: its material is nowhere but in the archive, and opens while an approved recall is open. LIF-9.
func TestAnArchivedVersionIsAway(t *testing.T) {
	w := newWorld(t)
	k := w.create("k", kms.AES256GCM, 0)
	c := w.encrypt("k", "kept", nil)
	w.mustRotate("k", engine.Dates{})
	archive := engine.ArchiveInput{Key: "k", Version: 1}
	wantCode(t, second(w.e.ArchiveVersion(t.Context(), admin, archive)), kms.CodeVersionState) // it is active
	w.deactivate("k", 1)
	before := w.row('V', k.ID, 1)
	wantCode(t, second(w.e.ArchiveVersion(t.Context(), admin, archive)), 0)
	if after := w.row('V', k.ID, 1); len(after)+60 > len(before) || len(w.row('X', k.ID, 1)) == 0 {
		t.Errorf("the version has %d bytes, it had %d; the archive %d", len(after), len(before), len(w.row('X', k.ID, 1)))
	}
	wantCode(t, second(w.decrypt(user, c, nil)), kms.CodeVersionState)
	yes := true // what the key says of deactivated versions is not said of archived ones, and none comes back by itself
	wantCode(t, second(w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: "k", ProcessDeactivated: &yes})), 0)
	wantCode(t, second(w.e.DeactivateVersion(t.Context(), admin, engine.DeactivateInput{Key: "k", Version: 1})), kms.CodeVersionState)
	wantCode(t, second(w.decrypt(user, c, nil)), kms.CodeVersionState)
	wantCode(t, second(w.e.RecallVersion(t.Context(), admin, engine.RecallInput{Key: "k", Version: 1, For: 31 * 24 * time.Hour})), kms.CodeBadRequest)

	w.recall("k", 1, 2*time.Hour)
	until := w.now.Add(2 * time.Hour)
	if got, err := w.decrypt(user, c, nil); err != nil || got != "kept" {
		t.Fatalf("recalled: got %q, %v", got, err)
	}
	w.restart() // and through a new root and a new epoch
	wantCode(t, second(w.e.RotateRoot(t.Context(), operator())), 0)
	wantCode(t, second(w.e.RollEpoch(t.Context(), operator())), 0)
	w.now = until.Add(-time.Nanosecond)
	if got, err := w.decrypt(user, c, nil); err != nil || got != "kept" {
		t.Fatalf("a nanosecond before the end: got %q, %v", got, err)
	}
	w.now = until
	wantCode(t, second(w.decrypt(user, c, nil)), kms.CodeVersionState)
	w.e.Upkeep(t.Context())
	if v := w.shown("k").Versions[1]; !v.RecallUntil.IsZero() || v.State != kms.Archived {
		t.Errorf("got %+v", v)
	}
	if last := w.records(audit.Filter{Action: kms.RecallVersion})[0].Record; last.Name != "keyhold" || !strings.Contains(last.Detail, "the recall is over") {
		t.Errorf("got %+v", last)
	}
	w.recall("k", 1, 0)
	wantCode(t, second(w.decrypt(user, c, nil)), 0)
	wantCode(t, second(w.e.RecallVersion(t.Context(), admin, engine.RecallInput{Key: "k", Version: 1, End: true})), 0) // takes nobody else
	wantCode(t, second(w.decrypt(user, c, nil)), kms.CodeVersionState)
	out, err := w.e.CheckStore(t.Context(), operator())
	if err != nil || out.DamagedCount != 0 || out.Versions != 2 {
		t.Errorf("the check found %+v, %v", out, err)
	}
}

// row is a stored record as it is in the store.
func (w *world) row(kind byte, id kms.ID, n uint32) []byte {
	w.t.Helper()
	path := append([]byte{kind}, id[:]...)
	path = append(path, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	recs, _, err := w.store.Get(w.t.Context(), path)
	if err != nil {
		w.t.Fatal(err)
	}
	return recs[0].Value
}

// TestTheArchiveIsBoundToItsPlace: archived material that is moved, altered or lost is named, and opens nothing.
func TestTheArchiveIsBoundToItsPlace(t *testing.T) {
	w := newWorld(t)
	var keys []kms.Key
	var ciphers [][]byte
	for _, name := range []string{"a", "b"} {
		k := w.create(name, kms.AES256GCM, 0)
		keys, ciphers = append(keys, k), append(ciphers, w.encrypt(name, name, nil))
		w.mustRotate(name, engine.Dates{})
		w.deactivate(name, 1)
		wantCode(t, second(w.e.ArchiveVersion(t.Context(), admin, engine.ArchiveInput{Key: kms.Ref(name), Version: 1})), 0)
		w.recall(name, 1, time.Hour)
	}
	path := append(append([]byte{'X'}, keys[0].ID[:]...), 0, 0, 0, 1)
	for name, value := range map[string][]byte{"moved": w.row('X', keys[1].ID, 1), "altered": bytes.Repeat([]byte{1}, 300), "lost": nil} {
		was := w.row('X', keys[0].ID, 1)
		for _, v := range [][]byte{value, was} {
			if _, err := w.store.Commit(t.Context(), store.Txn{Then: []store.Write{{Key: path, Value: v, Delete: v == nil}}}); err != nil {
				t.Fatal(err)
			}
			if v == nil || !bytes.Equal(v, was) {
				if err := second(w.decrypt(user, ciphers[0], nil)); kms.CodeOf(err) != kms.CodeRecordDamaged {
					t.Errorf("%s: got %v", name, err)
				}
			}
		}
	}
	wantCode(t, second(w.decrypt(user, ciphers[0], nil)), 0)
	wantCode(t, second(w.decrypt(user, ciphers[1], nil)), 0)
}

// TestDestructionReachesTheArchive: nothing of an archived version is left.
func TestDestructionReachesTheArchive(t *testing.T) {
	w := newWorld(t)
	k := w.create("k", kms.AES256GCM, 0)
	w.mustRotate("k", engine.Dates{})
	w.deactivate("k", 1)
	wantCode(t, second(w.e.ArchiveVersion(t.Context(), admin, engine.ArchiveInput{Key: "k", Version: 1})), 0)
	w.destroy("k")
	w.e.Upkeep(t.Context())
	w.e.Settle()
	if got := w.stateOf(k.ID.String(), 1); got != kms.Destroyed {
		t.Fatalf("got %s", got)
	}
	if len(w.row('X', k.ID, 1)) != 0 || len(w.row('R', k.ID, 1)) != 0 {
		t.Error("something is left in the archive")
	}
}

// TestACompromisedPrimaryIsReplacedAtOnce: LIF-15.
func TestACompromisedPrimaryIsReplacedAtOnce(t *testing.T) {
	w := newWorld(t)
	k := w.create("k", kms.AES256GCM, 0)
	began := w.now
	c := w.encrypt("k", "exposed", nil)
	w.now = w.now.Add(time.Hour)
	out, err := w.e.CompromiseVersion(t.Context(), admin, engine.CompromiseInput{Key: "k", Versions: []uint32{1, 1}})
	wantCode(t, err, 0)
	if out.Key.Primary != 2 || len(out.Versions) != 1 || out.Versions[0].State != kms.Compromised || len(out.Exposed) != 1 ||
		!out.Exposed[0].From.Equal(began) || !out.Exposed[0].To.Equal(w.now) {
		t.Fatalf("got %+v", out)
	}
	x := out.Exposed[0]
	if x.Made != 1 || x.Bytes != 7 || !x.First.Equal(began) || !x.Last.Equal(began) || len(out.Users) != 1 || out.Users[0].Name != "svc/orders" ||
		out.Users[0].Done != 1 || out.Since.IsZero() || len(out.Unknown) == 0 {
		t.Errorf("the evidence: got %+v, %+v", x, out.Evidence)
	}
	if c := w.encrypt("k", "x", nil); w.versionOf(c) != 2 {
		t.Errorf("version %d protects", w.versionOf(c))
	}
	wantCode(t, second(w.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: "k", Version: 1, Items: []engine.EncryptItem{{Plaintext: []byte("x")}}})), kms.CodeVersionState)
	wantCode(t, second(w.decrypt(user, c, nil)), kms.CodeVersionState)

	// Whoever has the permission besides may process, and is heard. No group includes it.
	put := func(text string) {
		t.Helper()
		wantCode(t, second(w.e.PutPolicy(t.Context(), admin, engine.PutPolicyInput{ID: "incident", Text: text})), 0)
	}
	put(`permit (principal == Principal::"svc/orders", action in Action::"UseKey", resource);`)
	wantCode(t, second(w.decrypt(user, c, nil)), kms.CodeVersionState)
	put(`permit (principal == Principal::"svc/orders", action == Action::"ProcessCompromised", resource);`)
	if got, err := w.decrypt(user, c, nil); err != nil || got != "exposed" {
		t.Fatalf("got %q, %v", got, err)
	}
	last := w.records(audit.Filter{Key: k.ID})[0].Record
	if last.Detail != "with compromised version 1" || !strings.Contains(w.output.String(), "compromised_version_used") {
		t.Errorf("recorded as %+v", last)
	}
	n := uint64(0)
	for _, m := range w.e.Metrics() {
		if m.Action == kms.ProcessCompromised {
			n += m.N
		}
	}
	if n != 1 {
		t.Errorf("counted %d times", n)
	}
	wantCode(t, w.tryEncrypt("k"), 0)
}

// TestAllVersionsOfAnOldKeyAreCompromised: also more than one transaction takes, the pre-active one among them.
func TestAllVersionsOfAnOldKeyAreCompromised(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	for range 70 {
		w.mustRotate("k", engine.Dates{})
	}
	w.mustRotate("k", engine.Dates{ActivateAt: w.now.Add(time.Hour)})
	dry := admin
	dry.DryRun = true
	out, err := w.e.CompromiseVersion(t.Context(), dry, engine.CompromiseInput{Key: "k", All: true})
	if err != nil || out.Key.Primary != 73 || w.shown("k").Key.Primary != 71 {
		t.Fatalf("a dry run: %+v, %v", out.Key, err)
	}
	out, err = w.e.CompromiseVersion(t.Context(), admin, engine.CompromiseInput{Key: "k", All: true})
	if err != nil || out.Key.Primary != 73 || out.Key.Next != 0 || len(out.Versions) != 64 || len(out.Exposed) != 71 {
		t.Fatalf("got primary %d, next %d, %d versions, %d windows, %v", out.Key.Primary, out.Key.Next, len(out.Versions), len(out.Exposed), err)
	}
	all, err := w.e.ListVersions(t.Context(), admin, engine.VersionsInput{Key: "k"})
	if err != nil || len(all.Versions) != 73 {
		t.Fatal(len(all.Versions), err)
	}
	for _, v := range all.Versions {
		if want := kms.Compromised; v.Number < 73 && v.State != want || v.Number == 73 && v.State != kms.Active {
			t.Errorf("version %d is %s", v.Number, v.State)
		}
	}
	w.now = w.now.Add(2 * time.Hour)
	w.e.Upkeep(t.Context())
	if k := w.shown("k").Key; k.Primary != 73 {
		t.Errorf("a compromised version became the primary one: %+v", k)
	}
	for _, in := range []engine.CompromiseInput{{Key: "k"}, {Key: "k", All: true, Versions: []uint32{1}}} {
		wantCode(t, second(w.e.CompromiseVersion(t.Context(), admin, in)), kms.CodeBadRequest)
	}
	wantCode(t, second(w.e.CompromiseVersion(t.Context(), admin, engine.CompromiseInput{Key: "k", Versions: []uint32{99}})), kms.CodeVersionNotFound)
}

// TestACompromiseSaysWhoUsedTheVersions: what is exposed, by whom, and what names the key, of the versions that are marked alone; to who may know.
func TestACompromiseSaysWhoUsedTheVersions(t *testing.T) { // LIF-15
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	old := w.encrypt("k", "one", nil)
	w.register("k", "row-1")
	w.now = w.now.Add(time.Hour)
	made := w.now
	many := []engine.EncryptItem{{Plaintext: []byte("two")}, {Plaintext: []byte("three")}}
	wantCode(t, second(w.e.Encrypt(t.Context(), as("svc/billing", kms.RoleUser), engine.EncryptInput{Key: "k", Items: many})), 0)
	wantCode(t, second(w.e.PutPolicy(t.Context(), admin, engine.PutPolicyInput{ID: "grants", Text: `permit (principal, action == Action::"Encrypt", resource in Name::"k");`})), 0)
	w.rotate("k")
	w.now = w.now.Add(time.Hour)
	fresh := w.encrypt("k", "later", nil)
	mixed := []engine.DecryptItem{{Ciphertext: fresh}, {Ciphertext: old}}
	wantCode(t, second(w.e.Decrypt(t.Context(), as("svc/reports", kms.RoleUser), engine.DecryptInput{Key: "k", Items: mixed})), 0)

	dry := admin
	dry.DryRun = true
	out, err := w.e.CompromiseVersion(t.Context(), dry, engine.CompromiseInput{Key: "k", Versions: []uint32{1}})
	if err != nil || len(out.Users) != 0 || len(out.Exposed) != 1 {
		t.Errorf("a dry run: got %+v, %v", out, err)
	}
	token := admin
	token.Token = "once"
	for range 2 { // the second is a repetition
		if out, err = w.e.CompromiseVersion(t.Context(), token, engine.CompromiseInput{Key: "k", Versions: []uint32{1}}); err != nil || len(out.Exposed) != 1 {
			t.Fatalf("got %+v, %v", out, err)
		}
		x := out.Exposed[0]
		if x.Made != 4 || x.Bytes != 43 || !x.Last.Equal(made) || x.DataKeys != 1 {
			t.Errorf("got %+v", x)
		}
		users := map[string]uint64{}
		for _, u := range out.Users {
			users[u.Name] = u.Done
		}
		wantCounts(t, users, map[string]uint64{"svc/orders": 2, "svc/billing": 2, "svc/reports": 1})
		if len(out.Dependants) != 1 || out.Dependants[0] != (engine.Dependant{Kind: "policy", Name: "grants"}) {
			t.Errorf("got %+v", out.Dependants)
		}
	}

	// Marking versions does not take leave to read the ledger, and who has none is told nothing of it.
	wantCode(t, second(w.e.PutPolicy(t.Context(), admin, engine.PutPolicyInput{ID: "responders", Text: `permit (principal == Principal::"responder", action == Action::"CompromiseVersion", resource);`})), 0)
	out, err = w.e.CompromiseVersion(t.Context(), as("responder"), engine.CompromiseInput{Key: "k", Versions: []uint32{2}})
	if err != nil || out.Versions[0].State != kms.Compromised || len(out.Users) != 0 || !out.Since.IsZero() || out.Exposed[0].Made != 0 || len(out.Unknown) != 1 {
		t.Errorf("got %+v, %v", out, err)
	}
}
