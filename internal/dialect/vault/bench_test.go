package vault_test

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/vault/vaulttest"
)

// sink is a ResponseWriter that costs nothing.
type sink struct {
	head   http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.head }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(n int)           { s.status = n }

type sentBody struct{ bytes.Reader }

func (*sentBody) Close() error { return nil }

// Whole requests through token, engine and audit log, without the network; native is the same encryption by the native dialect. Most of the time is the log's.
func BenchmarkRequests(b *testing.B) {
	s := vaulttest.Open(b)
	s.Ask(b, s.Admin, "POST", "transit/keys/orders", `{}`)
	s.Ask(b, s.Admin, "POST", "transit/keys/macs", `{"type":"hmac","key_size":32}`)
	plain := fmt.Sprintf(`{"plaintext":"%044d"}`, 0)
	var sealed struct {
		Ciphertext string `json:"ciphertext"`
	}
	s.Ask(b, s.User, "POST", "transit/encrypt/orders", plain).Data(b, &sealed)
	run := func(name string, h http.Handler, path, text string, head http.Header) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32) // the log's group commits are shared, so that what is left is the CPU's
			b.RunParallel(func(pb *testing.PB) {
				first, err := http.NewRequestWithContext(b.Context(), http.MethodPost, path, nil)
				if err != nil {
					b.Error(err)
					return
				}
				first.RemoteAddr, first.Header = "127.0.0.1:4000", head
				for pb.Next() {
					r := *first
					r.ContentLength, r.Body = int64(len(text)), &sentBody{*bytes.NewReader([]byte(text))}
					w := &sink{head: http.Header{}, status: http.StatusOK}
					h.ServeHTTP(w, &r)
					if w.status != http.StatusOK {
						b.Errorf("got %d", w.status)
					}
				}
			})
		})
	}
	head := http.Header{"Content-Type": {"application/json"}, "X-Vault-Token": {s.User}, "X-Vault-Request": {"true"}, "X-Request-Id": {"0123456789abcdef0123456789abcdef"}}
	for _, c := range []struct{ path, text string }{
		{"encrypt/orders", plain},
		{"decrypt/orders", fmt.Sprintf(`{"ciphertext":%q}`, sealed.Ciphertext)},
		{"datakey/plaintext/orders", `{}`},
		{"hmac/macs", fmt.Sprintf(`{"input":"%044d"}`, 0)},
	} {
		run(c.path, s.Vault, "/v1/transit/"+c.path, c.text, head)
	}
	run("native", s.Handler, "/keyhold.v1.CryptoService/Encrypt", fmt.Sprintf(`{"key":"orders","plaintext":"%044d"}`, 0),
		http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + s.User}})
}
