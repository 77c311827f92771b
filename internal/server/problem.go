package server

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/keyhold/keyhold/internal/kms"
)

// statuses are the HTTP statuses of what the server itself refuses; the dialects have tables of their own.
var statuses = map[kms.Kind]int{
	kms.KindInvalid:         http.StatusBadRequest,
	kms.KindUnauthenticated: http.StatusUnauthorized,
	kms.KindDenied:          http.StatusForbidden,
	kms.KindNotFound:        http.StatusNotFound,
	kms.KindConflict:        http.StatusConflict,
	kms.KindState:           http.StatusConflict,
	kms.KindUnsupported:     http.StatusBadRequest,
	kms.KindIntegrity:       http.StatusBadRequest,
	kms.KindLimited:         http.StatusTooManyRequests,
	kms.KindUnavailable:     http.StatusServiceUnavailable,
	kms.KindInternal:        http.StatusInternalServerError,
}

func statusOf(err *kms.Error) int {
	switch err.Code {
	case kms.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case kms.CodeBusy:
		return http.StatusServiceUnavailable
	}
	return statuses[err.Kind()]
}

// problem is an error as JSON.
type problem struct {
	Code      string `json:"code"`
	Title     string `json:"title"`
	Message   string `json:"message"`
	Next      string `json:"next,omitempty"`
	RetryMS   int64  `json:"retry_ms,omitempty"`
	RequestID string `json:"request_id,omitempty"`
}

func writeError(w http.ResponseWriter, r *http.Request, err *kms.Error) {
	retryAfter(w, err)
	writeJSON(w, r, statusOf(err), struct {
		Error problem `json:"error"`
	}{problem{
		Code: err.Code.String(), Title: err.Code.Title(), Message: err.What, Next: err.Advice(), RetryMS: err.RetryMS,
		RequestID: r.Header.Get(RequestIDHeader),
	}})
}

// retryAfter tells when to try again (RFC 9110 §10.2.3).
func retryAfter(w http.ResponseWriter, err *kms.Error) {
	if err.RetryMS > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt((err.RetryMS+999)/1000, 10))
	}
}

func writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil { // none of our structs can fail
		status, text = http.StatusInternalServerError, []byte("{}")
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append(text, '\n')) // a client that left is no error of ours
	}
}
