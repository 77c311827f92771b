package aws

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// fault is an error as AWS gives it.
type fault struct {
	code    string
	message string // empty: the answer has none
}

func newFault(code, message string) *fault { return &fault{code: code, message: message} }

// Error is code and message.
func (f *fault) Error() string { return f.code + ": " + f.message }

// faultStatus are the codes whose HTTP status is not 400. The model names other statuses for some; the service sends 400 for every error
// of the client.
var faultStatus = map[string]int{
	"KMSInternalException":       http.StatusInternalServerError,
	"KeyUnavailableException":    http.StatusInternalServerError,
	"DependencyTimeoutException": http.StatusServiceUnavailable,
}

func (f *fault) status() int {
	if s, ok := faultStatus[f.code]; ok {
		return s
	}
	return http.StatusBadRequest
}

// write sends the fault.
func (f *fault) write(w http.ResponseWriter) {
	b := append([]byte(`{"__type":"`), f.code...)
	b = append(b, '"')
	if f.message != "" {
		b = append(b, `,"message":`...)
		b, _ = jsontext.AppendQuote(b, f.message) // what is not UTF-8 becomes U+FFFD
	}
	send(w, f.status(), append(b, '}'))
}

var contentType = []string{"application/x-amz-json-1.1"}

func send(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = contentType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	if status != http.StatusOK {
		w.WriteHeader(status)
	}
	_, _ = w.Write(body) // a caller that is gone cannot be told
}
