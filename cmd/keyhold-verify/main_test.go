package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/audittest"
	"github.com/keyhold/keyhold/internal/audit/verify"
)

// fixture is a real log with what a user of the command has: a folder, a public key, an anchor and a proof.
type fixture struct{ dir, key, anchor, proof string }

func newFixture(t *testing.T) fixture {
	t.Helper()
	home := t.TempDir()
	f := fixture{
		dir: filepath.Join(home, "audit"), key: filepath.Join(home, "audit.pub"),
		anchor: filepath.Join(home, "anchor"), proof: filepath.Join(home, "record.tlog-proof"),
	}
	keys, public := audittest.Keys(t)
	l, err := audit.Open(audit.Config{Dir: f.dir, Node: "n1", Cluster: audittest.Cluster, SegmentBytes: audit.MinSegment, ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Keyed(keys); err != nil {
		t.Fatal(err)
	}
	var at audit.Position
	for i := range 50 {
		if at, err = l.Append(audittest.Record(i)); err != nil {
			t.Fatal(err)
		}
	}
	proof, err := l.Prove(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{f.key: []byte(public + "\n"), f.anchor: l.Checkpoint(), f.proof: proof} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func call(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	status = run(t.Context(), args, &o, &e)
	return status, o.String(), e.String()
}

func TestTheAnswerIsTheExitStatus(t *testing.T) {
	f := newFixture(t)
	missing := filepath.Join(t.TempDir(), "none")
	for name, tc := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"a log":              {[]string{"--key", f.key, f.dir}, verified, "tail unanchored"},
		"with an anchor":     {[]string{"--key", f.key, "--anchor", f.anchor, f.dir}, verified, "verified: 51 records"},
		"flags behind":       {[]string{f.dir, "--key", f.key, "-q"}, verified, ""},
		"a proof":            {[]string{"--key", f.key, "proof", f.proof}, verified, "record   n1-000001-50"},
		"help":               {[]string{"--help"}, verified, "Exit status"},
		"no key":             {[]string{f.dir}, wrongUsage, "no public key"},
		"no folder":          {[]string{"--key", f.key}, wrongUsage, "no folder"},
		"two folders":        {[]string{"--key", f.key, f.dir, f.dir}, wrongUsage, "more than one folder"},
		"an empty folder":    {[]string{"--key", f.key, t.TempDir()}, wrongUsage, "no audit log"},
		"a missing folder":   {[]string{"--key", f.key, missing}, wrongUsage, "no such file"},
		"a missing key":      {[]string{"--key", missing, f.dir}, wrongUsage, "read the public key"},
		"a key of no form":   {[]string{"--key", f.proof, f.dir}, wrongUsage, "verifier key"},
		"a missing anchor":   {[]string{"--key", f.key, "--anchor", missing, f.dir}, wrongUsage, "read the anchor"},
		"not an anchor":      {[]string{"--key", f.key, "--anchor", f.key, f.dir}, notVerified, "anchor"},
		"not a proof":        {[]string{"--key", f.key, "proof", f.anchor}, notVerified, "NOT VERIFIED"},
		"a proof of no file": {[]string{"--key", f.key, "proof"}, wrongUsage, "proof FILE"},
		"an unknown flag":    {[]string{"--kee", f.key, f.dir}, wrongUsage, "not defined"},
		"an unknown format":  {[]string{"--key", f.key, "-o", "yaml", f.dir}, wrongUsage, "want text or json"},
	} {
		t.Run(name, func(t *testing.T) {
			status, out, errs := call(t, tc.args...)
			if status != tc.status || !strings.Contains(out+errs, tc.says) {
				t.Errorf("got %d, want %d with %q\n%s%s", status, tc.status, tc.says, out, errs)
			}
			if status == wrongUsage && (out != "" || !strings.HasPrefix(errs, "keyhold-verify: ")) {
				t.Errorf("wrong usage speaks on standard error alone: %q, %q", out, errs)
			}
		})
	}
}

func TestAnAlteredLogIsNamed(t *testing.T) {
	f := newFixture(t)
	path := filepath.Join(f.dir, "n1", "0000000001", "00000000000000000000.log")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, _ := call(t, "--key", f.key, "--anchor", f.anchor, f.dir)
	if status != notVerified || !strings.Contains(out, "WRONG "+path+": epoch 1, record ") || !strings.Contains(out, "NOT VERIFIED") {
		t.Errorf("got %d\n%s", status, out)
	}
	status, out, _ = call(t, "--key", f.key, "-o", "json", f.dir)
	var rep verify.Report
	if err := json.Unmarshal([]byte(out), &rep); err != nil {
		t.Fatal(err)
	}
	if status != notVerified || rep.Verified || len(rep.Findings) == 0 || rep.Findings[0].File != path || rep.Findings[0].Epoch != 1 {
		t.Errorf("got %d, %+v", status, rep)
	}
}

func TestJSONIsStable(t *testing.T) {
	f := newFixture(t)
	_, out, _ := call(t, "--key", f.key, "-o", "json", "--anchor", f.anchor, f.dir)
	for _, field := range []string{`"verified": true`, `"anchored": true`, `"records": 51`, `"tail": 0`, `"findings": []`, `"origin": "keyhold.test/n1/1"`} {
		if !strings.Contains(out, field) {
			t.Errorf("%s is missing in %s", field, out)
		}
	}
	_, out, _ = call(t, "--key", f.key, "-o", "json", "proof", f.proof)
	for _, field := range []string{`"verified": true`, `"position": "n1-000001-50"`, `"action": "Decrypt"`, `"principal": "svc/orders"`} {
		if !strings.Contains(out, field) {
			t.Errorf("%s is missing in %s", field, out)
		}
	}
}

func TestNothingOfALogReachesTheTerminalRaw(t *testing.T) {
	if got, want := clean("a\x1b[2Jb\nc\u009bd\x7f"), "a�[2Jb�c�d�"; got != want {
		t.Errorf("got %q want %q", got, want)
	}
}

// TestTheCommandStaysSmall keeps the network, the store and everything else out of the verifier.
func TestTheCommandStaysSmall(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%s", exit.Stderr)
		}
		t.Fatal(err)
	}
	allowed := map[string]bool{
		"github.com/keyhold/keyhold/internal/kms": true, "github.com/keyhold/keyhold/internal/gather": true, "github.com/keyhold/keyhold/cmd/keyhold-verify": true,
		"golang.org/x/mod/sumdb/note": true, "golang.org/x/mod/sumdb/tlog": true,
	}
	for dep := range strings.Lines(string(out)) {
		dep = strings.TrimSpace(dep)
		first, _, _ := strings.Cut(dep, "/")
		switch {
		case dep == "net" || dep == "net/http" || dep == "crypto/tls" || dep == "os/exec":
			t.Errorf("the verifier links %s", dep)
		case strings.HasPrefix(dep, "github.com/klauspost/compress"): // reads compressed segments
		case strings.Contains(first, ".") && !allowed[dep] && !strings.HasPrefix(dep, "github.com/keyhold/keyhold/internal/audit"):
			t.Errorf("the verifier links %s", dep)
		}
	}
}
