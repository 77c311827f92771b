package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/dialect/native/nativetest"
)

// stage is what a server for an example needs of a test.
type stage struct {
	testing.TB
	cleanup []func()
}

func (s *stage) Helper()                  {}
func (s *stage) Context() context.Context { return context.Background() }
func (s *stage) Fatal(args ...any)        { panic(fmt.Sprint(args...)) }
func (s *stage) Cleanup(f func())         { s.cleanup = append(s.cleanup, f) }
func (s *stage) TempDir() string {
	dir, err := os.MkdirTemp("", "keyhold-example")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// demo starts a server with the key "orders" and sets the environment of a client that may use it.
func demo() func() {
	s := &stage{}
	srv := nativetest.Open(s)
	admin, err := client.New(client.Config{Address: srv.URL, Token: srv.Admin, CACert: srv.CA})
	if err != nil {
		s.Fatal(err)
	}
	for name, algorithm := range map[string]string{"orders": "aes-256-gcm", "releases": "ed25519"} {
		if _, err := admin.CreateKey(s.Context(), client.CreateKeyInput{Name: name, Algorithm: algorithm}); err != nil {
			s.Fatal(err)
		}
	}
	ca := s.TempDir() + "/ca.pem"
	if err := os.WriteFile(ca, srv.CA, 0o600); err != nil {
		s.Fatal(err)
	}
	for name, value := range map[string]string{"KEYHOLD_ADDR": srv.URL, "KEYHOLD_TOKEN": srv.User, "KEYHOLD_CACERT": ca} {
		if err := os.Setenv(name, value); err != nil {
			s.Fatal(err)
		}
		s.Cleanup(func() { _ = os.Unsetenv(name) })
	}
	return func() {
		for i := len(s.cleanup) - 1; i >= 0; i-- {
			s.cleanup[i]()
		}
	}
}

func Example() {
	defer demo()()
	ctx := context.Background()

	c, err := client.FromEnv() // KEYHOLD_ADDR, KEYHOLD_TOKEN, KEYHOLD_CACERT
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	sealed, err := c.Encrypt(ctx, client.EncryptInput{Key: "orders", Plaintext: []byte("4111 1111 1111 1111"), Context: client.Context{"order": "17"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	opened, err := c.Decrypt(ctx, client.DecryptInput{Ciphertext: sealed.Ciphertext, Context: client.Context{"order": "17"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", opened.Plaintext)
	// Output: 4111 1111 1111 1111
}

func ExampleClient_EncryptBatch() {
	defer demo()()
	c, err := client.FromEnv()
	if err != nil {
		fmt.Println(err)
		return
	}
	results, err := c.EncryptBatch(context.Background(), []client.EncryptInput{
		{Key: "orders", Plaintext: []byte("one")},
		{Key: "nosuch", Plaintext: []byte("two")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, r := range results {
		fmt.Printf("%d %q\n", i, client.CodeOf(r.Err))
	}
	// Output:
	// 0 ""
	// 1 "KH1301"
}

func ExampleClient_Verify() {
	defer demo()()
	ctx := context.Background()
	c, err := client.FromEnv()
	if err != nil {
		fmt.Println(err)
		return
	}
	signed, err := c.Sign(ctx, client.SignInput{Key: "releases", Message: []byte("v1.2.3")})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = c.Verify(ctx, client.VerifyInput{Key: "releases", Message: []byte("v1.2.4"), Signature: signed.Signature})
	fmt.Println(client.CodeOf(err) == client.CodeBadSignature)
	// Output: true
}

func ExampleClient_ListKeys() {
	defer demo()()
	c, err := client.FromEnv()
	if err != nil {
		fmt.Println(err)
		return
	}
	for key, err := range c.ListKeys(context.Background(), client.KeyFilter{Usage: "encrypt"}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(key.Name, key.Algorithm, key.State)
	}
	// Output: orders aes-256-gcm enabled
}

func ExampleError() {
	defer demo()()
	cfg, err := client.ConfigFromEnv()
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg.Timeout = 5 * time.Second
	c, err := client.New(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = c.DescribeKey(context.Background(), "nosuch")
	var e *client.Error
	if errors.As(err, &e) {
		fmt.Println(e.Code, e.Title)
		fmt.Println(e.Next)
	}
	// Output:
	// KH1301 key not found
	// keyhold key list shows the keys you may see
}
