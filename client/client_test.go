package client_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/dialect/native/nativetest"
)

// as is a client of the server with a token.
func as(t testing.TB, s *nativetest.Server, token string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Address: s.URL, Token: token, CACert: s.CA, Retry: client.Retry{Base: time.Millisecond, Max: 5 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func create(t testing.TB, c *client.Client, name, algorithm, usage string) client.Key {
	t.Helper()
	k, err := c.CreateKey(t.Context(), client.CreateKeyInput{Name: name, Algorithm: algorithm, Usage: usage})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestWhatIsEncryptedDecryptsWithItsContextAlone(t *testing.T) {
	s := nativetest.Open(t)
	admin, user := as(t, s, s.Admin), as(t, s, s.User)
	k := create(t, admin, "orders", "aes-256-gcm", "")
	for _, size := range []int{0, 1, 31, 4096, 65536} {
		plaintext := bytes.Repeat([]byte{0xA5}, size)
		ctx := client.Context{"order": "17", "größe": "ü"}
		sealed, err := user.Encrypt(t.Context(), client.EncryptInput{Key: "orders", Plaintext: plaintext, Context: ctx})
		if err != nil {
			t.Fatal(err)
		}
		if sealed.KeyID != k.ID || sealed.Version != 1 || len(sealed.Ciphertext) < size {
			t.Fatalf("encrypt of %d bytes: %+v, want key %s version 1", size, sealed, k.ID)
		}
		opened, err := user.Decrypt(t.Context(), client.DecryptInput{Ciphertext: sealed.Ciphertext, Context: ctx})
		if err != nil || !bytes.Equal(opened.Plaintext, plaintext) || opened.KeyID != k.ID || opened.Version != 1 {
			t.Fatalf("decrypt of %d bytes: got %d bytes, %v", size, len(opened.Plaintext), err)
		}
		if _, err := user.Decrypt(t.Context(), client.DecryptInput{Ciphertext: sealed.Ciphertext, Context: client.Context{"order": "18"}}); client.CodeOf(err) != client.CodeDecryptFailed {
			t.Fatalf("decrypt with another context: got %v, want %s", err, client.CodeDecryptFailed)
		}
	}
}

func TestErrorsAreFoundAndComplete(t *testing.T) {
	s := nativetest.Open(t)
	create(t, as(t, s, s.Admin), "orders", "aes-256-gcm", "")
	_, err := as(t, s, s.Admin).Encrypt(t.Context(), client.EncryptInput{Key: "orders", Plaintext: []byte("x")}, client.RequestID("my-request"))
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %T %v, want *client.Error", err, err)
	}
	if e.Code != "KH1202" && e.Code != client.CodeDenied || e.Title == "" || e.What == "" || e.Next == "" || e.Decision == "" || e.Retryable || e.RequestID != "my-request" {
		t.Errorf("a denial: got %+v", e)
	}
	if _, err := as(t, s, s.User).DescribeKey(t.Context(), "nosuch"); client.CodeOf(err) != client.CodeKeyNotFound {
		t.Errorf("a key that is not there: got %v", err)
	}
	if _, err := as(t, s, "kh_nonsense").WhoAmI(t.Context()); client.CodeOf(err) != client.CodeUnauthenticated {
		t.Errorf("a token that is none: got %v", err)
	}
}

func TestKeysLiveTheirLife(t *testing.T) {
	s := nativetest.Open(t)
	admin := as(t, s, s.Admin)
	name, description := "ledger-2", "of 2026"
	create(t, admin, "ledger", "aes-256-gcm", "encrypt")
	steps := []struct {
		what  string
		do    func(context.Context) (client.Key, error)
		state string
		check func(client.Key) bool
	}{
		{"update", func(ctx context.Context) (client.Key, error) {
			return admin.UpdateKey(ctx, client.UpdateKeyInput{Key: "ledger", Name: &name, Description: &description, SetLabels: map[string]string{"team": "books"}, AddAliases: []string{"books"}})
		}, "enabled", func(k client.Key) bool {
			return k.Name == name && k.Description == description && k.Labels["team"] == "books" && len(k.Aliases) == 1
		}},
		{"rotate", func(ctx context.Context) (client.Key, error) { return admin.RotateKey(ctx, "alias/books") }, "enabled",
			func(k client.Key) bool { return k.PrimaryVersion == 2 && k.LatestVersion == 2 && len(k.Versions) == 1 }},
		{"deactivate", func(ctx context.Context) (client.Key, error) { return admin.DeactivateVersion(ctx, name, 1) }, "enabled",
			func(k client.Key) bool { return len(k.Versions) == 1 && k.Versions[0].State == "deactivated" }},
		{"suspend", func(ctx context.Context) (client.Key, error) { return admin.SuspendKey(ctx, name) }, "suspended", nil},
		{"resume", func(ctx context.Context) (client.Key, error) { return admin.ResumeKey(ctx, name) }, "enabled", nil},
		{"disable", func(ctx context.Context) (client.Key, error) { return admin.DisableKey(ctx, name) }, "disabled", nil},
		{"enable", func(ctx context.Context) (client.Key, error) { return admin.EnableKey(ctx, name) }, "enabled", nil},
		{"schedule", func(ctx context.Context) (client.Key, error) {
			if _, err := admin.AssessKey(ctx, name); err != nil {
				return client.Key{}, err
			}
			return admin.ScheduleKeyDestruction(ctx, name, 8*24*time.Hour)
		}, "pending-destruction",
			func(k client.Key) bool { return time.Until(k.DestroyAt) > 7*24*time.Hour }},
		{"cancel", func(ctx context.Context) (client.Key, error) { return admin.CancelKeyDestruction(ctx, name) }, "", nil},
		{"describe", func(ctx context.Context) (client.Key, error) { return admin.DescribeKey(ctx, name) }, "",
			func(k client.Key) bool {
				return len(k.Versions) == 2 && k.Versions[0].Version == 2 && !k.CreatedAt.IsZero()
			}},
	}
	for _, step := range steps {
		k, err := step.do(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if step.state != "" && k.State != step.state || step.check != nil && !step.check(k) {
			t.Errorf("%s: got %+v", step.what, k)
		}
	}
	n := 0
	for v, err := range admin.ListVersions(t.Context(), name) {
		if err != nil || v.Version != uint32(2-n) {
			t.Errorf("version %d: got %d, %v", n, v.Version, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("got %d versions, want 2", n)
	}
}

func asError(err error, target **client.Error) bool { return errors.As(err, target) }
