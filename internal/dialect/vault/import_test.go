package vault_test

import (
	"crypto/aes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // G505: of OAEP, as old clients use it
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"hash"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// wrappingKey is the public key that the server has material wrapped for.
func wrappingKey(t testing.TB, s *vaulttest.Server) *rsa.PublicKey {
	t.Helper()
	var got struct {
		Public string `json:"public_key"`
	}
	s.Ask(t, s.Admin, "GET", "transit/wrapping_key", "").Into(t, &got)
	block, rest := pem.Decode([]byte(got.Public))
	if block == nil || block.Type != "PUBLIC KEY" || len(rest) != 0 {
		t.Fatalf("got %q", got.Public)
	}
	k, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return k.(*rsa.PublicKey) //nolint:errcheck,forcetypeassert // as documented
}

// kwp is AES key wrapping with padding as RFC 5649 §4.1 writes it.
func kwp(t testing.TB, kek, material []byte) []byte {
	t.Helper()
	c, err := aes.NewCipher(kek)
	if err != nil {
		t.Fatal(err)
	}
	a := binary.BigEndian.AppendUint32([]byte{0xa6, 0x59, 0x59, 0xa6}, uint32(len(material))) //nolint:gosec // G115: a length
	r := append([]byte(nil), material...)
	for len(r)%8 != 0 {
		r = append(r, 0)
	}
	if len(r) == 8 {
		out := append(a, r...) //nolint:gocritic // another slice on purpose
		c.Encrypt(out, out)
		return out
	}
	for j, n := 0, len(r)/8; j < 6; j++ {
		for i := range n {
			b := append(append([]byte(nil), a...), r[8*i:8*i+8]...)
			c.Encrypt(b, b)
			copy(a, b[:8])
			for k, x := range binary.BigEndian.AppendUint64(nil, uint64(n*j+i+1)) { //nolint:gosec // G115: small
				a[k] ^= x
			}
			copy(r[8*i:], b[8:])
		}
	}
	return append(a, r...)
}

// parcelFor wraps as clients of transit do: an ephemeral AES key under RSA-OAEP, and the material under that key.
func parcelFor(t testing.TB, under *rsa.PublicKey, h hash.Hash, material []byte) string {
	t.Helper()
	ephemeral := make([]byte, 32)
	_, _ = rand.Read(ephemeral)
	head, err := rsa.EncryptOAEP(h, rand.Reader, under, ephemeral, nil)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(append(head, kwp(t, ephemeral, material)...))
}

func pkcs8(t testing.TB, k any, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// TestMaterialComesInWrapped: every type of key that clients bring, under every hash, and it is the same key as it was.
func TestMaterialComesInWrapped(t *testing.T) {
	s := vaulttest.Open(t)
	under := wrappingKey(t, s)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ec := pkcs8(t, p256, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	ec384 := pkcs8(t, p384, err)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	ed := pkcs8(t, edwards, err)
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	rsaDER := pkcs8(t, r, err)
	for _, c := range []struct {
		name, kind, hash string
		h                hash.Hash
		material         []byte
	}{
		{"aes128", "aes128-gcm96", "", sha256.New(), random(16)},
		{"aes256", "", "SHA256", sha256.New(), random(32)},
		{"chacha", "chacha20-poly1305", "SHA1", sha1.New(), random(32)}, //nolint:gosec // G401: see the import
		{"xchacha", "xchacha20-poly1305", "sha224", sha256.New224(), random(32)},
		{"p256", "ecdsa-p256", "SHA384", sha512.New384(), ec},
		{"p384", "ecdsa-p384", "SHA512", sha512.New(), ec384},
		{"ed25519", "ed25519", "", sha256.New(), ed},
		{"rsa", "rsa-2048", "", sha256.New(), rsaDER},
		{"hmac", "hmac", "", sha256.New(), random(50)},
	} {
		members := []any{"ciphertext", parcelFor(t, under, c.h, c.material), "exportable", true, "allow_plaintext_backup", true, "public_key", "is passed over"}
		if c.kind != "" {
			members = append(members, "type", c.kind)
		}
		if c.hash != "" {
			members = append(members, "hash_function", c.hash)
		}
		if a := s.Ask(t, s.Admin, "POST", "transit/keys/"+c.name+"/import", body(t, members...)); a.Status != http.StatusNoContent {
			t.Errorf("%s: got %d %s", c.name, a.Status, a.Body)
			continue
		}
		var k struct {
			Imported bool `json:"imported_key"`
			Rotates  bool `json:"imported_key_allow_rotation"`
			Size     int  `json:"key_size"`
		}
		s.Ask(t, s.Admin, "GET", "transit/keys/"+c.name, "").Into(t, &k)
		if !k.Imported || k.Rotates || c.kind == "hmac" && k.Size != 50 {
			t.Errorf("%s: got %+v", c.name, k)
		}
		kind := "encryption-key"
		switch {
		case strings.HasPrefix(c.kind, "e"):
			kind = "signing-key"
		case c.kind == "hmac":
			kind = "hmac-key"
		}
		var out struct{ Keys map[string]string }
		s.Ask(t, s.Admin, "GET", "transit/export/"+kind+"/"+c.name, "").Into(t, &out)
		switch block, _ := pem.Decode([]byte(out.Keys["1"])); {
		case c.kind == "ed25519":
			if out.Keys["1"] != base64.StdEncoding.EncodeToString(edwards) {
				t.Errorf("%s: another key came out", c.name)
			}
		case c.kind == "rsa-2048":
			if got, err := x509.ParsePKCS1PrivateKey(block.Bytes); err != nil || !got.Equal(r) {
				t.Errorf("%s: another key came out, %v", c.name, err)
			}
		case block != nil:
			got, err := x509.ParseECPrivateKey(block.Bytes)
			if err != nil || !got.Equal(p256) && !got.Equal(p384) {
				t.Errorf("%s: another key came out, %v", c.name, err)
			}
		case out.Keys["1"] != base64.StdEncoding.EncodeToString(c.material):
			t.Errorf("%s: another key came out", c.name)
		}
		var b struct{ Backup string }
		s.Ask(t, s.Admin, "GET", "transit/backup/"+c.name, "").Into(t, &b)
		restored(t, s, c.name+"-again", b.Backup)
		if s.Ask(t, s.Admin, "GET", "transit/keys/"+c.name+"-again", "").Into(t, &k); !k.Imported || k.Rotates {
			t.Errorf("%s, backed up and restored: got %+v", c.name, k)
		}
		var m struct{ HMAC string }
		if s.Ask(t, s.User, "POST", "transit/hmac/"+c.name, body(t, "input", b64("x"))).Into(t, &m); m.HMAC == "" {
			t.Errorf("%s has no MAC key", c.name)
		}
	}
}

// TestWhatWasImportedIsRotatedAsItsOwnerSays: by the owner's next version, and by the server's only if that was allowed.
func TestWhatWasImportedIsRotatedAsItsOwnerSays(t *testing.T) {
	s := vaulttest.Open(t)
	under := wrappingKey(t, s)
	bring := func(path string, members ...any) vaulttest.Answer {
		return s.Ask(t, s.Admin, "POST", "transit/keys/"+path, body(t, append(members, "ciphertext", parcelFor(t, under, sha256.New(), random(32)))...))
	}
	for _, a := range []vaulttest.Answer{bring("fixed/import"), bring("free/import", "allow_rotation", true, "auto_rotate_period", "24h"), bring("fixed/import_version"), bring("free/import_version")} {
		if a.Status != http.StatusNoContent {
			t.Fatalf("got %d %s", a.Status, a.Body)
		}
	}
	if a := s.Ask(t, s.Admin, "POST", "transit/keys/fixed/rotate", ""); a.Status < 400 || a.Status >= 500 {
		t.Errorf("rotating a key that may not be: got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, s.Admin, "POST", "transit/keys/free/rotate", ""); a.Status != http.StatusOK {
		t.Errorf("rotating a key that may be: got %d %s", a.Status, a.Body)
	}
	for name, want := range map[string]int{"fixed": 2, "free": 3} {
		var k struct {
			Latest  int  `json:"latest_version"`
			Rotates bool `json:"imported_key_allow_rotation"`
			Every   int  `json:"auto_rotate_period"`
		}
		s.Ask(t, s.Admin, "GET", "transit/keys/"+name, "").Into(t, &k)
		if k.Latest != want || k.Rotates != (name == "free") || k.Rotates != (k.Every == 86400) {
			t.Errorf("%s: got %+v, want %d versions", name, k, want)
		}
	}
}

// TestBadImportsAreRefused, with Vault's texts where it has some, and leave no key behind.
func TestBadImportsAreRefused(t *testing.T) {
	s := vaulttest.Open(t)
	early := body(t, "ciphertext", b64(strings.Repeat("x", 552)))
	if a := s.Ask(t, s.Admin, "POST", "transit/keys/early/import", early); a.Status != http.StatusBadRequest {
		t.Errorf("before there is a wrapping key: got %d %s", a.Status, a.Body)
	}
	under := wrappingKey(t, s)
	if again := wrappingKey(t, s); !again.Equal(under) {
		t.Error("the wrapping key is another one each time")
	}
	key := random(32)
	good := func() string { return parcelFor(t, under, sha256.New(), key) }
	if a := s.Ask(t, s.Admin, "POST", "transit/keys/there/import", body(t, "ciphertext", good())); a.Status != http.StatusNoContent {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	made(t, s, "made", `{}`)
	other, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path, token string
		members           []any
		status            int
		text              string
	}{
		{"the hash of another name", "x/import", s.Admin, []any{"ciphertext", good(), "hash_function", "SHA512"}, 400, "the wrapped key does not open"},
		{"no hash", "x/import", s.Admin, []any{"ciphertext", good(), "hash_function", "MD5"}, 400, "unknown hash function: MD5"},
		{"another length", "x/import", s.Admin, []any{"ciphertext", parcelFor(t, under, sha256.New(), random(31))}, 400, ""},
		{"another type", "x/import", s.Admin, []any{"ciphertext", good(), "type", "ecdsa-p256"}, 400, ""},
		{"no type", "x/import", s.Admin, []any{"ciphertext", good(), "type", "aes"}, 400, "unknown key type aes"},
		{"wrapped for another", "x/import", s.Admin, []any{"ciphertext", parcelFor(t, &other.PublicKey, sha256.New(), key)}, 400, "the wrapped key does not open"},
		{"too short", "x/import", s.Admin, []any{"ciphertext", b64("short")}, 400, "the wrapped key does not open"},
		{"too long", "x/import", s.Admin, []any{"ciphertext", b64(strings.Repeat("x", 9000))}, 413, ""},
		{"no base64", "x/import", s.Admin, []any{"ciphertext", "!"}, 400, "illegal base64 data at input byte 0"},
		{"nothing", "x/import", s.Admin, nil, 400, "one of the following fields, `ciphertext` and `public_key`, must be set"},
		{"a public key alone", "x/import", s.Admin, []any{"public_key", "PEM"}, 400, "a public key alone is not imported"},
		{"a schedule that may not be", "x/import", s.Admin, []any{"ciphertext", good(), "auto_rotate_period", "24h"}, 400, "allow_rotation must be set to true"},
		{"a derived signature key", "x/import", s.Admin, []any{"ciphertext", good(), "type", "ecdsa-p256", "derived", true}, 400, "key derivation and convergent encryption not supported"},
		{"a name that is taken", "there/import", s.Admin, []any{"ciphertext", good()}, 400, "the import path cannot be used with an existing key"},
		{"who may not", "x/import", s.User, []any{"ciphertext", good()}, 403, ""},
		{"a version of no key", "none/import_version", s.Admin, []any{"ciphertext", good()}, 400, "no key found with name none"},
		{"a version of a key that was made here", "made/import_version", s.Admin, []any{"ciphertext", good()}, 400, "the import_version endpoint can only be used with an imported key"},
		{"the same material", "there/import_version", s.Admin, []any{"ciphertext", good()}, 400, ""},
		{"a version that is named", "there/import_version", s.Admin, []any{"ciphertext", good(), "version", 1}, 400, "private key imported, key version cannot be updated"},
		{"a version of who may not", "there/import_version", s.User, []any{"ciphertext", good()}, 403, ""},
	} {
		a := s.Ask(t, c.token, "POST", "transit/keys/"+c.path, body(t, c.members...))
		if a.Status != c.status || !strings.HasPrefix(a.Errors()[0], c.text) {
			t.Errorf("%s: got %d %s, want %d %s", c.name, a.Status, a.Body, c.status, c.text)
		}
	}
	if a := s.Ask(t, s.Admin, "GET", "transit/keys/x", ""); a.Status != http.StatusNotFound {
		t.Errorf("a refused import left a key: %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, s.User, "GET", "transit/wrapping_key", ""); a.Status != http.StatusForbidden {
		t.Errorf("the wrapping key for who may not: got %d %s", a.Status, a.Body)
	}
}

// TestAKeyGoesFromOneTransitToAnother: what byok-export wraps for a wrapping key that was imported as a destination opens at the other server.
func TestAKeyGoesFromOneTransitToAnother(t *testing.T) {
	s := vaulttest.Open(t)
	made(t, s, "goes", `{"exportable":true}`)
	made(t, s, "stays", `{}`)
	made(t, s, "receiver", `{"type":"rsa-2048","exportable":true}`)
	s.Ask(t, s.Admin, "POST", "transit/keys/goes/rotate", "")
	var private struct{ Keys map[string]string }
	s.Ask(t, s.Admin, "GET", "transit/export/encryption-key/receiver", "").Into(t, &private)
	block, _ := pem.Decode([]byte(private.Keys["1"]))
	receiver, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	var clear, wrapped, one struct {
		Keys       map[string]string
		Name, Type string
	}
	s.Ask(t, s.Admin, "GET", "transit/export/encryption-key/goes", "").Into(t, &clear)
	s.Ask(t, s.Admin, "GET", "transit/byok-export/receiver/goes", "").Into(t, &wrapped)
	s.Ask(t, s.Admin, "GET", "transit/byok-export/receiver/goes/latest?hash=SHA512", "").Into(t, &one)
	if len(wrapped.Keys) != 2 || wrapped.Name != "goes" || wrapped.Type != "aes256-gcm96" || len(one.Keys) != 1 || one.Keys["2"] == "" {
		t.Fatalf("got %+v and %+v", wrapped, one)
	}
	for n, w := range wrapped.Keys {
		b, err := base64.StdEncoding.DecodeString(w)
		if err != nil {
			t.Fatal(err)
		}
		kek, err := rsa.DecryptOAEP(sha256.New(), nil, receiver, b[:256], nil)
		if err != nil {
			t.Fatal(err)
		}
		material, err := base64.StdEncoding.DecodeString(clear.Keys[n])
		if err != nil {
			t.Fatal(err)
		}
		if want := kwp(t, kek, material); string(want) != string(b[256:]) {
			t.Errorf("version %s: another key was wrapped", n)
		}
	}
	for _, c := range []struct {
		token, path string
		status      int
		text        string
	}{
		{s.Admin, "none/goes", 400, "no such destination key to export to"},
		{s.Admin, "goes/goes", 400, "unsupported destination key type, must be RSA"},
		{s.Admin, "receiver/none", 400, "no such source key to export"},
		{s.Admin, "receiver/stays", 400, "private key material is not exportable"},
		{s.Admin, "receiver/goes/3", 400, "version does not exist or cannot be found"},
		{s.Admin, "receiver/goes/0", 400, "invalid key version"},
		{s.Admin, "receiver/goes/1?hash=MD5", 400, "unknown hash function: MD5"},
		{s.User, "receiver/goes", 403, ""},
	} {
		a := s.Ask(t, c.token, "GET", "transit/byok-export/"+c.path, "")
		if a.Status != c.status || !strings.HasPrefix(a.Errors()[0], c.text) {
			t.Errorf("%s: got %d %s, want %d %s", c.path, a.Status, a.Body, c.status, c.text)
		}
	}
}

// TestEncryptionsMakeNoKeysWhereTheyMayNot, and say of a missing key what they say of it elsewhere.
func TestEncryptionsMakeNoKeysWhereTheyMayNot(t *testing.T) {
	s := vaulttest.Open(t)
	off := false
	by := kms.Call{Namespace: kms.DefaultNamespace, Principal: &kms.Principal{Name: "admin", Namespace: kms.SystemNamespace, Roles: []kms.Role{kms.RoleOperator}, Method: kms.AuthToken}}
	if _, err := s.Engine.UpdateNamespace(t.Context(), by, engine.NamespaceInput{Name: kms.DefaultNamespace, SeparationOfDuties: &off}); err != nil {
		t.Fatal(err)
	}
	both, err := s.Engine.CreateToken(t.Context(), by, engine.CreateTokenInput{Principal: "both", Roles: []kms.Role{kms.RoleAdmin, kms.RoleUser}})
	if err != nil {
		t.Fatal(err)
	}
	token := string(both.Token.Wire(release.Wire{}))
	var c struct {
		No bool `json:"disable_upsert"`
	}
	if s.Ask(t, s.Admin, "GET", "transit/config/keys", "").Into(t, &c); c.No {
		t.Error("keys are not made from the beginning")
	}
	if s.Ask(t, s.Admin, "POST", "transit/config/keys", `{"disable_upsert":true}`).Into(t, &c); !c.No {
		t.Error("got false, want true")
	}
	encrypt := func(name string) vaulttest.Answer {
		return s.Ask(t, token, "POST", "transit/encrypt/"+name, `{"plaintext":"aGk="}`)
	}
	if a := encrypt("a"); a.Status != http.StatusBadRequest || a.Errors()[0] != "encryption key not found" {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	if a := s.Ask(t, s.User, "POST", "transit/config/keys", `{}`); a.Status != http.StatusForbidden {
		t.Errorf("who may not: got %d %s", a.Status, a.Body)
	}
	if s.Ask(t, s.Admin, "POST", "transit/config/keys", `{"disable_upsert":"false"}`).Into(t, &c); c.No {
		t.Error("got true, want false")
	}
	if a := encrypt("a"); a.Status != http.StatusOK {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
}

// TestWhatOpenBaoExportedComesInWrapped: both versions of every key that was captured, as an export of it gives them, imported one after the other; what they made before
// works. MAC keys beside keys do not come so.
func TestWhatOpenBaoExportedComesInWrapped(t *testing.T) {
	s := vaulttest.Open(t)
	under := wrappingKey(t, s)
	total := 0
	for _, k := range capturedKeys(t) {
		if k.Options.Convergent {
			continue
		}
		kind := "encryption-key"
		switch {
		case k.Type == "hmac":
			kind = "hmac-key"
		case k.Type == "ed25519" || strings.HasPrefix(k.Type, "ecdsa"):
			kind = "signing-key"
		}
		s.Restore(t, k.Name+"-origin", k.Backup)
		var given struct{ Keys map[string]string }
		s.Ask(t, s.Admin, "GET", "transit/export/"+kind+"/"+k.Name+"-origin", "").Into(t, &given)
		for n, path := range []string{"import", "import_version"} {
			material := exported(t, &k, given.Keys[strconv.Itoa(n+1)])
			members := []any{"ciphertext", parcelFor(t, under, sha256.New(), material), "type", k.Type, "derived", strings.HasSuffix(k.Name, "-derived")}
			if a := s.Ask(t, s.Admin, "POST", "transit/keys/"+k.Name+"/"+path, body(t, members...)); a.Status != http.StatusNoContent {
				t.Fatalf("%s: got %d %s", k.Name, a.Status, a.Body)
			}
		}
		if k.Type != "hmac" {
			k.Samples = slices.DeleteFunc(k.Samples, func(x vaulttest.Sample) bool { return x.Op == "hmac" })
		}
		total += s.Recheck(t, &k, k.Name)
	}
	if total != 420 {
		t.Errorf("%d samples were tried, want 420", total)
	}
}

// exported is the material that an export gave, as an import takes it: raw, or PKCS #8.
func exported(t testing.TB, k *vaulttest.Captured, text string) []byte {
	t.Helper()
	if block, _ := pem.Decode([]byte(text)); block != nil {
		if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			return pkcs8(t, key, nil)
		}
		key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		return pkcs8(t, key, err)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) == 0 {
		t.Fatalf("%s: exported as %q, %v", k.Name, text, err)
	}
	if k.Type == "ed25519" {
		return pkcs8(t, ed25519.PrivateKey(raw), nil)
	}
	return raw
}
