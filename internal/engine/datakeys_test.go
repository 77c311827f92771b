package engine_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// register makes a data key and answers it with its plaintext.
func (w *world) register(key, name string) (engine.DataKeyInfo, []byte) {
	w.t.Helper()
	out, err := w.e.RegisterDataKey(w.t.Context(), user, engine.RegisterDataKeyInput{Key: kms.Ref(key), Name: name, WithPlaintext: true, Context: kms.Context{"n": name}})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.DataKey, bytes.Clone(out.Plaintext.Wire(release.Wire{}))
}

func (w *world) openDataKey(key, ref string) (engine.DataKeyInfo, []byte) {
	w.t.Helper()
	out, err := w.e.OpenDataKey(w.t.Context(), user, engine.ManagedDataKeyInput{Key: kms.Ref(key), DataKey: ref})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.DataKey, out.Plaintext.Wire(release.Wire{})
}

func (w *world) rotate(key string) {
	w.t.Helper()
	if _, err := w.e.RotateKey(w.t.Context(), admin, engine.RotateKeyInput{Key: kms.Ref(key)}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) campaign(key string) engine.CampaignInfo {
	w.t.Helper()
	out, err := w.e.ReadCampaign(w.t.Context(), user, engine.CampaignInput{Key: kms.Ref(key)})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Campaign
}

// TestAManagedDataKeyLives: made, read, opened, listed, counted, revoked.
func TestAManagedDataKeyLives(t *testing.T) {
	w := newWorld(t)
	w.create("kek", kms.AES256GCM, 0)
	d, plain := w.register("kek", "orders")
	if len(plain) != 32 || d.Version != 1 || len(d.Ciphertext) == 0 {
		t.Fatalf("got %+v with %d bytes", d, len(plain))
	}
	for _, ref := range []string{"orders", d.ID.String()} {
		if _, got := w.openDataKey("kek", ref); !bytes.Equal(got, plain) {
			t.Errorf("by %q: another data key came out", ref)
		}
	}
	// It is an ordinary ciphertext of its parent.
	out, err := w.e.Decrypt(t.Context(), user, engine.DecryptInput{Items: []engine.DecryptItem{{Ciphertext: d.Ciphertext, Context: kms.Context{"n": "orders"}}}})
	if err != nil || !bytes.Equal(out.Items[0].Plaintext.Wire(release.Wire{}), plain) {
		t.Errorf("decrypting what is wrapped: %v", err)
	}
	_, err = w.e.RegisterDataKey(t.Context(), user, engine.RegisterDataKeyInput{Key: "kek", Name: "orders"})
	wantCode(t, err, kms.CodeExists)

	// Who manages a key may not open its data keys, and who uses it may not revoke them.
	_, err = w.e.OpenDataKey(t.Context(), admin, engine.ManagedDataKeyInput{Key: "kek", DataKey: "orders"})
	wantCode(t, err, kms.CodeDenied)
	_, err = w.e.RevokeDataKey(t.Context(), user, engine.ManagedDataKeyInput{Key: "kek", DataKey: "orders"})
	wantCode(t, err, kms.CodeDenied)

	if _, err := w.e.RevokeDataKey(t.Context(), admin, engine.ManagedDataKeyInput{Key: "kek", DataKey: "orders"}); err != nil {
		t.Fatal(err)
	}
	read, err := w.e.ReadDataKey(t.Context(), user, engine.ManagedDataKeyInput{Key: "kek", DataKey: d.ID.String()})
	if err != nil || !read.DataKey.Revoked || len(read.DataKey.Ciphertext) != 0 || read.DataKey.RevokedBy != "alice" {
		t.Errorf("the tombstone is %+v, %v", read.DataKey, err)
	}
	_, err = w.e.OpenDataKey(t.Context(), user, engine.ManagedDataKeyInput{Key: "kek", DataKey: d.ID.String()})
	wantCode(t, err, kms.CodeNotFound)
	_, err = w.e.RevokeDataKey(t.Context(), admin, engine.ManagedDataKeyInput{Key: "kek", DataKey: d.ID.String()})
	wantCode(t, err, kms.CodeAlreadyDone)
	counts, err := w.e.CountDataKeys(t.Context(), user, engine.KeyInput{Key: "kek"})
	if err != nil || len(counts.Versions) != 0 {
		t.Errorf("counted %+v, %v after the only one was revoked", counts, err)
	}
	if again, _ := w.register("kek", "orders"); again.ID == d.ID {
		t.Error("a name that was freed leads to the revoked one")
	}
}

// TestADataKeyIsTakenOver: a ciphertext of an older version is registered under the primary one, by those only who may move it.
func TestADataKeyIsTakenOver(t *testing.T) {
	w := newWorld(t)
	w.create("kek", kms.AES256GCM, 0)
	w.create("other", kms.AES256GCM, 0)
	old := w.encrypt("kek", "0123456789abcdef0123456789abcdef", kms.Context{"a": "b"})
	w.rotate("kek")
	in := engine.RegisterDataKeyInput{Key: "kek", Ciphertext: old, Context: kms.Context{"a": "b"}, Algorithm: kms.AES256GCM}
	out, err := w.e.RegisterDataKey(t.Context(), user, in)
	if err != nil || out.DataKey.Version != 2 || out.Plaintext.Len() != 0 {
		t.Fatalf("got %+v, %v", out.DataKey, err)
	}
	if _, got := w.openDataKey("kek", out.DataKey.ID.String()); string(got) != "0123456789abcdef0123456789abcdef" {
		t.Errorf("got %q", got)
	}
	in.Context = kms.Context{"a": "c"}
	_, err = w.e.RegisterDataKey(t.Context(), user, in)
	wantCode(t, err, kms.CodeDecryptFailed)
	in.Context, in.Key = kms.Context{"a": "b"}, "other"
	_, err = w.e.RegisterDataKey(t.Context(), user, in)
	wantCode(t, err, kms.CodeWrongKey)
	in.Key, in.Algorithm = "kek", kms.AES128GCM
	_, err = w.e.RegisterDataKey(t.Context(), user, in)
	wantCode(t, err, kms.CodeBadRequest)

	// What a deactivated version does not decrypt is not taken over either: nobody gets at it by this way round.
	if _, err := w.e.DeactivateVersion(t.Context(), admin, engine.DeactivateInput{Key: "kek", Version: 1}); err != nil {
		t.Fatal(err)
	}
	in.Algorithm = 0
	_, err = w.e.RegisterDataKey(t.Context(), user, in)
	wantCode(t, err, kms.CodeVersionState)
}

// TestAFingerprintIsCounted: a data key that is held elsewhere keeps its version needed, and no campaign claims to have moved it.
func TestAFingerprintIsCounted(t *testing.T) { // X2
	w := newWorld(t)
	w.create("kek", kms.AES256GCM, 0)
	w.register("kek", "here")
	sum := sha256.Sum256([]byte("a ciphertext elsewhere"))
	out, err := w.e.RegisterDataKey(t.Context(), user, engine.RegisterDataKeyInput{Key: "kek", Fingerprint: sum[:], Version: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.e.OpenDataKey(t.Context(), user, engine.ManagedDataKeyInput{Key: "kek", DataKey: out.DataKey.ID.String()})
	wantCode(t, err, kms.CodeUsage)
	w.rotate("kek")
	w.e.Upkeep(t.Context())
	counts, err := w.e.CountDataKeys(t.Context(), user, engine.KeyInput{Key: "kek"})
	if err != nil {
		t.Fatal(err)
	}
	want := []engine.DataKeyCount{{Version: 1, Outside: 1}, {Version: 2, Held: 1}}
	if fmt.Sprint(counts.Versions) != fmt.Sprint(want) || counts.Primary != 2 {
		t.Errorf("got %+v want %+v", counts, want)
	}
	if c := w.campaign("kek"); c.State != "done" || c.Left != 0 || !strings.Contains(c.Note, "1 known by fingerprint") {
		t.Errorf("got %+v", c)
	}
	_, err = w.e.RegisterDataKey(t.Context(), user, engine.RegisterDataKeyInput{Key: "kek", Fingerprint: sum[:], Version: 3})
	wantCode(t, err, kms.CodeVersionNotFound)
	_, err = w.e.RegisterDataKey(t.Context(), user, engine.RegisterDataKeyInput{Key: "kek", Fingerprint: sum[:5], Version: 1})
	wantCode(t, err, kms.CodeBadRequest)
}

// TestARepetitionIsAnsweredAgain: with its idempotency token each change is done once, and says again what it said; a plaintext is shown once.
func TestARepetitionIsAnsweredAgain(t *testing.T) {
	w := newWorld(t)
	w.create("kek", kms.AES256GCM, 0)
	once, boss := user, admin
	once.Token, boss.Token = "t1", "t2"
	in := engine.RegisterDataKeyInput{Key: "kek", Name: "d"}
	first, err := w.e.RegisterDataKey(t.Context(), once, in)
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.e.RegisterDataKey(t.Context(), once, in)
	if err != nil || second.DataKey.ID != first.DataKey.ID || !bytes.Equal(second.DataKey.Ciphertext, first.DataKey.Ciphertext) {
		t.Errorf("got %+v, %v want %+v", second, err, first)
	}
	for range 2 {
		if _, err := w.e.StartCampaign(t.Context(), boss, engine.CampaignInput{Key: "kek"}); err != nil {
			t.Errorf("start: %v", err)
		}
	}
	once.Token, in.Name, in.WithPlaintext = "t3", "e", true
	if _, err := w.e.RegisterDataKey(t.Context(), once, in); err != nil {
		t.Fatal(err)
	}
	_, err = w.e.RegisterDataKey(t.Context(), once, in)
	wantCode(t, err, kms.CodeAlreadyDone)
}

// rewrapRecords reads the audit records of campaigns, oldest first.
func (w *world) rewrapRecords() (all []engine.AuditEntry) {
	w.t.Helper()
	for page := ""; ; {
		out, err := w.e.ListAudit(w.t.Context(), carol, engine.AuditListInput{Filter: audit.Filter{Action: kms.RewrapDataKeys}, Page: page, Limit: 100})
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, out.Entries...)
		if page = out.Next; page == "" {
			return all
		}
	}
}

// TestARotationRewrapsEveryDataKey: without being asked, exactly once, with a record of each page, and it says that none is left.
func TestARotationRewrapsEveryDataKey(t *testing.T) { // LIF-6, W3, P4
	w := newWorld(t)
	w.create("kek", kms.AES256GCM, 0)
	const n = 123 // four full pages and a part
	plain := map[string][]byte{}
	for i := range n {
		d, p := w.register("kek", fmt.Sprintf("d%d", i))
		plain[d.ID.String()] = p
	}
	w.rotate("kek")
	w.e.Upkeep(t.Context())
	c := w.campaign("kek")
	if c.State != "done" || c.Done != n || c.Total != n || c.Left != 0 || c.Pages != 5 || c.Target != 2 || !strings.Contains(c.Note, "0 data keys left") {
		t.Errorf("got %+v", c)
	}
	for id, p := range plain {
		d, got := w.openDataKey("kek", id)
		if !bytes.Equal(got, p) || d.Version != 2 || d.Wraps != 1 {
			t.Fatalf("data key %s: version %d, re-wrapped %d times, want 2, 1, or its plaintext changed", id, d.Version, d.Wraps)
		}
	}
	items, pages := 0, 0
	for _, e := range w.rewrapRecords() {
		if e.Record.Outcome != audit.OK {
			t.Errorf("a record says %s", e.Record.Outcome)
		}
		if len(e.Record.Items) > 0 {
			pages, items = pages+1, items+len(e.Record.Items)
		}
	}
	if items != n || pages != 5 {
		t.Errorf("%d items in %d records, want %d in 5", items, pages, n)
	}
	// A rotation of a key without data keys begins nothing.
	w.create("lone", kms.AES256GCM, 0)
	w.rotate("lone")
	w.e.Upkeep(t.Context())
	_, err := w.e.ReadCampaign(t.Context(), user, engine.CampaignInput{Key: "lone"})
	wantCode(t, err, kms.CodeNotFound)
}

// TestADeactivatedVersionIsStillLeft: a campaign finishes although the version it empties may do nothing else any more.
func TestADeactivatedVersionIsStillLeft(t *testing.T) { // LIF-7
	w := newWorld(t)
	w.create("kek", kms.AES256GCM, 0)
	_, p := w.register("kek", "d")
	w.rotate("kek")
	if _, err := w.e.DeactivateVersion(t.Context(), admin, engine.DeactivateInput{Key: "kek", Version: 1}); err != nil {
		t.Fatal(err)
	}
	w.e.Upkeep(t.Context())
	if d, got := w.openDataKey("kek", "d"); d.Version != 2 || !bytes.Equal(got, p) {
		t.Errorf("got version %d", d.Version)
	}
}

// TestACompromisedVersionIsLeft: also one that is not the primary: its data keys do not wait for the next rotation.
func TestACompromisedVersionIsLeft(t *testing.T) { // LIF-15
	w := newWorld(t)
	w.create("kek", kms.AES256GCM, 0)
	w.register("kek", "d")
	if _, err := w.e.StartCampaign(t.Context(), admin, engine.CampaignInput{Key: "kek"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.PauseCampaign(t.Context(), admin, engine.CampaignInput{Key: "kek"}); err != nil {
		t.Fatal(err)
	}
	w.rotate("kek")
	w.e.Upkeep(t.Context())
	if d, _ := w.openDataKey("kek", "d"); d.Version != 1 {
		t.Fatalf("a paused campaign brought a data key under version %d", d.Version)
	}
	if _, err := w.e.CancelCampaign(t.Context(), admin, engine.CampaignInput{Key: "kek"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.CompromiseVersion(t.Context(), admin, engine.CompromiseInput{Key: "kek", Versions: []uint32{1}}); err != nil {
		t.Fatal(err)
	}
	w.e.Upkeep(t.Context())
	if d, _ := w.openDataKey("kek", "d"); d.Version != 2 {
		t.Errorf("the data key is under version %d of the two, and the first is compromised", d.Version)
	}
}

// TestACampaignIsControlled: paused through a restart and a rotation, resumed, cancelled, begun by hand; each is decided by what stands.
func TestACampaignIsControlled(t *testing.T) {
	w := newWorld(t)
	w.create("kek", kms.AES256GCM, 0)
	for i := range 60 {
		w.register("kek", fmt.Sprintf("d%d", i))
	}
	in := engine.CampaignInput{Key: "kek"}
	_, err := w.e.PauseCampaign(t.Context(), admin, in)
	wantCode(t, err, kms.CodeNotFound)
	if _, err := w.e.StartCampaign(t.Context(), admin, in); err != nil {
		t.Fatal(err)
	}
	_, err = w.e.StartCampaign(t.Context(), admin, in)
	wantCode(t, err, kms.CodeCampaign)
	if _, err := w.e.PauseCampaign(t.Context(), admin, in); err != nil {
		t.Fatal(err)
	}
	w.rotate("kek")
	w.e.Upkeep(t.Context())
	w.restart()
	w.e.Upkeep(t.Context())
	if c := w.campaign("kek"); c.State != "paused" || c.Done != 0 {
		t.Fatalf("got %+v want it paused", c)
	}
	_, err = w.e.ResumeCampaign(t.Context(), user, in)
	wantCode(t, err, kms.CodeDenied)
	if _, err := w.e.ResumeCampaign(t.Context(), admin, in); err != nil {
		t.Fatal(err)
	}
	w.e.Upkeep(t.Context())
	if c := w.campaign("kek"); c.State != "done" || c.Done != 60 || c.Target != 2 {
		t.Fatalf("got %+v want it done", c)
	}
	_, err = w.e.CancelCampaign(t.Context(), admin, in)
	wantCode(t, err, kms.CodeCampaign)

	// A key that is switched off lets its campaign wait, and a cancelled one leaves what it has not done.
	w.rotate("kek")
	if _, err := w.e.DisableKey(t.Context(), admin, engine.KeyInput{Key: "kek"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.StartCampaign(t.Context(), admin, in); err != nil {
		t.Fatal(err)
	}
	w.e.Upkeep(t.Context())
	if c := w.campaign("kek"); c.State != "waiting" || !strings.Contains(c.Note, "disabled") {
		t.Errorf("got %+v want it waiting", c)
	}
	out, err := w.e.CancelCampaign(t.Context(), admin, in)
	if err != nil || out.Campaign.State != "cancelled" {
		t.Errorf("got %+v, %v", out.Campaign, err)
	}
	if _, err := w.e.EnableKey(t.Context(), admin, engine.KeyInput{Key: "kek"}); err != nil {
		t.Fatal(err)
	}
	w.e.Upkeep(t.Context())
	counts, err := w.e.CountDataKeys(t.Context(), user, engine.KeyInput{Key: "kek"})
	if err != nil || len(counts.Versions) != 1 || counts.Versions[0].Version != 2 {
		t.Errorf("after a cancelled campaign: %+v, %v", counts, err)
	}
	if _, err := w.e.StartCampaign(t.Context(), admin, in); err != nil {
		t.Fatal(err)
	}
	w.e.Upkeep(t.Context())
	if c := w.campaign("kek"); c.State != "done" || c.Done != 60 || c.Cause != "by hand" {
		t.Errorf("got %+v", c)
	}
	list, err := w.e.ListCampaigns(t.Context(), user, engine.PageInput{})
	if err != nil || len(list.Campaigns) != 1 || list.Campaigns[0].KeyName != "kek" {
		t.Errorf("listed %+v, %v", list, err)
	}
}

// TestNothingIsLostBesideACampaign: data keys are made, revoked and the key is rotated again and again while campaigns run; in the end
// each that was not revoked opens, under the primary version, and the index agrees with the records.
func TestNothingIsLostBesideACampaign(t *testing.T) {
	w := newWorld(t)
	w.create("kek", kms.AES256GCM, 0)
	var mu sync.Mutex
	plain, gone := map[string][]byte{}, map[string]bool{}
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			for i := range 40 {
				out, err := w.e.RegisterDataKey(t.Context(), user, engine.RegisterDataKeyInput{Key: "kek", Name: fmt.Sprintf("c%d-%d", c, i), WithPlaintext: true})
				if err != nil {
					t.Errorf("register: %v", err)
					return
				}
				id := out.DataKey.ID.String()
				mu.Lock()
				plain[id] = bytes.Clone(out.Plaintext.Wire(release.Wire{}))
				mu.Unlock()
				if i%4 != 0 {
					continue
				}
				if _, err := w.e.RevokeDataKey(t.Context(), admin, engine.ManagedDataKeyInput{Key: "kek", DataKey: id}); err != nil {
					t.Errorf("revoke: %v", err)
				}
				mu.Lock()
				gone[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Go(func() {
		for range 4 {
			if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "kek"}); err != nil && !errors.Is(err, kms.Errorf(kms.CodeConflict, "")) {
				t.Errorf("rotate: %v", err)
			}
			w.e.Upkeep(t.Context())
		}
	})
	wg.Wait()
	w.rotate("kek")
	w.e.Upkeep(t.Context())
	k, err := w.e.DescribeKey(t.Context(), user, engine.KeyInput{Key: "kek"})
	if err != nil {
		t.Fatal(err)
	}
	for id, p := range plain {
		if gone[id] {
			continue
		}
		if d, got := w.openDataKey("kek", id); !bytes.Equal(got, p) || d.Version != k.Key.Primary || d.Wraps > k.Key.Primary-1 {
			t.Errorf("data key %s: version %d, re-wrapped %d times, want version %d", id, d.Version, d.Wraps, k.Key.Primary)
		}
	}
	counts, err := w.e.CountDataKeys(t.Context(), user, engine.KeyInput{Key: "kek"})
	if err != nil || len(counts.Versions) != 1 || counts.Versions[0].Held != len(plain)-len(gone) {
		t.Errorf("counted %+v, %v want %d under version %d", counts, err, len(plain)-len(gone), k.Key.Primary)
	}
}
