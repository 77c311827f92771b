package engine_test

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

func (w *world) seen(k kms.Ref, region string) (kms.Key, error) {
	out, err := w.e.DescribeKey(w.t.Context(), from(admin, region), engine.KeyInput{Key: k})
	return out.Key, err
}

func (w *world) encryptIn(region string, k kms.Ref) error {
	return second(w.e.Encrypt(w.t.Context(), from(user, region), engine.EncryptInput{Key: k, Items: []engine.EncryptItem{{Plaintext: []byte("x")}}}))
}

// A key with a home is in other regions as if it did not exist; a key without one is everywhere, and calls from nowhere find all of them.
func TestAKeyAnswersWhereItIsAtHome(t *testing.T) {
	w := newWorld(t)
	w.create("native", kms.AES256GCM, 0)
	if _, err := w.e.CreateKey(t.Context(), from(admin, "eu-west-1"), engine.CreateKeyInput{Name: "paris", Algorithm: kms.AES256GCM}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key    kms.Ref
		region string
		want   kms.Code
	}{
		{"native", "", 0}, {"native", "us-east-1", 0}, {"paris", "", 0}, {"paris", "eu-west-1", 0},
		{"paris", "us-east-1", kms.CodeKeyNotFound}, {"paris", "eu-west-12", kms.CodeKeyNotFound},
	} {
		wantCode(t, w.encryptIn(c.region, c.key), c.want)
		_, err := w.seen(c.key, c.region)
		wantCode(t, err, c.want)
	}
	for region, want := range map[string]int{"": 2, "eu-west-1": 2, "us-east-1": 1} {
		out, err := w.e.ListKeys(t.Context(), from(admin, region), engine.ListKeysInput{})
		if err != nil || len(out.Keys) != want {
			t.Errorf("%q: %d keys, %v, want %d", region, len(out.Keys), err, want)
		}
	}
	// Who may do nothing is told the same, whether the key is here, elsewhere or nowhere.
	nobody := as("nobody")
	told := map[string]bool{}
	for _, r := range []string{"eu-west-1", "us-east-1"} {
		for _, k := range []kms.Ref{"paris", "none"} {
			_, err := w.e.DescribeKey(t.Context(), from(nobody, r), engine.KeyInput{Key: k})
			wantCode(t, err, kms.CodeDenied)
			told[strings.Split(err.Error(), "decision")[0]] = true
		}
	}
	if len(told) != 1 {
		t.Errorf("the refusals differ: %v", told)
	}
	_, err := w.e.CreateKey(t.Context(), from(admin, "Eu West"), engine.CreateKeyInput{Name: "x", Algorithm: kms.AES256GCM})
	wantCode(t, err, kms.CodeBadName)
	_, err = w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: "x", Algorithm: kms.AES256GCM, MultiRegion: true})
	wantCode(t, err, kms.CodeBadRequest)
}

