package engine_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
	"github.com/keyhold/keyhold/internal/store"
)

const readsAll = `permit (principal == Principal::"svc/orders", action == Action::"ReadSecret", resource) when { context has secret && context.secret like "secret/*" };`

func (w *world) put(path, value string, replaces ...uint32) (engine.SecretOutput, error) {
	in := engine.PutSecretInput{Path: path, Value: secret.Copy([]byte(value))}
	if len(replaces) > 0 {
		in.Replaces = &replaces[0]
	}
	return w.e.PutSecret(w.t.Context(), admin, in)
}

func (w *world) mustPut(path, value string) uint32 {
	w.t.Helper()
	out, err := w.put(path, value)
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Secret.Current
}

// read answers a version's value; gone: it is deleted or destroyed.
func (w *world) read(path string, n uint32) (value string, gone bool, err error) {
	out, err := w.e.ReadSecret(w.t.Context(), user, engine.ReadSecretInput{Path: path, Version: n})
	return string(out.Value.Wire(release.Wire{})), out.Version.Gone(w.now), err
}

func (w *world) wantSecret(path string, n uint32, want string) {
	w.t.Helper()
	if got, gone, err := w.read(path, n); err != nil || got != want || gone {
		w.t.Errorf("%s version %d: got %q, gone %v, %v; want %q", path, n, got, gone, err, want)
	}
}

func (w *world) list(folder string) []string {
	w.t.Helper()
	out, err := w.e.ListSecrets(w.t.Context(), admin, engine.ListSecretsInput{Folder: folder})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Names
}

func TestSecretsHaveVersions(t *testing.T) {
	w := newWorld(t)
	w.putPolicy("reads", readsAll)
	for i := range engine.SecretVersions + 2 {
		if n := w.mustPut("secret/kes/key", fmt.Sprint("value ", i+1)); n != uint32(i+1) {
			t.Fatalf("got version %d want %d", n, i+1)
		}
	}
	w.restart()
	w.wantSecret("secret/kes/key", 0, "value 12")
	w.wantSecret("secret/kes/key", 3, "value 3")
	_, _, err := w.read("secret/kes/key", 2)
	wantCode(t, err, kms.CodeNotFound)
	out, err := w.e.ReadSecretMetadata(t.Context(), admin, engine.SecretInput{Path: "secret/kes/key"})
	if s := out.Secret; err != nil || len(s.Versions) != engine.SecretVersions || s.Versions[0].Number != 3 || s.Current != 12 || s.Versions[9].Bytes != 8 {
		t.Errorf("got %+v, %v", out, err)
	}
}

