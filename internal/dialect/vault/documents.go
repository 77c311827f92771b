package vault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/secret"
)

// The documents of methods that prove what somebody else says have the members that Vault's bodies have. Here they are brought into one form each, whatever
// a client wrote them as, and the method judges them.

// kind is the form of a member.
type kind uint8

const (
	aText kind = iota
	aList
	aTruth
	aSpan   // in seconds
	anyJSON // as it is written
)

// member is one of a document.
type member struct {
	name string
	kind kind
}

// membersOf brings the members that a body has into a document.
func (x *exchange) membersOf(members []member) ([]byte, *fault) {
	all := map[string]json.RawMessage{}
	for _, m := range members {
		if !x.in.has(m.name) {
			continue
		}
		v, f := x.member(m)
		if f != nil {
			return nil, f
		}
		all[m.name] = v
	}
	b, err := json.Marshal(all)
	if err != nil || len(b) > login.MaxDocument {
		return nil, newFault(http.StatusBadRequest, "Field validation failed: the members are not JSON, or too long")
	}
	return b, nil
}

func (x *exchange) member(m member) ([]byte, *fault) {
	var v any
	var f *fault
	switch m.kind {
	case aText:
		v, f = x.in.text(m.name)
	case aList:
		var all []string
		all, f = x.several(x.in, m.name)
		v = append([]string{}, all...)
	case aTruth:
		v, f = x.in.yes(m.name)
	case aSpan:
		var d time.Duration
		d, f = x.in.span(m.name)
		v = int64(d / time.Second)
	case anyJSON:
		v = json.RawMessage(x.in.raw(m.name))
	}
	if f != nil {
		return nil, f
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, badField(m.name)
	}
	return b, nil
}

// showDocument writes the members of a document, which a method made.
func (x *exchange) showDocument(b []byte) {
	if len(b) > len("{}") {
		x.e.comma()
		x.e.room(len(b) + slack)
		x.e.b = append(x.e.b, b[1:len(b)-1]...)
	}
}

// putAuthConfig tells the method of a mount what it has to know. The secret is the caller's to erase.
func (x *exchange) putAuthConfig(ctx context.Context, members []member, hidden *secret.Bytes) *fault {
	b, f := x.membersOf(members)
	if f != nil {
		return f
	}
	in := engine.ConfigureAuthInput{Path: x.place.mount, Document: login.Document{Public: b, Secret: hidden}}
	if _, err := x.engine.ConfigureAuth(ctx, x.call, in); err != nil {
		return faultOf(err)
	}
	x.status = http.StatusNoContent
	return nil
}

// ReadAuthConfig answers what the method of a mount was told, but for what is secret.
func (x *exchange) ReadAuthConfig(ctx context.Context) *fault {
	out, err := x.engine.ReadAuth(ctx, x.call, engine.AuthInput{Path: x.place.mount})
	if err != nil {
		return faultOf(err)
	}
	if len(out.Config) == 0 {
		return &fault{status: http.StatusNotFound}
	}
	x.e.open()
	x.showDocument(out.Config)
	x.e.close()
	return nil
}

// putDocumentRole makes or changes a role whose document has these members.
func (x *exchange) putDocumentRole(ctx context.Context, members []member) *fault {
	in := engine.PutAuthRoleInput{Name: x.place.names[0]}
	f := x.noMember("token_strictly_bind_ip")
	if f == nil {
		in.Terms, f = x.terms()
	}
	if f == nil {
		in.Document.Public, f = x.membersOf(members)
	}
	if f != nil {
		return f
	}
	return x.putAuthRole(ctx, in)
}

// ReadDocumentRole answers a role with its document.
func (x *exchange) ReadDocumentRole(ctx context.Context) *fault {
	r, f := x.authRole(ctx, x.place.names[0])
	if f != nil {
		return f
	}
	x.e.open()
	x.showDocument(r.Config)
	x.showTerms(&r.Terms)
	x.e.close()
	return nil
}

// DeleteDocumentRole takes a role away.
func (x *exchange) DeleteDocumentRole(ctx context.Context) *fault {
	return x.deleteAuthRole(ctx, x.place.names[0])
}

// logInBy gives a token for what a member of the body proves.
func (x *exchange) logInBy(ctx context.Context, name string, status int, words string) *fault {
	role, f := x.in.text("role")
	if f != nil {
		return f
	}
	proof, f := x.sealedText(name)
	if f != nil {
		return f
	}
	defer proof.Zero()
	if proof == nil {
		return newFault(http.StatusBadRequest, "missing "+name)
	}
	sum := sha256.Sum256(x.in.raw(name)) // what cannot be guessed is locked out by itself, and not the role for all who come from there
	return x.logIn(ctx, login.Request{Role: role, ID: hex.EncodeToString(sum[:]), Proof: proof}, status, words)
}
