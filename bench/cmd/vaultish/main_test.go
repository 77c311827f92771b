package main

import (
	"bufio"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/bench/internal/api"
	"github.com/keyhold/keyhold/bench/internal/load"
	"github.com/keyhold/keyhold/bench/internal/wire"
)

// The path carries a dialect of this shape: real token, real key, durable record.
func TestEncryptThroughTheRealEngine(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", w)
		w.CloseWithError(io.ErrUnexpectedEOF)
		ended <- err
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	in := bufio.NewReader(r)
	url, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	token, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	s, err := wire.Parse(strings.TrimSpace(url))
	if err != nil {
		t.Fatal(err)
	}
	op, err := api.Find("encrypt-4096")
	if err != nil {
		t.Fatal(err)
	}
	p := load.Plan{Server: s, API: api.Vault{Token: strings.TrimSpace(token)}, Op: op, Conns: 2, Window: 50 * time.Millisecond}
	if got, err := load.Run(t.Context(), p); err != nil || got.Errors > 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	p.API = api.Vault{Token: "kh_wrong"}
	if _, err := load.Run(t.Context(), p); err == nil {
		t.Error("a wrong token is accepted")
	}
	if op, err = api.Find("decrypt-32"); err != nil {
		t.Fatal(err)
	}
	p.API, p.Op = api.Vault{Token: strings.TrimSpace(token)}, op
	if _, err := load.Run(t.Context(), p); err == nil {
		t.Error("what it does not have is answered")
	}
}

// The general decoder takes what the short one does not.
func TestBothDecodersAgree(t *testing.T) {
	for body, want := range map[string]string{
		`{"plaintext":"aGVsbG8="}`: "hello", `{"plaintext": "aGVsbG8="}`: "hello", `{"plaintext":"aGVs\u0062G8="}`: "hello", `{"plaintext":""}`: "", `{}`: "",
	} {
		x := &exchange{body: []byte(body)}
		if err := x.decode(); err != nil || string(x.plain) != want {
			t.Errorf("%s: got %q, %v, want %q", body, x.plain, err, want)
		}
	}
	for _, bad := range []string{"", "{", `{"plaintext":"aGVsbG8="`, `{"plaintext":"*"}`, `{"plaintext":"a","plaintext":"b"}`, `{"plaintext":1}`} {
		x := &exchange{body: []byte(bad)}
		if err := x.decode(); err == nil {
			t.Errorf("%s is accepted as %q", bad, x.plain)
		}
	}
}
