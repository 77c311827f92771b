package native

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// Headers that every method takes, in canonical form (docs/dialects/native.md, "Headers").
const (
	headerNamespace   = "Keyhold-Namespace"
	headerIdempotency = "Keyhold-Idempotency-Token"
	headerDryRun      = "Keyhold-Dry-Run"
	headerReason      = "Keyhold-Reason"
	headerApproval    = "Keyhold-Approval"
	headerAsk         = "Keyhold-Request-Approval"
	headerRequestID   = "X-Request-Id"
)

// Limits of headers, in bytes.
const (
	maxRequestID = 64
	maxToken     = 128
	maxReason    = 256
)

// Authenticator finds out who calls. It refuses with a *kms.Error of KindUnauthenticated, or KindUnavailable if it cannot know.
type Authenticator interface {
	Authenticate(context.Context, http.Header, *tls.ConnectionState, netip.AddrPort) (*kms.Principal, error)
}

// access says what a method asks of its caller before the engine is asked.
type access uint8

const (
	authenticated access = iota // a credential
	anyone                      // none: what a sealed server must answer
	onlyLocal                   // the local socket
)

// exchange is one request under way. It is the one thing that travels to the methods in a context, because the protocol
// library gives them no other way to the connection; nothing below this package sees it.
type exchange struct {
	call     kms.Call
	trusted  bool       // authenticated, or on the local socket
	mu       sync.Mutex // guards released: the operations of a batch run at the same time
	released []secret.Released
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	if x == nil {
		return &exchange{} // no principal: the engine refuses it
	}
	return x
}

func callOf(ctx context.Context) kms.Call { return exchangeOf(ctx).call }

// erase forgets what was released, after it was written.
func (x *exchange) erase() {
	for _, r := range x.released {
		r.Zero()
	}
}

// begin reads the headers into x and finds out who calls.
func (h *handler) begin(r *http.Request, a access, x *exchange) error {
	c := &x.call
	c.Dialect = kms.DialectNative
	c.Remote, _ = netip.ParseAddrPort(r.RemoteAddr) // the local socket has no address: left invalid
	if err := h.headers(r.Header, c); err != nil {
		return err
	}
	if err := h.identify(r, a, x); err != nil {
		return err
	}
	if c.Namespace == "" && c.Principal != nil {
		c.Namespace = c.Principal.Namespace
	}
	return nil
}

// identify finds the principal. What a sealed server must answer is asked by the local socket's peer wherever there is one,
// whatever token the caller's environment holds besides: a sealed server knows no tokens.
func (h *handler) identify(r *http.Request, a access, x *exchange) error {
	if a != authenticated && !x.call.Remote.IsValid() {
		p, err := h.authn.Authenticate(r.Context(), nil, nil, x.call.Remote)
		if err == nil && p.Method == kms.AuthLocal {
			x.call.Principal, x.trusted = p, true
			return nil
		}
	}
	if a == onlyLocal {
		return kms.Errorf(kms.CodeOnlyLocal, "this is answered on the local socket of the server's machine only")
	}
	if a == anyone && len(r.Header["Authorization"]) == 0 && (r.TLS == nil || len(r.TLS.PeerCertificates) == 0) {
		return nil
	}
	p, err := h.authn.Authenticate(r.Context(), r.Header, r.TLS, x.call.Remote)
	if err == nil {
		x.call.Principal, x.trusted = p, true
		return nil
	}
	if a == anyone {
		return nil
	}
	// A sealed server knows no credentials: say that rather than that this one is wrong.
	if why := h.engine.Health(); why != nil {
		switch why.Code {
		case kms.CodeSealed, kms.CodeNotInitialised, kms.CodeStopping:
			return why
		}
	}
	return err
}

func (h *handler) headers(from http.Header, c *kms.Call) error {
	if v := from[headerNamespace]; len(v) > 0 {
		ns, err := kms.ParseNamespace(v[0])
		if err != nil {
			return err
		}
		c.Namespace = ns
	}
	var err error
	if c.Token, err = header(from, headerIdempotency, maxToken, kms.CodeBadToken); err != nil {
		return err
	}
	if c.Reason, err = header(from, headerReason, maxReason, kms.CodeBadRequest); err != nil {
		return err
	}
	if v := from[headerDryRun]; len(v) > 0 {
		if c.DryRun, err = strconv.ParseBool(v[0]); err != nil {
			return kms.Errorf(kms.CodeBadRequest, "the header %s is neither true nor false", headerDryRun)
		}
	}
	if v := from[headerApproval]; len(v) > 0 {
		var ok bool
		if c.Approval, ok = kms.ParseID(v[0]); !ok || len(v) > 1 {
			return kms.Errorf(kms.CodeBadRequest, "the header %s is not the id of one approval: want a UUID", headerApproval)
		}
	}
	if v := from[headerAsk]; len(v) > 0 {
		if c.Ask, c.AskFor, err = asks(v[0]); err != nil {
			return err
		}
	}
	if c.RequestID, err = header(from, headerRequestID, maxRequestID, kms.CodeBadRequest); err != nil {
		return err
	}
	if c.RequestID == "" {
		c.RequestID = h.ids.next()
	}
	return nil
}

// asks reads whether approvals are asked for, and for how long the request is to be open.
func asks(v string) (bool, time.Duration, error) {
	if yes, err := strconv.ParseBool(v); err == nil {
		return yes, 0, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		return false, 0, kms.Errorf(kms.CodeBadRequest, "the header %s is neither true nor false, nor for how long the request is open, like 36h", headerAsk)
	}
	return true, d, nil
}

// header reads a header of printable characters. One that stands more than once is refused: which one counts would be a guess.
func header(from http.Header, name string, most int, code kms.Code) (string, error) {
	v := from[name]
	if len(v) == 0 {
		return "", nil
	}
	if len(v) > 1 {
		return "", kms.Errorf(code, "the header %s stands %d times", name, len(v))
	}
	if len(v[0]) > most {
		return "", kms.Errorf(code, "the header %s has %d bytes, the limit is %d", name, len(v[0]), most)
	}
	for i := range len(v[0]) {
		if c := v[0][i]; c < ' ' || c > '~' {
			return "", kms.Errorf(code, "the header %s has a character that is not printable ASCII", name)
		}
	}
	return v[0], nil
}

// requestIDs makes ids for requests that bring none: unique among servers and restarts, and cheap.
type requestIDs struct {
	prefix string
	n      atomic.Uint64
}

func (r *requestIDs) next() string {
	var room [maxRequestID]byte
	b := append(room[:0], r.prefix...)
	return string(strconv.AppendUint(b, r.n.Add(1), 36))
}
