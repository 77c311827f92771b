package native_test

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/dialect/native/nativetest"
	"github.com/keyhold/keyhold/internal/dialect/statetest"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// anyRequest is the JSON of any request.
type anyRequest struct {
	Key        string `json:"key,omitempty"`
	FromKey    string `json:"fromKey,omitempty"`
	ToKey      string `json:"toKey,omitempty"`
	Version    uint32 `json:"version,omitempty"`
	Plaintext  []byte `json:"plaintext,omitempty"`
	Ciphertext []byte `json:"ciphertext,omitempty"`
	Message    []byte `json:"message,omitempty"`
	Signature  []byte `json:"signature,omitempty"`
	MAC        []byte `json:"mac,omitempty"`
	Peer       []byte `json:"peerPublicKey,omitempty"`
	KDF        string `json:"kdf,omitempty"`
	Material   []byte `json:"material,omitempty"`
	Wrapped    []byte `json:"wrapped,omitempty"`
	Text       string `json:"text,omitempty"`
	Algorithm  string `json:"algorithm,omitempty"`
	About      string `json:"description,omitempty"`
}

// nativeStates is how this dialect does each operation that uses a key.
func nativeStates(s *nativetest.Server) statetest.Dialect {
	as := func(token, method string, ask func(statetest.Case, *anyRequest)) func(testing.TB, statetest.Case) kms.Code {
		return func(t testing.TB, c statetest.Case) kms.Code {
			t.Helper()
			b := anyRequest{Key: c.Key.String(), Version: c.Version}
			ask(c, &b)
			text, err := json.Marshal(b)
			if err != nil {
				t.Fatal(err)
			}
			return refusedWith(t, s, token, method, string(text))
		}
	}
	use := func(method string, ask func(statetest.Case, *anyRequest)) func(testing.TB, statetest.Case) kms.Code {
		return as(s.User, "CryptoService/"+method, ask)
	}
	return statetest.Dialect{
		kms.Encrypt: use("Encrypt", func(_ statetest.Case, b *anyRequest) { b.Plaintext = statetest.Message }),
		kms.Decrypt: use("Decrypt", func(c statetest.Case, b *anyRequest) { b.Ciphertext, b.Version = c.Made, 0 }),
		kms.ReEncryptFrom: use("ReEncrypt", func(c statetest.Case, b *anyRequest) {
			*b = anyRequest{FromKey: c.Key.String(), ToKey: c.Other, Ciphertext: c.Made}
		}),
		kms.ReEncryptTo:         func(t testing.TB, c statetest.Case) kms.Code { return reEncryptTo(t, s, c) },
		kms.GenerateDataKey:     use("GenerateDataKey", func(_ statetest.Case, b *anyRequest) { b.Version = 0 }),
		kms.GenerateDataKeyPair: use("GenerateDataKeyPair", func(_ statetest.Case, b *anyRequest) { b.Version, b.Algorithm = 0, "ed25519" }),
		kms.Sign:                use("Sign", func(_ statetest.Case, b *anyRequest) { b.Message = statetest.Message }),
		kms.Verify:              use("Verify", func(c statetest.Case, b *anyRequest) { b.Message, b.Signature = statetest.Message, c.Made }),
		kms.GetPublicKey:        use("GetPublicKey", func(statetest.Case, *anyRequest) {}),
		kms.GenerateMAC:         use("GenerateMac", func(_ statetest.Case, b *anyRequest) { b.Message = statetest.Message }),
		kms.VerifyMAC:           use("VerifyMac", func(c statetest.Case, b *anyRequest) { b.Message, b.MAC = statetest.Message, c.Made }),
		kms.DeriveSharedSecret:  use("DeriveSharedSecret", func(c statetest.Case, b *anyRequest) { b.Peer, b.KDF = c.Made, "hkdf-sha-256" }),
		kms.Encapsulate:         use("Encapsulate", func(statetest.Case, *anyRequest) {}),
		kms.Decapsulate:         use("Decapsulate", func(c statetest.Case, b *anyRequest) { b.Ciphertext = c.Made }),
		kms.WrapKey:             use("WrapKey", func(_ statetest.Case, b *anyRequest) { b.Material = statetest.Message }),
		kms.UnwrapKey:           use("UnwrapKey", func(c statetest.Case, b *anyRequest) { b.Wrapped = c.Made }),
		kms.EncryptFormat:       use("EncryptFormat", func(_ statetest.Case, b *anyRequest) { b.Version, b.Text = 0, string(statetest.Message) }),
		kms.DecryptFormat:       use("DecryptFormat", func(c statetest.Case, b *anyRequest) { b.Text = string(c.Made) }),
		kms.DescribeKey:         as(s.User, "KeyService/DescribeKey", func(_ statetest.Case, b *anyRequest) { b.Version = 0 }),
		kms.UpdateKey:           as(s.Admin, "KeyService/UpdateKey", func(_ statetest.Case, b *anyRequest) { b.Version, b.About = 0, "d" }),
	}
}

func reEncryptTo(t testing.TB, s *nativetest.Server, c statetest.Case) kms.Code {
	t.Helper()
	out, err := s.Engine.Encrypt(t.Context(), caller("svc/orders", kms.RoleUser), engine.EncryptInput{Key: kms.Ref(c.Other), Items: []engine.EncryptItem{{Plaintext: statetest.Message}}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(anyRequest{ToKey: c.Key.String(), Ciphertext: out.Items[0].Ciphertext})
	if err != nil {
		t.Fatal(err)
	}
	return refusedWith(t, s, s.User, "CryptoService/ReEncrypt", string(text))
}

func caller(name string, role kms.Role) kms.Call {
	return kms.Call{Principal: &kms.Principal{Name: name, Namespace: kms.DefaultNamespace, Roles: []kms.Role{role}, Method: kms.AuthToken}, Namespace: kms.DefaultNamespace}
}

// TestEveryStateInTheNativeDialect: state × switch × operation, over HTTP. LIF-3, invariant 4.
func TestEveryStateInTheNativeDialect(t *testing.T) {
	var ahead atomic.Int64
	began := time.Now()
	s := nativetest.Open(t, func(c *engine.Config) {
		c.Now = func() time.Time { return began.Add(time.Since(began) + time.Duration(ahead.Load())) }
		c.Elapsed = func() time.Duration { return time.Since(began) + time.Duration(ahead.Load()) }
	})
	if err := s.Engine.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	statetest.Run(t, statetest.Server{Engine: s.Engine, Admin: caller("alice", kms.RoleAdmin), User: caller("svc/orders", kms.RoleUser),
		Pass: func(d time.Duration) { ahead.Add(int64(d)) }}, nativeStates(s))
}

// refusedWith is the code that a request was refused with; 0: it was not.
func refusedWith(t testing.TB, s *nativetest.Server, token, method, text string) kms.Code {
	t.Helper()
	status, _, answer := ask(t, s, method, token, text)
	code := codeIn(t, answer)
	if code == "" && status == http.StatusOK {
		return 0
	}
	for _, c := range kms.AllCodes() {
		if c.String() == code {
			return c
		}
	}
	t.Fatalf("%s: %d %s", method, status, answer)
	return 0
}
