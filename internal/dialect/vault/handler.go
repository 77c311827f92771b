package vault

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// Limits, in bytes.
const (
	maxBody = 8 << 20  // of a request: a whole batch of the engine's (4 MiB), in base64
	kept    = 64 << 10 // of a buffer that is kept for other requests
)

// Authenticator knows tokens; *authn.Authenticator is the real one.
type Authenticator interface {
	Token(ctx context.Context, text string, remote netip.AddrPort) (*kms.Principal, error)
	// Known does the same for a token that the caller asks about and does not come with.
	Known(ctx context.Context, text string, remote netip.AddrPort) (*kms.Principal, error)
	// Authenticate knows who comes over the local socket, without headers and TLS.
	Authenticate(ctx context.Context, h http.Header, state *tls.ConnectionState, remote netip.AddrPort) (*kms.Principal, error)
	// Attempt has a login tried, and counts it if it proves nothing.
	Attempt(of string, remote netip.AddrPort, do func() error) error
}

// Config is what a handler is made of.
type Config struct {
	Engine *engine.Engine
	Authn  Authenticator
	Mounts []string     // where transit is, without slashes around; nil: "transit"
	KV     []string     // where secrets are, in the same form; nil: nowhere
	Logger *slog.Logger // for panics. nil: none
}

// handler answers requests.
type handler struct {
	engine *engine.Engine
	authn  Authenticator
	mounts []string
	kv     []string
	index  index
	log    *slog.Logger
}

