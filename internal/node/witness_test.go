package node_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/node"
)

// onlooker is a witness that runs.
type onlooker struct {
	opt  node.WitnessOptions
	url  string
	key  string
	http *http.Client
	stop func() error
}

func newOnlooker(t *testing.T, name string, logKeys ...string) *onlooker {
	t.Helper()
	o := &onlooker{opt: node.WitnessOptions{Dir: t.TempDir(), Name: name, Listen: "127.0.0.1:0", LogKeys: logKeys}}
	o.start(t)
	t.Cleanup(func() { _ = o.stop() })
	return o
}

func (o *onlooker) start(t *testing.T) {
	t.Helper()
	ready := make(chan struct{})
	o.opt.Ready = func(at net.Addr, key string) { o.url, o.key = "https://"+at.String(), key; close(ready) }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- node.RunWitness(ctx, o.opt) }()
	select {
	case <-ready:
	case err := <-done:
		cancel()
		t.Fatal(err)
	}
	o.opt.Listen = strings.TrimPrefix(o.url, "https://")
	var once bool
	o.stop = func() error {
		if once {
			return nil
		}
		once = true
		cancel()
		return <-done
	}
	ca, err := os.ReadFile(o.ca())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	o.http = &http.Client{Transport: transport}
}

func (o *onlooker) ca() string { return filepath.Join(o.opt.Dir, "tls", "ca.pem") }

func (o *onlooker) do(t *testing.T, method, path string, body []byte) (status int, answer string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, o.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r, err := o.http.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r.Body)
	if err := errors.Join(err, r.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

func TestAWitnessKeepsItsWordOverRestarts(t *testing.T) {
	private, public, err := note.GenerateKey(rand.Reader, "keyhold.test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(t.TempDir(), "audit-key.txt")
	if err := os.WriteFile(keys, []byte("# pinned\n"+public+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := newOnlooker(t, "witness.example/w1", keys)
	key := o.key
	checkpoint := func(size uint64, root byte) []byte {
		msg, err := tree.Checkpoint{Origin: "keyhold.test/n1/1", Size: size, Root: tree.Hash{root}}.Sign(signer)
		if err != nil {
			t.Fatal(err)
		}
		return (&tree.Extension{Checkpoint: msg}).Text()
	}
	if status, answer := o.do(t, http.MethodPost, "/add-checkpoint", checkpoint(5, 1)); status != http.StatusOK {
		t.Fatalf("got %d %q", status, answer)
	}
	if err := o.stop(); err != nil {
		t.Fatal(err)
	}
	o.start(t)
	if o.key != key {
		t.Errorf("after a restart it is %s, before it was %s", o.key, key)
	}
	if status, answer := o.do(t, http.MethodPost, "/add-checkpoint", checkpoint(6, 2)); status != http.StatusConflict || answer != "5\n" {
		t.Errorf("another history: got %d %q", status, answer)
	}
	status, answer := o.do(t, http.MethodGet, "/checkpoints", nil)
	self, err := tree.ParseWitness(key)
	if err != nil {
		t.Fatal(err)
	}
	if by, err := tree.Cosignatures([]byte(strings.TrimSuffix(answer, "\n")), []*tree.Witness{self}); status != http.StatusOK || err != nil || len(by) != 1 {
		t.Errorf("its checkpoints: got %d %q, %v", status, answer, err)
	}
	if err := o.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(o.opt.Dir, "state")); err != nil {
		t.Fatal(err)
	}
	if err := node.RunWitness(t.Context(), o.opt); kms.CodeOf(err) != kms.CodeBadSetting || !strings.Contains(err.Error(), "no state") {
		t.Errorf("a witness that lost its state: got %v", err)
	}
}

func TestAWitnessSaysWhatItLacks(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]node.WitnessOptions{
		"no name":      {Dir: t.TempDir(), LogKeys: []string{keys}},
		"no directory": {Name: "w", LogKeys: []string{keys}},
		"no log":       {Dir: t.TempDir(), Name: "w"},
		"a wrong key":  {Dir: t.TempDir(), Name: "w", LogKeys: []string{keys}},
		"no such file": {Dir: t.TempDir(), Name: "w", LogKeys: []string{keys + "x"}},
	} {
		if err := node.RunWitness(t.Context(), o); kms.CodeOf(err) != kms.CodeBadSetting {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
