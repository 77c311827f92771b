package node_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/node"
)

// running is a node under test.
type running struct {
	t    *testing.T
	dir  string
	n    *node.Node
	stop func() error
}

func start(t *testing.T, dir string, opt node.Options, more ...config.Override) *running {
	t.Helper()
	r, err := try(t, dir, opt, more...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func try(t *testing.T, dir string, opt node.Options, more ...config.Override) (*running, error) {
	t.Helper()
	set, err := config.Load("", nil, append([]config.Override{{Name: "data_dir", Value: dir, Flag: "--data"},
		{Name: "listen", Value: "127.0.0.1:0", Flag: "--listen"}, {Name: "shutdown.drain", Value: "0s", Flag: "--drain"}}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	opt.Settings = set
	opt.Version = "test"
	n, err := node.Open(t.Context(), opt)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	r := &running{t: t, dir: dir, n: n}
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	if opt.Dev {
		deadline := time.Now().Add(30 * time.Second)
		for {
			if _, err := os.Stat(filepath.Join(dir, "dev.env")); err == nil {
				return r, nil
			}
			select {
			case err := <-done:
				done <- err
				return nil, err
			case <-time.After(10 * time.Millisecond):
			}
			if time.Now().After(deadline) {
				t.Fatal("dev.env did not appear")
			}
		}
	}
	return r, nil
}

// env reads dev.env.
func (r *running) env() map[string]string {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, "dev.env"))
	if err != nil {
		r.t.Fatal(err)
	}
	env := map[string]string{}
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok || strings.ContainsAny(value, " \"'$") {
			r.t.Fatalf("dev.env has a line that is not plain: %q", line)
		}
		env[name] = value
	}
	return env
}

func (r *running) client(cfg client.Config) *client.Client {
	r.t.Helper()
	if cfg.Address == "" {
		cfg.Address = "https://" + r.n.Addresses()[0].String()
		cfg.CACert = r.file("tls/ca.pem")
	}
	c, err := client.New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return c
}

func (r *running) file(name string) []byte {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func (r *running) local() *client.Client {
	return r.client(client.Config{Address: "unix://" + filepath.Join(r.dir, "keyhold.sock")})
}

func wantCode(t *testing.T, err error, want kms.Code) {
	t.Helper()
	var e *client.Error
	if want == 0 && err == nil {
		return
	}
	if !errors.As(err, &e) || e.Code != want.String() {
		t.Fatalf("got %v, want %v", err, want)
	}
}

// The contract of a development server: ready when dev.env is there, everything with one token, the same directory again.
func TestADevelopmentServerKeepsItsContract(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, node.Options{Dev: true})
	info, err := os.Stat(filepath.Join(dir, "dev.env"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("dev.env: %v %v", info.Mode(), err)
	}
	env := r.env()
	c := r.client(client.Config{Address: env["KEYHOLD_ADDR"], Token: env["KEYHOLD_TOKEN"], CACert: r.file("tls/ca.pem")})
	if _, err := c.CreateKey(t.Context(), client.CreateKeyInput{Name: "k", Algorithm: "aes-256-gcm"}); err != nil {
		t.Fatal(err)
	}
	sealed, err := c.Encrypt(t.Context(), client.EncryptInput{Key: "k", Plaintext: []byte("hello")})
	if err != nil {
		t.Fatal(err)
	}
	for what, do := range map[string]func() error{
		"rotate":     func() error { _, err := c.RotateKey(t.Context(), "k"); return err },
		"roll epoch": func() error { _, err := c.RollEpoch(t.Context()); return err },
		"check":      func() error { _, err := c.CheckStore(t.Context()); return err },
		"policy": func() error {
			_, err := c.PutPolicy(t.Context(), "p", `permit (principal == Principal::"x", action, resource);`)
			return err
		},
		"token": func() error {
			_, err := c.CreateToken(t.Context(), client.CreateTokenInput{Principal: "x"})
			return err
		},
	} {
		if err := do(); err != nil {
			t.Errorf("%s with the one token: %v", what, err)
		}
	}
	if _, err := try(t, dir, node.Options{Dev: true}); kms.CodeOf(err) != kms.CodeStoreInUse {
		t.Fatalf("a second server on the directory: %v", err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}

	again := start(t, dir, node.Options{Dev: true})
	env2 := again.env()
	c2 := again.client(client.Config{Address: env2["KEYHOLD_ADDR"], Token: env2["KEYHOLD_TOKEN"], CACert: r.file("tls/ca.pem")})
	got, err := c2.Decrypt(t.Context(), client.DecryptInput{Ciphertext: sealed.Ciphertext})
	if err != nil || string(got.Plaintext) != "hello" {
		t.Fatalf("after a restart: %q %v", got.Plaintext, err)
	}
	old := again.client(client.Config{Address: env2["KEYHOLD_ADDR"], Token: env["KEYHOLD_TOKEN"], CACert: r.file("tls/ca.pem")})
	if _, err = old.WhoAmI(t.Context()); err != nil {
		t.Errorf("with the token of the start before: %v", err)
	}
	for _, name := range []string{"AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL_STS", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"} {
		if env2[name] == "" {
			t.Errorf("dev.env has no %s", name)
		}
	}
	if err := again.stop(); err != nil {
		t.Fatal(err)
	}

	// Of many starts, a few credentials stand.
	for range 4 {
		again = start(t, dir, node.Options{Dev: true})
		env2 = again.env()
		if err := again.stop(); err != nil {
			t.Fatal(err)
		}
	}
	again = start(t, dir, node.Options{Dev: true})
	env3 := again.env()
	c3 := again.client(client.Config{Address: env3["KEYHOLD_ADDR"], Token: env3["KEYHOLD_TOKEN"], CACert: r.file("tls/ca.pem")})
	standing := map[string]bool{}
	for k, err := range c3.ListAccessKeys(t.Context(), "dev") {
		if err != nil {
			t.Fatal(err)
		}
		if k.RevokedAt.IsZero() {
			standing[k.ID] = true
		}
	}
	if len(standing) != 4 || !standing[env3["AWS_ACCESS_KEY_ID"]] || !standing[env2["AWS_ACCESS_KEY_ID"]] || standing[env["AWS_ACCESS_KEY_ID"]] {
		t.Errorf("got access keys %v, want those of the four newest starts", standing)
	}
	oldest := again.client(client.Config{Address: env3["KEYHOLD_ADDR"], Token: env["KEYHOLD_TOKEN"], CACert: r.file("tls/ca.pem")})
	_, err = oldest.WhoAmI(t.Context())
	wantCode(t, err, kms.CodeUnauthenticated)
	if err := again.stop(); err != nil {
		t.Fatal(err)
	}

	// Marked for ever: a production server does not open it.
	prod := start(t, dir, node.Options{})
	_, err = prod.local().UnsealShare(t.Context(), string(bytes.TrimSpace(prod.file("shares/share-1.txt"))))
	wantCode(t, err, kms.CodeDevelopmentStore)
}

func TestADevelopmentServerListensOnLoopbackOnly(t *testing.T) {
	for at, want := range map[string]bool{"127.0.0.1:0": true, "localhost:7443": true, "[::1]:7443": true, "0.0.0.0:7443": false, ":7443": false, "192.0.2.1:7443": false, "keyhold.example:7443": false} {
		if got := node.CheckDev([]string{at}) == nil; got != want {
			t.Errorf("%s: got %v, want %v", at, got, want)
		}
	}
}

// The whole ceremony of a production server: init over the local socket, unseal with shares, enrol, first tokens.
func TestAProductionServerFromInitToFirstUse(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, node.Options{})
	remote, local := r.client(client.Config{}), r.local()
	_, err := remote.Init(t.Context(), client.InitInput{Shares: 5, Threshold: 3, KeyFile: bytes.Repeat([]byte{9}, 32)})
	wantCode(t, err, kms.CodeOnlyLocal)
	_, err = local.Init(t.Context(), client.InitInput{Shares: 5, Threshold: 3})
	wantCode(t, err, kms.CodeBadRequest)
	out, err := local.Init(t.Context(), client.InitInput{Shares: 5, Threshold: 3, KeyFile: bytes.Repeat([]byte{9}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Shares) != 5 || out.Enrollment.Code == "" || !strings.HasPrefix(out.AuditKey, "keyhold.") {
		t.Fatalf("init answered %d shares, key %q", len(out.Shares), out.AuditKey)
	}
	_, err = remote.Encrypt(t.Context(), client.EncryptInput{Key: "k", Plaintext: []byte("x")})
	wantCode(t, err, kms.CodeSealed)
	for i, s := range out.Shares[1:4] {
		st, err := remote.UnsealShare(t.Context(), s) // custodians need not be on the machine
		if err != nil || st.Sealed != (i < 2) {
			t.Fatalf("share %d: %+v %v", i, st, err)
		}
	}
	tok, err := remote.Enroll(t.Context(), out.Enrollment.Code, "ops")
	if err != nil {
		t.Fatal(err)
	}
	_, err = remote.Enroll(t.Context(), out.Enrollment.Code, "ops")
	wantCode(t, err, kms.CodeUnauthenticated)

	ops := r.client(client.Config{Token: tok.Secret, Namespace: "default"})
	admin, err := ops.CreateToken(t.Context(), client.CreateTokenInput{Principal: "alice", Roles: []string{"admin"}})
	if err != nil {
		t.Fatal(err)
	}
	user, err := ops.CreateToken(t.Context(), client.CreateTokenInput{Principal: "svc", Roles: []string{"user"}})
	if err != nil {
		t.Fatal(err)
	}
	alice, svc := r.client(client.Config{Token: admin.Secret}), r.client(client.Config{Token: user.Secret})
	if _, err := alice.CreateKey(t.Context(), client.CreateKeyInput{Name: "k", Algorithm: "aes-256-gcm"}); err != nil {
		t.Fatal(err)
	}
	_, err = alice.Encrypt(t.Context(), client.EncryptInput{Key: "k", Plaintext: []byte("x")})
	wantCode(t, err, kms.CodeDenied)
	c, err := svc.Encrypt(t.Context(), client.EncryptInput{Key: "k", Plaintext: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = svc.CreateKey(t.Context(), client.CreateKeyInput{Name: "k2", Algorithm: "aes-256-gcm"})
	wantCode(t, err, kms.CodeDenied)
	if _, err := alice.RevokeToken(t.Context(), user.Token.ID); err != nil {
		t.Fatal(err)
	}
	_, err = svc.Decrypt(t.Context(), client.DecryptInput{Ciphertext: c.Ciphertext})
	wantCode(t, err, kms.CodeUnauthenticated)

	st, err := ops.RotateRoot(t.Context())
	if err != nil || st.RootGeneration != 2 {
		t.Fatalf("root rotation: %+v %v", st, err)
	}
	if _, err := ops.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = alice.DescribeKey(t.Context(), "k")
	wantCode(t, err, kms.CodeSealed)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	again := start(t, dir, node.Options{})
	for _, s := range out.Shares[:3] {
		if _, err := again.local().UnsealShare(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	alice = again.client(client.Config{Token: admin.Secret})
	if k, err := alice.DescribeKey(t.Context(), "k"); err != nil || k.Name != "k" {
		t.Fatalf("after seal, rotation and restart: %+v %v", k, err)
	}
}
