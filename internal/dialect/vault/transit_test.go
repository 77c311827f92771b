package vault_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
)

type sealed struct {
	Ciphertext string
	Version    int `json:"key_version"`
}

type results struct {
	Results []struct {
		Ciphertext, Plaintext, Error, Reference string
		Version                                 int `json:"key_version"`
	} `json:"batch_results"`
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// made makes a key.
func made(t testing.TB, s *vaulttest.Server, name, body string) {
	t.Helper()
	if a := s.Ask(t, s.Admin, "POST", "transit/keys/"+name, body); a.Status != http.StatusOK {
		t.Fatalf("create %s: %d %s", name, a.Status, a.Body)
	}
}

func TestTransitEncryptsAndDecrypts(t *testing.T) {
	s := vaulttest.Open(t)
	for _, kind := range []string{"aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"} {
		made(t, s, kind, `{"type":"`+kind+`"}`)
		var c sealed
		s.Ask(t, s.User, "PUT", "transit/encrypt/"+kind, `{"plaintext":"`+b64("hello")+`","associated_data":"`+b64("a")+`","unknown":[1]}`).Into(t, &c)
		if !strings.HasPrefix(c.Ciphertext, "vault:v1:") || c.Version != 1 {
			t.Fatalf("%s: got %+v", kind, c)
		}
		if a := s.Ask(t, s.Admin, "POST", "transit/keys/"+kind+"/rotate", "null"); a.Status != http.StatusOK {
			t.Fatalf("rotate: %d %s", a.Status, a.Body)
		}
		open := func(c, aad string) vaulttest.Answer {
			return s.Ask(t, s.User, "POST", "transit/decrypt/"+kind, fmt.Sprintf(`{"ciphertext":%q,"associated_data":%q}`, c, aad))
		}
		var p struct{ Plaintext string }
		if open(c.Ciphertext, b64("a")).Into(t, &p); p.Plaintext != b64("hello") {
			t.Errorf("%s: got %q", kind, p.Plaintext)
		}
		for what, a := range map[string]vaulttest.Answer{
			"other associated data": open(c.Ciphertext, b64("b")),
			"another version":       open(strings.Replace(c.Ciphertext, ":v1:", ":v2:", 1), b64("a")),
		} {
			if e := a.Errors(); a.Status != 400 || len(e) != 2 || e[0] != "cipher: message authentication failed" || !strings.HasPrefix(e[1], "KH1701") {
				t.Errorf("%s, %s: got %d %s", kind, what, a.Status, a.Body)
			}
		}
		var r sealed
		s.Ask(t, s.User, "POST", "transit/rewrap/"+kind, `{"ciphertext":"`+c.Ciphertext+`","associated_data":"`+b64("a")+`"}`).Into(t, &r)
		if !strings.HasPrefix(r.Ciphertext, "vault:v2:") || r.Version != 2 {
			t.Errorf("%s: rewrapped: got %+v", kind, r)
		}
		if open(r.Ciphertext, b64("a")).Into(t, &p); p.Plaintext != b64("hello") {
			t.Errorf("%s: got %q", kind, p.Plaintext)
		}
	}
}

func TestABatchAnswersItemByItem(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "k", "")
	var c results
	s.Ask(t, s.User, "POST", "transit/encrypt/k", fmt.Sprintf(`{"batch_input":[{"plaintext":%q,"reference":"one"},{"plaintext":"","reference":"two"}]}`, b64("1"))).Into(t, &c)
	if len(c.Results) != 2 || c.Results[0].Reference != "one" || c.Results[1].Reference != "two" || c.Results[1].Version != 1 {
		t.Fatalf("got %+v", c)
	}
	ask := fmt.Sprintf(`"batch_input":[{"ciphertext":%q},{"ciphertext":"nope","reference":"r"},{"ciphertext":%q},{}]`, c.Results[0].Ciphertext, c.Results[1].Ciphertext)
	for _, w := range []struct {
		body   string
		status int
	}{{"{" + ask + "}", 400}, {`{"partial_failure_response_code":"207",` + ask + "}", 207}} {
		a := s.Ask(t, s.User, "POST", "transit/decrypt/k", w.body)
		var p results
		a.Data(t, &p)
		if a.Status != w.status || len(p.Results) != 4 || p.Results[0].Plaintext != b64("1") || p.Results[1].Error != "invalid ciphertext: no prefix" || p.Results[1].Reference != "r" ||
			p.Results[2].Error != "" || p.Results[3].Error != "missing ciphertext to decrypt" {
			t.Errorf("got %d %s want %d", a.Status, a.Body, w.status)
		}
	}
	if a := s.Ask(t, s.User, "POST", "transit/decrypt/k", `{"partial_failure_response_code":207,"batch_input":[{}]}`); a.Status != 400 {
		t.Errorf("nothing succeeded: got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, s.User, "POST", "transit/decrypt/k", `{"batch_input":[]}`); a.Status != 400 || a.Errors()[0] != "missing batch input to process" {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, s.User, "POST", "transit/encrypt/k", `{"batch_input":[`+strings.Repeat(`{"plaintext":""},`, 1024)+`{"plaintext":""}]}`); a.Status != 400 {
		t.Errorf("too many: got %d", a.Status)
	}
}

func TestItemsOfABatchMayNameVersions(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "k", "")
	s.Ask(t, s.Admin, "POST", "transit/keys/k/rotate", "")
	var c results
	s.Ask(t, s.User, "POST", "transit/encrypt/k", `{"batch_input":[{"plaintext":"YQ==","key_version":1},{"plaintext":"Yg=="},{"plaintext":"Yw==","key_version":"2"}]}`).Into(t, &c)
	for i, want := range []int{1, 2, 2} {
		if c.Results[i].Version != want || !strings.HasPrefix(c.Results[i].Ciphertext, fmt.Sprintf("vault:v%d:", want)) {
			t.Errorf("item %d: got %+v want version %d", i, c.Results[i], want)
		}
	}
}

