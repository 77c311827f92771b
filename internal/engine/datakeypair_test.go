package engine_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"testing"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// measured is a provider that notes how long the material is that is asked of it.
type measured struct {
	provider.Provider
	made *[]int
}

func (m measured) Generate(s provider.Spec, wrap *box.Key, place []byte) (provider.Generated, error) {
	*m.made = append(*m.made, s.Bytes)
	return m.Provider.Generate(s, wrap, place)
}

func TestAKeyPairIsAnsweredOnceAndKeptByNobody(t *testing.T) {
	w := newWorld(t)
	for _, under := range []kms.Algorithm{kms.AES256GCM, kms.AES256SIV, kms.XChaCha20Poly1305} {
		w.create(under.String(), under, 0)
		for _, a := range []kms.Algorithm{kms.ECDSAP256, kms.Ed25519, kms.RSA2048, kms.X25519, kms.ECDHP521} {
			in := engine.DataKeyPairInput{Key: kms.Ref(under.String()), Algorithm: a, Context: kms.Context{"device": "17"}}
			out, err := w.e.GenerateDataKeyPair(t.Context(), user, in)
			if err != nil || out.Algorithm != a || out.Version != 1 {
				t.Fatalf("%s under %s: %+v %v", a, under, out, err)
			}
			private := string(out.Private.Wire(release.Wire{}))
			if got, err := w.decrypt(user, out.Ciphertext, in.Context); err != nil || got != private {
				t.Fatalf("%s under %s: the ciphertext holds another private key, %v", a, under, err)
			}
			_, err = w.decrypt(user, out.Ciphertext, nil)
			wantCode(t, err, kms.CodeDecryptFailed)
			key, err := x509.ParsePKCS8PrivateKey([]byte(private))
			wantCode(t, err, 0)
			public, err := x509.ParsePKIXPublicKey(out.Public)
			wantCode(t, err, 0)
			if !publicOf(t, key).(interface{ Equal(crypto.PublicKey) bool }).Equal(public) {
				t.Errorf("%s: the halves do not belong together", a)
			}
		}
	}
	in := engine.DataKeyPairInput{Key: "aes-256-gcm", Algorithm: kms.ECDSAP384, WithoutPlaintext: true}
	out, err := w.e.GenerateDataKeyPair(t.Context(), user, in)
	if err != nil || out.Private.Len() != 0 || len(out.Public) == 0 {
		t.Fatalf("%+v %v", out, err)
	}
	recs := w.records(audit.Filter{Action: kms.GenerateDataKeyPairWithoutPlaintext})
	if len(recs) != 1 || recs[0].Detail != "ecdsa-p384" || recs[0].Scheme != kms.SchemeAESGCM || recs[0].Bytes == 0 {
		t.Fatalf("records: %+v", recs)
	}
	// The two permissions are apart.
	if _, err := w.e.PutPolicy(t.Context(), admin, engine.PutPolicyInput{ID: "blind",
		Text: `permit (principal == Principal::"blind", action == Action::"GenerateDataKeyPairWithoutPlaintext", resource);`}); err != nil {
		t.Fatal(err)
	}
	blind := as("blind")
	wantCode(t, second(w.e.GenerateDataKeyPair(t.Context(), blind, in)), 0)
	in.WithoutPlaintext = false
	wantCode(t, second(w.e.GenerateDataKeyPair(t.Context(), blind, in)), kms.CodeDenied)
}

func publicOf(t *testing.T, private any) crypto.PublicKey {
	t.Helper()
	switch k := private.(type) {
	case crypto.Signer:
		return k.Public()
	case interface{ Public() crypto.PublicKey }:
		return k.Public()
	}
	t.Fatalf("%T has no public half", private)
	return nil
}

// slowly is a provider whose key pairs take until they are let go.
type slowly struct {
	provider.Provider
	let     chan struct{}
	private *secret.Bytes
}

func (s *slowly) GeneratePair(kms.Algorithm) ([]byte, *secret.Bytes, error) {
	<-s.let
	return []byte("public"), s.private, nil
}

func TestACallerWhoGivesUpIsLetGo(t *testing.T) {
	s := &slowly{let: make(chan struct{}), private: secret.Copy([]byte("private"))}
	w := newWorld(t, func(c *engine.Config) { s.Provider, c.Provider = c.Provider, s })
	w.create("aes", kms.AES256GCM, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.e.GenerateDataKeyPair(ctx, user, engine.DataKeyPairInput{Key: "aes", Algorithm: kms.RSA4096})
	wantCode(t, err, kms.CodeCancelled)
	if recs := w.records(audit.Filter{Action: kms.GenerateDataKeyPair}); len(recs) != 1 || recs[0].Code != kms.CodeCancelled {
		t.Fatalf("records: %+v", recs)
	}
	close(s.let)
}

// broken is a provider that panics while it makes a pair, on whichever goroutine that is.
type broken struct{ provider.Provider }

func (broken) GeneratePair(kms.Algorithm) ([]byte, *secret.Bytes, error) { panic("a fault") }

func TestAPanicWhileAPairIsMadeIsRecorded(t *testing.T) {
	w := newWorld(t, func(c *engine.Config) { c.Provider = broken{c.Provider} })
	w.create("aes", kms.AES256GCM, 0)
	for _, a := range []kms.Algorithm{kms.RSA2048, kms.Ed25519} {
		_, err := w.e.GenerateDataKeyPair(t.Context(), user, engine.DataKeyPairInput{Key: "aes", Algorithm: a})
		wantCode(t, err, kms.CodeInternal)
	}
	if recs := w.records(audit.Filter{Action: kms.GenerateDataKeyPair, Outcome: audit.Failed}); len(recs) != 2 {
		t.Fatalf("%d failures on the record, want 2", len(recs))
	}
}
