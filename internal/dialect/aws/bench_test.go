package aws_test

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/aws/awstest"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// sink is a ResponseWriter that costs nothing.
type sink struct {
	head   http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.head }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(n int)           { s.status = n }

type body struct{ bytes.Reader }

func (*body) Close() error { return nil }

// Whole requests through the signature, engine and audit log, without the network; native is the same encryption by the native dialect. Most of the time is the log's.
func BenchmarkRequests(b *testing.B) {
	s := awstest.Open(b)
	out, err := s.Engine.CreateKey(b.Context(), native("alice", kms.RoleAdmin), engine.CreateKeyInput{Name: "orders", Algorithm: kms.AES256GCM})
	if err != nil {
		b.Fatal(err)
	}
	id := out.Key.ID.String()
	var sealed blobs
	s.User.Do(b, "Encrypt", map[string]any{"KeyId": id, "Plaintext": make([]byte, 32)}, &sealed)
	run := func(name string, h http.Handler, make func() *http.Request, text string) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32) // the log's group commits are shared, so that what is left is the CPU's
			b.RunParallel(func(pb *testing.PB) {
				first := make()
				for pb.Next() {
					r := *first
					r.ContentLength, r.Body = int64(len(text)), &body{*bytes.NewReader([]byte(text))}
					w := &sink{head: http.Header{}, status: 200}
					h.ServeHTTP(w, &r)
					if w.status != 200 {
						b.Errorf("got %d", w.status)
					}
				}
			})
		})
	}
	for _, c := range []struct{ operation, text string }{
		{"Encrypt", marshal(b, map[string]any{"KeyId": id, "Plaintext": make([]byte, 32)})},
		{"Decrypt", marshal(b, map[string]any{"CiphertextBlob": sealed.CiphertextBlob})},
		{"GenerateDataKey", marshal(b, map[string]any{"KeyId": id, "KeySpec": "AES_256"})},
	} {
		run(c.operation, s.AWS, func() *http.Request {
			r := s.User.Request(b, c.operation, c.text)
			r.Host, r.RemoteAddr = r.URL.Host, "127.0.0.1:4000"
			r.Header.Set("X-Request-Id", "0123456789abcdef0123456789abcdef")
			return r
		}, c.text)
	}
	run("native", s.Handler, func() *http.Request {
		r, err := http.NewRequest(http.MethodPost, "/keyhold.v1.CryptoService/Encrypt", nil)
		if err != nil {
			b.Fatal(err)
		}
		r.RemoteAddr = "127.0.0.1:4000"
		r.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + s.Server.User}}
		return r
	}, fmt.Sprintf(`{"key":"orders","plaintext":"%044d"}`, 0))
}
