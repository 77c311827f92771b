package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/audittest"
	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/audit/tree"
)

func folder(t *testing.T, name string) Sink {
	t.Helper()
	return Sink{Name: name, Kind: Directory, Folder: t.TempDir()}
}

// archived reads all lines of a folder, by boot epoch and number.
func archived(t *testing.T, dir string) map[audit.Position]line {
	t.Helper()
	all := make(map[audit.Position]line)
	files, err := filepath.Glob(filepath.Join(dir, audittest.Cluster, "*-*-*", "*.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var first, last audit.Position
		for raw := range bytes.Lines(text) {
			var l line
			if err := json.Unmarshal(raw, &l); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			p, err := audit.ParsePosition(l.Record.Position)
			if err != nil || l.Origin != audit.Origin(audittest.Cluster, p.Node, p.Epoch) {
				t.Fatalf("%s: %s %v", name, l.Origin, err)
			}
			if first.IsZero() {
				first = p
			}
			last = p
			all[p] = l
		}
		if want := fmt.Sprintf("n1-%06d-%020d-%020d.ndjson", first.Epoch, first.Seq, last.Seq); filepath.Base(name) != want {
			t.Errorf("%s holds %s to %s", name, first, last)
		}
	}
	return all
}

// What lies in the folder proves itself: the frames' leaf hashes make the tree whose root the copied checkpoint signs.
func TestAFolderProvesItselfWithTheCheckpointBesideIt(t *testing.T) {
	b := newBench(t)
	s := folder(t, "archive")
	b.write(many())
	set := b.ship(s)
	shipped(t, set, "archive")
	all := archived(t, s.Folder)
	if len(all) != b.written {
		t.Fatalf("got %d records, want %d", len(all), b.written)
	}
	var newest tree.Checkpoint
	eventually(t, "a checkpoint over all", func() bool {
		names, err := filepath.Glob(filepath.Join(s.Folder, audittest.Cluster, checkpoints, "*.checkpoint"))
		if err != nil || len(names) == 0 {
			return false
		}
		text, err := os.ReadFile(slices.Max(names))
		if err != nil {
			t.Fatal(err)
		}
		if newest, err = tree.Open(text, b.keys.Verifiers); err != nil {
			t.Fatal(err)
		}
		return newest.Size == uint64(b.written)
	})
	var r tree.Range
	for i := range newest.Size {
		l, ok := all[audit.Position{Node: "n1", Epoch: 1, Seq: i}]
		if !ok {
			t.Fatalf("record %d is missing", i)
		}
		f, rest, err := segment.Cut(l.Frame)
		if err != nil || len(rest) != 0 {
			t.Fatal(err)
		}
		rec, err := audit.Decode(f.Body(), f.Annex)
		if err != nil || rec.ID.String() != l.Record.ID || rec.Name != l.Record.Principal {
			t.Fatalf("the frame of %s is not its record: %v", l.Record.Position, err)
		}
		r.Append(f.Leaf(), nil)
	}
	if r.Root() != newest.Root {
		t.Error("the records do not make the tree that the checkpoint signs")
	}
}

func TestAFolderThatIsNotThereIsNotMade(t *testing.T) {
	b := newBench(t)
	s := folder(t, "archive")
	away := s.Folder + ".away"
	if err := os.Rename(s.Folder, away); err != nil {
		t.Fatal(err)
	}
	set := b.ship(s)
	eventually(t, "a failure", func() bool { return status(t, set, "archive").State == Failing })
	if _, err := os.Stat(s.Folder); err == nil {
		t.Error("it was made: what is not mounted would fill the disk below")
	}
	if err := os.Rename(away, s.Folder); err != nil {
		t.Fatal(err)
	}
	shipped(t, set, "archive")
	if got := len(archived(t, s.Folder)); got != b.written {
		t.Errorf("got %d records, want %d", got, b.written)
	}
}

func TestAFileOfTheSameNameIsNotOverwritten(t *testing.T) {
	b := newBench(t)
	s := folder(t, "archive")
	e, _, err := b.log.Follow(t.Context(), audit.Position{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	day := filepath.Join(s.Folder, audittest.Cluster, e[0].Time.Format("2006-01-02"))
	name := filepath.Join(day, fmt.Sprintf("n1-000001-%020d-%020d.ndjson", 0, 0))
	if err := os.MkdirAll(day, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	set := b.ship(s)
	eventually(t, "a refusal", func() bool { return status(t, set, "archive").State == Refused })
	if st := status(t, set, "archive"); !strings.Contains(st.Error, "other content") || !st.Position.IsZero() {
		t.Errorf("got %+v", st)
	}
	if text, err := os.ReadFile(name); err != nil || string(text) != "mine\n" {
		t.Errorf("got %q %v", text, err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	shipped(t, set, "archive")
}

// A mount that hangs cannot be interrupted: it costs one goroutine, and the next attempt waits for it.
func TestAFolderThatHangsIsLeftAlone(t *testing.T) {
	d := &directory{root: "x", busy: make(chan struct{}, 1)}
	release := make(chan struct{})
	var ran atomic.Int32
	short := func(work func() error) error {
		s := &shipper{sink: &Sink{Timeout: 20e6}}
		return s.limited(t.Context(), func(ctx context.Context) error { return d.within(ctx, work) })
	}
	for range 3 {
		if err := short(func() error { ran.Add(1); <-release; return nil }); err == nil {
			t.Fatal("it did not hang")
		}
	}
	if n := ran.Load(); n != 1 {
		t.Errorf("%d attempts hang, want one", n)
	}
	close(release)
	eventually(t, "an answer", func() bool { return short(func() error { return nil }) == nil })
}
