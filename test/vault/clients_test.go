package vaultclients

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	wrapping "github.com/hashicorp/go-kms-wrapping/v2"
	"github.com/hashicorp/go-kms-wrapping/wrappers/transit/v2"
	"github.com/hashicorp/vault/api"
	"github.com/tink-crypto/tink-go-hcvault/v2/integration/hcvault"
)

// client is HashiCorp's, told nothing but the environment.
func client(t *testing.T) *api.Client {
	t.Helper()
	c, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestHashiCorpsClient(t *testing.T) {
	server(t)
	c := client(t)
	health, err := c.Sys().Health()
	if err != nil || !health.Initialized || health.Sealed || health.Standby || health.ClusterID == "" {
		t.Fatalf("health: got %+v, %v", health, err)
	}
	seal, err := c.Sys().SealStatus()
	if err != nil || seal.Sealed || seal.T != 2 || seal.N != 3 {
		t.Errorf("seal status: got %+v, %v", seal, err)
	}
	if leader, err := c.Sys().Leader(); err != nil || leader.HAEnabled {
		t.Errorf("leader: got %+v, %v", leader, err)
	}
	if mounts, err := c.Sys().ListMounts(); err != nil || mounts["transit/"] == nil || mounts["transit/"].Type != "transit" {
		t.Errorf("mounts: got %+v, %v", mounts, err)
	}
	self, err := c.Auth().Token().LookupSelf()
	if err != nil || self.Data["display_name"] != "dev" {
		t.Fatalf("lookup-self: got %+v, %v", self, err)
	}
	if ttl, err := self.TokenTTL(); err != nil || ttl < time.Hour {
		t.Errorf("TTL: got %s, %v", ttl, err)
	}
	if s, err := c.Auth().Token().RenewSelf(0); err != nil || s.Auth == nil || s.Auth.Renewable {
		t.Errorf("renew-self: got %+v, %v", s, err)
	}
	if can, err := c.Sys().CapabilitiesSelf("transit/encrypt/k"); err != nil || strings.Join(can, " ") != "create update" {
		t.Errorf("capabilities: got %v, %v", can, err)
	}

	// A 404 with an empty list is nil, nil.
	if s, err := c.Logical().Read("transit/keys/k"); s != nil || err != nil {
		t.Errorf("a key that is not there: got %+v, %v", s, err)
	}
	var refused *api.ResponseError
	if _, err := c.Logical().Write("nowhere/encrypt/k", nil); !errors.As(err, &refused) || refused.StatusCode != http.StatusNotFound || len(refused.Errors) != 1 {
		t.Errorf("no such mount: got %v", err)
	}
	made, err := c.Logical().Write("transit/keys/k", map[string]any{"type": "aes256-gcm96"})
	if err != nil || made.Data["name"] != "k" {
		t.Fatalf("create: got %+v, %v", made, err)
	}
	list, err := c.Logical().List("transit/keys")
	if err != nil || len(list.Data["keys"].([]any)) != 1 {
		t.Errorf("list: got %+v, %v", list, err)
	}
	sealed, err := c.Logical().Write("transit/encrypt/k", map[string]any{"batch_input": []map[string]any{
		{"plaintext": base64.StdEncoding.EncodeToString([]byte("one"))}, {"plaintext": base64.StdEncoding.EncodeToString([]byte("two")), "associated_data": "YQ=="}}})
	if err != nil {
		t.Fatal(err)
	}
	first := sealed.Data["batch_results"].([]any)[0].(map[string]any)
	if _, err := c.Logical().Write("transit/keys/k/rotate", nil); err != nil {
		t.Fatal(err)
	}
	opened, err := c.Logical().Write("transit/decrypt/k", map[string]any{"ciphertext": first["ciphertext"]})
	if err != nil || opened.Data["plaintext"] != base64.StdEncoding.EncodeToString([]byte("one")) {
		t.Errorf("decrypt: got %+v, %v", opened, err)
	}
	if _, err := c.Logical().Write("transit/decrypt/k", map[string]any{"ciphertext": "vault:v1:AAAA"}); !errors.As(err, &refused) || refused.StatusCode != 400 || refused.Errors[0] != "cipher: message authentication failed" {
		t.Errorf("damaged: got %v", err)
	}
}

func TestTink(t *testing.T) {
	server(t)
	c := client(t)
	aead, err := hcvault.NewAEAD("/transit/keys/tink", c.Logical())
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := aead.Encrypt([]byte("plaintext"), []byte("associated"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := aead.Decrypt(sealed, []byte("associated")); err != nil || !bytes.Equal(got, []byte("plaintext")) {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := aead.Decrypt(sealed, []byte("other")); err == nil {
		t.Error("it opens with other associated data")
	}
}

func TestSealWrapper(t *testing.T) {
	server(t)
	w := transit.NewWrapper()
	if _, err := w.SetConfig(t.Context(), wrapping.WithConfigMap(map[string]string{"mount_path": "transit/", "key_name": "autounseal",
		"address": os.Getenv("VAULT_ADDR"), "token": os.Getenv("VAULT_TOKEN"), "tls_ca_cert": os.Getenv("VAULT_CACERT")})); err != nil {
		t.Fatal(err)
	}
	sealed, err := w.Encrypt(t.Context(), []byte("root key"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := w.Decrypt(t.Context(), sealed); err != nil || string(got) != "root key" {
		t.Errorf("got %q, %v", got, err)
	}
}
