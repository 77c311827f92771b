package audit_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/audittest"
	"github.com/keyhold/keyhold/internal/audit/disk/disktest"
	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/audit/verify"
	"github.com/keyhold/keyhold/internal/kms"
)

// rounds gives the size of a test: small by default, full when KEYHOLD_LONG is 1.
func rounds(short, long int) int {
	if os.Getenv("KEYHOLD_LONG") == "1" {
		return long
	}
	return short
}

// Environment of the process that is killed.
const (
	crashDir = "KEYHOLD_TEST_CRASH_DIR"
	crashKey = "KEYHOLD_TEST_CRASH_KEY"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashed(dir)
		return
	}
	os.Exit(m.Run())
}

// crashed appends until it is killed, and says which records were acknowledged.
func crashed(dir string) {
	fail := func(err error) {
		fmt.Println("failed", err, errors.Unwrap(err))
		os.Exit(1)
	}
	signer, err := note.NewSigner(os.Getenv(crashKey))
	if err != nil {
		fail(err)
	}
	l, err := audit.Open(audit.Config{Dir: dir, Node: "n1", Cluster: audittest.Cluster, SegmentBytes: audit.MinSegment, ReserveBytes: -1})
	if err != nil {
		fail(err)
	}
	v, err := note.NewVerifier(os.Getenv(crashKey + "_PUB"))
	if err != nil {
		fail(err)
	}
	if err := l.Keyed(audit.Keys{Epoch: 7, MAC: audittest.MAC(7, [32]byte{1}), Signer: signer, Verifiers: note.VerifierList(v)}); err != nil {
		fail(err)
	}
	lines := make(chan string)
	for c := range 8 {
		go func() {
			for i := 0; ; i++ {
				n := c*1_000_000 + i
				p, err := l.Append(audittest.Record(n))
				if err != nil {
					fail(err)
				}
				lines <- fmt.Sprintf("acked %s %s\n", p, audittest.Request(n))
			}
		}()
	}
	for line := range lines {
		if _, err := os.Stdout.WriteString(line); err != nil {
			return
		}
	}
}

