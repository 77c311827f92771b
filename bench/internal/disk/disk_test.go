package disk

import (
	"os"
	"testing"
	"time"
)

func TestMeasureSeesSyncsAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	d, err := Measure(dir, 4, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if d.P50 <= 0 || d.P99 < d.P50 || d.PerSecond <= 0 || d.Syncs <= 0 || d.Syncs > d.PerSecond || d.Waiters != 4 {
		t.Errorf("got %+v", d)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
