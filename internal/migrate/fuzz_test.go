package migrate

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// FuzzAnswers: whatever a source answers, it is refused, or what was read of it holds to the limits that the rest relies on. What is erased is erased.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{
		`{"data":{"type":"aes256-gcm96","latest_version":2,"min_decryption_version":1,"keys":{"1":1795352245,"2":1795352246},"auto_rotate_period":3600}}`,
		`{"data":{"type":"ed25519","latest_version":1,"keys":{"1":{"creation_time":"2026-11-22T12:57:31.296924424Z","public_key":"x"}},"auto_rotate_period":"24h"}}`,
		`{"data":{"keys":{"1":"YWJj","2":"\u0041\n"},"backup":"YWJj","batch_results":[{"plaintext":"YWJj"},{"error":"no"}]}}`,
		`{"errors":["no handler for route"],"data":{}}`, `{"data":{"keys":["a","b"]}}`, `[`, ``,
	} {
		f.Add([]byte(s), uint16(200))
	}
	s, err := NewServer(ServerConfig{What: "the source", Code: kms.CodeSource, Address: "https://127.0.0.1:1", Token: secret.Copy([]byte("s.token"))})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, status uint16) {
		fresh := func() *answer { return &answer{of: s, what: "GET x", status: int(status), body: bytes.Clone(body)} }
		if r := fresh().refusal(); len(r.text) > 210 || bytes.Contains([]byte(r.Error()), []byte("s.token")) && bytes.Contains(body, []byte("s.token")) {
			t.Errorf("a refusal of %d bytes: %s", len(r.text), r)
		}
		if raw, err := member(body, "data"); err == nil && (!raw.IsValid() || raw.Kind() != '{') {
			t.Errorf("%q was found in %q", raw, body)
		}
		var d described
		if into(fresh(), &d) == nil && d.read() {
			if status != http.StatusOK || d.Latest < 1 || d.first() < 1 || d.first() > d.latest() || d.kept() > d.first() || d.every < 0 || len(d.versions) > int(d.Latest) {
				t.Errorf("got %+v", d)
			}
			k := Key{Name: "k"}
			k.choose(&d)
			if k.How == "" || k.Outcome == "" || k.Outcome == Planned && k.Versions > MaxVersions {
				t.Errorf("got %+v", k)
			}
		}
		var b batchAnswer
		if into(fresh(), &b) == nil {
			b.erase()
			for _, r := range b.Results {
				if len(bytes.Trim(r.Plaintext, "\x00")) > 0 {
					t.Errorf("left: %q", r.Plaintext)
				}
			}
		}
		a := fresh()
		held := a.body
		a.erase()
		if len(bytes.Trim(held, "\x00")) > 0 {
			t.Errorf("left: %q", held)
		}
	})
}

// FuzzVersion: a text that counts as a ciphertext can stand in JSON and in a line as it is.
func FuzzVersion(f *testing.F) {
	f.Add("vault:v1:AAAA")
	f.Add("vault:v99999999:+/==")
	f.Add(`vault:v1:"`)
	f.Fuzz(func(t *testing.T, text string) {
		n, err := Version(text)
		if (err == nil) != (n > 0) {
			t.Fatalf("%q: got %d, %v", text, n, err)
		}
		if quoted, _ := json.Marshal(text); err == nil && string(quoted) != `"`+text+`"` {
			t.Errorf("%q stands for itself as %s", text, quoted)
		}
	})
}