// TestAKillLosesNothingAcknowledged kills a server under load, again and again in the same folder.
func TestAKillLosesNothingAcknowledged(t *testing.T) {
	private, public, err := note.GenerateKey(zeroReader{}, audit.KeyName(audittest.Cluster))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := verify.ParseKeys([]byte(public))
	if err != nil {
		t.Fatal(err)
	}
	keys := audit.Keys{Epoch: 7, MAC: audittest.MAC(7, [32]byte{1}), Signer: signer, Verifiers: pub.Verifiers}
	dir := t.TempDir()
	acked := map[string]string{}
	for round := range rounds(4, 200) {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), crashDir+"="+dir, crashKey+"="+private, crashKey+"_PUB="+public)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(time.Duration(60+rand.IntN(200))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			f := strings.Fields(lines.Text())
			if len(f) != 3 || f[0] != "acked" {
				if f[0] == "failed" {
					t.Fatalf("round %d: %s", round, lines.Text())
				}
				continue // cut by the kill
			}
			if strings.HasPrefix(f[2], "r-") {
				acked[f[1]] = f[2]
			}
		}
		_ = cmd.Wait()
		kill.Stop()
		l, err := audit.Open(audit.Config{Dir: dir, Node: "n1", Cluster: audittest.Cluster, SegmentBytes: audit.MinSegment, ReserveBytes: -1})
		if err != nil {
			t.Fatalf("round %d: open: %v (%v)", round, err, errors.Unwrap(err))
		}
		if err := l.Keyed(keys); err != nil {
			t.Fatalf("round %d: keyed: %v (%v)", round, err, errors.Unwrap(err))
		}
		n := 0
		for at, want := range acked {
			if n++; n > 2000 { // a map's order is random
				break
			}
			p, err := audit.ParsePosition(at)
			if err != nil {
				continue // the line was cut by the kill
			}
			r, err := l.Read(p)
			if err != nil || !strings.HasPrefix(r.RequestID, want) {
				t.Fatalf("round %d: record %s: got %q, %v, want %s", round, at, r.RequestID, err, want)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		rep, err := verify.Dir(t.Context(), verify.Options{Dir: dir, Keys: pub})
		if err != nil || !rep.Verified || rep.Tail != 0 {
			t.Fatalf("round %d: %+v, %v", round, rep, err)
		}
	}
	t.Logf("%d records were acknowledged", len(acked))
	if len(acked) == 0 {
		t.Fatal("nothing was acknowledged")
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// disked is a log on disk as a stopped machine left it: one segment, its last batch in flight, no checkpoint over it.
type disked struct {
	b    *bench
	dir  string // of the epoch
	path string
	data []byte
	all  []segment.Batch
}

// running makes such a state of a log with groups of records. With checkpoint, the one from the moment of unsealing stays.
func running(t *testing.T, groups int, checkpoint bool) *disked {
	t.Helper()
	b := newBench(t)
	b.cfg.SegmentBytes = 256 << 10
	b.open()
	dir := filepath.Join(b.cfg.Dir, "n1", "0000000001")
	keep := map[string][]byte{}
	for _, name := range []string{"checkpoint", "checkpoints"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		keep[name] = data
	}
	for g := range groups {
		var rs []*audit.Record
		for i := range 1 + g*7%23 {
			rs = append(rs, audittest.Record(g*100+i))
		}
		if _, err := b.log.AppendAll(rs); err != nil {
			t.Fatal(err)
		}
	}
	to := b.snapshot()
	b.close()
	b.cfg.Dir = to
	d := &disked{b: b, dir: filepath.Join(to, "n1", "0000000001")}
	for name, data := range keep {
		if err := os.Remove(filepath.Join(d.dir, name)); err != nil {
			t.Fatal(err)
		}
		if checkpoint {
			if err := os.WriteFile(filepath.Join(d.dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, _, err := segment.List(d.dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%d segments, %v", len(files), err)
	}
	d.path = files[0].Path
	if d.data, err = os.ReadFile(d.path); err != nil {
		t.Fatal(err)
	}
	b.fs.Set(func(op disktest.Op, _ string) *disktest.Fault { // what follows is about contents
		if op == disktest.Sync || op == disktest.SyncDir {
			return &disktest.Fault{Skip: true}
		}
		return nil
	})
	r := segment.NewReader(bytes.NewReader(d.data), 0, int64(len(d.data)), 0, segment.Tag{})
	for {
		batch, err := r.Next()
		if err != nil {
			break
		}
		batch.Raw = bytes.Clone(batch.Raw)
		d.all = append(d.all, batch)
	}
	return d
}

// restart begins the server on other contents of the segment, and puts the folder back.
func (d *disked) restart(t *testing.T, data []byte, use func(l *audit.Log, err error)) {
	t.Helper()
	if err := os.WriteFile(d.path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := audit.Open(d.b.cfg)
	use(l, err)
	if l != nil {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(filepath.Dir(d.dir), "0000000002")); err != nil {
		t.Fatal(err)
	}
}

// TestATornWriteIsCut lets random sectors of the batch in flight be missing, on zeroed space and on space with stale bytes.
func TestATornWriteIsCut(t *testing.T) {
	d := running(t, 30, false)
	last := d.all[len(d.all)-1]
	acked := last.First
	kept := 0
	for round := range rounds(150, 3000) {
		data := bytes.Clone(d.data)
		stale := d.data[:last.Size()]
		for at := last.Offset; at < last.Offset+last.Size(); at += segment.Align {
			if round%10 != 0 && rand.IntN(2) == 0 {
				sector := data[at : at+segment.Align]
				if round%3 == 0 {
					copy(sector, stale[at-last.Offset:]) // what stood there before
				} else {
					clear(sector)
				}
			}
		}
		d.restart(t, data, func(l *audit.Log, err error) {
			if err != nil {
				t.Fatalf("round %d: %v (%v)", round, err, errors.Unwrap(err))
			}
			r, err := l.Read(audit.Position{Node: "n1", Epoch: 2, Seq: 0})
			if err != nil {
				t.Fatal(err)
			}
			switch r.Prev.Size {
			case acked:
			case last.Next():
				kept++
			default:
				t.Fatalf("round %d: %d records were kept, want %d or %d", round, r.Prev.Size, acked, last.Next())
			}
			if _, err := l.Read(audit.Position{Node: "n1", Epoch: 1, Seq: acked - 1}); err != nil {
				t.Fatal(err)
			}
		})
	}
	if kept == 0 {
		t.Error("a batch that was whole was never kept")
	}
}

// TestABitFlipInTheAcknowledgedRegionIsFoundAtStart changes one bit before the last batch.
func TestABitFlipInTheAcknowledgedRegionIsFoundAtStart(t *testing.T) {
	d := running(t, 30, false)
	for round := range rounds(250, 3000) {
		batch := d.all[rand.IntN(len(d.all)-1)]
		at := batch.Offset + rand.Int64N(int64(len(batch.Raw)))
		data := bytes.Clone(d.data)
		data[at] ^= 1 << rand.IntN(8)
		d.restart(t, data, func(l *audit.Log, err error) {
			if kms.CodeOf(err) != kms.CodeLogAltered {
				t.Fatalf("round %d: byte %d (of the batch at %d): got %v, want %v", round, at, batch.Offset, err, kms.CodeLogAltered)
			}
		})
	}
	d.restart(t, d.data, func(_ *audit.Log, err error) {
		if err != nil {
			t.Fatalf("unchanged: %v", err)
		}
	})
}

// edit changes a batch in place and makes it consistent, as far as that goes without the MAC key.
func edit(raw []byte, h segment.Header, prev segment.Hash, change func(raw []byte, h *segment.Header)) segment.Hash {
	h.Prev = prev
	mac := h.MAC
	change(raw, &h)
	var leaves []byte
	for rest := raw[segment.HeaderSize:]; len(rest) > 0; {
		f, tail, err := segment.Cut(rest)
		if err != nil {
			panic(err)
		}
		leaf := f.Leaf()
		leaves, rest = append(leaves, leaf[:]...), tail
	}
	h.Leaves = sha256.Sum256(leaves)
	if h.Flags&segment.Keyed == 0 {
		mac = segment.Hash{}
	}
	sum, err := segment.Seal(raw, &h, func(segment.Hash) (segment.Hash, error) { return mac, nil })
	if err != nil {
		panic(err)
	}
	return sum
}

// TestATailEditedWhileTheServerWasDownIsFoundAtUnsealing rewrites the end of the log behind the last checkpoint, consistently.
func TestATailEditedWhileTheServerWasDownIsFoundAtUnsealing(t *testing.T) {
	d := running(t, 10, true)
	tail := len(d.all) - 3
	changes := map[string]func(raw []byte, h *segment.Header){
		"a record": func(raw []byte, _ *segment.Header) { raw[segment.HeaderSize+segment.FrameSize+34] ^= 1 },
		"the time": func(_ []byte, h *segment.Header) { h.Time = h.Time.Add(time.Hour) },
		"the head": func(_ []byte, h *segment.Header) { h.HeadRev = 7 },
		"the flag": func(_ []byte, h *segment.Header) {
			h.Flags, h.KeyEpoch, h.HeadRev, h.HeadHash = 0, 0, 0, segment.Hash{}
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			data := bytes.Clone(d.data)
			prev := d.all[tail].Prev
			for i := tail; i < len(d.all); i++ {
				raw := data[d.all[i].Offset : d.all[i].Offset+int64(len(d.all[i].Raw))]
				do := func([]byte, *segment.Header) {}
				if i == tail || name == "the flag" {
					do = change
				}
				prev = edit(raw, d.all[i].Header, prev, do)
			}
			d.restart(t, data, func(l *audit.Log, err error) {
				if err != nil {
					t.Fatalf("before unsealing it cannot be known: %v", err)
				}
				if err := l.Keyed(d.b.keys); kms.CodeOf(err) != kms.CodeLogAltered {
					t.Errorf("got %v, want %v", err, kms.CodeLogAltered)
				}
				if err := l.Keyed(d.b.keys); kms.CodeOf(err) != kms.CodeLogAltered {
					t.Errorf("asked again: got %v, want %v", err, kms.CodeLogAltered)
				}
			})
			d.b.cfg.SealAndRoll = true
			d.restart(t, data, func(l *audit.Log, err error) {
				if err != nil {
					t.Fatal(err)
				}
				if err := l.Keyed(d.b.keys); err != nil {
					t.Fatalf("by an operator's order: %v", err)
				}
				page, err := l.List(t.Context(), audit.Filter{Action: kms.StartServer, Outcome: audit.Failed}, "", 5)
				if err != nil || len(page.Entries) != 1 || page.Entries[0].Code != kms.CodeLogAltered {
					t.Errorf("the order is not recorded: %+v, %v", page, err)
				}
			})
			d.b.cfg.SealAndRoll = false
		})
	}
	d.restart(t, d.data, func(l *audit.Log, err error) {
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Keyed(d.b.keys); err != nil {
			t.Fatalf("unchanged: %v", err)
		}
	})
	d.b.verify()
}

// TestAnAlteredTailStaysFoundHoweverOftenTheServerStarts boots again and again, each time adding a boot epoch behind the altered one.
func TestAnAlteredTailStaysFoundHoweverOftenTheServerStarts(t *testing.T) {
	d := running(t, 10, true)
	tail := len(d.all) - 1
	raw := d.data[d.all[tail].Offset : d.all[tail].Offset+int64(len(d.all[tail].Raw))]
	edit(raw, d.all[tail].Header, d.all[tail].Prev, func(_ []byte, h *segment.Header) { h.Time = h.Time.Add(time.Hour) })
	if err := os.WriteFile(d.path, d.data, 0o600); err != nil {
		t.Fatal(err)
	}
	for boot := range 4 {
		l, err := audit.Open(d.b.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Keyed(d.b.keys); kms.CodeOf(err) != kms.CodeLogAltered {
			t.Errorf("boot %d: got %v, want %v", boot, err, kms.CodeLogAltered)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnEpochThatWasKilledGetsItsLastCheckpointAtTheNextUnsealing boots several times without unsealing in between.
func TestAnEpochThatWasKilledGetsItsLastCheckpointAtTheNextUnsealing(t *testing.T) {
	d := running(t, 10, true)
	for range 3 {
		l, err := audit.Open(d.b.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(audittest.Record(1)); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	d.b.open()
	d.b.close()
	rep, err := verify.Dir(t.Context(), verify.Options{Dir: d.b.cfg.Dir, Keys: d.b.pub})
	if err != nil || !rep.Verified || len(rep.Epochs) != 5 {
		t.Fatalf("got %+v, %v", rep, err)
	}
	for _, e := range rep.Epochs {
		if e.Signed != e.Records {
			t.Errorf("epoch %d: %d of %d records are under a checkpoint", e.Epoch, e.Signed, e.Records)
		}
	}
}

// TestALogThatLacksWhatACheckpointCoversIsRefused cuts the log at a batch.
func TestALogThatLacksWhatACheckpointCoversIsRefused(t *testing.T) {
	b := newBench(t)
	b.open()
	for range 20 {
		if err := b.append(nil); err != nil {
			t.Fatal(err)
		}
	}
	b.close()
	files, _, err := segment.List(filepath.Join(b.cfg.Dir, "n1", "0000000001"))
	if err != nil {
		t.Fatal(err)
	}
	last := files[len(files)-1]
	st, err := os.Stat(last.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(last.Path, st.Size()-segment.Align); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(b.cfg); kms.CodeOf(err) != kms.CodeLogAltered {
		t.Fatalf("got %v, want %v", err, kms.CodeLogAltered)
	}
	b.cfg.SealAndRoll = true
	b.open()
	r, err := b.log.Read(audit.Position{Node: "n1", Epoch: 2, Seq: 0})
	if err != nil || r.Outcome != audit.Failed || r.Code != kms.CodeLogAltered || r.Prev.Origin == "" {
		t.Errorf("the first record after the order: %+v, %v", r, err)
	}
	for range 5 {
		if err := b.append(nil); err != nil {
			t.Fatal(err)
		}
	}
	if page, err := b.log.List(t.Context(), audit.Filter{}, "", audit.MaxPage); err != nil || len(page.Entries) < 20 {
		t.Errorf("what is left can be read: got %d, %v", len(page.Entries), err)
	}
	b.close()
	b.cfg.SealAndRoll = false
	b.open() // the order is given once
	b.close()
	rep, err := verify.Dir(t.Context(), verify.Options{Dir: b.cfg.Dir, Keys: b.pub})
	if err != nil || rep.Verified {
		t.Errorf("the verifier still says what happened: %+v, %v", rep, err)
	}
}

// TestTilesAreRebuiltWhenTheyAreMissingOrWrong removes and damages what was derived from the records.
func TestTilesAreRebuiltWhenTheyAreMissingOrWrong(t *testing.T) {
	b := newBench(t)
	b.open()
	var rs []*audit.Record
	for i := range 1000 {
		rs = append(rs, audittest.Record(i))
	}
	for range 2 {
		if _, err := b.log.AppendAll(rs); err != nil {
			t.Fatal(err)
		}
	}
	b.close()
	tile := filepath.Join(b.cfg.Dir, "n1", "0000000001", "tile", "0", "003")
	for name, harm := range map[string]func() error{
		"missing": func() error { return os.RemoveAll(filepath.Dir(filepath.Dir(tile))) },
		"cut":     func() error { return os.Truncate(tile, 100) },
		"zero":    func() error { return os.WriteFile(tile, make([]byte, tree.TileBytes), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := harm(); err != nil {
				t.Fatal(err)
			}
			b.open()
			defer b.close()
			text, err := b.log.Prove(t.Context(), audit.Position{Node: "n1", Epoch: 1, Seq: 800})
			if err != nil {
				t.Fatalf("%v (%v)", err, errors.Unwrap(err))
			}
			if _, err := verify.Proof(text, b.pub); err != nil {
				t.Fatal(err)
			}
		})
	}
	b.verify()
}

func TestALogGrowsByExtension(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.open()
	var roots []tree.Checkpoint
	for range 3 {
		for range 30 {
			if err := b.append(nil); err != nil {
				t.Fatal(err)
			}
		}
		p, err := b.log.Append(audittest.Record(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.log.Prove(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		c, err := tree.Open(b.log.Checkpoint(), b.pub.Verifiers)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, c)
	}
	for i := 1; i < len(roots); i++ {
		prev, next := roots[i-1], roots[i]
		proof, err := b.log.Extension(1, prev.Size, next.Size)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.CheckExtension(proof, prev.Size, prev.Root, next.Size, next.Root); err != nil {
			t.Errorf("from %d to %d: %v", prev.Size, next.Size, err)
		}
	}
	if _, err := b.log.Extension(1, 5, 1<<40); kms.CodeOf(err) != kms.CodeNotFound {
		t.Errorf("beyond the end: got %v", err)
	}
}

// TestAServerCanBeSealedAndUnsealedWhileItRuns puts the keys away and takes them again.
func TestAServerCanBeSealedAndUnsealedWhileItRuns(t *testing.T) {
	b := newBench(t)
	b.open()
	for range 3 {
		for range 10 {
			if err := b.append(nil); err != nil {
				t.Fatal(err)
			}
		}
		r := audittest.Record(1)
		r.Action = kms.SealServer
		if _, err := b.log.Unkeyed(r); err != nil {
			t.Fatal(err)
		}
		if got, want := b.log.Stats().Checkpoint, b.log.Size(); got != want {
			t.Errorf("at sealing: %d of %d records are under a checkpoint", got, want)
		}
		p, err := b.log.Append(audittest.Record(2))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.log.Prove(t.Context(), p); kms.CodeOf(err) != kms.CodeSealed {
			t.Errorf("a proof while sealed: got %v, want %v", err, kms.CodeSealed)
		}
		if err := b.log.Keyed(b.keys); err != nil {
			t.Fatal(err)
		}
	}
	b.whole()
	anchor := b.log.Checkpoint()
	b.close()
	b.verify(anchor)
	b.open()
	b.close()
	b.verify(anchor)
}

// fixChecksum makes a batch's checksum fit its bytes.
func fixChecksum(raw []byte) {
	const at = 180
	table := crc32.MakeTable(crc32.Castagnoli)
	crc := crc32.Update(0, table, raw[:at])
	binary.BigEndian.PutUint32(raw[at:], crc32.Update(crc, table, raw[segment.HeaderSize:]))
}

// TestAnErasedAnnexIsReadAsErased blanks an annex in a closed log.
func TestAnErasedAnnexIsReadAsErased(t *testing.T) {
	d := running(t, 5, true)
	data := bytes.Clone(d.data)
	batch := d.all[len(d.all)-2]
	raw := data[batch.Offset : batch.Offset+int64(len(batch.Raw))]
	f, _, err := segment.Cut(raw[segment.HeaderSize:])
	if err != nil {
		t.Fatal(err)
	}
	clear(f.Annex)
	fixChecksum(raw)
	d.restart(t, data, func(l *audit.Log, err error) {
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Keyed(d.b.keys); err != nil {
			t.Fatalf("an erasure is not an alteration: %v", err)
		}
		p := audit.Position{Node: "n1", Epoch: 1, Seq: batch.First}
		r, err := l.Read(p)
		if err != nil || !r.Erased || r.Name != "" || r.Alias != audittest.Record(0).Alias {
			t.Errorf("got %+v, %v", r, err)
		}
		text, err := l.Prove(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := verify.Proof(text, d.b.pub); err != nil || !got.Record.Erased {
			t.Errorf("the proof of an erased record: got %+v, %v", got, err)
		}
		data, err := os.ReadFile(d.path)
		if err != nil {
			t.Fatal(err)
		}
		bad := data[batch.Offset+segment.HeaderSize+segment.FrameSize+int64(len(f.Body())):]
		bad[0] = 1
		fixChecksum(data[batch.Offset : batch.Offset+int64(len(batch.Raw))])
		if err := os.WriteFile(d.path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Read(p); kms.CodeOf(err) != kms.CodeLogAltered {
			t.Errorf("an annex that was put in: got %v, want %v", err, kms.CodeLogAltered)
		}
	})
}