// A replica has its own switch, description and labels, and the key's material, names and versions; all of it after a restart too.
func TestAReplicaIsTheSameKeyWithItsOwnSwitch(t *testing.T) {
	w := newWorld(t)
	if _, err := replicated(w, "k"); err != nil {
		t.Fatal(err)
	}
	eu, us := from(admin, "eu-west-1"), from(admin, "us-east-1")
	made := w.encrypt("k", "secret", nil)
	if got, err := w.decrypt(from(user, "us-east-1"), made, nil); err != nil || got != "secret" {
		t.Errorf("got %q, %v", got, err)
	}
	text := "in Virginia"
	if _, err := w.e.UpdateKey(t.Context(), us, engine.UpdateKeyInput{Key: "k", Description: &text, SetLabels: map[string]string{"where": "us"}, AddAliases: []string{"orders"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.DisableKey(t.Context(), us, engine.KeyInput{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		wantCode(t, w.encryptIn("us-east-1", "alias/orders"), kms.CodeKeyDisabled)
		wantCode(t, w.encryptIn("eu-west-1", "alias/orders"), 0)
		wantCode(t, w.encryptIn("", "alias/orders"), 0)
		wantCode(t, w.encryptIn("ap-south-1", "alias/orders"), kms.CodeKeyNotFound)
		here, err := w.seen("k", "eu-west-1")
		there, err2 := w.seen("k", "us-east-1")
		if err != nil || err2 != nil || here.Switch != kms.Enabled || here.Description != "" || len(here.Labels) != 0 || here.Stands != "" ||
			there.Switch != kms.Disabled || there.Description != text || there.Labels["where"] != "us" || there.Stands != "us-east-1" || there.Region != "eu-west-1" {
			t.Errorf("here %+v, there %+v, %v, %v", here, there, err, err2)
		}
	}
	check()
	w.restart()
	check()
	if _, err := w.e.EnableKey(t.Context(), us, engine.KeyInput{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.DisableKey(t.Context(), eu, engine.KeyInput{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, w.encryptIn("us-east-1", "k"), 0)
	wantCode(t, w.encryptIn("eu-west-1", "k"), kms.CodeKeyDisabled)
}

func TestWhereAReplicaCanBe(t *testing.T) {
	w := newWorld(t)
	if _, err := replicated(w, "k"); err != nil {
		t.Fatal(err)
	}
	w.create("plain", kms.AES256GCM, 0)
	eu := from(admin, "eu-west-1")
	for _, c := range []struct {
		name string
		call kms.Call
		in   engine.ReplicateInput
		want kms.Code
	}{
		{"at home", eu, engine.ReplicateInput{Key: "k", Region: "eu-west-1"}, kms.CodeExists},
		{"twice", eu, engine.ReplicateInput{Key: "k", Region: "us-east-1"}, kms.CodeExists},
		{"from a replica", from(admin, "us-east-1"), engine.ReplicateInput{Key: "k", Region: "us-west-2"}, kms.CodeConflict},
		{"of a key of one region", eu, engine.ReplicateInput{Key: "plain", Region: "us-west-2"}, kms.CodeConflict},
		{"no region", eu, engine.ReplicateInput{Key: "k", Region: "moon"}, kms.CodeBadName},
		{"long", eu, engine.ReplicateInput{Key: "k", Region: "us-west-2", Description: strings.Repeat("x", kms.MaxKeyDescription+1)}, kms.CodeTooLarge},
		{"from nowhere", admin, engine.ReplicateInput{Key: "k", Region: "us-west-2", Description: strings.Repeat("x", kms.MaxKeyDescription)}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantCode(t, second(w.e.ReplicateKey(t.Context(), c.call, c.in)), c.want)
		})
	}
}

// The home moves to a replica and back: each keeps what is its own.
func TestTheHomeOfAKeyMoves(t *testing.T) {
	w := newWorld(t)
	if _, err := replicated(w, "k"); err != nil {
		t.Fatal(err)
	}
	eu, us := from(admin, "eu-west-1"), from(admin, "us-east-1")
	text := "European"
	if _, err := w.e.UpdateKey(t.Context(), eu, engine.UpdateKeyInput{Key: "k", Description: &text}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, second(w.e.UpdatePrimaryRegion(t.Context(), us, engine.RehomeInput{Key: "k", Region: "us-east-1"})), kms.CodeConflict)
	wantCode(t, second(w.e.UpdatePrimaryRegion(t.Context(), eu, engine.RehomeInput{Key: "k", Region: "ap-south-1"})), kms.CodeKeyNotFound)
	wantCode(t, second(w.e.UpdatePrimaryRegion(t.Context(), eu, engine.RehomeInput{Key: "k", Region: "us-east-1"})), 0)
	w.restart()
	for _, region := range []string{"us-east-1", "eu-west-1"} {
		k, err := w.seen("k", region)
		want := map[string]string{"eu-west-1": text}[region]
		if err != nil || k.Region != "us-east-1" || len(k.Replicas) != 1 || k.Description != want {
			t.Errorf("%s: %+v, %v", region, k, err)
		}
		wantCode(t, w.encryptIn(region, "k"), 0)
	}
	wantCode(t, second(w.e.UpdatePrimaryRegion(t.Context(), us, engine.RehomeInput{Key: "k", Region: "us-east-1"})), 0)
	wantCode(t, second(w.e.UpdatePrimaryRegion(t.Context(), us, engine.RehomeInput{Key: "k", Region: "eu-west-1"})), 0)
	if k, err := w.seen("k", "eu-west-1"); err != nil || k.Region != "eu-west-1" || k.Description != text {
		t.Errorf("%+v, %v", k, err)
	}
}

// A replica goes when its window ends, and takes nothing with it; a key whose destruction was asked for waits until the last replica is gone, and then its own window begins.
func TestAReplicaGoesAndTheKeyStays(t *testing.T) {
	w := newWorld(t)
	if _, err := replicated(w, "k"); err != nil {
		t.Fatal(err)
	}
	eu, us := from(admin, "eu-west-1"), from(admin, "us-east-1")
	out, err := w.schedule(eu, engine.DestroyInput{Key: "k", Window: week})
	if err != nil || out.Key.Switch != kms.PendingDestruction || !out.Key.DestroyAt.IsZero() || out.Key.Window != kms.Seconds(week/time.Second) {
		t.Fatalf("%+v, %v", out.Key, err)
	}
	wantCode(t, w.encryptIn("eu-west-1", "k"), kms.CodeKeyPendingDestruction)
	wantCode(t, w.encryptIn("us-east-1", "k"), 0)
	out, err = w.e.ScheduleKeyDestruction(t.Context(), us, engine.DestroyInput{Key: "k", Window: week})
	if err != nil || out.Key.Stands != "us-east-1" || out.Key.DestroyAt.IsZero() {
		t.Fatalf("%+v, %v", out.Key, err)
	}
	wantCode(t, w.encryptIn("us-east-1", "k"), kms.CodeKeyPendingDestruction)
	out, err = w.e.CancelKeyDestruction(t.Context(), us, engine.CancelInput{Key: "k", Disable: true})
	if err != nil || out.Key.Switch != kms.Disabled || !out.Key.DestroyAt.IsZero() {
		t.Fatalf("%+v, %v", out.Key, err)
	}
	if _, err = w.e.ScheduleKeyDestruction(t.Context(), us, engine.DestroyInput{Key: "k", Window: week}); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.now = w.now.Add(week)
	w.e.Upkeep(t.Context())
	_, err = w.seen("k", "us-east-1")
	wantCode(t, err, kms.CodeKeyNotFound)
	k, err := w.seen("k", "eu-west-1")
	if err != nil || k.Switch != kms.PendingDestruction || len(k.Replicas) != 0 || k.DestroyAt.IsZero() {
		t.Fatalf("%+v, %v", k, err)
	}
	w.now = w.now.Add(week)
	w.e.Upkeep(t.Context())
	if k, err = w.seen("k", "eu-west-1"); err != nil || k.Switch != kms.DestroyedKey {
		t.Errorf("%+v, %v", k, err)
	}
}

// What a dialect asks of a key is asked when the caller is allowed, and recorded as a refusal.
func TestADialectRefusesWhatItDoesNotTake(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	asked := 0
	c := user
	c.Admit = func(k *kms.Key) error {
		if asked++; k.Name == "k" {
			return kms.Errorf(kms.CodeUsage, "not for this")
		}
		return nil
	}
	_, err := w.e.Encrypt(t.Context(), c, engine.EncryptInput{Key: "k", Items: []engine.EncryptItem{{}}})
	wantCode(t, err, kms.CodeUsage)
	c.Principal = as("nobody").Principal
	_, err = w.e.Encrypt(t.Context(), c, engine.EncryptInput{Key: "k", Items: []engine.EncryptItem{{}}})
	wantCode(t, err, kms.CodeDenied)
	if recs := w.records(audit.Filter{Action: kms.Encrypt}); asked != 1 || len(recs) != 2 || recs[1].Code != kms.CodeUsage || recs[1].Outcome != audit.Refused {
		t.Errorf("asked %d times, records %+v", asked, recs)
	}
}

func TestAFolderNamesItsKeysByTheirIds(t *testing.T) {
	w := newWorld(t)
	var seen []string
	for range 2 {
		out, err := w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: "aws/", Algorithm: kms.AES256GCM})
		if err != nil || out.Key.Name != "aws/"+out.Key.ID.String() {
			t.Fatalf("%+v, %v", out.Key, err)
		}
		seen = append(seen, out.Key.Name)
	}
	wantCode(t, w.encryptIn("", kms.Ref(seen[1])), 0)
	for name, want := range map[string]kms.Code{strings.Repeat("a", 218) + "/": 0, strings.Repeat("b", 219) + "/": kms.CodeBadName} {
		_, err := w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: name, Algorithm: kms.AES256GCM})
		wantCode(t, err, want)
	}
}

// An alias moves in one step, by who may change both keys.
func TestAnAliasMoves(t *testing.T) {
	w := newWorld(t)
	a, b := w.create("a", kms.AES256GCM, 0), w.create("b", kms.AES256GCM, 0)
	if _, err := w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: "a", AddAliases: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, second(w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: "a", AddAliases: []string{"x"}, OnlyNew: true})), kms.CodeExists)
	move := func(c kms.Call, alias string, to kms.Ref) error {
		return second(w.e.MoveAlias(t.Context(), c, engine.MoveAliasInput{Alias: alias, Key: to}))
	}
	wantCode(t, move(admin, "none", "b"), kms.CodeKeyNotFound)
	wantCode(t, move(admin, "a", "b"), kms.CodeConflict) // its name
	wantCode(t, move(user, "x", "b"), kms.CodeDenied)
	w.putPolicy("guard", `forbid (principal, action == Action::"UpdateKey", resource == Key::"`+a.ID.String()+`");`)
	wantCode(t, move(admin, "x", "b"), kms.CodeDenied)
	if _, err := w.e.DeletePolicy(t.Context(), admin, engine.PolicyInput{ID: "guard"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []kms.ID{b.ID, a.ID, a.ID} {
		wantCode(t, move(admin, "x", kms.RefTo(want)), 0)
		k, err := w.seen("alias/x", "")
		if err != nil || k.ID != want || len(k.Aliases) != 1 {
			t.Errorf("leads to %+v, %v", k, err)
		}
	}
	w.restart()
	if k, err := w.seen("b", ""); err != nil || len(k.Aliases) != 0 {
		t.Errorf("%+v, %v", k, err)
	}
}

// bytesOf is material that is not that of another number.
func bytesOf(n byte) []byte {
	b := sha256.Sum256([]byte{n})
	return b[:]
}

// bringWaiting imports a version that waits to become the primary one.
func (w *world) bringWaiting(key string, material []byte) (engine.ImportMaterialOutput, error) {
	tok := w.importToken(engine.ImportTokenInput{Key: kms.Ref(key), Transport: kms.RSAAESSHA256})
	return w.e.ImportKeyMaterial(w.t.Context(), admin, engine.ImportMaterialInput{Key: kms.Ref(key), Token: tok.ID, Material: wrapFor(w.t, tok, material), Waiting: true})
}

// Imported material can come ahead of the rotation to it: until then it protects nothing, and there is one such version at a time.
func TestImportedMaterialWaitsForItsRotation(t *testing.T) {
	w := newWorld(t)
	w.importable("k", kms.AES256GCM, 0)
	first, second_ := bytesOf(1), bytesOf(2)
	if out, err := w.bringWaiting("k", first); err != nil || out.Key.Primary != 1 || out.Key.Next != 0 || out.Key.Switch != kms.Enabled {
		t.Fatalf("the first material does not wait: %+v, %v", out.Key, err)
	}
	rotate := func(most uint32) (engine.KeyOutput, error) {
		return w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k", Waiting: true, Most: most})
	}
	wantCode(t, second(rotate(0)), kms.CodeVersionState)
	old := w.encrypt("k", "secret", nil)
	if out, err := w.bringWaiting("k", second_); err != nil || out.Key.Primary != 1 || out.Key.Next != 2 || out.Versions[0].State != kms.PreActive {
		t.Fatalf("%+v, %v", out, err)
	}
	wantCode(t, second(w.bringWaiting("k", bytesOf(3))), kms.CodeConflict)
	w.restart()
	if out, err := rotate(1); err != nil || out.Key.Primary != 2 || out.Key.Next != 0 || out.Key.ByHand != 1 {
		t.Fatalf("%+v, %v", out.Key, err)
	}
	if got, err := w.decrypt(user, old, nil); err != nil || got != "secret" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := w.bringWaiting("k", bytesOf(3)); err != nil {
		t.Fatal(err)
	}
	wantCode(t, second(rotate(1)), kms.CodeTooLarge)
	wantCode(t, second(rotate(2)), 0)
}

// Material that is forgotten at once takes the whole key along until the same material is back; one that only waits is given up.
func TestForgottenMaterialTakesTheKeyAlong(t *testing.T) {
	w := newWorld(t)
	w.importable("k", kms.AES256GCM, 0)
	material := [][]byte{nil, bytesOf(1), bytesOf(2), bytesOf(3)}
	w.mustBring("k", 0, material[1], time.Time{})
	old := w.encrypt("k", "secret", nil)
	w.mustBring("k", 0, material[2], time.Time{})
	if _, err := w.bringWaiting("k", material[3]); err != nil {
		t.Fatal(err)
	}
	forget := func(n uint32) (engine.KeyOutput, error) {
		return w.e.ExpireKeyMaterial(t.Context(), admin, engine.ExpireInput{Key: "k", Version: n, Now: true})
	}
	wantCode(t, second(w.e.ExpireKeyMaterial(t.Context(), admin, engine.ExpireInput{Key: "k", Version: 1, Now: true, Window: time.Hour})), kms.CodeBadRequest)
	if out, err := forget(3); err != nil || out.Key.Switch != kms.Enabled || out.Key.Next != 0 || out.Versions[0].State != kms.Destroyed {
		t.Fatalf("%+v, %v", out, err)
	}
	if out, err := w.bringWaiting("k", material[3]); err != nil || out.Key.Next != 4 {
		t.Fatalf("it cannot come again: %+v, %v", out.Key, err)
	}
	for i, n := range []uint32{1, 2} {
		if out, err := forget(n); err != nil || out.Key.Switch != kms.PendingImport || int(out.Key.Lacking) != i+1 {
			t.Fatalf("%+v, %v", out.Key, err)
		}
	}
	wantCode(t, second(forget(1)), kms.CodeMaterialExpired)
	w.restart()
	wantCode(t, w.tryEncrypt("k"), kms.CodeKeyPendingImport)
	wantCode(t, second(w.bring("k", 1, material[2], time.Time{})), kms.CodeCheckValue)
	w.mustBring("k", 2, material[2], time.Time{})
	wantCode(t, w.tryEncrypt("k"), kms.CodeKeyPendingImport)
	if out := w.mustBring("k", 1, material[1], time.Time{}); out.Key.Switch != kms.Enabled || out.Key.Lacking != 0 {
		t.Fatalf("%+v", out.Key)
	}
	wantCode(t, w.tryEncrypt("k"), 0)
	if got, err := w.decrypt(user, old, nil); err != nil || got != "secret" {
		t.Errorf("got %q, %v", got, err)
	}
}

// Where a key has a home, material that expires takes it along as well.
func TestExpiredMaterialTakesAKeyWithAHomeAlong(t *testing.T) {
	w := newWorld(t)
	for name, region := range map[string]string{"home": "eu-west-1", "free": ""} {
		if _, err := w.e.CreateKey(t.Context(), from(admin, region), engine.CreateKeyInput{Name: name, Algorithm: kms.AES256GCM, Import: true}); err != nil {
			t.Fatal(err)
		}
		w.mustBring(name, 0, bytesOf(1), w.now.Add(time.Hour))
		w.mustBring(name, 0, bytesOf(2), time.Time{})
	}
	w.now = w.now.Add(time.Hour)
	w.e.Upkeep(t.Context())
	wantCode(t, w.tryEncrypt("free"), 0)
	wantCode(t, w.tryEncrypt("home"), kms.CodeKeyPendingImport)
	w.mustBring("home", 1, bytesOf(1), time.Time{})
	wantCode(t, w.tryEncrypt("home"), 0)
}

// Under an open token the material says itself which version it is of.
func TestAnOpenTokenTakesWhateverComes(t *testing.T) {
	w := newWorld(t)
	w.importable("k", kms.AES256GCM, 0)
	bring := func(material []byte, in engine.ImportMaterialInput) (engine.ImportMaterialOutput, error) {
		tok := w.importToken(engine.ImportTokenInput{Key: "k", Transport: kms.OAEPSHA256, Open: true})
		in.Key, in.Token, in.Material = "k", tok.ID, wrapFor(t, tok, material)
		return w.e.ImportKeyMaterial(t.Context(), admin, in)
	}
	_, err := bring(bytesOf(1), engine.ImportMaterialInput{As: engine.ImportAgain})
	wantCode(t, err, kms.CodeCheckValue)
	for _, c := range []struct {
		material []byte
		in       engine.ImportMaterialInput
		version  uint32
		want     kms.Code
	}{
		{bytesOf(1), engine.ImportMaterialInput{}, 1, 0},
		{bytesOf(2), engine.ImportMaterialInput{}, 0, kms.CodeCheckValue},
		{bytesOf(2), engine.ImportMaterialInput{As: engine.ImportNew, Note: "two"}, 2, 0},
		{bytesOf(1), engine.ImportMaterialInput{Expires: w.now.Add(time.Hour)}, 1, 0},
		{bytesOf(1), engine.ImportMaterialInput{Version: 2}, 0, kms.CodeCheckValue},
		{bytesOf(2), engine.ImportMaterialInput{As: engine.ImportAgain, Version: 2}, 2, 0},
	} {
		out, err := bring(c.material, c.in)
		wantCode(t, err, c.want)
		if err == nil && (out.Versions[0].Number != c.version || !out.Versions[0].ExpiresAt.Equal(c.in.Expires) || c.version == 2 && out.Versions[0].Note != "two") {
			t.Errorf("got %+v, want version %d", out.Versions[0], c.version)
		}
	}
	for _, in := range []engine.ImportTokenInput{
		{Key: "k", Open: true}, {Key: "k", Open: true, Transport: kms.OAEPSHA256, Version: 1}, {Key: "k", Open: true, Transport: kms.TransportKWP, WrappingKey: "k"},
	} {
		_, err := w.e.CreateImportToken(t.Context(), admin, in)
		wantCode(t, err, kms.CodeBadRequest)
	}
}

// An alias comes free from a key in every state.
func TestAnAliasIsDeletedInEveryState(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	if _, err := w.e.UpdateKey(t.Context(), admin, engine.UpdateKeyInput{Key: "k", AddAliases: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.schedule(admin, engine.DestroyInput{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, second(w.e.DeleteAlias(t.Context(), user, engine.DeleteAliasInput{Alias: "x"})), kms.CodeDenied)
	wantCode(t, second(w.e.DeleteAlias(t.Context(), admin, engine.DeleteAliasInput{Alias: "x"})), 0)
	wantCode(t, second(w.e.DeleteAlias(t.Context(), admin, engine.DeleteAliasInput{Alias: "x"})), kms.CodeKeyNotFound)
	wantCode(t, second(w.e.DeleteAlias(t.Context(), admin, engine.DeleteAliasInput{Alias: "k"})), kms.CodeNotFound)
}

// A cryptoperiod changes by its dates alone, where that is asked for.
func TestOnlyTheDatesOfACryptoperiodChange(t *testing.T) {
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	w.period("k", kms.Period{Every: 86400, Operations: 1000})
	out, err := w.e.ScheduleRotation(t.Context(), admin, engine.ScheduleRotationInput{Key: "k", Period: kms.Period{Every: 90 * 86400}, Dates: true})
	if err != nil || out.Key.Period != (kms.Period{Every: 90 * 86400, Operations: 1000}) {
		t.Errorf("%+v, %v", out.Key.Period, err)
	}
	if out, err = w.e.ScheduleRotation(t.Context(), admin, engine.ScheduleRotationInput{Key: "k", Dates: true}); err != nil || out.Key.Period != (kms.Period{Operations: 1000}) || !out.Key.RotateAt.IsZero() {
		t.Errorf("%+v, %v", out.Key, err)
	}
}
