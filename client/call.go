package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"

	"connectrpc.com/connect"
)

// Headers of the native protocol (docs/dialects/native.md).
const (
	headerNamespace   = "Keyhold-Namespace"
	headerIdempotency = "Keyhold-Idempotency-Token"
	headerDryRun      = "Keyhold-Dry-Run"
	headerReason      = "Keyhold-Reason"
	headerApproval    = "Keyhold-Approval"
	headerAsk         = "Keyhold-Request-Approval"
	headerRequestID   = "X-Request-Id"
)

// Option changes one call.
type Option func(*settings)

type settings struct {
	namespace, token, reason, requestID, approval, ask string
	dryRun                                             bool
}

// DryRun decides and plans a change but does not carry it out.
func DryRun() Option { return func(s *settings) { s.dryRun = true } }

// Reason says why, for the audit trail: at most 256 bytes.
func Reason(why string) Option { return func(s *settings) { s.reason = why } }

// IdempotencyToken names a change: the server carries out a change with the same token once, and answers a repetition as
// it answered the first time. At most 128 bytes. Without this option the client makes a token for each call.
func IdempotencyToken(token string) Option { return func(s *settings) { s.token = token } }

// RequestID is recorded with the call, for correlation: at most 64 bytes.
func RequestID(id string) Option { return func(s *settings) { s.requestID = id } }

// Namespace makes this one call in another namespace than the client's.
func Namespace(name string) Option { return func(s *settings) { s.namespace = name } }

// effect says what a repetition of a call does, and so whether the client may repeat it.
type effect uint8

const (
	reads   effect = iota // nothing is changed: repeat freely
	changes               // repeat with the same idempotency token
	once                  // never repeat
)

// method is one generated method of a service's client.
type method[Req, Res any] func(context.Context, *connect.Request[Req]) (*connect.Response[Res], error)

// invoke makes one call: with its headers, its time limit and its repetitions.
func invoke[Req, Res any](ctx context.Context, c *Client, m method[Req, Res], msg *Req, e effect, options []Option) (*Res, error) {
	s := c.settings(e, options)
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	for attempt := 1; ; attempt++ {
		res, err := try(ctx, c, m, msg, s)
		if err == nil {
			return res, nil
		}
		if e == once || !err.Retryable || attempt >= c.retry.Attempts || !c.retry.pause(ctx, attempt, err.RetryAfter) {
			return nil, err
		}
	}
}

func try[Req, Res any](ctx context.Context, c *Client, m method[Req, Res], msg *Req, s settings) (*Res, *Error) {
	req := connect.NewRequest(msg)
	if err := c.head(ctx, req.Header(), s); err != nil {
		return nil, err
	}
	res, err := m(ctx, req)
	if err != nil {
		return nil, errorOf(ctx, err)
	}
	return res.Msg, nil
}

func (c *Client) settings(e effect, options []Option) settings {
	s := settings{namespace: c.namespace}
	for _, o := range options {
		o(&s)
	}
	if s.token == "" && e == changes {
		var random [16]byte
		rand.Read(random[:]) //nolint:errcheck // crypto/rand.Read never returns an error since Go 1.24
		s.token = hex.EncodeToString(random[:])
	}
	return s
}

// head sets the headers of one attempt.
func (c *Client) head(ctx context.Context, h http.Header, s settings) *Error {
	token, err := c.token(ctx)
	if err != nil {
		return &Error{Code: CodeUnauthenticated, Title: "not authenticated", What: fmt.Sprintf("the token cannot be obtained: %v", err), Next: "check the client's token source", cause: err}
	}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	h.Set("User-Agent", c.userAgent)
	for _, f := range [...]struct{ name, value string }{
		{headerNamespace, s.namespace}, {headerIdempotency, s.token}, {headerReason, s.reason}, {headerRequestID, s.requestID},
		{headerApproval, s.approval}, {headerAsk, s.ask},
	} {
		if f.value != "" {
			h.Set(f.name, f.value)
		}
	}
	if s.dryRun {
		h.Set(headerDryRun, "true")
	}
	return nil
}
