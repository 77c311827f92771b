package node_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/node"
)

// sinkSettings are those of one sink after the other.
func sinkSettings(sinks ...map[string]string) []config.Override {
	var all []config.Override
	for i, s := range sinks {
		for name, value := range s {
			all = append(all, config.Override{Name: fmt.Sprintf("audit.sinks.%d.%s", i, name), Value: value, Flag: "test"})
		}
	}
	return all
}

// httpsServer serves with a certificate of its own, whose file it gives.
func httpsServer(t *testing.T, h http.HandlerFunc) (url, ca string) {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return s.URL, ca
}

func secretFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// One schema: what a sink is sent is, byte for byte, what the command line shows of the same record.
func TestSinksHaveTheRecordsOfTheAPI(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	var mu sync.Mutex
	hooked := make(map[string]string) // by position
	url, ca := httpsServer(t, func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		h := hmac.New(sha256.New, []byte(secret))
		h.Write([]byte(r.Header.Get("Keyhold-Timestamp") + "." + string(body)))
		if got, want := r.Header.Get("Keyhold-Signature"), "v1="+hex.EncodeToString(h.Sum(nil)); got != want {
			t.Errorf("got the signature %s, want %s", got, want)
		}
		mu.Lock()
		defer mu.Unlock()
		for line := range bytes.Lines(body) {
			var rec client.AuditRecord
			if err := json.Unmarshal(line, &rec); err != nil {
				t.Error(err)
			}
			hooked[rec.Position] = strings.TrimSuffix(string(line), "\n")
		}
	})
	archive := t.TempDir()
	r := start(t, t.TempDir(), node.Options{Dev: true}, sinkSettings(
		map[string]string{"name": "hook", "kind": "webhook", "url": url, "ca_file": ca, "secret_file": secretFile(t, secret)},
		map[string]string{"name": "archive", "kind": "directory", "dir": archive, "delay": "0s"},
	)...)
	env := r.env()
	c := r.client(client.Config{Address: env["KEYHOLD_ADDR"], Token: env["KEYHOLD_TOKEN"], CACert: r.file("tls/ca.pem")})
	if _, err := c.CreateKey(t.Context(), client.CreateKeyInput{Name: "k", Algorithm: "aes-256-gcm"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Encrypt(t.Context(), client.EncryptInput{Key: "k", Plaintext: []byte("x"), Context: map[string]string{"a": "<b>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.EncryptBatch(t.Context(), []client.EncryptInput{{Key: "k", Plaintext: []byte("x")}, {Key: "k", Plaintext: []byte("yz")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Encrypt(t.Context(), client.EncryptInput{Key: "absent", Plaintext: []byte("x")}); err == nil {
		t.Fatal("a key that is not there was used")
	}
	listed := 0
	for rec, err := range c.ListRecords(t.Context(), client.AuditFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		listed++
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(rec); err != nil {
			t.Fatal(err)
		}
		want := strings.TrimSuffix(b.String(), "\n")
		got := func() (s string) { mu.Lock(); defer mu.Unlock(); return hooked[rec.Position] }
		for limit := time.Now().Add(30 * time.Second); got() == "" && time.Now().Before(limit); {
			time.Sleep(10 * time.Millisecond)
		}
		if got() != want {
			t.Errorf("record %s:\n got %s\nwant %s", rec.Position, got(), want)
		}
	}
	if listed < 4 {
		t.Errorf("only %d records", listed)
	}
	archived := 0
	for limit := time.Now().Add(30 * time.Second); archived < listed && time.Now().Before(limit); time.Sleep(10 * time.Millisecond) {
		archived = 0
		files, err := filepath.Glob(filepath.Join(archive, "*", "*", "*.ndjson"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			archived += bytes.Count(text, []byte("\n"))
		}
	}
	if archived < listed {
		t.Errorf("the folder has %d records, want %d", archived, listed)
	}
	figures := r.metrics(env)
	for _, want := range []string{
		`keyhold_audit_sink_state{kind="webhook",sink="hook",state="shipping"} 1`, `keyhold_audit_sink_state{kind="webhook",sink="hook",state="failing"} 0`,
		`keyhold_audit_sink_failures_total{kind="directory",sink="archive"} 0`, `keyhold_audit_sink_lag_records{kind="webhook",sink="hook"}`,
	} {
		if !strings.Contains(figures, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// metrics reads them over the local socket.
func (r *running) metrics(env map[string]string) string {
	r.t.Helper()
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", env["KEYHOLD_SOCKET"])
	}}}
	res, err := c.Get("http://keyhold/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

// Nothing of a sink stands in the path of an operation: all of them hang, and operations complete. No clock is asked: were
// one waited for, the test would not end.
func TestOperationsDoNotWaitForSinks(t *testing.T) {
	hung := make(chan string, 3)
	release := make(chan struct{})
	note := func(name string) {
		select {
		case hung <- name:
		default:
		}
	}
	url, ca := httpsServer(t, func(_ http.ResponseWriter, r *http.Request) {
		note("webhook")
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(release) })
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			if _, err := bufio.NewReader(c).ReadByte(); err == nil {
				note("syslog")
			}
		}
	}()
	r := start(t, t.TempDir(), node.Options{Dev: true}, sinkSettings(
		map[string]string{"name": "hook", "kind": "webhook", "url": url, "ca_file": ca, "secret_file": secretFile(t, strings.Repeat("s", 32)), "timeout": "10m"},
		map[string]string{"name": "siem", "kind": "syslog", "address": silent.Addr().String(), "ca_file": ca, "timeout": "10m"},
		map[string]string{"name": "gone", "kind": "directory", "dir": filepath.Join(t.TempDir(), "gone"), "delay": "0s"},
	)...)
	for range 2 {
		<-hung
	}
	env := r.env()
	c := r.client(client.Config{Address: env["KEYHOLD_ADDR"], Token: env["KEYHOLD_TOKEN"], CACert: r.file("tls/ca.pem")})
	if _, err := c.CreateKey(t.Context(), client.CreateKeyInput{Name: "k", Algorithm: "aes-256-gcm"}); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if _, err := c.Encrypt(t.Context(), client.EncryptInput{Key: "k", Plaintext: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	find := func(c *client.Client) client.AuditSink {
		t.Helper()
		st, err := c.Status(t.Context())
		if err != nil || len(st.AuditSinks) != 3 || st.AuditSinks[2].Name != "gone" {
			t.Fatalf("got %+v %v", st.AuditSinks, err)
		}
		return st.AuditSinks[2]
	}
	if got := find(r.local()); got.State != "failing" || !strings.Contains(got.Error, "there is no folder") || got.Lag < 500 || got.Failures == 0 || got.Since.IsZero() {
		t.Errorf("an operator is told %+v", got)
	}
	if got := find(c); got.State != "failing" || got.Error != "" || got.Lag != 0 || got.Position != "" {
		t.Errorf("others are told %+v", got)
	}
	stranger := r.client(client.Config{Address: env["KEYHOLD_ADDR"], CACert: r.file("tls/ca.pem")})
	if st, err := stranger.Status(t.Context()); err != nil || len(st.AuditSinks) != 0 {
		t.Errorf("strangers are told %+v (%v)", st.AuditSinks, err)
	}
	if err := r.stop(); err != nil { // nor does a stop
		t.Error(err)
	}
}
