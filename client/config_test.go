package client_test

import (
	"crypto/tls"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/dialect/native/nativetest"
)

func TestWrongConfigurationsAreRefusedWithTheRightForm(t *testing.T) {
	for _, test := range []struct {
		cfg  client.Config
		want string
	}{
		{client.Config{Address: "http://127.0.0.1:7443"}, "not protected by TLS"},
		{client.Config{Address: "127.0.0.1:7443"}, "https://127.0.0.1:7443"},
		{client.Config{Address: "https://"}, "https://127.0.0.1:7443"},
		{client.Config{Address: "https://user@host"}, "https://127.0.0.1:7443"},
		{client.Config{Address: "https://host/path"}, "https://127.0.0.1:7443"},
		{client.Config{Address: "unix://relative"}, "unix:///path"},
		{client.Config{Address: "https://host", CACert: []byte("nonsense")}, "PEM"},
		{client.Config{Address: "https://host", CACert: []byte("x"), TLS: &tls.Config{MinVersion: tls.VersionTLS13}}, "one or the other"},
	} {
		if _, err := client.New(test.cfg); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got %v, want %q", test.cfg.Address, err, test.want)
		}
	}
	for _, address := range []string{"", "https://host", "https://host:1/", "unix:///run/keyhold.sock"} {
		if _, err := client.New(client.Config{Address: address}); err != nil {
			t.Errorf("%q: got %v", address, err)
		}
	}
}

func TestTheEnvironmentMakesAClient(t *testing.T) {
	s := nativetest.Open(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KEYHOLD_ADDR", s.URL)
	t.Setenv("KEYHOLD_TOKEN", s.User)
	t.Setenv("KEYHOLD_CACERT", ca)
	t.Setenv("KEYHOLD_NAMESPACE", "default")
	c, err := client.FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	me, err := c.WhoAmI(t.Context())
	if err != nil || me.Principal != "svc/orders" || me.Namespace != "default" || me.Method != "token" || len(me.Roles) != 1 || me.ExpiresAt.IsZero() {
		t.Errorf("got %+v, %v", me, err)
	}
	if me, err := c.InNamespace("elsewhere").WhoAmI(t.Context()); err == nil && me.Namespace != "elsewhere" {
		t.Errorf("got %+v", me)
	}
	t.Setenv("KEYHOLD_CLIENT_CERT", ca)
	if _, err := client.FromEnv(); err == nil || !strings.Contains(err.Error(), "KEYHOLD_CLIENT_KEY") {
		t.Errorf("a certificate without its key: got %v", err)
	}
	t.Setenv("KEYHOLD_CLIENT_CERT", "")
	t.Setenv("KEYHOLD_CACERT", filepath.Join(t.TempDir(), "nosuch"))
	if _, err := client.FromEnv(); err == nil || !strings.Contains(err.Error(), "KEYHOLD_CACERT") {
		t.Errorf("no such file: got %v", err)
	}
}

// Whoever imports the client gets nothing of the server.
func TestTheClientImportsNothingInternal(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range parsed.Imports {
			if strings.Contains(i.Path.Value, "/internal/") {
				t.Errorf("%s imports %s", f, i.Path.Value)
			}
		}
	}
}
