package vaultclients

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"testing"

	"github.com/hashicorp/vault/api"
	kwp "github.com/tink-crypto/tink-go/v2/kwp/subtle"
)

// wrapped does what Vault's manual has importers do: Tink wraps the material under an AES key, and that goes under the wrapping key.
func wrapped(t *testing.T, under *rsa.PublicKey, material []byte) string {
	t.Helper()
	ephemeral := random(32)
	w, err := kwp.NewKWP(ephemeral)
	if err != nil {
		t.Fatal(err)
	}
	tail, err := w.Wrap(material)
	if err != nil {
		t.Fatal(err)
	}
	head, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, under, ephemeral, nil)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(append(head, tail...))
}

// TestHashiCorpsClientBringsItsKeys: made here, wrapped by Tink, imported, used, given a further version, and exported to a receiver.
func TestHashiCorpsClientBringsItsKeys(t *testing.T) {
	server(t)
	c := client(t).Logical()
	write := func(path string, data map[string]any) *api.Secret {
		t.Helper()
		s, err := c.Write(path, data)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s, err := c.Read("transit/wrapping_key")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := s.Data["public_key"].(string)
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("got %q", text)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	under := parsed.(*rsa.PublicKey) //nolint:errcheck,forcetypeassert // as documented
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	write("transit/keys/signs/import", map[string]any{"type": "ecdsa-p256", "ciphertext": wrapped(t, under, der), "hash_function": "SHA256"})
	write("transit/keys/seals/import", map[string]any{"ciphertext": wrapped(t, under, random(32)), "exportable": true, "allow_rotation": true})
	write("transit/keys/seals/import_version", map[string]any{"ciphertext": wrapped(t, under, random(32))})
	write("transit/keys/seals/rotate", nil)

	digest := sha256.Sum256([]byte("message"))
	out := write("transit/sign/signs", map[string]any{"input": base64.StdEncoding.EncodeToString([]byte("message"))})
	signature, _ := out.Data["signature"].(string)
	raw, err := base64.StdEncoding.DecodeString(signature[len("vault:v1:"):])
	if err != nil || !ecdsa.VerifyASN1(&own.PublicKey, digest[:], raw) {
		t.Errorf("the key that was brought did not make %q: %v", signature, err)
	}
	if k, err := c.Read("transit/keys/seals"); err != nil || k.Data["imported_key"] != true || k.Data["imported_key_allow_rotation"] != true || k.Data["latest_version"] != json.Number("3") {
		t.Errorf("got %+v, %v", k, err)
	}
	write("transit/keys/receives", map[string]any{"type": "rsa-4096"})
	if k, err := c.Read("transit/byok-export/receives/seals"); err != nil || len(k.Data["keys"].(map[string]any)) != 3 { //nolint:errcheck,forcetypeassert // as documented
		t.Errorf("got %+v, %v", k, err)
	}
	if _, err := c.Write("transit/keys/signs/rotate", nil); err == nil {
		t.Error("a key whose owner did not allow that was rotated")
	}
}