// TestWhoReplacesASecretCanSayWhichVersion, and one of two who say the same is refused.
func TestWhoReplacesASecretCanSayWhichVersion(t *testing.T) {
	w := newWorld(t)
	if _, err := w.put("secret/a", "1", 0); err != nil {
		t.Fatal(err)
	}
	_, err := w.put("secret/a", "x", 0)
	wantCode(t, err, kms.CodeConflict)
	var wins, losses int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			_, err := w.put("secret/a", "2", 1)
			mu.Lock()
			defer mu.Unlock()
			switch kms.CodeOf(err) {
			case 0:
				wins++
			case kms.CodeConflict:
				losses++
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if wins != 1 || losses != 3 {
		t.Errorf("%d won and %d lost, want 1 and 3", wins, losses)
	}
	must := true
	if _, err := w.e.UpdateSecretMetadata(t.Context(), admin, engine.UpdateSecretInput{Path: "secret/a", MustCheck: &must}); err != nil {
		t.Fatal(err)
	}
	_, err = w.put("secret/a", "3")
	wantCode(t, err, kms.CodeBadRequest)
}

func TestDeletionOfSecretsIsTakenBackAndDestructionIsNot(t *testing.T) {
	w := newWorld(t)
	w.putPolicy("reads", readsAll)
	w.mustPut("secret/a", "one")
	w.mustPut("secret/a", "two")
	versions := func(n ...uint32) engine.SecretVersionsInput {
		return engine.SecretVersionsInput{Path: "secret/a", Versions: n}
	}
	if _, err := w.e.DeleteSecret(t.Context(), admin, versions()); err != nil {
		t.Fatal(err)
	}
	if value, gone, err := w.read("secret/a", 0); value != "" || !gone || err != nil {
		t.Errorf("deleted: got %q, gone %v, %v", value, gone, err)
	}
	w.wantSecret("secret/a", 1, "one")
	if _, err := w.e.UndeleteSecret(t.Context(), admin, versions(2)); err != nil {
		t.Fatal(err)
	}
	w.wantSecret("secret/a", 2, "two")
	if _, err := w.e.DestroySecret(t.Context(), admin, versions(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.UndeleteSecret(t.Context(), admin, versions(1)); err != nil {
		t.Fatal(err)
	}
	if value, gone, err := w.read("secret/a", 1); value != "" || !gone || err != nil {
		t.Errorf("destroyed: got %q, gone %v, %v", value, gone, err)
	}
	if rows := w.shredRows(0xff); rows != 1 {
		t.Errorf("%d shred secrets are left, want that of version 2", rows)
	}
	after := time.Hour
	if _, err := w.e.UpdateSecretMetadata(t.Context(), admin, engine.UpdateSecretInput{Path: "secret/a", DeleteAfter: &after}); err != nil {
		t.Fatal(err)
	}
	w.mustPut("secret/a", "three")
	w.wantSecret("secret/a", 3, "three")
	w.now = w.now.Add(2 * time.Hour)
	if value, gone, err := w.read("secret/a", 3); value != "" || !gone || err != nil {
		t.Errorf("after its time: got %q, gone %v, %v", value, gone, err)
	}
}

// shredRows counts the shred rows whose path goes on with a byte.
func (w *world) shredRows(second byte) int {
	w.t.Helper()
	recs, _, err := w.store.Scan(w.t.Context(), []byte{'R', second}, nil, store.MaxPage)
	if err != nil {
		w.t.Fatal(err)
	}
	return len(recs)
}

func TestFoldersComeAndGoWithTheirSecrets(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"secret/b", "secret/a/x/1", "secret/a/x/2", "secret/a", "kv/c", "secret/ä"} {
		w.mustPut(path, "v")
	}
	for folder, want := range map[string][]string{"secret": {"a", "a/", "b", "ä"}, "secret/a": {"x/"}, "secret/a/x": {"1", "2"}, "kv": {"c"}, "nowhere": nil} {
		if got := w.list(folder); !slices.Equal(got, want) {
			t.Errorf("%s: got %q want %q", folder, got, want)
		}
	}
	page, err := w.e.ListSecrets(t.Context(), admin, engine.ListSecretsInput{Folder: "secret", After: "a", Limit: 2})
	if err != nil || !slices.Equal(page.Names, []string{"a/", "b"}) || !page.More {
		t.Errorf("got %+v, %v", page, err)
	}
	for _, path := range []string{"secret/a/x/1", "secret/a", "secret/a/x/2", "secret/b", "secret/ä", "kv/c"} {
		if _, err := w.e.DeleteSecretMetadata(t.Context(), admin, engine.SecretInput{Path: path}); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		_, err := w.e.ReadSecretMetadata(t.Context(), admin, engine.SecretInput{Path: path})
		wantCode(t, err, kms.CodeNotFound)
	}
	recs, _, err := w.store.Scan(t.Context(), []byte{'v'}, nil, 10)
	if err != nil || len(recs) != 0 || w.shredRows(0xff) != 0 {
		t.Errorf("%d records and %d shred secrets are left, %v", len(recs), w.shredRows(0xff), err)
	}
	w.mustPut("secret/a/x/1", "again")
	if got := w.list("secret"); !slices.Equal(got, []string{"a/"}) {
		t.Errorf("got %q", got)
	}
}

// TestPathsDecideBeforeSecretsExist: a refusal does not tell which there are, and nothing is permitted by itself.
func TestPathsDecideBeforeSecretsExist(t *testing.T) {
	w := newWorld(t)
	w.mustPut("secret/team/a", "v")
	for _, c := range []kms.Call{user, as("carol", kms.RoleAuditor)} {
		for _, path := range []string{"secret/team/a", "secret/team/none"} {
			_, err := w.e.ReadSecret(t.Context(), c, engine.ReadSecretInput{Path: path})
			wantCode(t, err, kms.CodeDenied)
			_, err = w.e.ReadSecretMetadata(t.Context(), c, engine.SecretInput{Path: path})
			wantCode(t, err, kms.CodeDenied)
		}
		_, err := w.e.ListSecrets(t.Context(), c, engine.ListSecretsInput{Folder: "secret"})
		wantCode(t, err, kms.CodeDenied)
		_, err = w.e.PutSecret(t.Context(), c, engine.PutSecretInput{Path: "secret/x", Value: secret.Copy([]byte("v"))})
		wantCode(t, err, kms.CodeDenied)
	}
	_, err := w.e.ReadSecret(t.Context(), admin, engine.ReadSecretInput{Path: "secret/team/a"}) // who manages does not read
	wantCode(t, err, kms.CodeDenied)
	w.putPolicy("team", `permit (principal == Principal::"svc/orders", action in [Action::"ReadSecret", Action::"ListSecrets"], resource) when { context has secret && context.secret like "secret/team/*" };`)
	w.wantSecret("secret/team/a", 0, "v")
	_, _, err = w.read("secret/other", 0)
	wantCode(t, err, kms.CodeDenied)
	if out, err := w.e.ListSecrets(t.Context(), user, engine.ListSecretsInput{Folder: "secret/team"}); err != nil || !slices.Equal(out.Names, []string{"a"}) {
		t.Errorf("got %+v, %v", out, err)
	}
	_, err = w.e.ListSecrets(t.Context(), user, engine.ListSecretsInput{Folder: "secret"})
	wantCode(t, err, kms.CodeDenied)
	can, err := w.e.CanI(t.Context(), user, engine.CanIInput{Action: kms.ReadSecret, Secret: "secret/team/none"})
	if err != nil || !can.Explanation.Allowed {
		t.Errorf("got %+v, %v", can, err)
	}
}

func TestSecretsAreBoundedAndBadPathsRefused(t *testing.T) {
	w := newWorld(t)
	w.putPolicy("reads", readsAll)
	big := strings.Repeat("x", engine.MaxSecretValue)
	w.mustPut("secret/big", big)
	w.wantSecret("secret/big", 1, big)
	_, err := w.put("secret/big", big+"x")
	wantCode(t, err, kms.CodeTooLarge)
	for _, path := range []string{"", "a", "/a", "a/", "a//b", "a/../b", "a/.", "a/\nb", "a/\xff", "a/" + strings.Repeat("a", engine.MaxSecretPath-1), strings.Repeat("a/", engine.MaxSecretDepth) + "a"} {
		_, err := w.put(path, "v")
		wantCode(t, err, kms.CodeBadName)
	}
	_, err = w.e.DestroySecret(t.Context(), admin, engine.SecretVersionsInput{Path: "secret/big", Versions: make([]uint32, engine.MaxSecretVersions+1)})
	wantCode(t, err, kms.CodeTooLarge)
	custom := map[string]string{}
	for i := range engine.MaxCustomMetadata {
		custom[fmt.Sprint(i)] = strings.Repeat("x", 512)
	}
	keep := uint32(engine.MaxSecretVersions)
	if _, err := w.e.UpdateSecretMetadata(t.Context(), admin, engine.UpdateSecretInput{Path: "p/" + strings.Repeat("p", engine.MaxSecretPath-2), Custom: &custom, Keep: &keep}); err != nil {
		t.Fatal(err)
	}
	for range engine.MaxSecretVersions + 1 { // the record with everything in it that can be
		w.mustPut("p/"+strings.Repeat("p", engine.MaxSecretPath-2), "v")
	}
	if _, err := w.e.DeleteSecretMetadata(t.Context(), admin, engine.SecretInput{Path: "p/" + strings.Repeat("p", engine.MaxSecretPath-2)}); err != nil {
		t.Error(err)
	}
}

// TestASecretIsNowhereInTheClear: not in the store, the log or the records of it, and its path is no part of where it is.
func TestASecretIsNowhereInTheClear(t *testing.T) {
	w := newWorld(t)
	w.mustPut("secret/PLANTED-PATH", "PLANTED-VALUE")
	recs, _, err := w.store.Scan(t.Context(), nil, nil, store.MaxPage)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recs {
		if bytes.Contains(r.Key, []byte("PLANTED")) || bytes.Contains(r.Value, []byte("PLANTED")) {
			t.Errorf("record %q shows it", r.Key)
		}
	}
	if strings.Contains(w.output.String(), "PLANTED") {
		t.Error("the log shows it")
	}
	all := w.records(audit.Filter{Action: kms.PutSecret})
	if len(all) != 1 || all[0].Resource != "secret/PLANTED-PATH" || all[0].Detail != "version 1" || all[0].Bytes != 13 {
		t.Errorf("got %+v", all)
	}
}

// TestSecretsRollWithTheEpochAndEndWithTheirNamespace as keys do.
func TestSecretsRollWithTheEpochAndEndWithTheirNamespace(t *testing.T) {
	w := newWorld(t)
	w.putPolicy("reads", readsAll)
	w.mustPut("secret/a", "v")
	if _, err := w.e.RollEpoch(t.Context(), operator()); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.wantSecret("secret/a", 0, "v")
	out, err := w.e.CheckStore(t.Context(), operator())
	if err != nil || out.DamagedCount != 0 {
		t.Errorf("got %+v, %v", out, err)
	}
	recs, _, err := w.store.Scan(t.Context(), []byte{'v', 2}, nil, 10)
	if err != nil || len(recs) != 1 {
		t.Fatal(len(recs), err)
	}
	if _, err := w.store.Commit(t.Context(), store.Txn{Then: []store.Write{{Key: recs[0].Key, Delete: true}}, Token: store.Token{1}}); err != nil {
		t.Fatal(err)
	}
	out, err = w.e.CheckStore(t.Context(), operator())
	if err != nil || out.DamagedCount != 1 || !strings.Contains(strings.Join(out.Damaged, " "), "version 1") {
		t.Errorf("a value is missing: got %+v, %v", out, err)
	}
}

// TestSecretsAndAnswersEndWithTheirNamespace: its KEK is gone, then their shred secrets, and what remains is not taken for damage.
func TestSecretsAndAnswersEndWithTheirNamespace(t *testing.T) {
	w := newWorld(t)
	x := w.tenant("acme")
	if _, err := w.e.PutSecret(t.Context(), x.admin, engine.PutSecretInput{Path: "secret/a", Value: secret.Copy([]byte("v"))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.WrapAnswer(t.Context(), x.user, engine.WrapAnswerInput{Value: secret.Copy([]byte("v")), TTL: 30 * 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.ScheduleNamespaceDestruction(t.Context(), x.admin, engine.NamespaceDestroyInput{Name: "acme", Window: week}); err != nil {
		t.Fatal(err)
	}
	_, err := w.e.PutSecret(t.Context(), x.admin, engine.PutSecretInput{Path: "secret/a", Value: secret.Copy([]byte("v"))})
	wantCode(t, err, kms.CodeNamespacePending)
	w.now = w.now.Add(week)
	w.e.Upkeep(t.Context())
	w.now = w.now.Add(25 * time.Hour)
	w.e.Upkeep(t.Context())
	if n := w.shredRows(0xff); n != 0 {
		t.Errorf("%d shred secrets are left", n)
	}
	if recs, _, err := w.store.Scan(t.Context(), []byte{'q'}, nil, 10); err != nil || len(recs) != 0 {
		t.Errorf("%d records of answers are left, %v", len(recs), err)
	}
	out, err := w.e.CheckStore(t.Context(), operator())
	if err != nil || out.DamagedCount != 0 {
		t.Errorf("got %+v, %v", out, err)
	}
}

func TestSecretsOpenUnderANewRootKey(t *testing.T) {
	w := newWorld(t)
	w.putPolicy("reads", readsAll)
	w.mustPut("secret/a", "v")
	if _, err := w.e.RotateRoot(t.Context(), operator()); err != nil {
		t.Fatal(err)
	}
	w.e.Upkeep(t.Context())
	w.restart()
	w.wantSecret("secret/a", 0, "v")
}

// TestAnswersThatNobodyFetchesAreForgotten, and do not count among those that wait.
func TestAnswersThatNobodyFetchesAreForgotten(t *testing.T) {
	w := newWorld(t)
	wrap := func(ttl time.Duration) {
		t.Helper()
		if _, err := w.e.WrapAnswer(t.Context(), user, engine.WrapAnswerInput{Value: secret.Copy([]byte("v")), TTL: ttl}); err != nil {
			t.Fatal(err)
		}
	}
	wrap(time.Minute)
	wrap(3 * time.Hour)
	w.e.Upkeep(t.Context())
	if n := w.shredRows(0xff); n != 2 {
		t.Errorf("%d wait, want 2", n)
	}
	w.now = w.now.Add(2 * time.Hour)
	w.e.Upkeep(t.Context())
	if n := w.shredRows(0xff); n != 1 {
		t.Errorf("%d wait, want 1", n)
	}
	recs, _, err := w.store.Scan(t.Context(), []byte{'q'}, nil, 10)
	if err != nil || len(recs) != 2 {
		t.Errorf("got %d records, %v; want the answer and its entry in the namespace's list", len(recs), err)
	}
}

func TestSettingsOfAFolderHoldForWhatIsWrittenUnderIt(t *testing.T) {
	w := newWorld(t)
	keep, must, after := uint32(2), true, time.Hour
	set := func(in engine.UpdateSecretSettingsInput) {
		t.Helper()
		if _, err := w.e.UpdateSecretSettings(t.Context(), admin, in); err != nil {
			t.Fatal(err)
		}
	}
	set(engine.UpdateSecretSettingsInput{Folder: "secret", Keep: &keep, DeleteAfter: &after})
	put := func(under string) engine.SecretInfo {
		t.Helper()
		out, err := w.e.PutSecret(t.Context(), admin, engine.PutSecretInput{Path: "secret/a", Value: secret.Copy([]byte("v")), Under: under})
		if err != nil {
			t.Fatal(err)
		}
		return out.Secret
	}
	put("secret")
	put("secret")
	if s := put("secret"); len(s.Versions) != 2 || !s.Versions[1].Deleted.Equal(w.now.Add(time.Hour)) {
		t.Errorf("got %+v", s)
	}
	shorter := time.Minute
	if _, err := w.e.UpdateSecretMetadata(t.Context(), admin, engine.UpdateSecretInput{Path: "secret/a", DeleteAfter: &shorter}); err != nil {
		t.Fatal(err)
	}
	if s := put("secret"); !s.Versions[1].Deleted.Equal(w.now.Add(time.Minute)) {
		t.Errorf("got %+v, want the shorter time", s)
	}
	set(engine.UpdateSecretSettingsInput{Folder: "secret", MustCheck: &must})
	_, err := w.e.PutSecret(t.Context(), admin, engine.PutSecretInput{Path: "secret/b", Value: secret.Copy([]byte("v")), Under: "secret"})
	wantCode(t, err, kms.CodeBadRequest)
	_, err = w.e.UpdateSecretMetadata(t.Context(), admin, engine.UpdateSecretInput{Path: "secret/none", Known: true})
	wantCode(t, err, kms.CodeNotFound)
	_, err = w.e.UpdateSecretSettings(t.Context(), user, engine.UpdateSecretSettingsInput{Folder: "secret"})
	wantCode(t, err, kms.CodeDenied)
}

// TestADeletionComesBeforeWhatIsBeingRead: a value that was opened is not released after somebody was told that it is deleted.
func TestADeletionComesBeforeWhatIsBeingRead(t *testing.T) {
	rec := &hooked{}
	w := newWorld(t, func(c *engine.Config) { rec.Log, c.Recorder = c.Log, rec })
	w.putPolicy("reads", readsAll)
	w.mustPut("secret/a", "v")
	rec.before = func(a kms.Action) {
		if a != kms.ReadSecret {
			return
		}
		rec.before = nil
		if _, err := w.e.DeleteSecret(t.Context(), admin, engine.SecretVersionsInput{Path: "secret/a"}); err != nil {
			t.Error(err)
		}
	}
	value, _, err := w.read("secret/a", 0)
	if wantCode(t, err, kms.CodeWithheld); value != "" {
		t.Errorf("got %q", value)
	}
}

// hooked is the real log, which tells of a record before it takes it.
type hooked struct {
	*audit.Log
	before func(kms.Action)
}

func (h *hooked) Append(r *audit.Record) (audit.Position, error) {
	if h.before != nil {
		h.before(r.Action)
	}
	return h.Log.Append(r)
}

func TestAnAnswerIsFetchedOnce(t *testing.T) {
	w := newWorld(t)
	in, err := newAnswer(w, "")
	if err != nil {
		t.Fatal(err)
	}
	info, err := w.e.LookUpAnswer(t.Context(), user, in)
	if err != nil || info.Info.Path != "transit/keys" || info.Info.Expires.Sub(info.Info.Created) != time.Minute {
		t.Fatalf("got %+v, %v", info, err)
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	got := 0
	for range 4 {
		all.Go(func() {
			out, err := w.e.UnwrapAnswer(t.Context(), user, in)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && string(out.Value.Wire(release.Wire{})) == "answer":
				got++
			case kms.CodeOf(err) != kms.CodeNotFound || out.Value.Len() != 0:
				t.Errorf("got %+v, %v", out, err)
			}
		})
	}
	all.Wait()
	if got != 1 || w.shredRows(0xff) != 0 {
		t.Errorf("given out %d times, %d shred secrets are left", got, w.shredRows(0xff))
	}
	w.restart()
	_, err = w.e.UnwrapAnswer(t.Context(), user, in)
	wantCode(t, err, kms.CodeNotFound)
}

// TestAWrappingTokenIsGoodForItsAnswerAlone: it lets somebody in who can fetch that answer, and do nothing else.
func TestAWrappingTokenIsGoodForItsAnswerAlone(t *testing.T) {
	w := newWorld(t)
	first, err := newAnswer(w, "")
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.e.WrapAnswer(t.Context(), user, engine.WrapAnswerInput{Value: secret.Copy([]byte("second")), Path: "p", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	id, err := w.e.Identities().Token(t.Context(), second.Info.ID)
	if err != nil {
		t.Fatal(err)
	}
	stranger := user
	stranger.Principal = &id.Principal
	_, err = w.e.UnwrapAnswer(t.Context(), stranger, first)
	wantCode(t, err, kms.CodeNotFound)
	_, err = w.e.WhoAmI(t.Context(), stranger)
	wantCode(t, err, kms.CodeOutsideScope)
	_, err = w.e.WrapAnswer(t.Context(), stranger, engine.WrapAnswerInput{Value: secret.Copy([]byte("x")), TTL: time.Minute})
	wantCode(t, err, kms.CodeOutsideScope)
	out, err := w.e.UnwrapAnswer(t.Context(), stranger, engine.AnswerInput{Token: secret.Copy(second.Token.Wire(release.Wire{}))})
	if err != nil || string(out.Value.Wire(release.Wire{})) != "second" {
		t.Errorf("got %+v, %v", out, err)
	}
	_, err = w.e.Identities().Token(t.Context(), second.Info.ID)
	wantCode(t, err, kms.CodeUnauthenticated)

	elsewhere := w.tenant("other")
	_, err = w.e.UnwrapAnswer(t.Context(), elsewhere.user, first)
	wantCode(t, err, kms.CodeNotFound)
	again, err := w.e.RewrapAnswer(t.Context(), user, first)
	if err != nil || again.Info.Expires.Sub(again.Info.Created) != time.Minute {
		t.Fatalf("got %+v, %v", again, err)
	}
	_, err = w.e.UnwrapAnswer(t.Context(), user, first)
	wantCode(t, err, kms.CodeNotFound)
	w.now = w.now.Add(time.Minute)
	_, err = w.e.UnwrapAnswer(t.Context(), user, engine.AnswerInput{Token: secret.Copy(again.Token.Wire(release.Wire{}))})
	wantCode(t, err, kms.CodeNotFound)
	for _, bad := range []engine.WrapAnswerInput{{TTL: 0}, {TTL: 33 * 24 * time.Hour}, {TTL: time.Minute, Path: strings.Repeat("p", 513)}} {
		bad.Value = secret.Copy([]byte("x"))
		if _, err := w.e.WrapAnswer(t.Context(), user, bad); kms.AsError(err).Kind() != kms.KindInvalid {
			t.Errorf("%+v: got %v", bad, err)
		}
	}
}
