package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// Codes that callers often tell apart. docs/errors.md lists them all.
const (
	CodeBadRequest       = "KH1001"
	CodeTooLarge         = "KH1003"
	CodeUnauthenticated  = "KH1101"
	CodeDenied           = "KH1201"
	CodeOnlyLocal        = "KH1206"
	CodeApprovalRequired = "KH1208"
	CodeNotApproved      = "KH1209"
	CodeKeyNotFound      = "KH1301"
	CodeNotFound         = "KH1303"
	CodeExists           = "KH1401"
	CodeConflict         = "KH1402"
	CodeKeyDisabled      = "KH1501"
	CodeDecryptFailed    = "KH1701"
	CodeBadSignature     = "KH1703"
	CodeBadMAC           = "KH1704"
	CodeRateLimited      = "KH1801"
	CodeSealed           = "KH1901"
	CodeNotInitialised   = "KH1902"
	CodeCancelled        = "KH1910"
	CodeUnreachable      = "KH1911"
	CodeInternal         = "KH2001"
)

// Error is why a call failed. Find it with errors.As, or its code with CodeOf.
type Error struct {
	Code       string        // stable: "KH" and four digits
	Title      string        // short name of the code
	What       string        // what happened and why
	Next       string        // what to do
	Decision   string        // id of the decision, for denials
	Approval   string        // id of the request for approval that was made, with CodeApprovalRequired after AskApproval
	Retryable  bool          // the same call may succeed later
	RetryAfter time.Duration // how long to wait at least; 0: unknown
	RequestID  string        // of the request, as in the audit trail and the server's log
	cause      error
}

// Error is code, title and what happened.
func (e *Error) Error() string { return e.Code + " " + e.Title + ": " + e.What }

// Unwrap gives the error below, if the server was not reached.
func (e *Error) Unwrap() error { return e.cause }

// CodeOf is the code of an error: "" for nil, CodeInternal if it is not an *Error.
func CodeOf(err error) string {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// retryable: a repetition can help within seconds. A sealed server or a full disk needs a person first.
var retryable = map[string]bool{
	"KH1801": true, "KH1802": true, // limited
	"KH1903": true, "KH1904": true, "KH1906": true, "KH1907": true, "KH1909": true, // audit log, store, unrecorded, stopping, unknown
	CodeUnreachable: true,
}

// fromDetail reads the server's own words.
func fromDetail(d *keyholdv1.ErrorDetail) *Error {
	if d == nil {
		return nil
	}
	return &Error{
		Code: d.GetCode(), Title: d.GetTitle(), What: d.GetWhat(), Next: d.GetNext(), Decision: d.GetDecision(), Approval: d.GetApproval(),
		Retryable: retryable[d.GetCode()], RetryAfter: time.Duration(d.GetRetryAfterMs()) * time.Millisecond,
	}
}

// errorOf turns whatever went wrong into an Error.
func errorOf(ctx context.Context, err error) *Error {
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return unreachable(err)
	}
	for _, d := range ce.Details() {
		if v, err := d.Value(); err == nil {
			if detail, ok := v.(*keyholdv1.ErrorDetail); ok {
				e := fromDetail(detail)
				e.RequestID = ce.Meta().Get(headerRequestID)
				return e
			}
		}
	}
	e := withoutDetail(ctx, ce)
	e.RequestID = ce.Meta().Get(headerRequestID)
	return e
}

// withoutDetail explains an error that does not come from the server's own code: from the network, the protocol library
// on either side, or something else that listens at the address.
func withoutDetail(ctx context.Context, ce *connect.Error) *Error {
	switch {
	case lost(ctx, ce):
		return unreachable(ce.Unwrap())
	case ctx.Err() != nil || ce.Code() == connect.CodeCanceled || ce.Code() == connect.CodeDeadlineExceeded:
		return &Error{
			Code: CodeCancelled, Title: "cancelled", What: "the time ran out, or the caller gave up, before the server answered",
			Next: "repeat the call with the same idempotency token, or allow it more time", cause: errors.Join(ctx.Err(), ce),
		}
	case !connect.IsWireError(ce) && ce.Code() == connect.CodeUnavailable:
		return unreachable(ce.Unwrap())
	}
	switch ce.Code() {
	case connect.CodeInvalidArgument:
		return &Error{Code: CodeBadRequest, Title: "bad request", What: ce.Message(), Next: "correct the request", cause: ce}
	case connect.CodeResourceExhausted:
		return &Error{Code: CodeTooLarge, Title: "too large", What: ce.Message(), Next: "send or ask for less", cause: ce}
	case connect.CodeUnavailable:
		return &Error{Code: CodeUnreachable, Title: "server unreachable", What: ce.Message(), Next: "retry in a moment", Retryable: true, cause: ce}
	}
	return &Error{
		Code: CodeUnreachable, Title: "server unreachable", What: "what answers at this address does not speak Keyhold's protocol: " + ce.Message(),
		Next: "check the address (KEYHOLD_ADDR, --addr) and the versions of client and server", cause: ce,
	}
}

// lost tells whether the connection ended under a call that nobody gave up: the protocol library calls a reset connection, and a dial that took
// too long, by the names of a caller's change of mind.
func lost(ctx context.Context, ce *connect.Error) bool {
	return (ce.Code() == connect.CodeCanceled || ce.Code() == connect.CodeDeadlineExceeded) && !connect.IsWireError(ce) &&
		ctx.Err() == nil && !errors.Is(ce, context.Canceled) && !errors.Is(ce, context.DeadlineExceeded)
}

func unreachable(err error) *Error {
	e := &Error{
		Code: CodeUnreachable, Title: "server unreachable", What: fmt.Sprint(err), Retryable: true, cause: err,
		Next: "check the address (KEYHOLD_ADDR, --addr) and that the server runs",
	}
	var (
		verification *tls.CertificateVerificationError
		authority    x509.UnknownAuthorityError
		host         x509.HostnameError
		alert        tls.AlertError
		record       tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &host):
		e.Retryable, e.Next = false, "use an address that the server's certificate names"
	case errors.As(err, &verification), errors.As(err, &authority):
		e.Retryable, e.Next = false, "pass the server's CA certificate (KEYHOLD_CACERT, --cacert)"
	case errors.As(err, &record):
		e.Retryable, e.Next = false, "check the address: what answers there does not speak TLS"
	case errors.As(err, &alert):
		e.Retryable, e.Next = false, "the server refused the TLS handshake: check the client certificate"
	}
	return e
}
