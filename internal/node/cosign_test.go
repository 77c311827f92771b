package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/audit/verify"
	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/node"
)

// A server and a witness as they are run: the server's checkpoints get the witness's cosignature, over a restart of both, and what the auditor
// has then is verified with the two public keys alone.
func TestAServerIsWitnessed(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, node.Options{Dev: true})
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	o := newOnlooker(t, "witness.example/w1", filepath.Join(dir, "audit.pub"))
	settings := []config.Override{
		{Name: "audit.witnesses", Value: o.key + " " + o.url, Flag: "test"}, {Name: "audit.witness_ca_file", Value: o.ca(), Flag: "test"},
		{Name: "audit.witness_interval", Value: "1s", Flag: "test"},
	}
	r = start(t, dir, node.Options{Dev: true}, settings...)
	env := r.env()
	c := r.client(client.Config{Address: env["KEYHOLD_ADDR"], Token: env["KEYHOLD_TOKEN"], CACert: r.file("tls/ca.pem")})
	keys, err := verify.ParseKeys(r.file("audit.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if keys.Witnesses, err = verify.ParseWitnesses([]byte(o.key), 0); err != nil {
		t.Fatal(err)
	}
	witnessed := func() (at client.Checkpoint, name tree.Checkpoint) {
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			p, err := c.GetCheckpoint(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if name, err = tree.Unverified(p.Witnessed); err == nil {
				return p, name
			}
			if time.Now().After(end) {
				s, err := c.Status(t.Context())
				t.Fatalf("nothing was witnessed: %+v %v", s.Witnesses, err)
			}
		}
	}
	old, from := witnessed()
	if by, err := tree.Cosignatures(old.Witnessed, keys.Witnesses.Known); err != nil || len(by) != 1 {
		t.Fatalf("got %+v, %v", by, err)
	}
	s, err := c.Status(t.Context())
	if err != nil || len(s.Witnesses) != 1 || s.Witnesses[0].State != audit.WitnessOK || s.Witnesses[0].URL != o.url || s.Witnesses[0].Size == 0 {
		t.Errorf("the status: %+v, %v", s.Witnesses, err)
	}
	if err := r.stop(); err != nil { // the end of the log is witnessed before the server is gone
		t.Fatal(err)
	}
	last, err := os.ReadFile(filepath.Join(dir, "audit", "n1", "0000000002", "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	end, err := tree.Unverified(last)
	if err != nil {
		t.Fatal(err)
	}
	if _, kept := o.do(t, "GET", "/checkpoints", nil); !strings.Contains(kept, end.Text()) {
		t.Errorf("the witness does not have the end of the log, %+v:\n%s", end, kept)
	}
	if err := o.stop(); err != nil {
		t.Fatal(err)
	}
	o.start(t)
	r = start(t, dir, node.Options{Dev: true}, settings...)
	env = r.env()
	c = r.client(client.Config{Address: env["KEYHOLD_ADDR"], Token: env["KEYHOLD_TOKEN"], CACert: r.file("tls/ca.pem")})
	var to tree.Checkpoint
	for deadline := time.Now().Add(20 * time.Second); to.Origin != "keyhold."+keys.Cluster+"/n1/3"; {
		if _, to = witnessed(); time.Now().After(deadline) {
			t.Fatalf("the new boot epoch is not witnessed: %+v", to)
		}
	}
	p, err := c.ProveConsistency(t.Context(), client.ConsistencyInput{Checkpoint: old.Witnessed, To: client.CheckpointName{Origin: to.Origin, Size: to.Size}})
	if err != nil {
		t.Fatal(err)
	}
	if w, err := verify.Consistency(p.Bundle, keys); err != nil || w.From != from || w.To != to || w.Epochs < 2 || len(w.Cosigned) != 1 {
		t.Errorf("the way over the restart: %+v, %v", w, err)
	}
}

func TestWrongWitnessesStopTheStart(t *testing.T) {
	for name, over := range map[string][]config.Override{
		"a key that is none": {{Name: "audit.witnesses", Value: "w+00000000+AAAA https://w.example", Flag: "test"}},
		"no such file":       {{Name: "audit.witness_ca_file", Value: filepath.Join(t.TempDir(), "none"), Flag: "test"}},
	} {
		if _, err := try(t, t.TempDir(), node.Options{Dev: true}, over...); kms.CodeOf(err) != kms.CodeBadSetting {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
