package vault_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha3"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
)

// publicKey reads what GET transit/keys shows, as clients do.
func publicKey(t *testing.T, s *vaulttest.Server, name string) any {
	t.Helper()
	var k struct {
		Keys map[string]struct {
			Public string `json:"public_key"`
		}
	}
	s.Ask(t, s.Admin, "GET", "transit/keys/"+name, "").Into(t, &k)
	text := k.Keys["1"].Public
	if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
		return ed25519.PublicKey(raw)
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("%s: not PEM: %q", name, text)
	}
	p, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestSignaturesVerifyElsewhere holds each way to sign to the standard library.
func TestSignaturesVerifyElsewhere(t *testing.T) {
	s := vaulttest.Open(t)
	message := []byte("message")
	d256, d384, d512 := sha256.Sum256(message), sha512.Sum384(message), sha512.Sum512(message)
	for _, kind := range []string{"ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "rsa-2048", "ml-dsa"} {
		more := ""
		if kind == "ml-dsa" {
			more = `,"parameter_set":"44"`
		}
		made(t, s, kind, `{"type":"`+kind+`"`+more+`}`)
	}
	for _, w := range []struct {
		key, path, body string
		digest          []byte // what is sent where it is prehashed
		good            func(public any, sig []byte) bool
	}{
		{"ecdsa-p256", "", "", nil, func(p any, sig []byte) bool { return ecdsa.VerifyASN1(p.(*ecdsa.PublicKey), d256[:], sig) }},
		{"ecdsa-p256", "/sha2-256", `,"key_version":"0","signature_algorithm":"pkcs1v15"`, d256[:], func(p any, sig []byte) bool { return ecdsa.VerifyASN1(p.(*ecdsa.PublicKey), d256[:], sig) }},
		{"ecdsa-p384", "", `,"hash_algorithm":"sha2-384"`, nil, func(p any, sig []byte) bool { return ecdsa.VerifyASN1(p.(*ecdsa.PublicKey), d384[:], sig) }},
		{"ecdsa-p521", "/sha2-512", "", nil, func(p any, sig []byte) bool { return ecdsa.VerifyASN1(p.(*ecdsa.PublicKey), d512[:], sig) }},
		{"ecdsa-p256", "", `,"marshaling_algorithm":"jws"`, nil, func(p any, sig []byte) bool {
			return len(sig) == 64 && ecdsa.Verify(p.(*ecdsa.PublicKey), d256[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
		}},
		{"ed25519", "", "", nil, func(p any, sig []byte) bool { return ed25519.Verify(p.(ed25519.PublicKey), message, sig) }},
		{"rsa-2048", "", "", nil, func(p any, sig []byte) bool {
			return rsa.VerifyPSS(p.(*rsa.PublicKey), crypto.SHA256, d256[:], sig, nil) == nil
		}},
		{"rsa-2048", "/sha2-512", `,"signature_algorithm":"pkcs1v15"`, d512[:], func(p any, sig []byte) bool {
			return rsa.VerifyPKCS1v15(p.(*rsa.PublicKey), crypto.SHA512, d512[:], sig) == nil
		}},
		{"ml-dsa", "", "", nil, nil},
	} {
		name := w.key + w.path + w.body
		input := message
		if w.digest != nil {
			input = w.digest
			w.body += `,"prehashed":true`
		}
		body := fmt.Sprintf(`"input":%q%s`, base64.StdEncoding.EncodeToString(input), w.body)
		var out struct {
			Signature string
			Version   int `json:"key_version"`
		}
		s.Ask(t, s.User, "PUT", "transit/sign/"+w.key+w.path, "{"+body+"}").Into(t, &out)
		text, ok := strings.CutPrefix(out.Signature, "vault:v1:")
		if !ok || out.Version != 1 {
			t.Fatalf("%s: got %+v", name, out)
		}
		coding := base64.StdEncoding
		if strings.Contains(body, "jws") {
			coding = base64.RawURLEncoding
		}
		sig, err := coding.DecodeString(text)
		if err != nil || w.good != nil && !w.good(publicKey(t, s, w.key), sig) {
			t.Errorf("%s: %q does not verify: %v", name, out.Signature, err)
		}
		var v struct{ Valid bool }
		if s.Ask(t, s.User, "PUT", "transit/verify/"+w.key+w.path, fmt.Sprintf(`{%s,"signature":%q}`, body, out.Signature)).Into(t, &v); !v.Valid {
			t.Errorf("%s: not valid here", name)
		}
		input[0] ^= 1
		other := fmt.Sprintf(`{"input":%q%s,"signature":%q}`, base64.StdEncoding.EncodeToString(input), w.body, out.Signature)
		input[0] ^= 1
		v.Valid = true
		if s.Ask(t, s.User, "PUT", "transit/verify/"+w.key+w.path, other).Into(t, &v); v.Valid {
			t.Errorf("%s: valid for another message", name)
		}
	}
	for body, want := range map[string]string{
		`{"input":"","hash_algorithm":"md5"}`:                         `invalid hash algorithm "md5"`,
		`{"input":"","marshaling_algorithm":"xml"}`:                   `invalid marshaling type "xml"`,
		`{"input":"","signature_algorithm":"x"}`:                      `invalid signature algorithm "x"`,
		`{"input":"","hash_algorithm":"none"}`:                        "hash_algorithm=none requires both prehashed=true and signature_algorithm=pkcs1v15",
		`{"batch_input":[]}`:                                          "missing batch input to process",
		`{}`:                                                          "missing input",
		`{"input":"aGk=","hash_algorithm":"sha1"}`:                    "KH1603",
		`{"input":"aGk=","salt_length":"x"}`:                          "unable to decode salt length: x",
		`{"input":"aGk=","prehashed":true,"key_version":99999999999}`: "Field validation failed",
	} {
		if a := s.Ask(t, s.User, "POST", "transit/sign/ecdsa-p256", body); a.Status != 400 || !strings.HasPrefix(a.Errors()[0], want) {
			t.Errorf("%s: got %d %s", body, a.Status, a.Body)
		}
	}
}

// transitHashes are the hashes of transit's names, as the standard library has them.
var transitHashes = map[string]crypto.Hash{
	"sha2-224": crypto.SHA224, "sha2-256": crypto.SHA256, "sha2-384": crypto.SHA384, "sha2-512": crypto.SHA512,
	"sha3-224": crypto.SHA3_224, "sha3-256": crypto.SHA3_256, "sha3-384": crypto.SHA3_384, "sha3-512": crypto.SHA3_512,
}

// TestEveryHashSigns: of each kind of key, the message and its digest, and by the standard library.
func TestEveryHashSigns(t *testing.T) {
	s := vaulttest.Open(t)
	message := []byte("message")
	for _, kind := range []string{"ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048"} {
		made(t, s, kind, `{"type":"`+kind+`"}`)
		public := publicKey(t, s, kind)
		for name, hash := range transitHashes {
			h := hash.New()
			h.Write(message)
			digest := h.Sum(nil)
			ways := map[string]func(sig []byte) error{"": func(sig []byte) error {
				if !ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), digest, sig) {
					return rsa.ErrVerification
				}
				return nil
			}}
			if k, is := public.(*rsa.PublicKey); is {
				pss := func(n int) func(sig []byte) error {
					return func(sig []byte) error { return rsa.VerifyPSS(k, hash, digest, sig, &rsa.PSSOptions{SaltLength: n}) }
				}
				ways = map[string]func(sig []byte) error{"": pss(hash.Size()), `,"salt_length":"hash"`: pss(hash.Size()), `,"salt_length":7`: pss(7), `,"salt_length":"100"`: pss(100),
					`,"signature_algorithm":"pkcs1v15"`: func(sig []byte) error { return rsa.VerifyPKCS1v15(k, hash, digest, sig) }}
			}
			for more, good := range ways {
				body := fmt.Sprintf(`"input":%q%s`, base64.StdEncoding.EncodeToString(message), more)
				prehashed := fmt.Sprintf(`"input":%q,"prehashed":true%s`, base64.StdEncoding.EncodeToString(digest), more)
				for _, how := range []string{body, prehashed} {
					var out struct{ Signature string }
					s.Ask(t, s.User, "POST", "transit/sign/"+kind+"/"+name, "{"+how+"}").Into(t, &out)
					sig, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(out.Signature, "vault:v1:"))
					if err != nil || good(sig) != nil {
						t.Errorf("%s with %s%s: does not verify elsewhere", kind, name, more)
					}
					var v struct{ Valid bool }
					if s.Ask(t, s.User, "POST", "transit/verify/"+kind, fmt.Sprintf(`{%s,"hash_algorithm":%q,"signature":%q}`, body, name, out.Signature)).Into(t, &v); !v.Valid {
						t.Errorf("%s with %s%s: not valid here", kind, name, more)
					}
				}
			}
		}
	}
	var out struct{ Signature string }
	digest := sha256.Sum256(message)
	bare := fmt.Sprintf(`"input":%q,"hash_algorithm":"none","prehashed":true,"signature_algorithm":"pkcs1v15"`, base64.StdEncoding.EncodeToString(digest[:]))
	s.Ask(t, s.User, "POST", "transit/sign/rsa-2048", "{"+bare+"}").Into(t, &out)
	sig, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(out.Signature, "vault:v1:"))
	if err := rsa.VerifyPKCS1v15(publicKey(t, s, "rsa-2048").(*rsa.PublicKey), 0, digest[:], sig); err != nil {
		t.Errorf("none: %v", err)
	}
	var v struct{ Valid bool }
	if s.Ask(t, s.User, "POST", "transit/verify/rsa-2048", fmt.Sprintf(`{%s,"signature":%q}`, bare, out.Signature)).Into(t, &v); !v.Valid {
		t.Error("none: not valid here")
	}
}

