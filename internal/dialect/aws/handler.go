package aws

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/keyhold/keyhold/internal/authn"
	"github.com/keyhold/keyhold/internal/authn/oidc"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// Limits, in bytes.
const (
	maxBody = 512 << 10 // of a request: a policy of 128 KiB, every character escaped, is the longest
	kept    = 64 << 10  // of a buffer that is kept for other requests
)

// Authenticator verifies signatures; *authn.Authenticator is the real one.
type Authenticator interface {
	SigV4(ctx context.Context, r *http.Request, body []byte, remote netip.AddrPort) (authn.Signature, error)
	WebIdentity(ctx context.Context, token string, trusts func(context.Context) ([]oidc.Trust, error), remote netip.AddrPort) (oidc.Identity, error)
	// Replayed tells whether the signature of a change came before.
	Replayed(*authn.Signature) bool
}

// Config is what a handler is made of.
type Config struct {
	Engine   *engine.Engine
	Authn    Authenticator
	Accounts map[kms.Namespace]string // 12 digits; a namespace that is not there has a number of its own all the same
	Logger   *slog.Logger             // for panics. nil: none
}

// handler answers requests.
type handler struct {
	engine   *engine.Engine
	authn    Authenticator
	accounts map[kms.Namespace]string
	log      *slog.Logger
}

// Handler answers the AWS dialect at the root path.
func Handler(cfg Config) http.Handler {
	h := &handler{engine: cfg.Engine, authn: cfg.Authn, accounts: cfg.Accounts, log: cfg.Logger}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	return h
}

// exchange is one request under way.
type exchange struct {
	*handler
	call      kms.Call
	account   string // 12 digits
	operation string
	asked     string // what the request called the key that it is about
	algorithm string // with which it is to be used
	signature authn.Signature

	d    decoder
	e    encoder
	body []byte
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// release erases what was read and what was released, and keeps the buffers.
func (x *exchange) release() {
	for _, r := range x.e.out {
		r.Zero()
	}
	clear(x.e.out)
	body, plain, out, held := erased(x.body), erased(x.d.plain), erased(x.e.b), x.e.out[:0]
	j := x.d.j
	*x = exchange{body: body, d: decoder{j: j, plain: plain}, e: encoder{b: out, out: held}}
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
	x.handler = h
	defer x.release()
	defer x.recovered(w)
	x.call = kms.Call{Dialect: kms.DialectAWS, RequestID: requestID(r)}
	x.call.Remote, _ = netip.ParseAddrPort(r.RemoteAddr) // of the local socket: left invalid
	w.Header()["X-Amzn-Requestid"] = []string{x.call.RequestID}
	if f := x.read(r); f != nil {
		f.write(w)
		return
	}
	if isForm(r) && len(r.Header["X-Amz-Target"]) == 0 { // of STS: KMS has no forms
		x.query(w, r)
		return
	}
	if f := x.serve(r); f != nil {
		f.write(w)
		return
	}
	send(w, http.StatusOK, x.e.b)
}

// requestID is the id that the listener gave the request, or a new one: clients show it to people.
func requestID(r *http.Request) string {
	if id := r.Header["X-Request-Id"]; len(id) == 1 && id[0] != "" {
		return id[0]
	}
	return rand.Text()
}

// serve carries an operation out and leaves the answer in the encoder.
func (x *exchange) serve(r *http.Request) *fault {
	o, f := find(r)
	if f != nil {
		return f
	}
	x.operation = o.name
	if f := x.identify(r, serviceKMS); f != nil {
		return f
	}
	if changing[o.name] && x.authn.Replayed(&x.signature) {
		// Some clients sign two equal requests of one second alike. They take this for a reason to ask once more, signed anew.
		return newFault("ThrottlingException", "Rate exceeded (a signed request came a second time: a change is carried out once for each signature)")
	}
	if room := len(x.body); cap(x.d.plain) < room { // what base64 holds is shorter than the body
		x.d.plain = make([]byte, 0, room)
	}
	x.d.reset(x.body, x.d.plain[:0])
	x.e.b = x.e.b[:0]
	return o.run(r.Context(), x)
}

// The services that a request may be signed for.
const (
	serviceKMS = "kms"
	serviceSTS = "sts"
)

// identify finds out who signed the request, for a service.
func (x *exchange) identify(r *http.Request, service string) *fault {
	sig, err := x.authn.SigV4(r.Context(), r, x.body, x.call.Remote)
	if err != nil {
		// A sealed server knows no credentials: say that rather than that these are wrong.
		if why := x.engine.Health(); why != nil {
			switch why.Code {
			case kms.CodeSealed, kms.CodeNotInitialised, kms.CodeStopping:
				err = why
			}
		}
		return x.fault(err)
	}
	if sig.Service != service {
		return newFault("InvalidSignatureException", "Credential should be scoped to correct service: '"+service+"'.")
	}
	if !regionForm(sig.Region) {
		return newFault("InvalidSignatureException", "Credential should be scoped to a valid region.")
	}
	x.signature = sig
	x.call.Principal, x.call.Namespace, x.call.Region = sig.Principal, sig.Principal.Namespace, sig.Region
	if x.account = x.accounts[x.call.Namespace]; x.account == "" {
		x.account = kms.AccountOf(x.call.Namespace)
	}
	return nil
}

// regionForm tells whether a text can be the name of a region, like us-gov-east-1.
func regionForm(s string) bool {
	const most = 32
	if len(s) == 0 || len(s) > most || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

const targetPrefix = "TrentService."

// find finds the operation that a request names.
func find(r *http.Request) (*operation, *fault) {
	if t := r.Header["Content-Type"]; len(t) != 1 || !strings.HasPrefix(t[0], contentType[0]) {
		return nil, newFault("UnknownOperationException", "The Content-Type is not "+contentType[0])
	}
	target := r.Header["X-Amz-Target"]
	if len(target) != 1 {
		return nil, newFault("UnknownOperationException", "The request has no X-Amz-Target, or several")
	}
	name, ok := strings.CutPrefix(target[0], targetPrefix)
	o := byName[name]
	if !ok || o == nil {
		return nil, newFault("UnknownOperationException", "")
	}
	return o, nil
}

func isForm(r *http.Request) bool {
	t := r.Header["Content-Type"]
	return len(t) == 1 && strings.HasPrefix(t[0], "application/x-www-form-urlencoded")
}

// read reads the body, which a signature covers as a whole.
func (x *exchange) read(r *http.Request) *fault {
	tooLarge := newFault("RequestEntityTooLargeException", fmt.Sprintf("The request has more than %d bytes.", maxBody))
	if r.ContentLength > maxBody {
		return tooLarge
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
			return tooLarge
		}
		if len(b) == cap(b) {
			grown := make([]byte, len(b), 2*cap(b))
			copy(grown, b)
			clear(b)
			b = grown
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err != nil {
			x.body = b
			if err == io.EOF { //nolint:errorlint // io.Reader returns EOF itself
				return nil
			}
			return newFault("SerializationException", "The request's body ended before its time.")
		}
	}
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
	x.log.Error("request_panicked", "operation", x.operation, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	newFault("KMSInternalException", "The server failed to carry out the request.").write(w)
}
