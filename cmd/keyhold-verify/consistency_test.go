package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/audittest"
	"github.com/keyhold/keyhold/internal/audit/tree"
)

// watched is a log over three boot epochs, a witness that cosigned its end, and what their user has.
type watched struct{ dir, key, witness, other, way, cosigned, proof string }

func newWatched(t *testing.T) watched {
	t.Helper()
	home := t.TempDir()
	in := func(name string) string { return filepath.Join(home, name) }
	f := watched{in("audit"), in("audit.pub"), in("witness.pub"), in("other.pub"), in("way.proof"), in("cosigned"), in("record.proof")}
	keys, public := audittest.Keys(t)
	vkey, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w, err := tree.NewWitness("witness.example/w1", vkey)
	if err != nil {
		t.Fatal(err)
	}
	strange, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := tree.NewWitness("witness.example/w2", strange)
	if err != nil {
		t.Fatal(err)
	}
	var old, way, cosigned, proof []byte
	for boot := range 3 {
		l, err := audit.Open(audit.Config{Dir: f.dir, Node: "n1", Cluster: audittest.Cluster, SegmentBytes: audit.MinSegment, ReserveBytes: -1, Witnesses: []*tree.Witness{w}})
		if err != nil {
			t.Fatal(err)
		}
		var at audit.Position
		for i := range 20 {
			if at, err = l.Append(audittest.Record(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Keyed(keys); err != nil {
			t.Fatal(err)
		}
		if boot == 0 {
			old = l.Checkpoint()
		}
		if boot == 2 {
			text, _, _ := strings.Cut(string(l.Checkpoint()), "\n\n")
			line, err := w.Cosign(text+"\n", time.Unix(1_900_000_000, 0), func(msg []byte) ([]byte, error) { return ed25519.Sign(private, msg), nil })
			if err != nil {
				t.Fatal(err)
			}
			cosigned = append(bytes.Clone(l.Checkpoint()), line...)
			if _, err := l.Cosigned(cosigned); err != nil {
				t.Fatal(err)
			}
			if way, err = l.Consistency(t.Context(), old, audit.Mark{}, audit.Mark{}); err != nil {
				t.Fatal(err)
			}
			if proof, err = l.Prove(t.Context(), at); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for path, data := range map[string][]byte{
		f.key: []byte(public + "\n"), f.witness: []byte(w.Key() + "\n"), f.other: []byte(w.Key() + "\n" + other.Key() + "\n"), f.way: way, f.cosigned: cosigned, f.proof: proof,
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestWhatWitnessesVouchForIsSaid(t *testing.T) {
	f := newWatched(t)
	for name, tc := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"the way":                          {[]string{"--key", f.key, "consistency", f.way}, verified, "over 3 boot epochs"},
		"the way, witnessed":               {[]string{"--key", f.key, "--witness", f.witness, "consistency", f.way}, verified, "cosigned by witness.example/w1 at 2030-03-17T17:46:40Z"},
		"the way, one of two":              {[]string{"--key", f.key, "--witness", f.other, "--witness-quorum", "1", "consistency", f.way}, verified, "verified"},
		"the way, two of two":              {[]string{"--key", f.key, "--witness", f.other, "consistency", f.way}, notVerified, "of 1 of the witnesses, 2 are wanted"},
		"a record, witnessed":              {[]string{"--key", f.key, "--witness", f.witness, "proof", f.proof}, verified, "cosigned by witness.example/w1"},
		"a record, two of two":             {[]string{"--key", f.key, "--witness", f.other, "proof", f.proof}, notVerified, "2 are wanted"},
		"a log":                            {[]string{"--key", f.key, "--witness", f.witness, f.dir}, verified, "21 records cosigned by witness.example/w1 at 2030-03-17T17:46:40Z"},
		"a log says what that means":       {[]string{"--key", f.key, "--witness", f.witness, f.dir}, verified, "anchored by witnesses, as of the times shown"},
		"a log, two of two":                {[]string{"--key", f.key, "--witness", f.other, f.dir}, verified, "no checkpoint in these files has the cosignatures of 2 witnesses"},
		"a log, cosigned anchor":           {[]string{"--key", f.key, "--witness", f.witness, "--anchor", f.cosigned, f.dir}, verified, "21 under an anchor"},
		"a record is no way":               {[]string{"--key", f.key, "consistency", f.proof}, notVerified, "NOT VERIFIED"},
		"a way is no record":               {[]string{"--key", f.key, "proof", f.way}, notVerified, "NOT VERIFIED"},
		"no file":                          {[]string{"--key", f.key, "consistency"}, wrongUsage, "want: consistency FILE"},
		"a missing file":                   {[]string{"--key", f.key, "consistency", f.way + "x"}, wrongUsage, "read the proof"},
		"a quorum of nobody":               {[]string{"--key", f.key, "--witness-quorum", "1", f.dir}, wrongUsage, "needs --witness"},
		"a quorum larger than all":         {[]string{"--key", f.key, "--witness", f.witness, "--witness-quorum", "2", f.dir}, wrongUsage, "a quorum of 2"},
		"a log's key is no witness's":      {[]string{"--key", f.key, "--witness", f.key, f.dir}, wrongUsage, "not the verifier key of a witness"},
		"witnesses that cannot be read":    {[]string{"--key", f.key, "--witness", f.key + "x", f.dir}, wrongUsage, "read the keys of witnesses"},
		"quiet says nothing when it holds": {[]string{"--key", f.key, "-q", "consistency", f.way}, verified, ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, out, errs := call(t, tc.args...)
			if status != tc.status || !strings.Contains(out+errs, tc.says) {
				t.Errorf("got %d, want %d with %q\n%s%s", status, tc.status, tc.says, out, errs)
			}
		})
	}
	_, out, _ := call(t, "--key", f.key, "--witness", f.witness, "-o", "json", "consistency", f.way)
	var way wayJSON
	if err := json.Unmarshal([]byte(out), &way); err != nil || !way.Verified || way.Epochs != 3 || way.FromSize != 21 || len(way.Cosigned) != 1 {
		t.Errorf("as JSON: %v\n%s", err, out)
	}
}