// Handler answers the Vault dialect below /v1/.
func Handler(cfg Config) http.Handler {
	h := &handler{engine: cfg.Engine, authn: cfg.Authn, mounts: cfg.Mounts, kv: cfg.KV, index: indexed(routes), log: cfg.Logger}
	if len(h.mounts) == 0 {
		h.mounts = []string{defaultMount}
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	return h
}

// exchange is one request under way.
type exchange struct {
	*handler
	r     *http.Request
	call  kms.Call
	token string // as it was presented; empty: the route needs none
	place place
	in    fields
	items batch

	j     decoder
	e     encoder
	body  []byte
	plain []byte // what base64 held; it never grows, so that slices of it stay good

	status   int // of the answer
	warnings []string
	auth     []byte // the member "auth" of the answer; empty: null
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// release erases what was read and what was released, and keeps the buffers.
func (x *exchange) release() {
	x.e.erase()
	clear(x.in)
	clear(x.auth[:cap(x.auth)])
	body, plain, out, in, held := erased(x.body), erased(x.plain), erased(x.e.b), x.in[:0], x.e.out[:0]
	x.j.read(nil) // it lets go of the body, and keeps its room for names
	*x = exchange{body: body, plain: plain, in: in, j: x.j, e: encoder{b: out, out: held}}
	exchanges.Put(x)
}

func erased(b []byte) []byte {
	b = b[:cap(b)]
	clear(b)
	if cap(b) > kept {
		return nil
	}
	return b[:0]
}

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchanges.Get().(*exchange) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	x.handler, x.r, x.status = h, r, http.StatusOK
	defer x.release()
	defer x.recovered(w)
	x.call = kms.Call{Dialect: kms.DialectVault, RequestID: requestID(r)}
	x.call.Remote, _ = netip.ParseAddrPort(r.RemoteAddr) // of the local socket: left invalid
	if f := x.serve(r.Context()); f != nil {
		f.write(w)
		return
	}
	if x.status == http.StatusNoContent {
		w.WriteHeader(x.status)
		return
	}
	send(w, x.status, x.e.b)
}

// requestID is the id that the listener gave the request, or a new one.
func requestID(r *http.Request) string {
	if id := r.Header["X-Request-Id"]; len(id) == 1 && id[0] != "" {
		return id[0]
	}
	return rand.Text()
}

var contentType = []string{"application/json"}

func send(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = contentType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a caller that is gone cannot be told
}

// serve carries a request out and leaves the answer in the encoder.
func (x *exchange) serve(ctx context.Context) *fault {
	method, f := methodOf(x.r)
	if f != nil {
		return f
	}
	p, f := x.locate(x.r.URL.Path)
	if f != nil {
		return f
	}
	x.place = p
	if f := x.enterAuth(ctx, method); f != nil {
		return f
	}
	rt, allowed := x.find(&x.place, method)
	if (rt == nil || !rt.open) && x.call.Principal == nil {
		if f := x.identify(ctx); f != nil {
			return f
		}
	}
	switch {
	case rt == nil && allowed:
		return wrongMethod(method, x.r)
	case rt == nil:
		return noRoute(p.path)
	case rt.run == nil:
		return newFault(http.StatusMethodNotAllowed, unsupported, rt.how)
	}
	ttl, f := x.wrapTTL(rt)
	if f != nil {
		return f
	}
	if method == http.MethodPatch && x.r.Header.Get("Content-Type") != mergePatch {
		return wrongMethod(method, x.r)
	}
	if method == http.MethodPost || method == http.MethodPatch {
		if f := x.read(x.r); f != nil {
			return f
		}
		if x.in, f = x.j.object(x.body, x.in[:0]); f != nil {
			return f
		}
	}
	if rt.bare {
		return rt.run(x, ctx)
	}
	x.e.envelope(x.call.RequestID)
	if f := rt.run(x, ctx); f != nil || x.status == http.StatusNoContent {
		return f
	}
	x.e.finish(rt.echo, x.warnings, x.auth)
	if ttl > 0 && x.status == http.StatusOK {
		return x.wrap(ctx, ttl)
	}
	return nil
}

// methodOf is what a method stands for: PUT for POST, and a GET of a list for LIST.
func methodOf(r *http.Request) (string, *fault) {
	switch r.Method {
	case http.MethodPut, http.MethodPost:
		return http.MethodPost, nil
	case http.MethodGet:
		if r.URL.RawQuery != "" && r.URL.Query().Get("list") == "true" {
			return methodList, nil
		}
		return r.Method, nil
	case http.MethodHead, http.MethodDelete, methodList, http.MethodPatch:
		return r.Method, nil
	}
	return "", &fault{status: http.StatusMethodNotAllowed}
}

const methodList = "LIST"

// mergePatch is the one content type that matters (RFC 7396 §4).
const mergePatch = "application/merge-patch+json"

// wrongMethod refuses a method that a path does not have.
func wrongMethod(method string, r *http.Request) *fault {
	if kind := r.Header.Get("Content-Type"); method == http.MethodPatch && kind != mergePatch {
		return newFault(http.StatusUnsupportedMediaType, "PATCH requires Content-Type of "+mergePatch+", provided "+clip(kind))
	}
	return newFault(http.StatusMethodNotAllowed, unsupported)
}

// identify finds out whose token the request carries, and for which namespace it is. A sealed server knows no tokens: it says that.
func (x *exchange) identify(ctx context.Context) *fault {
	return x.identifyAs(ctx, tokenOf(x.r.Header))
}

func (x *exchange) identifyAs(ctx context.Context, token string) *fault {
	x.token = token
	p, err := x.authn.Token(ctx, x.token, x.call.Remote)
	if err != nil {
		if why := x.engine.Health(); why != nil {
			switch why.Code {
			case kms.CodeSealed, kms.CodeNotInitialised, kms.CodeStopping:
				err = why
			}
		}
		return faultOf(err)
	}
	x.call.Principal = p
	return x.enterNamespace(p.Namespace)
}

// enterNamespace finds out for which namespace the request is: that of the caller, or a default one, unless it names another.
func (x *exchange) enterNamespace(home kms.Namespace) *fault {
	x.call.Namespace = home
	ns := strings.Trim(x.r.Header.Get("X-Vault-Namespace"), "/")
	switch {
	case x.place.namespace != "" && ns != "" && ns != "root":
		return namespaceNotFound() // namespaces do not nest
	case x.place.namespace != "":
		x.call.Namespace = x.place.namespace
	case ns != "" && ns != "root":
		named, err := kms.ParseNamespace(ns)
		if err != nil {
			return namespaceNotFound()
		}
		x.call.Namespace = named
	}
	return nil
}

// tokenOf is the token of a request: some clients send the header twice, with the same value.
func tokenOf(h http.Header) string {
	if t := h["X-Vault-Token"]; len(t) > 0 {
		return t[0]
	}
	const scheme = "bearer "
	if a := h["Authorization"]; len(a) > 0 && len(a[0]) > len(scheme) && strings.EqualFold(a[0][:len(scheme)], scheme) {
		return strings.TrimSpace(a[0][len(scheme):])
	}
	return ""
}

// read reads the body.
func (x *exchange) read(r *http.Request) *fault {
	if r.ContentLength > maxBody {
		return tooLarge(maxBody)
	}
	b := x.body[:0]
	if n := int(r.ContentLength); n >= cap(b) {
		b = make([]byte, 0, n+1)
	} else if cap(b) == 0 {
		b = make([]byte, 0, 1024)
	}
	for {
		if len(b) > maxBody {
			x.body = b
			return tooLarge(maxBody)
		}
		if len(b) == cap(b) {
			grown := make([]byte, len(b), 2*cap(b))
			copy(grown, b)
			clear(b)
			b = grown
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == nil {
			continue
		}
		x.body = b
		if limit := (*http.MaxBytesError)(nil); errors.As(err, &limit) { // the server's, of a body that did not say how long it is
			return tooLarge(limit.Limit)
		}
		if err != io.EOF { //nolint:errorlint // io.Reader returns EOF itself
			return newFault(http.StatusBadRequest, "failed to decode JSON input: the body ended before its time")
		}
		if room := len(b); cap(x.plain) < room { // what base64 holds is shorter than the body
			x.plain = make([]byte, 0, room)
		}
		return nil
	}
}

func tooLarge(limit int64) *fault {
	return newFault(http.StatusRequestEntityTooLarge, fmt.Sprintf("the request has more than %d bytes", limit))
}

// recovered answers a panic: the caller learns that something failed, the log learns what.
func (x *exchange) recovered(w http.ResponseWriter) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares by identity too
		panic(p)
	}
	x.log.Error("request_panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	faultOf(kms.Errorf(kms.CodeInternal, "the server failed to carry out the request")).write(w)
}
