package server

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
)

// TestAMountRefusesInItsOwnForm: whatever keeps a request from its handler, the mount's own clients can read it.
func TestAMountRefusesInItsOwnForm(t *testing.T) {
	s := &Server{set: (&site{t: t, dir: t.TempDir()}).settings(), metrics: NewMetrics("x"), log: slog.New(slog.DiscardHandler)}
	m := s.metrics.mount("own")
	m.refuse = func(w http.ResponseWriter, err *kms.Error) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, err.Code.String())
	}
	ask := func(h http.HandlerFunc, size int64) *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(nil))
		r.ContentLength = size
		s.guard(m, h).ServeHTTP(w, r)
		return w
	}
	fine := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }
	if w := ask(fine, 0); w.Code != http.StatusOK {
		t.Fatalf("got %d", w.Code)
	}
	large := ask(fine, s.set.Limits.RequestBytes+1)
	panicked := ask(func(http.ResponseWriter, *http.Request) { panic("PLANTED") }, 0)
	s.inFlight.Store(int64(s.set.Limits.Requests))
	busy := ask(fine, 0)
	for code, w := range map[kms.Code]*httptest.ResponseRecorder{kms.CodeTooLarge: large, kms.CodeInternal: panicked, kms.CodeBusy: busy} {
		if w.Code != http.StatusTeapot || w.Body.String() != code.String() {
			t.Errorf("%s: got %d %q", code, w.Code, w.Body)
		}
	}
	if busy.Header().Get("Retry-After") == "" {
		t.Error("nobody is told when to try again")
	}
}
