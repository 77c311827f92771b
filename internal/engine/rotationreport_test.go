package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

func (w *world) rotationReport(c kms.Call) map[string]engine.RotationRow {
	w.t.Helper()
	rows := map[string]engine.RotationRow{}
	for page, n := "", 0; ; n++ {
		out, err := w.e.RotationReport(w.t.Context(), c, engine.RotationReportInput{Page: page, Limit: 2})
		if err != nil || n > 100 {
			w.t.Fatalf("page %d: %v", n, err)
		}
		for i := range out.Rows {
			rows[out.Rows[i].Key.Name] = out.Rows[i]
		}
		if page = out.Next; page == "" {
			return rows
		}
	}
}

// RES-8: the report tests every key, says what was missed and failed, and leaves evidence.
func TestTheReportSaysWhatWasMissedAndFailed(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"well", "broken", "late", "off"} {
		w.create(name, kms.AES256GCM, 0)
		w.period(name, kms.Period{Every: 86400})
	}
	broken := w.keyNow("broken")
	w.create("by-hand", kms.Ed25519, 0)
	w.create("gone", kms.AES256GCM, 0)
	if _, err := w.e.CreateKey(t.Context(), admin, engine.CreateKeyInput{Name: "empty", Algorithm: kms.AES256GCM, Import: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.DisableKey(t.Context(), admin, engine.KeyInput{Key: "off"}); err != nil {
		t.Fatal(err)
	}
	w.e.SetCanary(t.Context(), broken.ID, 1, []byte{1, 2, 3})
	w.destroy("gone")
	w.now = w.now.Add(2 * day)
	w.e.Upkeep(t.Context())
	rows := w.rotationReport(admin)
	if len(rows) != 7 {
		t.Fatalf("%d rows: %+v", len(rows), rows)
	}
	for name, want := range map[string]string{
		"well": "false 0 passed", "late": "false 0 passed", "broken": "true 1 failed", "off": "false 0 passed", "by-hand": "false 0 passed", "gone": "false 0 none", "empty": "false 0 none",
	} {
		r := rows[name]
		if got := fmt.Sprint(r.Missed, r.Failed, " ", r.SelfTest); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	b := rows["broken"]
	if !b.RetryAt.Equal(w.now.Add(10*time.Second)) || !strings.Contains(b.Failure, "does not open") || !strings.Contains(b.Error, "KH1709") || !strings.Contains(b.Error, "birth") {
		t.Errorf("told who may rotate: %+v", b)
	}
	// Others are told that, and not why.
	b = w.rotationReport(user)["broken"]
	if b.Failed != 1 || b.Failure != "" || b.Error != "KH1709 "+kms.CodeSelfTest.Title() {
		t.Errorf("told who may not rotate: %+v", b)
	}
	recs := w.records(audit.Filter{Action: kms.ListKeys})
	all := ""
	for i := range recs {
		all += recs[i].Detail + "\n"
	}
	if !strings.Contains(all, "rotation report: 2 keys, 1 missed, 1 failing, 1 self-tests failed") {
		t.Errorf("recorded:\n%s", all)
	}
	_, err := w.e.RotationReport(t.Context(), admin, engine.RotationReportInput{Limit: 1001})
	wantCode(t, err, kms.CodeTooLarge)
	_, err = w.e.RotationReport(t.Context(), admin, engine.RotationReportInput{Page: "x"})
	wantCode(t, err, kms.CodeBadToken)
}

// LIF-4: a rotation that does not happen is heard: in the figures that metrics and doctor show, in the log, among the jobs and in the audit trail; and it is over when it is made up for.
func TestAMissedRotationIsHeardEverywhere(t *testing.T) {
	w := newWorld(t)
	k := w.create("k", kms.AES256GCM, 0)
	w.period("k", kms.Period{Every: 86400})
	canary := w.e.CanaryOf(t.Context(), k.ID, 1)
	w.e.SetCanary(t.Context(), k.ID, 1, []byte{1, 2, 3})
	stands := func() string {
		missed, failing := w.e.Rotations()
		if s := w.e.Status(t.Context()); s.Missed != missed || s.Failing != failing {
			t.Errorf("status says %d and %d, the metrics %d and %d", s.Missed, s.Failing, missed, failing)
		}
		return fmt.Sprint(missed, failing)
	}
	w.now = w.now.Add(day + time.Minute)
	w.e.Upkeep(t.Context())
	if got := stands(); got != "0 1" {
		t.Errorf("failed once: %s", got)
	}
	w.now = w.now.Add(2 * time.Hour)
	w.e.Upkeep(t.Context())
	if got := stands(); got != "1 1" {
		t.Errorf("missed: %s", got)
	}
	if n := strings.Count(w.output.String(), "rotations_missed"); n != 1 {
		t.Errorf("logged %d times, want once", n)
	}
	if jobs := w.dueJobs(); len(jobs) != 1 || jobs[0].State != "failed" || jobs[0].Attempts != 2 || !strings.Contains(jobs[0].LastNote, "KH1709") {
		t.Errorf("jobs: %+v", jobs)
	}
	recs := w.records(audit.Filter{Action: kms.RotateKey, Key: k.ID})
	if len(recs) != 2 || recs[0].Outcome != audit.Failed || recs[0].Code != kms.CodeSelfTest {
		t.Errorf("recorded: %+v", recs)
	}
	w.e.SetCanary(t.Context(), k.ID, 1, canary)
	w.now = w.now.Add(2 * time.Hour)
	w.e.Upkeep(t.Context())
	w.now = w.now.Add(2 * time.Minute)
	w.e.Upkeep(t.Context())
	if got := stands(); got != "0 0" || w.keyNow("k").Primary != 2 {
		t.Errorf("made up for: %s, version %d", got, w.keyNow("k").Primary)
	}
	recs = w.records(audit.Filter{Action: kms.RotateKey, Key: k.ID, Outcome: audit.OK})
	if len(recs) != 1 || !strings.Contains(recs[0].Detail, "by schedule, 4h1m0s late") {
		t.Errorf("recorded: %+v", recs)
	}
}