func TestEncryptionMakesAMissingKeyForWhomMayMakeOne(t *testing.T) {
	s := vaulttest.Open(t)
	a := s.Ask(t, s.User, "POST", "transit/encrypt/new", `{"plaintext":""}`)
	if e := a.Errors(); a.Status != 403 || e[0] != "1 error occurred:\n\t* permission denied\n\n" {
		t.Errorf("a user: got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, s.Admin, "GET", "transit/keys/new", ""); a.Status != 404 || string(a.Body) != "{\"errors\":[]}\n" {
		t.Errorf("a key that is not there: got %d %s", a.Status, a.Body)
	}
}

func TestKeysAreShownAsTransitShowsThem(t *testing.T) {
	s := vaulttest.Open(t)
	for _, k := range []struct {
		kind, more          string
		encrypts, signs     bool
		public, parameterOf string
	}{
		{"aes256-gcm96", "", true, false, "", ""}, {"hmac", `,"key_size":64`, false, false, "", ""},
		{"ecdsa-p256", "", false, true, "P-256", ""}, {"ecdsa-p384", "", false, true, "P-384", ""}, {"ecdsa-p521", "", false, true, "P-521", ""}, {"ed25519", "", false, true, "ed25519", ""},
		{"rsa-2048", "", true, true, "rsa-2048", ""}, {"ml-dsa", `,"parameter_set":"65"`, false, true, "ml-dsa-65", "65"},
	} {
		var out struct {
			Name, Type         string
			Latest             int  `json:"latest_version"`
			Encrypts           bool `json:"supports_encryption"`
			Signs              bool `json:"supports_signing"`
			Period             int  `json:"auto_rotate_period"`
			Size               int  `json:"key_size"`
			Set                string
			ParameterSet       string `json:"parameter_set"`
			Keys               map[string]json.RawMessage
			MinDecrypt         int `json:"min_decryption_version"`
			Derived, Exporting bool
		}
		s.Ask(t, s.Admin, "PUT", "transit/keys/"+k.kind, `{"type":"`+k.kind+`","name":"ignored","auto_rotate_period":"24h"`+k.more+`}`).Into(t, &out)
		if out.Name != k.kind || out.Type != k.kind || out.Latest != 1 || out.Encrypts != k.encrypts || out.Signs != k.signs || out.Period != 86400 || len(out.Keys) != 1 ||
			out.MinDecrypt != 1 || out.ParameterSet != k.parameterOf || (out.Size == 64) != (k.kind == "hmac") {
			t.Errorf("%s: got %+v", k.kind, out)
		}
		var seconds int64
		var public struct {
			Name string
			Key  string `json:"public_key"`
		}
		if err := json.Unmarshal(out.Keys["1"], &seconds); (err == nil && seconds > 1e9) != (k.public == "") {
			t.Errorf("%s: got %s", k.kind, out.Keys["1"])
		}
		if k.public != "" && (json.Unmarshal(out.Keys["1"], &public) != nil || public.Name != k.public || strings.HasPrefix(public.Key, "-----BEGIN PUBLIC KEY") == (k.kind == "ed25519")) {
			t.Errorf("%s: got %s", k.kind, out.Keys["1"])
		}
	}
	var list struct{ Keys []string }
	for _, how := range [][2]string{{"LIST", "transit/keys"}, {"LIST", "transit/keys/"}, {"GET", "transit/keys?list=true"}, {"GET", "transit/keys/?list=true"}, {"LIST", "/transit//keys"}} {
		if s.Ask(t, s.Admin, how[0], how[1], "").Into(t, &list); len(list.Keys) != 8 || list.Keys[0] != "aes256-gcm96" {
			t.Errorf("%v: got %v", how, list.Keys)
		}
	}
	if a := s.Ask(t, s.Admin, "LIST", "team/t/keys", ""); a.Status != 404 || string(a.Body) != "{\"errors\":[]}\n" {
		t.Errorf("an empty mount: got %d %s", a.Status, a.Body)
	}
}

func TestMountsKeepTheirKeysApart(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "k", "")
	if a := s.Ask(t, s.Admin, "POST", "team/t/keys/k", `{"type":"chacha20-poly1305"}`); a.Status != 200 || strings.Contains(string(a.Body), "already existed") {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	var list struct{ Keys []string }
	if s.Ask(t, s.Admin, "LIST", "team/t/keys", "").Into(t, &list); len(list.Keys) != 1 || list.Keys[0] != "k" {
		t.Errorf("got %v", list.Keys)
	}
	var c sealed
	s.Ask(t, s.User, "POST", "team/t/encrypt/k", `{"plaintext":""}`).Into(t, &c)
	if a := s.Ask(t, s.User, "POST", "transit/decrypt/k", `{"ciphertext":"`+c.Ciphertext+`"}`); a.Status != 400 {
		t.Errorf("the ciphertext of another mount's key: got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, s.User, "POST", "default/team/t/decrypt/k", `{"ciphertext":"`+c.Ciphertext+`"}`); a.Status != 200 {
		t.Errorf("with a namespace in front: got %d %s", a.Status, a.Body)
	}
}

func TestDeletionNeedsLeaveAndWaits(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "k", "")
	if a := s.Ask(t, s.Admin, "DELETE", "transit/keys/k", ""); a.Status != 400 || a.Errors()[0] != "error deleting policy k: deletion is not allowed for this key" {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	var k struct {
		Allowed bool `json:"deletion_allowed"`
		Deleted bool `json:"soft_deleted"`
	}
	if s.Ask(t, s.Admin, "POST", "transit/keys/k/config", `{"deletion_allowed":"true"}`).Into(t, &k); !k.Allowed {
		t.Error("deletion is not allowed")
	}
	if a := s.Ask(t, s.Admin, "POST", "transit/keys/none/config", `{"deletion_allowed":true}`); a.Status != 400 || a.Errors()[0] != "no existing key named none could be found" {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, s.Admin, "DELETE", "transit/keys/k", ""); a.Status != 204 {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	if s.Ask(t, s.Admin, "GET", "transit/keys/k", "").Into(t, &k); !k.Deleted {
		t.Error("it is not shown as deleted")
	}
	if a := s.Ask(t, s.User, "POST", "transit/encrypt/k", `{"plaintext":""}`); a.Status != 400 || !strings.Contains(string(a.Body), "KH1502") {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, s.Admin, "POST", "transit/keys/k/soft-delete-restore", ""); a.Status != 204 {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, s.User, "POST", "transit/encrypt/k", `{"plaintext":""}`); a.Status != 200 {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
}

func TestDataKeysComeWithTheirEncryption(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "k", "")
	for bits, size := range map[string]int{"128": 16, `"256"`: 32, "512": 64, "null": 32} {
		var d, p struct{ Ciphertext, Plaintext string }
		s.Ask(t, s.User, "PUT", "transit/datakey/plaintext/k", `{"bits":`+bits+`,"associated_data":"YQ=="}`).Into(t, &d)
		s.Ask(t, s.User, "PUT", "transit/decrypt/k", `{"ciphertext":"`+d.Ciphertext+`","associated_data":"YQ=="}`).Into(t, &p)
		if raw, err := base64.StdEncoding.DecodeString(d.Plaintext); err != nil || len(raw) != size || p.Plaintext != d.Plaintext {
			t.Errorf("%s bits: got %+v, %+v", bits, d, p)
		}
	}
	if a := s.Ask(t, s.User, "PUT", "transit/datakey/wrapped/k", ""); a.Status != 200 || strings.Contains(string(a.Body), "plaintext") {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	for path, want := range map[string]string{"nope/k": "Invalid path, must be 'plaintext' or 'wrapped'", "plaintext/none": "encryption key not found"} {
		if a := s.Ask(t, s.User, "PUT", "transit/datakey/"+path, ""); a.Status != 400 || a.Errors()[0] != want {
			t.Errorf("%s: got %d %s", path, a.Status, a.Body)
		}
	}
}
