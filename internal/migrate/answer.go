package migrate

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// answer is what a server said.
type answer struct {
	of     *Server
	what   string // method and path
	status int
	asked  time.Duration // how long to leave the server alone
	body   []byte
}

// erase overwrites the body. It may be called on nil, and more than once.
func (a *answer) erase() {
	if a != nil {
		clear(a.body)
		a.body = nil
	}
}

// refusal is a status of 300 and more, or an answer that is none: the same request has no better one.
type refusal struct {
	status int
	text   string // the server's own words
	err    *kms.Error
}

func (r *refusal) Error() string { return r.err.Error() }

func (r *refusal) Unwrap() error { return r.err }

// refused tells whether an error is a refusal of one of these statuses.
func refused(err error, statuses ...int) bool {
	var r *refusal
	return errors.As(err, &r) && slices.Contains(statuses, r.status)
}

// texts of a refusal, in Vault's form.
type texts struct {
	Errors []string `json:"errors"`
}

// refusal reads what a refusing answer says.
func (a *answer) refusal() *refusal {
	r := &refusal{status: a.status}
	var t texts
	if json.Unmarshal(a.body, &t) == nil {
		r.text = a.of.quotable(strings.Join(t.Errors, "; "))
	}
	said := r.text
	if said == "" {
		said = http.StatusText(a.status)
	}
	r.err = a.of.trouble(advice[a.status], "%s refuses %s: %d %s", a.of.cfg.What, a.what, a.status, said)
	if a.status == http.StatusForbidden && r.err.Code != kms.CodeSource {
		r.err.Code = kms.CodeDenied
	}
	return r
}

// advice is the next step where the usual one does not fit.
var advice = map[int]string{
	http.StatusForbidden:          "use a token whose policies allow that path",
	http.StatusServiceUnavailable: "unseal the server, or wait until it is not overloaded, and run the command again",
	http.StatusTooManyRequests:    "run the command again later, or with a smaller --parallel",
	http.StatusNotFound:           "check the address, the namespace and the mount",
}

// quotable makes a stranger's text fit for a message: short, on one line, and without our token.
func (s *Server) quotable(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if token := string(s.cfg.Token.Reveal(reveal.Key{})); token != "" {
		text = strings.ReplaceAll(text, token, "…")
	}
	return clip(text)
}

// stays is the error of an answer that is none.
func (a *answer) stays(format string, args ...any) *refusal {
	return &refusal{status: a.status, err: a.of.trouble("", "the answer of %s to %s %s", a.of.cfg.What, a.what, fmt.Sprintf(format, args...))}
}

// into reads the member data of an answer of success. What is secret of it is the caller's to erase.
func into[T any](a *answer, to *T) error {
	if a.status != http.StatusOK {
		return a.refusal()
	}
	return a.data(to)
}

// data reads the member data of an answer of any status. Errors of the decoder quote what they read: they are told by place only.
func (a *answer) data(to any) error {
	raw, err := member(a.body, "data")
	if err == nil {
		err = json.Unmarshal(raw, to)
	}
	var at *json.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &at):
		return a.stays("is not of its form: data%s is of another type", clip(string(at.JSONPointer)))
	}
	return a.stays("is not JSON with a member data")
}

var errNoMember = errors.New("no such member")

// member finds a member of an object, and copies nothing.
func member(b []byte, name string) (jsontext.Value, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(b)) // it reads a bytes.Buffer in place
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, errNoMember
	}
	var found jsontext.Value
	for d.PeekKind() == '"' {
		t, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		is := t.String() == name
		v, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		if is {
			end := d.InputOffset()
			found = b[end-int64(len(v)) : end]
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	if found == nil || found.Kind() != '{' {
		return nil, errNoMember
	}
	return found, nil
}