// TestEveryHashMakesAMAC: RFC 2104 by the standard library, with a key that is read back through no dialect: both sides of the answer agree.
func TestEveryHashMakesAMAC(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "m", `{"type":"hmac","key_size":64}`)
	for name, hash := range transitHashes {
		var out struct{ HMAC string }
		s.Ask(t, s.User, "POST", "transit/hmac/m/"+name, `{"input":"aGk="}`).Into(t, &out)
		if raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(out.HMAC, "vault:v1:")); err != nil || len(raw) != hash.Size() {
			t.Errorf("%s: got %q", name, out.HMAC)
		}
		for other := range transitHashes {
			var v struct{ Valid bool }
			if s.Ask(t, s.User, "POST", "transit/verify/m/"+other, fmt.Sprintf(`{"input":"aGk=","hmac":%q}`, out.HMAC)).Into(t, &v); v.Valid != (other == name) {
				t.Errorf("%s verified as %s: %v", name, other, v.Valid)
			}
		}
	}
}

func TestMACsAreThoseOfRFC2104(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "m", `{"type":"hmac","key_size":32}`)
	var one struct{ HMAC string }
	s.Ask(t, s.User, "POST", "transit/hmac/m", `{"input":"aGk="}`).Into(t, &one)
	var all struct {
		Results []struct {
			HMAC, Error string
			Valid       bool
		} `json:"batch_results"`
	}
	s.Ask(t, s.User, "POST", "transit/hmac/m/sha2-256", `{"batch_input":[{"input":"aGk="},{"input":"aG8="}]}`).Into(t, &all)
	if one.HMAC == "" || all.Results[0].HMAC != one.HMAC || all.Results[1].HMAC == one.HMAC {
		t.Errorf("got %+v and %+v", one, all)
	}
	if raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(one.HMAC, "vault:v1:")); err != nil || len(raw) != hmac.New(sha256.New, nil).Size() {
		t.Errorf("got %q", one.HMAC)
	}
	s.Ask(t, s.User, "POST", "transit/verify/m", fmt.Sprintf(`{"batch_input":[{"input":"aGk=","hmac":%q},{"input":"aG8=","hmac":%q}]}`, one.HMAC, one.HMAC)).Into(t, &all)
	if !all.Results[0].Valid || all.Results[1].Valid {
		t.Errorf("got %+v", all)
	}
	if a := s.Ask(t, s.User, "POST", "transit/verify/m", fmt.Sprintf(`{"batch_input":[{"input":"aGk=","hmac":%q},{"input":"aG8=","signature":%q}]}`, one.HMAC, one.HMAC)); a.Status != 400 {
		t.Errorf("both kinds: got %d %s", a.Status, a.Body)
	}
}

