package migrate_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/migrate"
)

// decrypted is what a ciphertext holds at a server, in base64.
func decrypted(t *testing.T, s *vaulttest.Server, key string, members ...any) string {
	t.Helper()
	var p struct{ Plaintext string }
	s.Ask(t, s.User, "POST", "transit/decrypt/"+key, vaulttest.Body(t, members...)).Into(t, &p)
	return p.Plaintext
}

func encrypting(t *testing.T, s *vaulttest.Server, key, options string) {
	t.Helper()
	if a := s.Ask(t, s.Admin, "POST", "transit/keys/"+key, options); a.Status != http.StatusOK {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
}

// rewrapping is from the captured OpenBao to a server.
func rewrapping(t *testing.T, bao *openbao, to *vaulttest.Server, from, key string) *migrate.Rewrap {
	t.Helper()
	return &migrate.Rewrap{Source: bao.end(), Target: reached(t, "this server", to.URL, to.User, authority(to)), From: from, To: key}
}

// TestCiphertextsMoveWithoutTheirKey: what OpenBao made comes out at the target as what went in, with its context and associated data, and what does not open stays.
func TestCiphertextsMoveWithoutTheirKey(t *testing.T) {
	from, to := vaulttest.Open(t), vaulttest.Open(t)
	bao := serveOpenBao(t, from, "aes256-gcm96", "xchacha20-poly1305-derived")
	encrypting(t, to, "plain", `{}`)
	encrypting(t, to, "derived", `{"derived":true}`)
	for name, key := range map[string]string{"aes256-gcm96": "plain", "xchacha20-poly1305-derived": "derived"} {
		r := rewrapping(t, bao, to, name, key)
		if err := r.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		var all []migrate.Ciphertext
		var want []vaulttest.Members
		for _, s := range bao.keys[name].Samples {
			if s.Op != "encrypt" {
				continue
			}
			c := migrate.Ciphertext{Text: s.Output.Text("ciphertext")}
			for member, to := range map[string]*[]byte{"context": &c.Context, "associated_data": &c.Data} {
				*to, _ = base64.StdEncoding.DecodeString(s.Input.Text(member))
			}
			all, want = append(all, c), append(want, s.Input)
		}
		broken := all[0]
		broken.Text = "vault:v1:" + strings.Repeat("A", 60)
		all, want = append(all, broken), append(want, nil)
		done, err := r.Move(t.Context(), all)
		if err != nil || len(done) != len(all) || len(all) < 9 {
			t.Fatalf("%s: got %d of %d, %v", name, len(done), len(all), err)
		}
		for i, d := range done {
			if want[i] == nil {
				if d.Err == nil || d.Text != "" {
					t.Errorf("%s: a broken one: got %+v", name, d)
				}
				continue
			}
			if d.Err != nil {
				t.Errorf("%s: got %v", name, d.Err)
				continue
			}
			if got := decrypted(t, to, key, want[i], "ciphertext", d.Text); got != want[i].Text("plaintext") {
				t.Errorf("%s: got %q want %q", name, got, want[i].Text("plaintext"))
			}
		}
	}
}

// TestRewrappingGoesInParts: no request has more than 256 items, whatever the caller brings.
func TestRewrappingGoesInParts(t *testing.T) {
	from, to := vaulttest.Open(t), vaulttest.Open(t)
	bao := serveOpenBao(t, from, "aes128-gcm96")
	encrypting(t, to, "k", `{}`)
	var c struct{ Ciphertext string }
	from.Ask(t, from.User, "POST", "transit/encrypt/aes128-gcm96", `{"plaintext":"`+base64.StdEncoding.EncodeToString(make([]byte, 8<<10))+`"}`).Into(t, &c)
	r := rewrapping(t, bao, to, "aes128-gcm96", "k")
	for n, want := range map[int]int{1: 1, 256: 3, 300: 4} { // 1 MiB are 95 of them
		before := bao.requests("POST transit/decrypt")
		all := make([]migrate.Ciphertext, n)
		for i := range all {
			all[i].Text = c.Ciphertext
		}
		done, err := r.Move(t.Context(), all)
		if got := bao.requests("POST transit/decrypt") - before; err != nil || len(done) != n || got != want {
			t.Errorf("%d: got %d results in %d requests, %v, want %d", n, len(done), got, err, want)
		}
	}
}

// TestRewrappingRefuses: keys that are not there, and a source whose answers do not fit. No plaintext is in what is told.
func TestRewrappingRefuses(t *testing.T) {
	const planted = "UExBTlRFRC1TRUNSRVQ="
	from, to := vaulttest.Open(t), vaulttest.Open(t)
	bao := serveOpenBao(t, from, "aes256-gcm96")
	encrypting(t, to, "k", `{}`)
	if err := rewrapping(t, bao, to, "none", "k").Ready(t.Context()); kms.CodeOf(err) != kms.CodeSource {
		t.Errorf("no key there: got %v", err)
	}
	if err := rewrapping(t, bao, to, "aes256-gcm96", "none").Ready(t.Context()); kms.CodeOf(err) != kms.CodeKeyNotFound {
		t.Errorf("no key here: got %v", err)
	}
	if err := rewrapping(t, bao, to, "../x", "k").Ready(t.Context()); kms.CodeOf(err) != kms.CodeBadName {
		t.Errorf("no name: got %v", err)
	}
	if _, err := rewrapping(t, bao, to, "aes256-gcm96", "k").Move(t.Context(), []migrate.Ciphertext{{Text: `x","y":"z`}}); kms.CodeOf(err) != kms.CodeBadCiphertext {
		t.Errorf("no ciphertext: got %v", err)
	}
	if a := to.Ask(t, to.Admin, "GET", "transit/keys/none", ""); a.Status != http.StatusNotFound {
		t.Errorf("a key was made: got %d", a.Status)
	}
	for answer, why := range map[string]string{
		`{"data":{"batch_results":[]}}`: "has 0 results for 1 items",
		`{"data":{"batch_results":[{"plaintext":"` + planted + `"},{"plaintext":"` + planted + `"}]}}`: "has 2 results for 1 items",
		`{"data":{"batch_results":[{"plaintext":7}]}}`:                                                 "answers with no plaintext",
		`{"data":{"batch_results":[{}]}}`:                                                              "answers with no plaintext",
		`{"data":{"batch_results":[{"error":"cipher: no"}]}}`:                                          "does not decrypt it: cipher: no",
		`{"data":{"batch_results":[{"plaintext":"` + planted + `"`:                                     "is not JSON",
		`{"data":{"batch_results":{"plaintext":"` + planted + `"}}}`:                                   "data/batch_results is of another type",
		`{"data":{"batch_results":[{"plaintext":"%` + planted + `"}]}}`:                                "does not encrypt it",
	} {
		bao.first = func(w http.ResponseWriter, r *http.Request) bool {
			return r.Method == http.MethodPost && says(answer)(w, r)
		}
		done, err := rewrapping(t, bao, to, "aes256-gcm96", "k").Move(t.Context(), []migrate.Ciphertext{{Text: "vault:v1:AAAA"}})
		if err == nil {
			err = done[0].Err
		}
		if err == nil || !strings.Contains(err.Error(), why) || strings.Contains(fmt.Sprintf("%+v", err), planted[:12]) {
			t.Errorf("%s: got %v, want %q", answer, err, why)
		}
	}
}

// TestVersionsOfCiphertexts: what is none is left alone.
func TestVersionsOfCiphertexts(t *testing.T) {
	for text, want := range map[string]uint32{
		"vault:v1:AAAA": 1, "vault:v12:AA==": 12, "vault:v99999999:A": 99999999, "": 0, "vault:v": 0, "vault:v1": 0, "vault:v1:": 0, "vault:v0:AAAA": 0, "vault:v:AAAA": 0, "vault:v-1:AAAA": 0,
		"vault:v99999999999999999999:AAAA": 0, "vault:v1:AA AA": 0, "vault:v1:\"}": 0, "Vault:v1:AAAA": 0, "AAAA": 0,
	} {
		got, err := migrate.Version(text)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
}
