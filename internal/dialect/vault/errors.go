package vault

import (
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyhold/keyhold/internal/kms"
)

// fault is an error as Vault gives it: Vault's own words first; those of ours, where there are any, are a text of their own behind them.
type fault struct {
	status int
	texts  []string
	err    *kms.Error // what it stands for; nil: the dialect's own
}

func newFault(status int, texts ...string) *fault { return &fault{status: status, texts: texts} }

// Error is the first text.
func (f *fault) Error() string {
	if len(f.texts) == 0 {
		return http.StatusText(f.status)
	}
	return f.texts[0]
}

// write sends the fault.
func (f *fault) write(w http.ResponseWriter) {
	b := []byte(`{"errors":[`)
	for i, s := range f.texts {
		if i > 0 {
			b = append(b, ',')
		}
		b, _ = jsontext.AppendQuote(b, s) // what is not UTF-8 becomes U+FFFD
	}
	send(w, f.status, append(b, "]}\n"...))
}

// Refuse answers a request that does not reach the handler, because the server has too many or it is too large.
func Refuse(w http.ResponseWriter, err *kms.Error) { faultOf(err).write(w) }

// unsupported is how a method is refused.
const unsupported = "1 error occurred:\n\t* unsupported operation\n\n"

func noRoute(path string) *fault {
	return newFault(http.StatusNotFound, fmt.Sprintf("no handler for route %q. route entry not found.", clip(path)))
}

func namespaceNotFound() *fault { return newFault(http.StatusNotFound, "namespace not found") }

// missing is the answer to the reading of something that there is not: clients take a 404 with a text for "no such route".
func missing() *fault { return &fault{status: http.StatusNotFound} }

// wireError says with which status, and in which words, an error is told.
type wireError struct {
	status int
	text   string // Vault's own words; empty: what happened, in ours
	silent bool   // only Vault's words
}

// kindErrors is the one table from a kind of error to Vault's.
var kindErrors = [...]wireError{
	kms.KindInvalid:         {status: http.StatusBadRequest},
	kms.KindUnauthenticated: {status: http.StatusForbidden, text: "permission denied", silent: true},
	kms.KindDenied:          {status: http.StatusForbidden, text: "1 error occurred:\n\t* permission denied\n\n"},
	kms.KindNotFound:        {status: http.StatusNotFound, text: "", silent: true},
	kms.KindConflict:        {status: http.StatusBadRequest},
	kms.KindState:           {status: http.StatusBadRequest},
	kms.KindUnsupported:     {status: http.StatusBadRequest},
	kms.KindIntegrity:       {status: http.StatusBadRequest},
	kms.KindLimited:         {status: http.StatusTooManyRequests, text: "request path could not be served: rate limit quota exceeded"},
	kms.KindUnavailable:     {status: http.StatusServiceUnavailable},
	kms.KindInternal:        {status: http.StatusInternalServerError, text: "internal error"},
}

// codeErrors are single codes for which Vault has a closer word than for their kind.
var codeErrors = map[kms.Code]wireError{
	kms.CodeSealed:         {status: http.StatusServiceUnavailable, text: "Vault is sealed", silent: true},
	kms.CodeNotInitialised: {status: http.StatusServiceUnavailable, text: "Vault is sealed", silent: true},
	kms.CodeDecryptFailed:  {status: http.StatusBadRequest, text: "cipher: message authentication failed"},
	kms.CodeWrongKey:       {status: http.StatusBadRequest, text: "cipher: message authentication failed"},
	kms.CodeBadCiphertext:  {status: http.StatusBadRequest, text: "cipher: message authentication failed"},
	kms.CodeTooOld:         {status: http.StatusBadRequest, text: "ciphertext or signature version is disallowed by policy (too old)"},
	kms.CodeDerivation: {status: http.StatusBadRequest, text: "missing 'context' for key derivation; the key was created using a derived key, which means additional, " +
		"per-request information must be included in order to perform operations with the key"},
	kms.CodeVersionNotFound: {status: http.StatusBadRequest, text: "invalid key version"},
	kms.CodeNotExportable:   {status: http.StatusBadRequest, text: "private key material is not exportable"},
	kms.CodeTooLarge:        {status: http.StatusRequestEntityTooLarge},
	kms.CodeRecordDamaged:   {status: http.StatusInternalServerError, text: "internal error"},
}

func wireErrorOf(c kms.Code) wireError {
	if w, ok := codeErrors[c]; ok {
		return w
	}
	return kindErrors[c.Kind()]
}

// faultOf is the fault that stands for any error.
func faultOf(err error) *fault {
	if f, is := err.(*fault); is { //nolint:errorlint // faults are made here and never wrapped
		return f
	}
	e := kms.AsError(err)
	w := wireErrorOf(e.Code)
	f := &fault{status: w.status, err: e}
	if w.text != "" {
		f.texts = append(f.texts, w.text)
	}
	if !w.silent {
		f.texts = append(f.texts, told(e))
	}
	return f
}

// told is an error in our words: the stable code, what happened, what to do next, and the decision by which an administrator can have it explained.
func told(e *kms.Error) string {
	s := fmt.Sprintf("%s %s", e.Code, e.Code.Title())
	if e.Kind() != kms.KindInternal {
		s += ": " + e.What
		if next := e.Advice(); next != "" {
			s += "; " + next
		}
	}
	if e.Decision != "" {
		s += "; decision " + e.Decision
	}
	if !e.Approval.IsZero() {
		s += "; approval " + e.Approval.String()
	}
	return s
}

// noKey gives the fault for a key that there is not other words than the reading of a key has.
func noKey(f *fault, status int, text string) *fault {
	if f != nil && f.err != nil && f.err.Code == kms.CodeKeyNotFound {
		return newFault(status, text, told(f.err))
	}
	return f
}
