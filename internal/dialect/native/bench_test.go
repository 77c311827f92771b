package native_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/native/nativetest"
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

// Whole requests through authentication, engine and audit log, without the network: by the short path and by the codec.
// Most of the time is the log's.
func BenchmarkEncrypt(b *testing.B) {
	s := nativetest.Open(b)
	if status, _, text := ask(b, s, "KeyService/CreateKey", s.Admin, `{"name":"orders","algorithm":"aes-256-gcm"}`); status != 200 {
		b.Fatal(text)
	}
	for _, size := range []int{32, 4096} {
		text := []byte(`{"key":"orders","plaintext":"` + base64.StdEncoding.EncodeToString(make([]byte, size)) + `"}`)
		for _, path := range []struct{ name, contentType string }{{"short", "application/json"}, {"codec", "application/json; charset=utf-8"}} {
			b.Run(fmt.Sprintf("%s/%d", path.name, size), func(b *testing.B) {
				b.ReportAllocs()
				b.SetParallelism(32) // the log's group commits are shared, so that what is left is the CPU's
				b.RunParallel(func(pb *testing.PB) {
					r, err := http.NewRequest(http.MethodPost, "/keyhold.v1.CryptoService/Encrypt", nil)
					if err != nil {
						b.Error(err)
						return
					}
					r.RemoteAddr = "127.0.0.1:4000"
					for pb.Next() {
						r.Header = http.Header{"Content-Type": {path.contentType}, "Authorization": {"Bearer " + s.User}}
						r.ContentLength, r.Body = int64(len(text)), &body{*bytes.NewReader(text)}
						w := &sink{head: http.Header{}, status: 200}
						s.Handler.ServeHTTP(w, r)
						if w.status != 200 {
							b.Errorf("got %d", w.status)
						}
					}
				})
			})
		}
	}
}
