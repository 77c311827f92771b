package verify

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/tree"
)

// onlooker cosigns whatever it is shown.
type onlooker struct {
	*tree.Witness
	private ed25519.PrivateKey
}

func newOnlooker(t testing.TB, name string) onlooker {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w, err := tree.NewWitness(name, public)
	if err != nil {
		t.Fatal(err)
	}
	return onlooker{w, private}
}

var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

// cosign adds cosignatures to a checkpoint.
func cosign(t testing.TB, msg []byte, by ...onlooker) []byte {
	t.Helper()
	text, _, _ := strings.Cut(string(msg), "\n\n")
	out := bytes.Clone(msg)
	for _, o := range by {
		line, err := o.Cosign(text+"\n", noon, func(m []byte) ([]byte, error) { return ed25519.Sign(o.private, m), nil })
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, line...)
	}
	return out
}

// put writes the file of cosigned checkpoints of an epoch.
func (s *server) put(t testing.TB, epoch uint64, notes ...[]byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "n1", folderName(epoch), cosignedFile), append(bytes.Join(notes, []byte("\n")), '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *server) watched(t testing.TB, quorum int, by ...onlooker) Keys {
	t.Helper()
	k := s.pub
	var text strings.Builder
	for _, o := range by {
		text.WriteString(o.Key() + "\n")
	}
	var err error
	if k.Witnesses, err = ParseWitnesses([]byte(text.String()), quorum); err != nil {
		t.Fatal(err)
	}
	return k
}

func (r *Report) says(what string) bool {
	for _, f := range r.Findings {
		if strings.Contains(f.What, what) {
			return true
		}
	}
	return false
}

func TestAQuorumOfCosignaturesIsAnAnchor(t *testing.T) {
	s := wholeLog(t)
	a, b, c := newOnlooker(t, "a.example"), newOnlooker(t, "b.example"), newOnlooker(t, "c.example")
	last := s.checkpoint(t, 3)
	s.put(t, 3, cosign(t, last, a, b))
	for name, tc := range map[string]struct {
		keys     Keys
		anchored bool
		by       int
	}{
		"two of two":        {s.watched(t, 0, a, b), true, 2},
		"one of two":        {s.watched(t, 1, a, c), true, 1},
		"one where two are": {s.watched(t, 0, a, c), false, 1},
		"none of them":      {s.watched(t, 1, c), false, 0},
		"none are known":    {s.pub, false, 0},
	} {
		rep := verifyDir(t, s.dir, tc.keys)
		e := rep.Epochs[2]
		if !rep.Verified || rep.Anchored != tc.anchored || rep.Cosigned != tc.anchored || rep.Kept || len(e.Cosigned) != tc.by || (e.Anchored == e.Records) != tc.anchored {
			t.Errorf("%s: got verified %v, anchored %v, %+v %v", name, rep.Verified, rep.Anchored, e, rep.Findings)
		}
		for _, c := range e.Cosigned {
			if !c.Time.Equal(noon) || c.Records != e.Records {
				t.Errorf("%s: got %+v", name, c)
			}
		}
	}
	// The same as an anchor that was kept, among those of other logs.
	other, err := tree.Checkpoint{Origin: "keyhold.other/n1/1", Size: 3}.Sign(newServer(t, t.TempDir()).keys.Signer)
	if err != nil {
		t.Fatal(err)
	}
	if rep := verifyDir(t, s.dir, s.watched(t, 1, a), other, cosign(t, last, a)); !rep.Verified || !rep.Kept {
		t.Errorf("as an anchor: %+v", rep.Findings)
	}
}

