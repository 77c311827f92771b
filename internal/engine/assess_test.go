package engine_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

func (w *world) ask(name string) error {
	_, err := w.e.ScheduleKeyDestruction(w.t.Context(), admin, engine.DestroyInput{Key: kms.Ref(name), Window: week})
	return err
}

// TestNothingIsDestroyedUnseen: a destruction is refused without a report of the last 24 hours, and when somebody used the key whom the report does not name.
func TestNothingIsDestroyedUnseen(t *testing.T) { // LIF-13, X3
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	c := w.encrypt("k", "x", nil)
	wantCode(t, w.ask("k"), kms.CodeAssessment)
	dry := admin
	dry.DryRun = true
	if _, err := w.e.AssessKey(t.Context(), dry, engine.AssessInput{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, w.ask("k"), kms.CodeAssessment)

	w.assess("k")
	w.now = w.now.Add(24*time.Hour + time.Second)
	wantCode(t, w.ask("k"), kms.CodeAssessment)

	w.assess("k")
	w.now = w.now.Add(time.Hour)
	if _, err := w.decrypt(as("svc/late", kms.RoleUser), c, nil); err != nil {
		t.Fatal(err)
	}
	err := w.ask("k")
	wantCode(t, err, kms.CodeAssessment)
	if !strings.Contains(err.Error(), "svc/late") {
		t.Errorf("got %v, want who used the key", err)
	}
	once := admin
	once.Token = "once"
	out, err := w.e.AssessKey(t.Context(), once, engine.AssessInput{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := w.e.AssessKey(t.Context(), once, engine.AssessInput{Key: "k"}); err != nil || again.Digest != out.Digest {
		t.Errorf("again with the same token: got %x, %v want %x", again.Digest, err, out.Digest)
	}
	w.restart()
	if _, err := w.decrypt(user, c, nil); err != nil { // the report names them
		t.Fatal(err)
	}
	if err := w.ask("k"); err != nil {
		t.Fatal(err)
	}
	r := w.records(audit.Filter{Action: kms.ScheduleKeyDestruction})[0]
	if want := fmt.Sprintf("assessment sha256:%x", out.Digest); !strings.Contains(r.Detail, want) {
		t.Errorf("got %q, want the report's digest", r.Detail)
	}
}

// TestTheReportNamesWhatADestructionWouldReach: last use, principals, versions, dependants, copies, and what cannot be known.
func TestTheReportNamesWhatADestructionWouldReach(t *testing.T) { // W4
	w := newWorld(t)
	if _, err := w.e.ExportStore(t.Context(), operator(), io.Discard); err != nil { // before the key was made
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Minute)
	k := w.create("k", kms.AES256GCM, 0)
	made := w.now
	c := w.encrypt("k", "x", nil)
	if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Hour)
	if _, err := w.decrypt(as("svc/reader", kms.RoleUser), c, nil); err != nil {
		t.Fatal(err)
	}
	for _, p := range []engine.PutPolicyInput{{ID: "names", Text: `permit (principal, action == Action::"Encrypt", resource in Name::"k");`}, {ID: "other", Text: aPolicy}} {
		if _, err := w.e.PutPolicy(t.Context(), admin, p); err != nil {
			t.Fatal(err)
		}
	}
	var copied bytes.Buffer
	if _, err := w.e.ExportStore(t.Context(), operator(), &copied); err != nil {
		t.Fatal(err)
	}
	out, err := w.e.AssessKey(t.Context(), admin, engine.AssessInput{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	r := out.Report
	if r.Key != k.ID || !r.First.Equal(made) || !r.Last.Equal(w.now) || r.Done != 2 || len(r.Users) != 2 || r.Users[0].Name != "svc/reader" || r.Users[1].Name != "svc/orders" {
		t.Errorf("got %+v, want both users, the latest first", r)
	}
	if len(r.Versions) != 1 || r.Versions[0].Version != 1 || r.Versions[0].Done != 2 || !r.Versions[0].Last.Equal(w.now) {
		t.Errorf("got versions %+v, want version 1 alone", r.Versions)
	}
	if len(r.Dependants) != 1 || r.Dependants[0] != (engine.Dependant{Kind: "policy", Name: "names"}) {
		t.Errorf("got %+v, want the policy that names the key", r.Dependants)
	}
	if r.Backups != 2 || !r.LastBackup.Equal(w.now) || len(out.Unknown) == 0 {
		t.Errorf("got %d backups, the last at %s, unknown %q", r.Backups, r.LastBackup, out.Unknown)
	}
}

// TestWhoMissesAKeyIsNamed: while destruction is pending, everybody who is refused because of it is named; before, everybody who uses the key.
func TestWhoMissesAKeyIsNamed(t *testing.T) { // W4, P7
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	c := w.encrypt("k", "x", nil)
	observe := func() engine.ObserveOutput {
		t.Helper()
		out, err := w.e.ObserveKey(t.Context(), admin, engine.ObserveInput{Key: "k"})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := observe(); out.Pending || len(out.Callers) != 1 || out.Callers[0].Name != "svc/orders" || out.Callers[0].Done != 1 {
		t.Errorf("before: got %+v", out)
	}
	w.now = w.now.Add(time.Minute)
	if _, err := w.schedule(admin, engine.DestroyInput{Key: "k", Window: week}); err != nil {
		t.Fatal(err)
	}
	if out := observe(); !out.Pending || len(out.Callers) != 0 {
		t.Errorf("got %+v, want nobody yet", out)
	}
	w.now = w.now.Add(time.Minute)
	for range 3 {
		_, err := w.decrypt(user, c, nil)
		wantCode(t, err, kms.CodeKeyPendingDestruction)
	}
	_, err := w.decrypt(carol, c, nil)
	wantCode(t, err, kms.CodeDenied)
	out := observe()
	if len(out.Callers) != 1 || out.Callers[0].Name != "svc/orders" || out.Callers[0].Refused != 3 || !out.Callers[0].Last.Equal(w.now) {
		t.Errorf("got %+v, want one caller, refused 3 times", out.Callers)
	}
	if got := w.e.Missed(); got != 3 {
		t.Errorf("the metric is %d, want 3", got)
	}
}

// TestAVersionIsRetiredOnEvidence: not while it is the primary one, or was used within the window; by force with approvals alone.
func TestAVersionIsRetiredOnEvidence(t *testing.T) { // LIF-7, W3
	w := newWorld(t)
	w.create("k", kms.AES256GCM, 0)
	c := w.encrypt("k", "x", nil)
	check := func(version uint32, want string) {
		t.Helper()
		in := engine.RetireInput{Key: "k", Version: version, Window: 10 * 24 * time.Hour}
		out, err := w.e.CheckRetirement(t.Context(), carol, in)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(out.Evidence.Against, "; "); !strings.Contains(got, want) || out.Evidence.Retirable != (want == "") {
			t.Errorf("version %d: got %q, want %q", version, got, want)
		}
		if want != "" {
			_, err := w.e.RetireVersion(t.Context(), admin, in)
			wantCode(t, err, kms.CodeResidue)
		}
	}
	check(1, "primary")
	if _, err := w.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	check(1, "svc/orders used it")
	w.now = w.now.Add(9 * 24 * time.Hour)
	if _, err := w.decrypt(user, c, nil); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(9 * 24 * time.Hour)
	check(1, "svc/orders used it")
	_, err := w.e.RetireVersion(t.Context(), admin, engine.RetireInput{Key: "k", Version: 1, Force: true})
	wantCode(t, err, kms.CodeApprovalRequired)
	_, err = w.e.RetireVersion(t.Context(), admin, engine.RetireInput{Key: "k", Version: 1, Window: time.Hour})
	wantCode(t, err, kms.CodeWindow)
	_, err = w.e.RetireVersion(t.Context(), admin, engine.RetireInput{Key: "k", Version: 7})
	wantCode(t, err, kms.CodeVersionNotFound)
	_, err = w.e.RetireVersion(t.Context(), user, engine.RetireInput{Key: "k", Version: 1})
	wantCode(t, err, kms.CodeDenied)
	w.now = w.now.Add(2 * 24 * time.Hour)
	check(1, "")
	again := admin
	again.Token = "once"
	for range 2 {
		if _, err := w.e.RetireVersion(t.Context(), again, engine.RetireInput{Key: "k", Version: 1, Window: 10 * 24 * time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	out, err := w.e.RetireVersion(t.Context(), admin, engine.RetireInput{Key: "k", Version: 1, Window: 10 * 24 * time.Hour})
	if err != nil || len(out.Versions) != 1 || out.Versions[0].State != kms.Deactivated {
		t.Fatalf("got %+v, %v", out, err)
	}
	_, err = w.decrypt(user, c, nil)
	wantCode(t, err, kms.CodeVersionState)
}
