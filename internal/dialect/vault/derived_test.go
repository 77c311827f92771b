package vault_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
)

var ciphers = []string{"aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"}

// TestADerivedKeyIsOneForEachContext: what one context made opens with that context alone.
func TestADerivedKeyIsOneForEachContext(t *testing.T) {
	s := vaulttest.Open(t)
	for _, kind := range ciphers {
		made(t, s, kind, `{"type":"`+kind+`","derived":true}`)
		ask := func(path, body string) vaulttest.Answer {
			return s.Ask(t, s.User, "POST", "transit/"+path+"/"+kind, body)
		}
		var one, two sealed
		ask("encrypt", `{"plaintext":"aGk=","context":"b25l"}`).Into(t, &one)
		ask("encrypt", `{"plaintext":"aGk=","context":"b25l"}`).Into(t, &two)
		if one.Ciphertext == two.Ciphertext {
			t.Errorf("%s: twice the same ciphertext", kind)
		}
		var p struct{ Plaintext string }
		if ask("decrypt", `{"ciphertext":"`+one.Ciphertext+`","context":"b25l"}`).Into(t, &p); p.Plaintext != "aGk=" {
			t.Errorf("%s: got %q", kind, p.Plaintext)
		}
		if a := ask("decrypt", `{"ciphertext":"`+one.Ciphertext+`","context":"dHdv"}`); a.Status != 400 || a.Errors()[0] != "cipher: message authentication failed" {
			t.Errorf("%s: another context: got %d %s", kind, a.Status, a.Body)
		}
		for _, path := range []string{"encrypt", "decrypt", "rewrap", "datakey/plaintext"} {
			if a := ask(path, `{"plaintext":"aGk=","ciphertext":"`+one.Ciphertext+`"}`); a.Status != 400 || !strings.HasPrefix(a.Errors()[0], "missing 'context' for key derivation") {
				t.Errorf("%s, %s without a context: got %d %s", kind, path, a.Status, a.Body)
			}
		}
		s.Ask(t, s.Admin, "POST", "transit/keys/"+kind+"/rotate", "")
		var again, back sealed
		ask("rewrap", `{"ciphertext":"`+one.Ciphertext+`","context":"b25l"}`).Into(t, &again)
		ask("rewrap", `{"ciphertext":"`+again.Ciphertext+`","context":"b25l","key_version":1}`).Into(t, &back)
		if again.Version != 2 || back.Version != 1 || !strings.HasPrefix(back.Ciphertext, "vault:v1:") {
			t.Errorf("%s: rewrapped to %+v and %+v", kind, again, back)
		}
		var batch results
		ask("decrypt", fmt.Sprintf(`{"batch_input":[{"ciphertext":%q,"context":"b25l"},{"ciphertext":%q,"context":"b25l"},{"ciphertext":%q,"context":"dHdv"}]}`,
			again.Ciphertext, back.Ciphertext, back.Ciphertext)).Data(t, &batch)
		if r := batch.Results; len(r) != 3 || r[0].Plaintext != "aGk=" || r[1].Plaintext != "aGk=" || r[2].Error != "cipher: message authentication failed" {
			t.Errorf("%s: a batch over versions and contexts: got %+v", kind, r)
		}
		if a := ask("encrypt", `{"batch_input":[{"plaintext":"aGk=","context":"b25l"},{"plaintext":"aGk="}]}`); a.Status != 400 ||
			a.Errors()[0] != "context should be set either in all the request blocks or in none" {
			t.Errorf("%s: a context here and none there: got %d %s", kind, a.Status, a.Body)
		}
		var d struct{ Plaintext, Ciphertext string }
		ask("datakey/plaintext", `{"context":"b25l","key_version":1}`).Into(t, &d)
		if ask("decrypt", `{"ciphertext":"`+d.Ciphertext+`","context":"b25l"}`).Into(t, &p); !strings.HasPrefix(d.Ciphertext, "vault:v1:") || p.Plaintext != d.Plaintext || d.Plaintext == "" {
			t.Errorf("%s: the data key in %s opens to another", kind, d.Ciphertext)
		}
	}
}

