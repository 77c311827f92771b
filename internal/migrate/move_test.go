package migrate_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strconv"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/migrate"
	"github.com/keyhold/keyhold/internal/secret"
)

// authority is the certificate of a server of tests.
func authority(s *vaulttest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.TLS.Certificate().Raw})
}

// reached is a server of tests, as an end of a move.
func reached(t testing.TB, what, address, token string, ca []byte, more ...func(*migrate.ServerConfig)) *migrate.Server {
	t.Helper()
	cfg := migrate.ServerConfig{What: what, Code: kms.CodeSource, Address: address, Token: secret.Copy([]byte(token)), CACert: ca, Timeout: 20 * time.Second, Pause: time.Millisecond}
	if what == "this server" {
		cfg.Code = kms.CodeUnreachable
	}
	for _, m := range more {
		m(&cfg)
	}
	s, err := migrate.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// into makes a mover from a source to a server, whose keys its user tries.
func into(t testing.TB, source *migrate.Server, s *vaulttest.Server, more ...func(*migrate.Config)) *migrate.Mover {
	t.Helper()
	cfg := migrate.Config{Source: source, Target: reached(t, "this server", s.URL, s.Admin, authority(s)), Tester: reached(t, "this server", s.URL, s.User, authority(s))}
	for _, m := range more {
		m(&cfg)
	}
	return migrate.New(cfg)
}

// moved plans and moves everything that matches.
func moved(t testing.TB, m *migrate.Mover, patterns ...string) []migrate.Key {
	t.Helper()
	keys, err := m.Plan(t.Context(), patterns, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Move(t.Context(), keys, nil); err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestKeysMoveBetweenServers: from one Keyhold to another, by each of the ways; what one made works at the other, and a second run finds all there.
func TestKeysMoveBetweenServers(t *testing.T) {
	from, to := vaulttest.Open(t), vaulttest.Open(t)
	ask := func(s *vaulttest.Server, token, method, path, body string) vaulttest.Answer {
		t.Helper()
		a := s.Ask(t, token, method, "transit/"+path, body)
		if a.Status >= 300 {
			t.Fatalf("%s: got %d %s", path, a.Status, a.Body)
		}
		return a
	}
	for _, k := range []struct{ name, options string }{
		{"backup", `{"exportable":true,"allow_plaintext_backup":true}`}, {"export", `{"exportable":true,"type":"aes128-gcm96"}`},
		{"derived", `{"exportable":true,"derived":true,"convergent_encryption":true}`}, {"signs", `{"exportable":true,"type":"ecdsa-p384"}`},
		{"edwards", `{"exportable":true,"type":"ed25519"}`}, {"rsa", `{"exportable":true,"type":"rsa-2048"}`}, {"hmac", `{"exportable":true,"type":"hmac","key_size":64}`},
		{"stays", `{}`}, {"quantum", `{"type":"ml-dsa","parameter_set":"44"}`},
	} {
		ask(from, from.Admin, "POST", "keys/"+k.name, k.options)
		ask(from, from.Admin, "POST", "keys/"+k.name+"/rotate", "")
	}
	ask(from, from.Admin, "POST", "keys/export/config", `{"min_decryption_version":2,"auto_rotate_period":"3600"}`)
	var old struct{ Ciphertext string }
	ask(from, from.User, "POST", "encrypt/backup", `{"plaintext":"b2xk","key_version":1}`).Into(t, &old)

	certificate := certified(t, from, "signs")

	source := reached(t, "the source", from.URL, from.Admin, authority(from))
	if got := moved(t, into(t, source, to), "backup"); got[0].Outcome != migrate.Moved || got[0].Why == "" || got[0].Verified != "" {
		t.Errorf("a source whose token may not encrypt: got %+v", got[0])
	}
	keys := moved(t, into(t, source, to))
	want := map[string]struct {
		how     migrate.How
		outcome migrate.Outcome
	}{
		"backup": {migrate.Cannot, migrate.Left}, "export": {migrate.ByExport, migrate.Moved}, "derived": {migrate.ByExport, migrate.Moved}, "signs": {migrate.ByExport, migrate.Moved},
		"edwards": {migrate.ByExport, migrate.Moved}, "rsa": {migrate.ByExport, migrate.Moved}, "hmac": {migrate.ByExport, migrate.Moved},
		"stays": {migrate.ByRewrap, migrate.Left}, "quantum": {migrate.Cannot, migrate.Left},
	}
	for _, k := range keys {
		if w := want[k.Name]; k.How != w.how || k.Outcome != w.outcome {
			t.Errorf("%s: got %+v, want %v", k.Name, k, w)
		}
	}
	if len(keys) != len(want) {
		t.Errorf("got %d keys, want %d", len(keys), len(want))
	}
	var p struct{ Plaintext string }
	if ask(to, to.User, "POST", "decrypt/backup", `{"ciphertext":"`+old.Ciphertext+`"}`).Into(t, &p); p.Plaintext != "b2xk" {
		t.Errorf("got %q", p.Plaintext)
	}
	var shown struct {
		Keys map[string]struct {
			Chain string `json:"certificate_chain"`
		}
	}
	if ask(to, to.Admin, "GET", "keys/signs", "").Into(t, &shown); shown.Keys["2"].Chain != certificate || shown.Keys["1"].Chain != "" {
		t.Errorf("got %+v, want %q", shown, certificate)
	}
}

// certified gives the newest version of a key a certificate.
func certified(t *testing.T, s *vaulttest.Server, name string) string {
	t.Helper()
	var shown struct {
		Latest int `json:"latest_version"`
		Keys   map[string]struct {
			Public string `json:"public_key"`
		}
	}
	s.Ask(t, s.Admin, "GET", "transit/keys/"+name, "").Into(t, &shown)
	block, _ := pem.Decode([]byte(shown.Keys[strconv.Itoa(shown.Latest)].Public))
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(1_700_000_000, 0), NotAfter: time.Unix(1_900_000_000, 0)}
	_, issuer, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, of, of, public, issuer)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	if a := s.Ask(t, s.Admin, "POST", "transit/keys/"+name+"/set-certificate", vaulttest.Body(t, "certificate_chain", text)); a.Status >= 300 {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	return text
}
