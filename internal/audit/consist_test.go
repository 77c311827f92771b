package audit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/audittest"
	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/audit/verify"
	"github.com/keyhold/keyhold/internal/kms"
)

// trail is a log that is opened and closed, and what its user has of it.
type trail struct {
	*audit.Log
	cfg  audit.Config
	keys audit.Keys
	pub  verify.Keys
}

func newTrail(t testing.TB) *trail {
	t.Helper()
	keys, vkey := audittest.Keys(t)
	pub, err := verify.ParseKeys([]byte(vkey))
	if err != nil {
		t.Fatal(err)
	}
	d := &trail{keys: keys, pub: pub, cfg: audit.Config{Dir: t.TempDir(), Node: "n1", Cluster: audittest.Cluster, SegmentBytes: audit.MinSegment, ReserveBytes: -1}}
	d.boot(t)
	t.Cleanup(func() { _ = d.Log.Close() })
	return d
}

// boot begins the next epoch.
func (d *trail) boot(t testing.TB) {
	t.Helper()
	if d.Log != nil {
		if err := d.Log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l, err := audit.Open(d.cfg)
	if err != nil {
		t.Fatal(err)
	}
	d.Log = l
	if err := l.Keyed(d.keys); err != nil {
		t.Fatal(err)
	}
}

func (d *trail) write(t testing.TB, n int) {
	t.Helper()
	for i := range n {
		if _, err := d.Append(audittest.Record(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// sign gives a checkpoint over everything that was written.
func (d *trail) sign(t testing.TB) []byte {
	t.Helper()
	if err := d.Keyed(d.keys); err != nil { // one is signed whenever keys come
		t.Fatal(err)
	}
	return bytes.Clone(d.Checkpoint())
}

func (d *trail) way(t testing.TB, from []byte, mark, to audit.Mark) *verify.Way {
	t.Helper()
	text, err := d.Consistency(t.Context(), from, mark, to)
	if err != nil {
		t.Fatal(err)
	}
	got, err := verify.Consistency(text, d.pub)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return got
}

func TestAnOldCheckpointLeadsToThePresent(t *testing.T) {
	d := newTrail(t)
	var kept [][]byte
	for boot := range 4 {
		if boot > 0 {
			d.boot(t)
		}
		for range 3 {
			d.write(t, 1+boot*101)
			kept = append(kept, d.sign(t))
		}
	}
	newest, err := tree.Unverified(d.Checkpoint())
	if err != nil {
		t.Fatal(err)
	}
	for i, msg := range kept {
		from, err := tree.Unverified(msg)
		if err != nil {
			t.Fatal(err)
		}
		want := verify.Way{From: from, To: newest, Epochs: 4 - i/3}
		if got := d.way(t, msg, audit.Mark{}, audit.Mark{}); got.From != want.From || got.To != want.To || got.Epochs != want.Epochs {
			t.Errorf("from %s %d: got %+v, want %+v", from.Origin, from.Size, got, want)
		}
		// The same by its name, to one that is not the newest.
		to, err := tree.Unverified(kept[min(i+2, len(kept)-1)])
		if err != nil {
			t.Fatal(err)
		}
		if got := d.way(t, nil, audit.Mark{Origin: from.Origin, Size: from.Size}, audit.Mark{Origin: to.Origin, Size: to.Size}); got.From != from || got.To != to {
			t.Errorf("from %s %d to %s %d: got %+v", from.Origin, from.Size, to.Origin, to.Size, got)
		}
	}
}

// Epochs that were never unsealed, or ended without a checkpoint, are on the way like any other.
func TestAWayLeadsOverEpochsThatEndedHard(t *testing.T) {
	d := newTrail(t)
	d.write(t, 5)
	old := d.sign(t)
	for range 3 {
		if err := d.Log.Close(); err != nil {
			t.Fatal(err)
		}
		l, err := audit.Open(d.cfg) // and never gets its keys
		if err != nil {
			t.Fatal(err)
		}
		d.Log = l
		d.write(t, 3)
	}
	if _, err := d.Consistency(t.Context(), old, audit.Mark{}, audit.Mark{}); kms.CodeOf(err) != kms.CodeNotFound && kms.CodeOf(err) != kms.CodeSealed {
		t.Errorf("while sealed: got %v", err)
	}
	d.boot(t)
	if got := d.way(t, old, audit.Mark{}, audit.Mark{}); got.Epochs != 5 {
		t.Errorf("got %+v, want 5 epochs", got)
	}
}

// What retention drops leaves every way as it was.
func TestAWayLeadsOverRecordsThatWereDropped(t *testing.T) {
	d := newTrail(t)
	many := func() {
		var rs []*audit.Record
		for i := range 1000 {
			rs = append(rs, audittest.Record(i))
		}
		if _, err := d.AppendAll(rs); err != nil {
			t.Fatal(err)
		}
	}
	many()
	old := d.sign(t)
	for range 3 {
		many()
		d.boot(t)
	}
	if err := d.Log.Close(); err != nil {
		t.Fatal(err)
	}
	d.Log = nil
	d.cfg.Retention, d.cfg.Now = time.Hour, func() time.Time { return time.Now().Add(100 * 365 * 24 * time.Hour) }
	d.boot(t)
	if err := d.Keep(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read(audit.Position{Node: "n1", Epoch: 2, Seq: 5}); kms.CodeOf(err) != kms.CodeNotFound {
		t.Fatalf("nothing was dropped: %v", err)
	}
	if got := d.way(t, old, audit.Mark{}, audit.Mark{}); got.Epochs != 5 {
		t.Errorf("got %+v, want 5 epochs", got)
	}
	if err := d.Expect(old); err != nil {
		t.Errorf("the log does not hold what was kept of it: %v", err)
	}
}

func TestAWayIsRefusedWhereThereIsNone(t *testing.T) {
	d := newTrail(t)
	d.write(t, 3)
	old := d.sign(t)
	d.write(t, 3)
	newer := d.sign(t)
	from, _ := tree.Unverified(old)    //nolint:errcheck // it was just made
	later, _ := tree.Unverified(newer) //nolint:errcheck // it was just made
	forged, err := tree.Checkpoint{Origin: from.Origin, Size: from.Size, Root: [32]byte{1}}.Sign(d.keys.Signer)
	if err != nil {
		t.Fatal(err)
	}
	ahead, err := tree.Checkpoint{Origin: from.Origin, Size: 1000, Root: [32]byte{1}}.Sign(d.keys.Signer)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := audittest.Keys(t)
	stranger, err := from.Sign(other.Signer)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := tree.Checkpoint{Origin: "keyhold.test/n2/1", Size: 3, Root: from.Root}.Sign(d.keys.Signer)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		from []byte
		mark audit.Mark
		to   audit.Mark
		want kms.Code
	}{
		"backwards":              {newer, audit.Mark{}, audit.Mark{Origin: from.Origin, Size: from.Size}, kms.CodeBadRequest},
		"not a checkpoint":       {[]byte("hello"), audit.Mark{}, audit.Mark{}, kms.CodeBadRequest},
		"another root":           {forged, audit.Mark{}, audit.Mark{}, kms.CodeLogAltered},
		"more than there is":     {ahead, audit.Mark{}, audit.Mark{}, kms.CodeLogAltered},
		"another's key":          {stranger, audit.Mark{}, audit.Mark{}, kms.CodeNotFound},
		"another node":           {elsewhere, audit.Mark{}, audit.Mark{}, kms.CodeNotFound},
		"a size never signed":    {nil, audit.Mark{Origin: from.Origin, Size: later.Size - 1}, audit.Mark{}, kms.CodeNotFound},
		"an epoch to come":       {nil, audit.Mark{Origin: "keyhold.test/n1/9"}, audit.Mark{}, kms.CodeNotFound},
		"to a size never signed": {old, audit.Mark{}, audit.Mark{Origin: from.Origin, Size: 10_000}, kms.CodeNotFound},
		"from nowhere":           {nil, audit.Mark{}, audit.Mark{}, kms.CodeNotFound},
	} {
		if _, err := d.Consistency(t.Context(), tc.from, tc.mark, tc.to); kms.CodeOf(err) != tc.want {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
}

// No change of a byte leaves a proof that says something else.
func TestAChangedWayDoesNotHold(t *testing.T) {
	d := newTrail(t)
	d.write(t, 40)
	old := d.sign(t)
	d.write(t, 40)
	d.boot(t)
	d.write(t, 70)
	d.sign(t)
	text, err := d.Consistency(t.Context(), old, audit.Mark{}, audit.Mark{})
	if err != nil {
		t.Fatal(err)
	}
	want := d.way(t, old, audit.Mark{}, audit.Mark{})
	for i := range text {
		for _, flip := range []byte{1, 0x20} {
			bad := bytes.Clone(text)
			bad[i] ^= flip
			if got, err := verify.Consistency(bad, d.pub); err == nil && (got.From != want.From || got.To != want.To) {
				t.Fatalf("byte %d ^ %#x: got %+v", i, flip, got)
			}
		}
	}
	parts, err := tree.ParseConsistency(text)
	if err != nil {
		t.Fatal(err)
	}
	for i := range parts.Steps { // a step less is not the same way
		less := *parts
		less.Steps = append(append([]tree.Step(nil), parts.Steps[:i]...), parts.Steps[i+1:]...)
		if got, err := verify.Consistency(less.Text(), d.pub); err == nil && got.To == want.To {
			t.Errorf("without step %d it still leads to %+v", i, got.To)
		}
	}
}

func TestACheckpointIsFoundInALongFile(t *testing.T) {
	d := newTrail(t)
	path := filepath.Join(d.cfg.Dir, "n1", "0000000001", "checkpoints")
	var all bytes.Buffer
	const n = 3000
	for i := 1; i <= n; i++ {
		msg, err := tree.Checkpoint{Origin: d.Origin(), Size: uint64(i) * 7}.Sign(d.keys.Signer)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(append(msg, '\n'))
	}
	if err := d.Log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, all.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i <= n*7+10; i += 1 + i%97 {
		msg, ok := audit.NoteAt(filepath.Dir(path), i)
		if want := i%7 == 0 && i <= n*7; ok != want {
			t.Fatalf("size %d: found %v, want %v", i, ok, want)
		}
		if c, err := tree.Unverified(msg); ok && (err != nil || c.Size != i) {
			t.Fatalf("size %d: got %+v, %v", i, c, err)
		}
	}
}