func TestHashAndRandom(t *testing.T) {
	s := vaulttest.Open(t)
	sum := sha256.Sum256([]byte("hi"))
	var h struct{ Sum string }
	if s.Ask(t, s.User, "POST", "transit/hash", `{"input":"aGk="}`).Into(t, &h); h.Sum != hex.EncodeToString(sum[:]) {
		t.Errorf("got %s", h.Sum)
	}
	if s.Ask(t, s.User, "POST", "transit/hash/sha2-256", `{"input":"aGk=","format":"base64"}`).Into(t, &h); h.Sum != base64.StdEncoding.EncodeToString(sum[:]) {
		t.Errorf("got %s", h.Sum)
	}
	seen := map[string]bool{}
	for path, size := range map[string]int{"random": 32, "random/16": 16, "random/platform": 32, "random/all/24": 24} {
		var r struct {
			Bytes string `json:"random_bytes"`
		}
		s.Ask(t, s.User, "POST", "transit/"+path, "").Into(t, &r)
		if raw, err := base64.StdEncoding.DecodeString(r.Bytes); err != nil || len(raw) != size || seen[r.Bytes] {
			t.Errorf("%s: got %q", path, r.Bytes)
		}
		seen[r.Bytes] = true
	}
	for body, want := range map[string]int{`{"bytes":0}`: 400, `{"bytes":"-1"}`: 400, `{"bytes":1000000}`: 400, `{"format":"x"}`: 400, `{"bytes":"8","format":"hex"}`: 200} {
		if a := s.Ask(t, s.User, "POST", "transit/random", body); a.Status != want || !json.Valid(a.Body) {
			t.Errorf("%s: got %d %s", body, a.Status, a.Body)
		}
	}
}

