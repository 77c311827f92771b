package native

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/kms"
)

// wireCodes is the one table from a kind of error to the code of the protocol, and by it to the HTTP status
// (https://connectrpc.com/docs/protocol#error-codes).
var wireCodes = [...]connect.Code{
	kms.KindInvalid:         connect.CodeInvalidArgument,    // 400
	kms.KindUnauthenticated: connect.CodeUnauthenticated,    // 401
	kms.KindDenied:          connect.CodePermissionDenied,   // 403
	kms.KindNotFound:        connect.CodeNotFound,           // 404
	kms.KindConflict:        connect.CodeAborted,            // 409
	kms.KindState:           connect.CodeFailedPrecondition, // 400
	kms.KindUnsupported:     connect.CodeInvalidArgument,    // 400
	kms.KindIntegrity:       connect.CodeInvalidArgument,    // 400
	kms.KindLimited:         connect.CodeResourceExhausted,  // 429
	kms.KindUnavailable:     connect.CodeUnavailable,        // 503
	kms.KindInternal:        connect.CodeInternal,           // 500
}

// exceptions are single codes that the protocol has a closer word for than their kind's.
var exceptions = map[kms.Code]connect.Code{
	kms.CodeExists:        connect.CodeAlreadyExists, // 409
	kms.CodeInitialised:   connect.CodeAlreadyExists,
	kms.CodeRecordDamaged: connect.CodeDataLoss, // 500: the fault is not in the request
	kms.CodeCheckValue:    connect.CodeDataLoss,
	kms.CodeLogAltered:    connect.CodeDataLoss,
	kms.CodeCancelled:     connect.CodeCanceled, // 499
}

func wireCode(c kms.Code) connect.Code {
	if w, ok := exceptions[c]; ok {
		return w
	}
	return wireCodes[c.Kind()]
}

// detailOf is what a caller learns of an error. The internal cause is not in it.
func detailOf(e *kms.Error) *keyholdv1.ErrorDetail {
	d := &keyholdv1.ErrorDetail{
		Code: e.Code.String(), Title: e.Code.Title(), What: e.What, Next: e.Advice(), Decision: e.Decision, RetryAfterMs: e.RetryMS,
	}
	if !e.Approval.IsZero() {
		d.Approval = e.Approval.String()
	}
	return d
}

// wireError is the error of the protocol that stands for any error.
func wireError(err error) *connect.Error {
	var already *connect.Error // the protocol library's own, of a stream
	if errors.As(err, &already) {
		return already
	}
	e := known(err)
	w := connect.NewError(wireCode(e.Code), errors.New(e.Error()))
	if d, err := connect.NewErrorDetail(detailOf(e)); err == nil { // fails for no message that holds valid UTF-8 alone
		w.AddDetail(d)
	}
	if e.RetryMS > 0 || e.Kind() == kms.KindLimited {
		w.Meta().Set("Retry-After", strconv.FormatInt(max(1, (e.RetryMS+999)/1000), 10)) // whole seconds, RFC 9110 §10.2.3
	}
	return w
}

// known turns an error into one that a caller may learn.
func known(err error) *kms.Error {
	var e *kms.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return kms.Errorf(kms.CodeCancelled, "the caller gave up, or its time limit passed, before the answer was ready").Because(err)
	}
	return kms.AsError(err)
}

// refuse writes an error to a request that no codec has seen yet, in the form of the request's protocol.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if known(err).Kind() == kms.KindUnauthenticated {
		w.Header()["Www-Authenticate"] = []string{`Bearer realm="keyhold"`} // RFC 6750 §3. It may not stand in a trailer of gRPC
	}
	_ = h.errors.Write(w, r, wireError(err)) // a caller that is gone cannot be told
}
