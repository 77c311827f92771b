package server

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// RequestIDHeader carries the id of a request, to the handlers and back to the client.
const RequestIDHeader = "X-Request-Id"

const (
	maxRequestID = 64   // bytes of an id that a client chose; kms.Call takes no more
	maxStack     = 8192 // bytes of a stack in the log
	busyRetryMS  = 1000
)

// routes is what the ordinary listeners and the local socket serve.
func (s *Server) routes() (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("/health", s.health)
	mux.HandleFunc("/health/live", s.live)
	mux.Handle("/metrics", s.guard(s.metrics.mount("metrics"), s.serveMetrics(s.metrics.handler())))
	var services prefixes
	for _, m := range s.cfg.Mounts {
		of := s.metrics.mount(m.Name)
		of.refuse = m.Refuse
		h := s.guard(of, m.Handler)
		for _, at := range m.At {
			if byPrefix(at) {
				services = append(services, prefix{at, h})
			} else if err := handle(mux, at, h); err != nil {
				return nil, fmt.Errorf("mount %s: %w", m.Name, err)
			}
		}
	}
	mux.Handle("/", s.guard(s.metrics.mount("none"), http.HandlerFunc(s.nothingHere)))
	return s.front(services.before(mux)), nil
}

// byPrefix tells whether a mount is by the beginning of a path.
func byPrefix(at string) bool {
	return strings.HasPrefix(at, "/") && len(at) > 1 && (strings.HasSuffix(at, ".") || strings.HasSuffix(at, "/"))
}

// prefixes are mounts by the beginning of a path. http.ServeMux has that for whole segments only, and redirects where an empty one is in the path.
type prefixes []prefix

type prefix struct {
	at      string
	handler http.Handler
}

func (ps prefixes) before(next http.Handler) http.Handler {
	if len(ps) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := range ps {
			if strings.HasPrefix(r.URL.Path, ps[i].at) {
				ps[i].handler.ServeHTTP(w, r)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// observerRoutes is what the metrics' own listener serves.
func (s *Server) observerRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/health", s.health)
	mux.HandleFunc("/health/live", s.live)
	mux.Handle("/metrics", s.guard(s.metrics.mount("observer"), s.metrics.handler()))
	return s.front(mux)
}

// handle mounts a handler; http.ServeMux panics where patterns clash, which is an error of whoever lists the parts.
func handle(mux *http.ServeMux, at string, h http.Handler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("pattern %q: %v", at, p)
		}
	}()
	mux.Handle(at, h)
	return nil
}

func (s *Server) nothingHere(w http.ResponseWriter, r *http.Request) {
	writeError(w, r, kms.Errorf(kms.CodeNotFound, "nothing is served at this path"))
}

// front is what every request passes first: a request id, and the end of its connection while the server stops.
func (s *Server) front(next http.Handler) http.Handler {
	noStore := []string{"no-store"} // answers hold keys and plaintext; a handler may set another
	last := []string{"close"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.serving.Add(1)
		defer s.serving.Add(-1)
		h := w.Header()
		id := r.Header[RequestIDHeader]
		if len(id) != 1 || !sane(id[0]) {
			id = []string{newRequestID()}
			r.Header[RequestIDHeader] = id
		}
		h[RequestIDHeader] = id
		h["Cache-Control"] = noStore
		if s.draining.Load() {
			h["Connection"] = last // HTTP/2: GOAWAY, RFC 9113 §6.8
		}
		next.ServeHTTP(w, r)
	})
}

// guard limits how many requests are served at the same time and how large they are, takes the time, and keeps a panic
// from crossing the wire.
func (s *Server) guard(m *mounted, next http.Handler) http.Handler {
	most, maxBody := int64(s.set.Limits.Requests), s.set.Limits.RequestBytes
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		n := s.inFlight.Add(1)
		out := &answer{ResponseWriter: w}
		defer func() {
			s.inFlight.Add(-1)
			if p := recover(); p != nil {
				s.panicked(m, out, r, p)
			}
			m.done(out.status, time.Since(began))
		}()
		switch {
		case n > most:
			err := kms.Errorf(kms.CodeBusy, "the server is serving %d requests, its limit", most)
			err.RetryMS = busyRetryMS
			m.answer(out, r, err)
			return
		case r.ContentLength > maxBody:
			m.answer(out, r, kms.Errorf(kms.CodeTooLarge, "the request has %d bytes, the limit is %d", r.ContentLength, maxBody))
			return
		case r.ContentLength < 0: // not told beforehand
			r.Body = http.MaxBytesReader(out, r.Body, maxBody)
		}
		next.ServeHTTP(out, r)
	})
}

// panicked answers a request whose handler panicked: an internal error if nothing was written yet, else the end of the
// connection, so that half an answer is not taken for a whole one.
func (s *Server) panicked(m *mounted, w *answer, r *http.Request, p any) {
	if p == http.ErrAbortHandler { //nolint:errorlint,err113 // net/http compares it like this
		panic(p)
	}
	s.metrics.panics.Add(1)
	stack := debug.Stack()
	s.log.Error("handler panicked", "request_id", r.Header.Get(RequestIDHeader), "panic", fmt.Sprintf("%T", p), "stack", string(stack[:min(len(stack), maxStack)]))
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	m.answer(w, r, kms.Errorf(kms.CodeInternal, "the server failed to carry out the request"))
}

// answer answers an error in the form that the mount's callers know.
func (m *mounted) answer(w http.ResponseWriter, r *http.Request, err *kms.Error) {
	if m.refuse == nil {
		writeError(w, r, err)
		return
	}
	retryAfter(w, err)
	m.refuse(w, err)
}

// answer remembers the status of an answer.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 { // 1xx are not the answer yet
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Flush is http.Flusher, which streaming handlers look for.
func (a *answer) Flush() {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	_ = http.NewResponseController(a.ResponseWriter).Flush() // a connection that ended shows at the next write
}

// Unwrap is for http.ResponseController: deadlines, full duplex.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// sane tells whether a client's request id can go into logs and records as it is.
func sane(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}

// newRequestID makes 32 hexadecimal digits. They correlate, they protect nothing: a fast generator is good enough.
func newRequestID() string {
	var b [16]byte
	for i, n := range [2]uint64{rand.Uint64(), rand.Uint64()} { //nolint:gosec // G404: see above
		for j := range 8 {
			b[i*8+j] = byte(n >> (8 * j))
		}
	}
	return hex.EncodeToString(b[:])
}
