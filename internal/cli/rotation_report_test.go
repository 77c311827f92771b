package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
)

func TestTheDoctorSaysHowRotationsStand(t *testing.T) {
	for _, tc := range []struct {
		s            client.Status
		status, says string
	}{
		{client.Status{ClusterID: "c"}, findingOK, "none is late"},
		{client.Status{ClusterID: "c", RotationsFailed: 2}, findingWarning, "2 scheduled rotations failed"},
		{client.Status{ClusterID: "c", RotationsMissed: 1, RotationsFailed: 3}, findingFailed, "1 scheduled rotations are more than an hour late, 3 failed"},
	} {
		var d diagnosis
		d.rotations(tc.s)
		if f := d.Findings; len(f) != 1 || f[0].Check != "rotations" || f[0].Status != tc.status || !strings.Contains(f[0].Found, tc.says) {
			t.Errorf("%+v: got %+v", tc.s, f)
		}
	}
	var d diagnosis
	if d.rotations(client.Status{}); len(d.Findings) != 0 {
		t.Errorf("a stranger is told %+v", d.Findings)
	}
}

func TestTheReportSaysWhatIsWrongWithARotation(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	young := client.Key{State: "enabled", CreatedAt: now.Add(-400 * 24 * time.Hour), RotatedAt: now.Add(-time.Hour)}
	aged := client.Key{State: "enabled", CreatedAt: now.Add(-400 * 24 * time.Hour)}
	rows := []struct {
		r    client.RotationStatus
		want string
	}{
		{client.RotationStatus{Key: young, SelfTest: "passed"}, ""},
		{client.RotationStatus{Key: aged, SelfTest: "passed"}, "not rotated for a year"},
		{client.RotationStatus{Key: client.Key{State: "disabled", CreatedAt: aged.CreatedAt}, SelfTest: "none"}, ""},
		{client.RotationStatus{Key: young, SelfTest: "failed", SelfTestError: "KH1709 x"}, "the self-test failed: KH1709 x"},
		{client.RotationStatus{Key: young, SelfTest: "passed", Missed: true, FailedAttempts: 3, RetryAt: now}, "3 attempts failed, tried again at 2026-06-01 00:00:00Z; missed"},
		{client.RotationStatus{Key: young, SelfTest: "passed", FailedAttempts: 1, RetryAt: now, Failure: "why"}, "1 attempts failed, tried again at 2026-06-01 00:00:00Z: why"},
	}
	for _, findings := range []bool{false, true} {
		var got tally
		passed := 0
		for r, err := range got.of(func(yield func(client.RotationStatus, error) bool) {
			for _, row := range rows {
				if said := rotationFinding(row.r, now); said != row.want {
					t.Errorf("%+v: got %q, want %q", row.r, said, row.want)
				}
				if !yield(row.r, nil) {
					return
				}
			}
		}, now, findings) {
			if passed++; err != nil || findings && rotationFinding(r, now) == "" {
				t.Errorf("shown with --findings: %+v %v", r, err)
			}
		}
		if want := (tally{keys: 6, missed: 1, failing: 2, broken: 1, old: 1}); got != want || passed != map[bool]int{false: 6, true: 4}[findings] {
			t.Errorf("counted %+v, %d shown; want %+v", got, passed, want)
		}
	}
}