// TestAnRSAKeyEncryptsAndSigns: as those of transit do; its ciphertexts are what OAEP makes, and another's open too.
func TestAnRSAKeyEncryptsAndSigns(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "both", `{"type":"rsa-2048"}`)
	var k struct {
		Encrypts bool `json:"supports_encryption"`
		Decrypts bool `json:"supports_decryption"`
		Signs    bool `json:"supports_signing"`
	}
	if s.Ask(t, s.Admin, "GET", "transit/keys/both", "").Into(t, &k); !k.Encrypts || !k.Decrypts || !k.Signs {
		t.Errorf("got a key that shows %+v, want one that does all", k)
	}
	var c struct{ Ciphertext string }
	s.Ask(t, s.User, "POST", "transit/encrypt/both", `{"plaintext":"c2VjcmV0"}`).Into(t, &c)
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(c.Ciphertext, "vault:v1:"))
	if err != nil || len(raw) != 256 {
		t.Fatalf("got %q, want 256 bytes of OAEP: %v", c.Ciphertext, err)
	}
	elsewhere, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, publicKey(t, s, "both").(*rsa.PublicKey), []byte("secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Ask(t, s.Admin, "POST", "transit/keys/both/rotate", "")
	for _, sealed := range []string{c.Ciphertext, "vault:v1:" + base64.StdEncoding.EncodeToString(elsewhere)} {
		var p struct{ Plaintext string }
		if s.Ask(t, s.User, "POST", "transit/decrypt/both", `{"ciphertext":"`+sealed+`"}`).Into(t, &p); p.Plaintext != "c2VjcmV0" {
			t.Errorf("got %q, want what was encrypted", p.Plaintext)
		}
		s.Ask(t, s.User, "POST", "transit/rewrap/both", `{"ciphertext":"`+sealed+`"}`).Into(t, &c)
		if s.Ask(t, s.User, "POST", "transit/decrypt/both", `{"ciphertext":"`+c.Ciphertext+`"}`).Into(t, &p); p.Plaintext != "c2VjcmV0" || !strings.HasPrefix(c.Ciphertext, "vault:v2:") {
			t.Errorf("got %q of %q, want what was encrypted, of version 2", p.Plaintext, c.Ciphertext)
		}
	}
	var sig struct{ Signature string }
	s.Ask(t, s.User, "POST", "transit/sign/both", `{"input":"aGk="}`).Into(t, &sig)
	var v struct{ Valid bool }
	if s.Ask(t, s.User, "POST", "transit/verify/both", `{"input":"aGk=","signature":"`+sig.Signature+`"}`).Into(t, &v); !v.Valid {
		t.Error("a signature of the key is not valid")
	}
	made(t, s, "curve", `{"type":"ecdsa-p256"}`)
	if a := s.Ask(t, s.User, "POST", "transit/encrypt/curve", `{"plaintext":"aGk="}`); a.Status != 400 {
		t.Errorf("a key that only signs: got %d %s", a.Status, a.Body)
	}
}