// Cosignatures are checked like everything else.
func TestAChangedFileOfCosignedCheckpointsIsFound(t *testing.T) {
	s := wholeLog(t)
	a := newOnlooker(t, "a.example")
	good := cosign(t, s.checkpoint(t, 1), a)
	keys := s.watched(t, 1, a)
	for i := 0; i < len(good); i += 7 {
		bad := bytes.Clone(good)
		bad[i] ^= 0x20 // not the lowest bit, which carries nothing in the last digit of base64
		s.put(t, 1, bad)
		if rep := verifyDir(t, s.dir, keys); rep.Verified && rep.Anchored {
			t.Fatalf("byte %d: it counts as an anchor", i)
		}
	}
	s.put(t, 1, good)
	if rep := verifyDir(t, s.dir, keys); !rep.Verified || !rep.Anchored {
		t.Errorf("unchanged: %+v", rep.Findings)
	}
	s.put(t, 1, good, good[:40]) // torn: the file is not synced
	if rep := verifyDir(t, s.dir, keys); !rep.Verified || !rep.Anchored || len(rep.Epochs[0].Notes) != 1 {
		t.Errorf("torn: %+v %v", rep.Findings, rep.Epochs[0].Notes)
	}
}

func TestASplitViewIsNamed(t *testing.T) {
	s := wholeLog(t)
	a, b := newOnlooker(t, "a.example"), newOnlooker(t, "b.example")
	keys := s.watched(t, 1, a, b)
	true3, err := tree.Unverified(s.checkpoint(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	sign := func(c tree.Checkpoint) []byte {
		msg, err := c.Sign(s.keys.Signer)
		if err != nil {
			t.Fatal(err)
		}
		return msg
	}
	fork := true3
	fork.Root[0] ^= 1
	longer := tree.Checkpoint{Origin: true3.Origin, Size: true3.Size + 7, Root: tree.Hash{9}}
	gone := tree.Checkpoint{Origin: audit.Origin("test", "n1", 9), Size: 5}
	for name, tc := range map[string]struct {
		kept [][]byte
		file []byte
		says string
	}{
		"two histories of one size":     {[][]byte{cosign(t, sign(true3), a), cosign(t, sign(fork), b)}, nil, "SPLIT VIEW: the anchor that a.example at"},
		"a witness saw another history": {nil, cosign(t, sign(fork), b), "SPLIT VIEW: the witnesses were shown another history"},
		"the same, kept":                {[][]byte{cosign(t, sign(fork), b)}, nil, "b.example at 2030-01-02T12:00:00Z cosigned over"},
		"a witness saw more":            {[][]byte{cosign(t, sign(longer), a)}, nil, "the anchor that a.example at 2030-01-02T12:00:00Z cosigned covers"},
		"an epoch that is gone":         {[][]byte{cosign(t, sign(gone), a)}, nil, "which are not there"},
	} {
		if tc.file != nil {
			s.put(t, 3, tc.file)
		}
		rep := verifyDir(t, s.dir, keys, tc.kept...)
		if rep.Verified || !rep.says(tc.says) {
			t.Errorf("%s: got %v, want something with %q", name, rep.Findings, tc.says)
		}
		if tc.file != nil {
			if err := os.Remove(filepath.Join(s.dir, "n1", folderName(3), cosignedFile)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// FuzzConsistency changes a way over boot epochs: what still holds leads where the true one leads.
func FuzzConsistency(f *testing.F) {
	s := newServer(f, f.TempDir())
	s.boot(f, 0, 3, 3)
	s.boot(f, 1, 3, 3)
	l, err := audit.Open(audit.Config{Dir: s.dir, Node: "n1", Cluster: "test", SegmentBytes: s.bytes, ReserveBytes: -1})
	if err != nil {
		f.Fatal(err)
	}
	if err := l.Keyed(s.keys); err != nil {
		f.Fatal(err)
	}
	text, err := l.Consistency(f.Context(), s.checkpoint(f, 1), audit.Mark{}, audit.Mark{})
	if err := errors.Join(err, l.Close()); err != nil {
		f.Fatal(err)
	}
	want, err := Consistency(text, s.pub)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := Consistency(text, s.pub)
		if err == nil && got.To != want.To && got.To != want.From {
			if c, err := tree.Open(s.checkpoint(t, 2), s.pub.Verifiers); err != nil || got.To != c {
				t.Errorf("%q leads to %+v", text, got)
			}
		}
	})
}