// TestConvergentCiphertextsAreTheSame for the same plaintext and context, and for no other.
func TestConvergentCiphertextsAreTheSame(t *testing.T) {
	s := vaulttest.Open(t)
	for _, kind := range ciphers {
		made(t, s, kind, `{"type":"`+kind+`","derived":true,"convergent_encryption":true}`)
		var c results
		s.Ask(t, s.User, "POST", "transit/encrypt/"+kind,
			`{"batch_input":[{"plaintext":"aGk=","context":"b25l"},{"plaintext":"aGk=","context":"b25l"},{"plaintext":"aGk=","context":"dHdv"},{"plaintext":"aG8=","context":"b25l"}]}`).Into(t, &c)
		r := c.Results
		if r[0].Ciphertext != r[1].Ciphertext || r[0].Ciphertext == r[2].Ciphertext || r[0].Ciphertext == r[3].Ciphertext {
			t.Errorf("%s: got %+v", kind, r)
		}
		var k map[string]any
		s.Ask(t, s.User, "GET", "transit/keys/"+kind, "").Into(t, &k)
		for name, want := range map[string]any{"derived": true, "convergent_encryption": true, "convergent_encryption_version": -1.0, "kdf": "hkdf_sha256", "supports_derivation": true} {
			if k[name] != want {
				t.Errorf("%s: %s got %v want %v", kind, name, k[name], want)
			}
		}
	}
}

func TestWhatCannotBeDerivedIsNotMade(t *testing.T) {
	s := vaulttest.Open(t)
	for body, want := range map[string]string{
		`{"convergent_encryption":true}`:                                 "convergent encryption requires derivation to be enabled",
		`{"type":"rsa-2048","derived":true}`:                             "key derivation and convergent encryption not supported for keys of type rsa-2048",
		`{"type":"hmac","derived":true}`:                                 "key derivation and convergent encryption not supported for keys of type hmac",
		`{"type":"ed25519","derived":true,"convergent_encryption":true}`: "convergent encryption not supported for keys of type ed25519",
		`{"type":"ecdsa-p256","derived":true}`:                           "key derivation and convergent encryption not supported for keys of type ecdsa-p256",
		`{"type":"aes256-gcm96","derived":"yes, please"}`:                `Field validation failed: error converting input for field "derived"`,
	} {
		if a := s.Ask(t, s.Admin, "POST", "transit/keys/k", body); a.Status != 400 || a.Errors()[0] != want {
			t.Errorf("%s: got %d %s want %s", body, a.Status, a.Body, want)
		}
	}
}

// TestVersionsBelowTheMinimumAreNotUsed: neither by those who name them nor by a ciphertext.
func TestVersionsBelowTheMinimumAreNotUsed(t *testing.T) {
	s := vaulttest.Open(t)
	for _, more := range []string{"", `"exportable":true`, `"derived":true`} {
		name := "k" + fmt.Sprint(len(more))
		made(t, s, name, "{"+more+"}")
		ask := func(path, body string) vaulttest.Answer {
			who := s.User
			if strings.HasPrefix(path, "keys/") {
				who = s.Admin
			}
			return s.Ask(t, who, "POST", "transit/"+path, strings.Replace(body, "{", `{"context":"b25l",`, 1))
		}
		var old sealed
		ask("encrypt/"+name, `{"plaintext":"aGk="}`).Into(t, &old)
		for range 2 {
			ask("keys/"+name+"/rotate", `{"x":1}`)
		}
		const tooOld = "ciphertext or signature version is disallowed by policy (too old)"
		set := func(body string) vaulttest.Answer { return ask("keys/"+name+"/config", body) }
		for _, c := range []struct{ config, path, body, want string }{
			{`{"min_decryption_version":2}`, "decrypt", `{"ciphertext":"` + old.Ciphertext + `"}`, tooOld},
			{`{"min_decryption_version":2}`, "rewrap", `{"ciphertext":"` + old.Ciphertext + `"}`, tooOld},
			{`{"min_decryption_version":2}`, "encrypt", `{"plaintext":"","key_version":1}`, "requested version for encryption is less than the minimum encryption key version"},
			{`{"min_decryption_version":0,"min_encryption_version":3}`, "encrypt", `{"plaintext":"","key_version":2}`, "requested version for encryption is less than the minimum encryption key version"},
			{`{"min_encryption_version":3}`, "encrypt", `{"plaintext":"","key_version":4}`, "requested version for encryption is higher than the latest key version"},
			{`{"min_encryption_version":3}`, "encrypt", `{"plaintext":"","key_version":3}`, ""},
			{`{"min_encryption_version":3}`, "decrypt", `{"ciphertext":"` + old.Ciphertext + `"}`, ""},
			{`{"min_encryption_version":0}`, "encrypt", `{"plaintext":"","key_version":1}`, ""},
			{`{"min_encryption_version":0}`, "decrypt", `{"ciphertext":"` + strings.Replace(old.Ciphertext, ":v1:", ":v9:", 1) + `"}`, "*"},
		} {
			if a := set(c.config); a.Status != http.StatusOK {
				t.Fatalf("%s: %d %s", c.config, a.Status, a.Body)
			}
			a := ask(c.path+"/"+name, c.body)
			if c.want == "" && a.Status != 200 || c.want != "" && (a.Status != 400 || c.want != "*" && a.Errors()[0] != c.want) {
				t.Errorf("%s %s after %s: %s %s: got %d %s want %q", name, more, c.config, c.path, c.body, a.Status, a.Body, c.want)
			}
		}
		for body, want := range map[string]string{
			`{"min_decryption_version":4}`:                            "cannot set min decryption version of 4, latest key version is 3",
			`{"min_encryption_version":4}`:                            "cannot set min encryption version of 4, latest key version is 3",
			`{"min_decryption_version":3,"min_encryption_version":2}`: "min encryption version of 2 must be greater than or equal to min decryption version of 3",
			`{"min_decryption_version":-1}`:                           "min decryption version cannot be negative",
		} {
			if a := set(body); a.Status != 400 || !strings.Contains(string(a.Body), want) {
				t.Errorf("%s: got %d %s want %s", body, a.Status, a.Body, want)
			}
		}
		set(`{"min_decryption_version":2,"min_encryption_version":3}`)
		var k struct {
			Keys       map[string]any
			Decryption int `json:"min_decryption_version"`
			Encryption int `json:"min_encryption_version"`
		}
		s.Ask(t, s.User, "GET", "transit/keys/"+name, "").Into(t, &k)
		if k.Decryption != 2 || k.Encryption != 3 || len(k.Keys) != 2 || k.Keys["1"] != nil {
			t.Errorf("got %+v", k)
		}
	}
}

