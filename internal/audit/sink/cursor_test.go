package sink

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
)

func TestACursorIsReadAsItWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	if c, err := loadCursor(path); err != nil || !c.at.IsZero() {
		t.Errorf("no file: got %+v %v", c, err)
	}
	for _, want := range []cursor{
		{audit.Position{Node: "n1", Epoch: 1, Seq: 0}, [32]byte{1}},
		{audit.Position{Node: "a-b-c", Epoch: 9_999_999_999, Seq: 1<<64 - 1}, [32]byte{31: 0xff}},
	} {
		if err := want.save(path); err != nil {
			t.Fatal(err)
		}
		if got, err := loadCursor(path); err != nil || got != want {
			t.Errorf("got %+v %v, want %+v", got, err, want)
		}
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 1 {
		t.Errorf("%v are left", left)
	}
}

func TestADamagedCursorIsRefused(t *testing.T) {
	good := cursor{audit.Position{Node: "n1", Epoch: 12, Seq: 3456}, [32]byte{1, 2, 3}}.text()
	for i := range len(good) * 8 {
		b := []byte(good)
		b[i/8] ^= 1 << (i % 8)
		if c, err := parseCursor(string(b)); !errors.Is(err, errCursor) {
			t.Errorf("bit %d: got %+v %v", i, c, err)
		}
	}
	for i := range len(good) {
		if _, err := parseCursor(good[:i]); err == nil {
			t.Errorf("%d bytes of it were taken for all", i)
		}
	}
	if _, err := parseCursor(good + "\n"); err == nil {
		t.Error("more than it was taken for it")
	}
}

func FuzzCursor(f *testing.F) {
	f.Add(cursor{audit.Position{Node: "n1", Epoch: 12, Seq: 3456}, [32]byte{1}}.text())
	f.Add("keyhold-audit-cursor-v1 n1-000001-0 00 00\n")
	f.Add(strings.Repeat(" ", 600))
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := parseCursor(text); err == nil && c.text() != text {
			t.Fatalf("%q is read as %+v, which is written %q", text, c, c.text())
		}
	})
}

// A restart in the middle goes on where it was, over boot epochs; nothing is missing, and only what was under way comes twice.
func TestARestartGoesOnFromTheCursor(t *testing.T) {
	b, r := newBench(t), newReceiver(t, webhooks)
	s := r.webhook("hook")
	s.BatchRecords = 100
	for range 3 {
		b.write(1000)
		set := b.ship(s)
		from := r.requests()
		eventually(t, "some batches", func() bool { return r.requests() >= from+3 })
		if err := set.Close(); err != nil {
			t.Fatal(err)
		}
		b.boot()
	}
	set := b.ship(s)
	shipped(t, set, "hook")
	n, twice := r.count()
	if n != b.written {
		t.Errorf("got %d records, want %d", n, b.written)
	}
	if twice > 3*s.BatchRecords {
		t.Errorf("%d records came twice: more than one batch for each restart", twice)
	}
	if got := len(r.header(headerOrigin)); got != 4 {
		t.Errorf("the records came from %d origins, want 4", got)
	}
}

