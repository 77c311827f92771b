package vaulttest

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// Captured is a key of a running OpenBao, with what it made (testdata/openbao of the dialect).
type Captured struct {
	Name    string
	Type    string `json:"key_type"`
	Options struct {
		Convergent bool `json:"convergent_encryption"`
	}
	Versions json.RawMessage // as the key was shown
	Export   map[string]json.RawMessage
	Refused  map[string]struct {
		Status int
		Errors []string
	} `json:"export_refused"`
	Backup  string
	Samples []Sample
}

// Sample is a request and its answer.
type Sample struct {
	Op            string
	Version       int
	Input, Output Members
}

// Members are those of a request or an answer.
type Members map[string]json.RawMessage

// Text is a member that is a text; empty: there is none.
func (m Members) Text(name string) (s string) {
	_ = json.Unmarshal(m[name], &s) // what is no text is none
	return s
}

// CapturedSamples is how many samples all of the keys have.
const CapturedSamples = 876

// CapturedKeys reads them from a directory.
func CapturedKeys(t testing.TB, dir string) []Captured {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != 22 {
		t.Fatalf("%d files of samples, %v", len(files), err)
	}
	all := make([]Captured, len(files))
	for i, f := range files {
		b, err := os.ReadFile(f) //nolint:gosec // G304: test data
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &all[i]); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
	}
	return all
}

// Body makes a request's body of members: a name and a value each, or a map of them.
func Body(t testing.TB, members ...any) string {
	t.Helper()
	m := Members{}
	for i := 0; i < len(members); i++ {
		if from, ok := members[i].(Members); ok {
			maps.Copy(m, from)
			continue
		}
		b, err := json.Marshal(members[i+1])
		if err != nil {
			t.Fatal(err)
		}
		m[members[i].(string)] = b //nolint:forcetypeassert // the test's own mistake
		i++
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Restore makes a key of a backup.
func (s *Server) Restore(t testing.TB, name, backup string) {
	t.Helper()
	if a := s.Ask(t, s.Admin, "POST", "transit/restore/"+name, Body(t, "backup", backup)); a.Status != http.StatusNoContent {
		t.Fatalf("restore %s: got %d %s", name, a.Status, a.Body)
	}
}

// Recheck plays a key's samples against its copy here: everything that it made before works. It tells how many there were.
func (s *Server) Recheck(t testing.TB, k *Captured, name string) (n int) {
	t.Helper()
	for _, x := range k.Samples {
		n++
		switch x.Op {
		case "encrypt":
			var p struct{ Plaintext string }
			s.Ask(t, s.User, "POST", "transit/decrypt/"+name, Body(t, x.Input, "ciphertext", x.Output["ciphertext"])).Into(t, &p)
			if p.Plaintext != x.Input.Text("plaintext") {
				t.Errorf("%s version %d: decrypted to %q, want %q", name, x.Version, p.Plaintext, x.Input.Text("plaintext"))
			}
			if !k.Options.Convergent {
				continue
			}
			var c struct{ Ciphertext string }
			if s.Ask(t, s.User, "POST", "transit/encrypt/"+name, Body(t, x.Input, "key_version", x.Version)).Into(t, &c); c.Ciphertext != x.Output.Text("ciphertext") {
				t.Errorf("%s version %d: converges on %q, want %q", name, x.Version, c.Ciphertext, x.Output.Text("ciphertext"))
			}
		case "sign":
			var v struct{ Valid bool }
			if s.Ask(t, s.User, "POST", "transit/verify/"+name, Body(t, x.Input, "signature", x.Output["signature"])).Into(t, &v); !v.Valid {
				t.Errorf("%s version %d: the signature of %s is not valid", name, x.Version, x.Input)
			}
		case "hmac":
			var m struct{ HMAC string }
			if s.Ask(t, s.User, "POST", "transit/hmac/"+name, Body(t, x.Input, "key_version", x.Version)).Into(t, &m); m.HMAC != x.Output.Text("hmac") {
				t.Errorf("%s version %d: MAC %q, want %q", name, x.Version, m.HMAC, x.Output.Text("hmac"))
			}
		}
	}
	return n
}
