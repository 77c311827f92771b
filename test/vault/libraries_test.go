package vaultclients

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	bao "github.com/openbao/openbao/api/v2"
	"github.com/sigstore/sigstore/pkg/signature/kms/hashivault"
	"gocloud.dev/secrets"
	_ "gocloud.dev/secrets/hashivault" // its URLs
)

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return b
}

// OpenBao's client reads variables of its own.
func TestOpenBaosClient(t *testing.T) {
	server(t)
	for _, name := range []string{"VAULT_ADDR", "VAULT_TOKEN", "VAULT_CACERT"} {
		t.Setenv(name, "")
	}
	c, err := bao.NewClient(bao.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if h, err := c.Sys().HealthWithContext(ctx); err != nil || !h.Initialized || h.Sealed || !strings.HasPrefix(h.Version, "2.") {
		t.Fatalf("health: got %+v, %v", h, err)
	}
	if self, err := c.Auth().Token().LookupSelfWithContext(ctx); err != nil || self.Data["display_name"] != "dev" {
		t.Errorf("lookup-self: got %+v, %v", self, err)
	}
	if s, err := c.Logical().ReadWithContext(ctx, "transit/keys/bao"); s != nil || err != nil {
		t.Errorf("a key that is not there: got %+v, %v", s, err)
	}
	for _, kind := range []string{"aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"} {
		if _, err := c.Logical().WriteWithContext(ctx, "transit/keys/"+kind, map[string]any{"type": kind}); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		plain := base64.StdEncoding.EncodeToString(random(100))
		sealed, err := c.Logical().WriteWithContext(ctx, "transit/encrypt/"+kind, map[string]any{"plaintext": plain, "associated_data": "YQ=="})
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		opened, err := c.Logical().WriteWithContext(ctx, "transit/decrypt/"+kind, map[string]any{"ciphertext": sealed.Data["ciphertext"], "associated_data": "YQ=="})
		if err != nil || opened.Data["plaintext"] != plain {
			t.Errorf("%s: got %+v, %v", kind, opened, err)
		}
		var refused *bao.ResponseError
		if _, err := c.Logical().WriteWithContext(ctx, "transit/decrypt/"+kind, map[string]any{"ciphertext": sealed.Data["ciphertext"]}); !errors.As(err, &refused) || refused.StatusCode != http.StatusBadRequest {
			t.Errorf("%s without its associated data: %v", kind, err)
		}
	}
	list, err := c.Logical().ListWithContext(ctx, "transit/keys")
	if err != nil || len(list.Data["keys"].([]any)) != 3 {
		t.Errorf("list: got %+v, %v", list, err)
	}
}

// The Go CDK opens a key by its URL; its client takes everything else from the environment.
func TestGoCDK(t *testing.T) {
	server(t)
	if _, err := client(t).Logical().Write("transit/keys/cdk", nil); err != nil {
		t.Fatal(err)
	}
	k, err := secrets.OpenKeeper(t.Context(), "hashivault://cdk?engine="+url.QueryEscape("transit"))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close() //nolint:errcheck // it keeps nothing
	plain := random(500)
	sealed, err := k.Encrypt(t.Context(), plain)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Decrypt(t.Context(), sealed); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	sealed[len(sealed)-10] ^= 1
	if got, err := k.Decrypt(t.Context(), sealed); err == nil {
		t.Errorf("it opens what was changed: %q", got)
	}
}

// cosign's library makes a key, signs with it by digest, and verifies; by either name of the scheme.
func TestSigstore(t *testing.T) {
	server(t)
	message := random(1000)
	digest := sha256.Sum256(message)
	for reference, kind := range map[string]string{"hashivault://cosign": "ecdsa-p256", "openbao://cosign.ed25519": "ed25519"} {
		hash := crypto.SHA256
		if kind == "ed25519" {
			hash = crypto.Hash(0)
		}
		s, err := hashivault.LoadSignerVerifier(reference, hash)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.PublicKey(); err == nil {
			t.Errorf("%s: a key that is not there has a public key", reference)
		}
		made, err := s.CreateKey(context.Background(), kind)
		if err != nil {
			t.Fatalf("%s: %v", reference, err)
		}
		sig, err := s.SignMessage(bytes.NewReader(message))
		if err != nil {
			t.Fatalf("%s: %v", reference, err)
		}
		public, err := s.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		switch p := public.(type) {
		case *ecdsa.PublicKey:
			if !p.Equal(made) || !ecdsa.VerifyASN1(p, digest[:], sig) {
				t.Errorf("%s: the signature does not verify outside", reference)
			}
		case ed25519.PublicKey:
			if !p.Equal(made) || !ed25519.Verify(p, message, sig) {
				t.Errorf("%s: the signature does not verify outside", reference)
			}
		default:
			t.Errorf("%s: got a %T", reference, public)
		}
		if err := s.VerifySignature(bytes.NewReader(sig), bytes.NewReader(message)); err != nil {
			t.Errorf("%s: %v", reference, err)
		}
		if err := s.VerifySignature(bytes.NewReader(sig), bytes.NewReader(digest[:])); err == nil {
			t.Errorf("%s: it verifies another message", reference)
		}
		if _, err := hashivault.LoadSignerVerifier(reference, crypto.SHA1); err == nil {
			t.Errorf("%s: SHA-1 is taken", reference)
		}
	}
}