func TestADamagedCursorStopsItsSinkUntilItIsRemoved(t *testing.T) {
	b, r := newBench(t), newReceiver(t, webhooks)
	path := filepath.Join(b.dir, "sinks", "hook")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("garbage\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	set := b.ship(r.webhook("hook"))
	eventually(t, "its state", func() bool { return status(t, set, "hook").State == Broken })
	if s := status(t, set, "hook"); !strings.Contains(s.Error, "damaged") || !strings.Contains(s.Error, "remove it") || r.requests() != 0 {
		t.Errorf("got %+v", s)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	shipped(t, set, "hook")
	if n, _ := r.count(); n != b.written {
		t.Errorf("got %d records, want %d", n, b.written)
	}
}

// A log that was put back to an earlier time has other records at positions that were shipped. That is said, not glossed over.
func TestALogThatWasPutBackIsNoticed(t *testing.T) {
	b, r := newBench(t), newReceiver(t, webhooks)
	b.write(10)
	if err := b.log.Close(); err != nil {
		t.Fatal(err)
	}
	before := filepath.Join(b.dir, "before")
	if err := os.CopyFS(before, os.DirFS(filepath.Join(b.dir, "audit"))); err != nil {
		t.Fatal(err)
	}
	b.log = nil
	b.boot()
	b.write(50)
	set := b.ship(r.webhook("hook"))
	shipped(t, set, "hook")
	if err := errors.Join(set.Close(), b.log.Close(), os.RemoveAll(filepath.Join(b.dir, "audit")), os.Rename(before, filepath.Join(b.dir, "audit"))); err != nil {
		t.Fatal(err)
	}
	b.log = nil
	for _, records := range []int{5, 100, 100} { // behind the cursor; beyond its number; a boot later
		b.boot()
		b.write(records)
		set = b.ship(r.webhook("hook"))
		eventually(t, "its state", func() bool { return status(t, set, "hook").State == Broken })
		if s := status(t, set, "hook"); !strings.Contains(s.Error, "put back to an earlier time") {
			t.Errorf("got %+v", s)
		}
		if err := set.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(b.dir, "sinks", "hook")); err != nil {
		t.Fatal(err)
	}
	shipped(t, b.ship(r.webhook("hook")), "hook")
}

// The lag counts every record that a sink does not surely have, over boot epochs; what a required one does not have may not be dropped.
func TestTheLagIsCountedOverBootEpochs(t *testing.T) {
	b, r := newBench(t), newReceiver(t, webhooks)
	b.write(30)
	s := r.webhook("hook")
	s.Required = true
	set := b.ship(s, folder(t, "other"))
	shipped(t, set, "hook")
	if err := set.Close(); err != nil {
		t.Fatal(err)
	}
	at, shipped := status(t, set, "hook").Position, b.written
	b.write(7)
	b.boot()
	b.boot()
	b.write(5)
	set = b.set(s, folder(t, "new"))
	if got, want := status(t, set, "hook").Lag, uint64(b.written-shipped); got != want {
		t.Errorf("got a lag of %d, want %d", got, want)
	}
	if got, want := status(t, set, "new").Lag, uint64(b.written); got != want {
		t.Errorf("a new sink has a lag of %d, want %d", got, want)
	}
	next := at
	next.Seq++
	if !set.Passed(at) || set.Passed(next) || set.Passed(audit.Position{Node: "n1", Epoch: 2}) || !set.Passed(audit.Position{Node: "n1", Epoch: 1}) {
		t.Errorf("what is passed is not what is before %s", at)
	}
	if status(t, set, "hook").Behind <= 0 || status(t, set, "hook").State != Starting {
		t.Errorf("got %+v", status(t, set, "hook"))
	}
}

func TestOnlyTheRecordsOfANamespaceAreShipped(t *testing.T) {
	b, r := newBench(t), newReceiver(t, webhooks)
	for i := range 50 {
		rs := []*audit.Record{typical(i, "payments"), typical(i, "orders")}
		if _, err := b.log.AppendAll(rs); err != nil {
			t.Fatal(err)
		}
	}
	s := r.webhook("hook")
	s.Namespace, s.BatchRecords = "payments", 7
	set := b.ship(s)
	shipped(t, set, "hook")
	if n, twice := r.count(); n != 50 || twice != 0 {
		t.Errorf("got %d records, %d twice; want 50", n, twice)
	}
	other := s
	other.Name, other.Namespace = "none", kms.Namespace("absent")
	shipped(t, b.ship(other), "none")
	if n, _ := r.count(); n != 50 {
		t.Errorf("got %d records, want 50", n)
	}
}

func TestRecordsThatLeftTheLogAreCounted(t *testing.T) {
	at := audit.Position{Node: "n1", Epoch: 3, Seq: 9}
	entry := func(epoch, seq, before uint64) *audit.Entry {
		return &audit.Entry{Position: audit.Position{Node: "n1", Epoch: epoch, Seq: seq}, Record: audit.Record{Prev: audit.Link{Size: before}}}
	}
	for _, tc := range []struct {
		after audit.Position
		e     *audit.Entry
		want  bool
	}{
		{audit.Position{}, entry(7, 5, 0), false}, {at, entry(3, 10, 0), false}, {at, entry(3, 11, 0), true},
		{at, entry(4, 0, 10), false}, {at, entry(4, 0, 11), true}, {at, entry(4, 1, 10), true}, {at, entry(5, 0, 10), true},
	} {
		if got := missing(tc.after, tc.e); got != tc.want {
			t.Errorf("%s then %s: got %v, want %v", tc.after, tc.e.Position, got, tc.want)
		}
	}
}