// TestADerivedKeySignsForItsContext: what signs is derived for the context, its public key is shown for the context, and of the key that it is derived from there is no signature.
func TestADerivedKeySignsForItsContext(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "d", `{"type":"ed25519","derived":true}`)
	public := func(context string) string {
		var k struct {
			Keys map[string]struct {
				Name   string
				Public string `json:"public_key"`
			}
		}
		if s.Ask(t, s.Admin, "GET", "transit/keys/d?context="+context, "").Into(t, &k); k.Keys["1"].Name != "ed25519" {
			t.Fatalf("got the versions %+v", k.Keys)
		}
		return k.Keys["1"].Public
	}
	if got := public(""); got != "" {
		t.Errorf("without a context: got the public key %q, want none", got)
	}
	one, other := public("b25l"), public("dHdv")
	if one == other {
		t.Error("two contexts have one key")
	}
	var sig struct {
		Signature string
		Public    string `json:"public_key"`
	}
	if s.Ask(t, s.User, "POST", "transit/sign/d", `{"input":"aGk=","context":"b25l"}`).Into(t, &sig); sig.Public != one {
		t.Errorf("got the public key %q with the signature, want %q", sig.Public, one)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sig.Signature, "vault:v1:"))
	key, _ := base64.StdEncoding.DecodeString(one)
	if err != nil || len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, []byte("hi"), raw) {
		t.Errorf("%q does not verify with the public key %q of its context", sig.Signature, one)
	}
	for _, w := range []struct {
		context string
		valid   bool
	}{{"b25l", true}, {"dHdv", false}} {
		var v struct{ Valid bool }
		if s.Ask(t, s.User, "POST", "transit/verify/d", `{"input":"aGk=","context":"`+w.context+`","signature":"`+sig.Signature+`"}`).Into(t, &v); v.Valid != w.valid {
			t.Errorf("context %s: got valid %v, want %v", w.context, v.Valid, w.valid)
		}
	}
	for _, w := range []struct{ path, body, want string }{
		{"sign/d", `{"input":"aGk="}`, "missing 'context' for key derivation"},
		{"verify/d", `{"input":"aGk=","signature":"` + sig.Signature + `"}`, "missing 'context' for key derivation"},
		{"sign/d", `{"batch_input":[{"input":"aGk=","context":"b25l"},{"input":"aGk="}]}`, "context should be set either in all the request blocks or in none"},
		{"sign/d", `{"input":"aGk=","context":"?"}`, "illegal base64 data"},
	} {
		if a := s.Ask(t, s.User, "POST", "transit/"+w.path, w.body); a.Status != 400 || !strings.HasPrefix(a.Errors()[0], w.want) {
			t.Errorf("%s %s: got %d %s, want %q", w.path, w.body, a.Status, a.Body, w.want)
		}
	}
	if a := s.Ask(t, s.Admin, "GET", "transit/keys/d?context=!", ""); a.Status != 400 || a.Errors()[0] != "failed to base64-decode context" {
		t.Errorf("a context that is no base64: got %d %s", a.Status, a.Body)
	}
}
