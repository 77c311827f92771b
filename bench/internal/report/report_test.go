package report

import (
	"strings"
	"testing"

	"github.com/keyhold/keyhold/bench/internal/results"
)

func ran(server, op string, group int, cpu float64) results.Line {
	return results.Line{Run: &results.Run{Server: server, Op: op, Group: group, Conns: 16, Ops: 1e6, User: cpu / 2, Sys: cpu / 2, P50: cpu}}
}

func TestMedianIsTheMiddle(t *testing.T) {
	for want, of := range map[float64][]float64{0: nil, 3: {9, 3, 1}, 2.5: {4, 1, 2, 3}, 7: {7}} {
		if got := Median(of); got != want {
			t.Errorf("%v: got %v, want %v", of, got, want)
		}
	}
}

// What counts is the ratio in the same group of the same file, not the ratio of two medians.
func TestRatiosAreOfOneGroup(t *testing.T) {
	d := Gather(
		[]results.Line{ran(Base, "encrypt-32", 1, 10), ran(product, "encrypt-32", 1, 40), ran(Base, "encrypt-32", 2, 20), ran(product, "encrypt-32", 2, 60)},
		[]results.Line{ran(Base, "encrypt-32", 1, 100), ran(product, "encrypt-32", 1, 500)},
	)
	s := d.of(product, shape{"encrypt-32", 16, false})
	if got, want := s.cell(), "**4.0** (3.0–5.0) · 40.0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := Median(s.over); got != 40 {
		t.Errorf("beyond the yardstick: got %v µs, want 40", got)
	}
}

// Runs with errors, and those which the machine had no time for, are left out.
func TestRunsThatAreNoneDoNotCount(t *testing.T) {
	failed, starved := ran(product, "encrypt-32", 1, 1), ran(product, "encrypt-32", 1, 90)
	failed.Run.Errors, starved.Run.Ops = 1, 1000 // 0.09 s of CPU time
	d := Gather([]results.Line{ran(Base, "encrypt-32", 1, 10), failed, ran(product, "encrypt-32", 1, 30), starved})
	if got := d.of(product, shape{"encrypt-32", 16, false}); len(got.runs) != 1 || got.ratios[0] != 3 || d.left != 2 {
		t.Errorf("got %+v, %d left out", got, d.left)
	}
	if !strings.Contains(d.Markdown(), "too little time for them: 2.") {
		t.Error("the tables do not tell of the runs left out")
	}
}

// Latency on one connection is compared with the sync that was measured just before, in its own file and group.
func TestLatencyIsComparedWithTheDiskOfItsMinute(t *testing.T) {
	one := func(group int, sync, p50 float64) []results.Line {
		return []results.Line{{Disk: &results.Disk{Group: group, P50: sync}}, {Run: &results.Run{Server: product, Op: "encrypt-32", Conns: 1, Group: group, P50: p50, Ops: 1e6, User: 1}}}
	}
	d := Gather(append(one(1, 100, 400), one(2, 1000, 1150)...), one(1, 500, 900))
	if got := Median(d.above); len(d.above) != 3 || got != 300 {
		t.Errorf("got %v of %v, want 300", got, d.above)
	}
}

func TestMissedBarsAreFound(t *testing.T) {
	var lines []results.Line
	for g := range 5 {
		lines = append(lines, ran(Base, "encrypt-32", g, 10), ran(product, "encrypt-32", g, 42))
	}
	d := Gather(lines)
	if !strings.Contains(d.Markdown(), "| P1 | 32 bytes, durable, 16 connections | 4.00 × B | encrypt-32 4.20 | **missed** |") {
		t.Errorf("got\n%s", d.Markdown())
	}
	if err := d.Check(1.5, 5); err != nil {
		t.Error(err)
	}
	if err := d.Check(1.01, 5); err == nil || !strings.Contains(err.Error(), "P1 32 bytes, durable, 16 connections: 4.20 × B, want at most 4.00 × 1.01") {
		t.Errorf("got %v", err)
	}
	if err := d.Check(1.5, 6); err == nil {
		t.Error("five groups pass for six")
	}
	if err := Gather().Check(1.5, 1); err == nil {
		t.Error("no results pass")
	}
}

func TestTablesGoBetweenTheMarks(t *testing.T) {
	page := "# P\n\n" + begin + "old\n" + end + "\nafter\n"
	got, err := Insert(page, "new\n\n")
	if want := "# P\n\n" + begin + "\nnew\n\n" + end + "\nafter\n"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if again, err := Insert(got, "new"); err != nil || again != got {
		t.Errorf("the second time: got %q, %v", again, err)
	}
	for _, bad := range []string{"", begin, end, end + begin} {
		if _, err := Insert(bad, "x"); err == nil {
			t.Errorf("%q is no error", bad)
		}
	}
}

func TestASignatureIsNotCounted(t *testing.T) {
	s := series{ratios: []float64{4, 1, 5}, over: []float64{45, 0, 60}} // the yardstick took 15 µs each time
	if got := s.less(15); got[0] != 3 || got[1] != 1 || got[2] != 4 {
		t.Errorf("got %v, want 3, 1 and 4", got)
	}
}