// TestAKeyThatMayLeaveNeverStaysAgain, and from then on makes ciphertexts that others can read; those from before still open.
func TestAKeyThatMayLeaveNeverStaysAgain(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "k", "")
	var before, after sealed
	s.Ask(t, s.User, "POST", "transit/encrypt/k", `{"plaintext":"aGk="}`).Into(t, &before)
	for _, body := range []string{`{"exportable":true,"allow_plaintext_backup":true}`, `{"exportable":false,"allow_plaintext_backup":false}`} {
		var k struct {
			Exportable bool
			Backup     bool `json:"allow_plaintext_backup"`
		}
		if s.Ask(t, s.Admin, "POST", "transit/keys/k/config", body).Into(t, &k); !k.Exportable || !k.Backup {
			t.Errorf("%s: got %+v", body, k)
		}
	}
	s.Ask(t, s.User, "POST", "transit/encrypt/k", `{"plaintext":"aGk="}`).Into(t, &after)
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(after.Ciphertext, "vault:v1:"))
	if err != nil || len(raw) != 12+2+16 {
		t.Errorf("%s: got %d bytes, want nonce, text and tag", after.Ciphertext, len(raw))
	}
	for _, c := range []string{before.Ciphertext, after.Ciphertext} {
		var p struct{ Plaintext string }
		if s.Ask(t, s.User, "POST", "transit/decrypt/k", `{"ciphertext":"`+c+`"}`).Into(t, &p); p.Plaintext != "aGk=" {
			t.Errorf("%s: got %q", c, p.Plaintext)
		}
	}
	made(t, s, "stays", "")
	if a := s.Ask(t, s.User, "POST", "transit/keys/stays/config", `{"exportable":true}`); a.Status != http.StatusForbidden {
		t.Errorf("a user lets a key go: got %d %s", a.Status, a.Body)
	}
}

// TestEveryKeyMakesMACs: a MAC key stands beside each.
func TestEveryKeyMakesMACs(t *testing.T) {
	s := vaulttest.Open(t)
	for _, kind := range []string{"aes256-gcm96", "xchacha20-poly1305", "ed25519", "ecdsa-p256", "hmac"} {
		made(t, s, kind, `{"type":"`+kind+`"}`)
		var one, two struct{ HMAC string }
		s.Ask(t, s.User, "POST", "transit/hmac/"+kind, `{"input":"aGk="}`).Into(t, &one)
		s.Ask(t, s.Admin, "POST", "transit/keys/"+kind+"/rotate", "")
		s.Ask(t, s.User, "POST", "transit/hmac/"+kind, `{"input":"aGk="}`).Into(t, &two)
		if one.HMAC[8:] == two.HMAC[8:] || !strings.HasPrefix(two.HMAC, "vault:v2:") {
			t.Errorf("%s: the versions' MACs are %s and %s", kind, one.HMAC, two.HMAC)
		}
		for _, mac := range []string{one.HMAC, two.HMAC} {
			var v struct{ Valid bool }
			if s.Ask(t, s.User, "POST", "transit/verify/"+kind, `{"input":"aGk=","hmac":"`+mac+`"}`).Into(t, &v); !v.Valid {
				t.Errorf("%s: %s is not valid", kind, mac)
			}
			if s.Ask(t, s.User, "POST", "transit/verify/"+kind, `{"input":"aG8=","hmac":"`+mac+`"}`).Into(t, &v); v.Valid {
				t.Errorf("%s: %s is valid for another input", kind, mac)
			}
		}
	}
}
