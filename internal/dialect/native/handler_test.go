package native

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// anybody admits every caller.
type anybody struct{}

func (anybody) Authenticate(context.Context, http.Header, *tls.ConnectionState, netip.AddrPort) (*kms.Principal, error) {
	return &kms.Principal{Name: "x", Namespace: kms.DefaultNamespace}, nil
}

// A panic is answered as an internal error; what it was stands in the log alone. Here the engine is missing.
func TestAPanicReachesTheLogAlone(t *testing.T) {
	var log bytes.Buffer
	h := Handler(Config{Authn: anybody{}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, method := range []string{"CryptoService/Encrypt", "CryptoService/ReEncrypt", "CryptoService/EncryptBatch", "KeyService/ListKeys", "OperatorService/GetStatus"} {
		log.Reset()
		body := `{}`
		if strings.HasSuffix(method, "Batch") {
			body = `{"items":[{}]}`
		}
		r := httptest.NewRequest("POST", "/keyhold.v1."+method, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 500 || !strings.Contains(w.Body.String(), "KH2001") || strings.Contains(w.Body.String(), "nil pointer") || strings.Contains(w.Body.String(), "goroutine") {
			t.Errorf("%s: got %d %s", method, w.Code, w.Body)
		}
		if !strings.Contains(log.String(), "nil pointer") || !strings.Contains(log.String(), "request_panicked") {
			t.Errorf("%s: the log says %q", method, log.String())
		}
	}
}

func TestWhatWasReleasedIsErasedWhenItIsWritten(t *testing.T) {
	b := []byte("a plaintext")
	x := &exchange{}
	h := &handler{}
	h.byLibrary(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil), x, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(exchangeOf(r.Context()).keep(secret.Release(b)))
	}))
	if strings.Trim(string(b), "\x00") != "" {
		t.Errorf("still there: %q", b)
	}
}

func TestRequestIDsDiffer(t *testing.T) {
	ids := requestIDs{prefix: "0123abcd-"}
	seen := map[string]bool{}
	for range 1000 {
		id := ids.next()
		if seen[id] || len(id) > maxRequestID {
			t.Fatalf("got %q again", id)
		}
		seen[id] = true
	}
}

// again is a body that can be read again and again.
type again struct{ bytes.Reader }

func (*again) Close() error { return nil }

// What the short path itself costs: reading, scanning, answering, erasing. bench_test.go has whole requests.
func BenchmarkReadAndAnswer(b *testing.B) {
	plaintext := base64.StdEncoding.EncodeToString(make([]byte, 32))
	body := []byte(`{"key":"orders","plaintext":"` + plaintext + `","context":{"order":"17"}}`)
	b.ReportAllocs()
	for b.Loop() {
		q := leanRequests.Get().(*leanRequest) //nolint:errcheck,forcetypeassert // the pool holds nothing else
		r := &http.Request{ContentLength: int64(len(body)), Body: &again{*bytes.NewReader(body)}}
		if rest, err := q.read(r, leanBody); rest || err != nil {
			b.Fatal(err)
		}
		if !q.scan(leanMethods["/keyhold.v1.CryptoService/Encrypt"]) {
			b.Fatal("not read")
		}
		q.write("ciphertext", &leanResult{data: body, key: kms.ID{1}, version: 1})
		q.release()
	}
}
