package envelope_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/client/envelope"
	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/node"
)

// server starts a development server and answers a client that may do everything.
func server(t *testing.T) *client.Client {
	t.Helper()
	dir := t.TempDir()
	set, err := config.Load("", nil, config.Override{Name: "data_dir", Value: dir, Flag: "--data"},
		config.Override{Name: "listen", Value: "127.0.0.1:0", Flag: "--listen"}, config.Override{Name: "shutdown.drain", Value: "0s", Flag: "--drain"})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(t.Context(), node.Options{Settings: set, Version: "test", Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	var env []byte
	for deadline := time.Now().Add(30 * time.Second); ; {
		if env, err = os.ReadFile(filepath.Join(dir, "dev.env")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("dev.env did not appear")
		}
		time.Sleep(5 * time.Millisecond)
	}
	values := map[string]string{}
	for line := range strings.Lines(string(env)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[name] = value
	}
	ca, err := os.ReadFile(filepath.Join(dir, "tls", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{Address: values["KEYHOLD_ADDR"], Token: values["KEYHOLD_TOKEN"], CACert: ca})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// A file's life with a real server: encrypt, rotate, decrypt, rewrap; then the old version can go.
func TestAFileOutlivesTheVersionOfItsKey(t *testing.T) {
	c := server(t)
	ctx := t.Context()
	for name, algorithm := range map[string]string{"orders": "aes-256-gcm", "archive": "rsa-3072"} {
		in := client.CreateKeyInput{Name: name, Algorithm: algorithm}
		if algorithm == "rsa-3072" {
			in.Usage = "encrypt"
		}
		if _, err := c.CreateKey(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	key := envelope.KeyholdKey{Client: c, Key: "orders"}
	plaintext := text(300_000)
	file := seal(t, plaintext, envelope.Options{Recipients: []envelope.Recipient{key}, Context: client.Context{"order": "17"}})
	if _, err := c.RotateKey(ctx, "orders"); err != nil {
		t.Fatal(err)
	}
	if got, err := unseal(t, file, with(key)); err != nil || !bytes.Equal(got, plaintext) {
		t.Fatalf("after the rotation: %d bytes, %v", len(got), err)
	}
	if _, err := unseal(t, file, with(envelope.KeyholdKey{Client: c, Key: "archive"})); err == nil {
		t.Error("a file of another key opens although this one was asked for")
	}
	var moved bytes.Buffer
	before, after, err := envelope.Rewrap(ctx, &moved, bytes.NewReader(file), envelope.RewrapOptions{Open: with(key)})
	if err != nil || before.Recipients[0].Version != 1 || after.Recipients[0].Version != 2 || before.Recipients[0].KeyID != after.Recipients[0].KeyID {
		t.Fatalf("got %+v, then %+v, %v", before, after, err)
	}
	if _, err := c.DeactivateVersion(ctx, "orders", 1); err != nil {
		t.Fatal(err)
	}
	if got, err := unseal(t, moved.Bytes(), with(key)); err != nil || !bytes.Equal(got, plaintext) {
		t.Errorf("the rewrapped file without version 1: %d bytes, %v", len(got), err)
	}
	var e *client.Error
	if got, err := unseal(t, file, with(key)); !errors.As(err, &e) || len(got) > 0 {
		t.Errorf("the old file without version 1: %d bytes, %v", len(got), err)
	}

	// What was changed is refused, with one error, by the real server too.
	n := headerSize(t, file)
	for i := 9; i < n; i += 7 {
		bad := bytes.Clone(moved.Bytes())
		bad[i] ^= 1
		if got, err := unseal(t, bad, with(key)); err == nil || len(got) > 0 {
			t.Errorf("byte %d of the header: got %d bytes, %v", i, len(got), err)
		}
	}

	// A cache works with the real server.
	cache, err := envelope.NewCache(c, envelope.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	shared := envelope.KeyholdKey{Cache: cache, Key: "orders"}
	for range 3 {
		if got, err := unseal(t, seal(t, plaintext, envelope.Options{Recipients: []envelope.Recipient{shared}}), with(shared)); err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("with a cache: %d bytes, %v", len(got), err)
		}
	}
	// A key that makes no data keys says so.
	rsa := envelope.Options{Recipients: []envelope.Recipient{envelope.KeyholdKey{Client: c, Key: "archive"}}}
	if _, err := envelope.Encrypt(ctx, &moved, bytes.NewReader(plaintext), rsa); !errors.As(err, &e) || e.Next == "" {
		t.Errorf("with an RSA key: got %v", err)
	}
}
