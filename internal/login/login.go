// Package login says what a login is: somebody who has no token of the server proves by something else who it is, and is given one. It has the words
// that the engine, which makes the token, and the methods, which look at the proof, have in common.
//
// It refuses to decide what anybody may do: a method says who it is and which role's terms hold, the engine makes the token by these. It keeps nothing, and
// it knows no wire: documents are the methods' own.
//
// Model: the auth methods of Vault and OpenBao (https://openbao.org/docs/auth/).
package login

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"time"

	"github.com/keyhold/keyhold/internal/secret"
)

// Type names a method, as the paths and answers of the Vault dialect do.
type Type string

// The types.
const (
	AppRole     Type = "approle"
	Userpass    Type = "userpass"
	JWT         Type = "jwt"
	OIDC        Type = "oidc"
	Kubernetes  Type = "kubernetes"
	Certificate Type = "cert"
)

// Limits, in bytes.
const (
	MaxDocument = 64 << 10 // what a method keeps of a mount or of a role, and its secret
	MaxProof    = 64 << 10
	MaxName     = 128 // of a role
)

// Document is what a method keeps of a mount or of a role. The engine stores it, and does not read it.
type Document struct {
	Public []byte        // JSON; whoever may read the mount or the role is shown it
	Secret *secret.Bytes // never shown; nil: there is none
}

// Role is what a method is told of a role; users and certificates are roles too.
type Role struct {
	Name string
	Document
}

// Roles are those of a mount.
type Roles interface {
	// Role finds one. A *Refusal: there is none of that name.
	Role(ctx context.Context, name string) (Role, error)
	// All goes through them in no meaningful order until see answers false. There are many, but not without a bound.
	All(ctx context.Context, see func(Role) bool) error
}

// Mount is where a login happens.
type Mount struct {
	Path   string // without slashes around
	Type   Type
	Config Document
	Roles  Roles
}

// Request is what somebody presents.
type Request struct {
	Role         string              // that is asked for, or the name of the user; empty: the method's choice
	ID           string              // a public half of the proof; empty: the method has none
	Proof        *secret.Bytes       // a password, a signed token, …; nil: there is none. The caller erases it
	Certificates []*x509.Certificate // whose key the connection proved to be held, the leaf first
	Remote       netip.AddrPort
	Now          time.Time
}

// Identity is who a method says that somebody is.
type Identity struct {
	Role     string            // whose terms hold for the token
	Name     string            // unique in the mount: the principal is called MOUNT/NAME
	Groups   []string          // beyond those of the role
	Metadata map[string]string // that the token carries
}

// Method looks at proofs. It is safe for concurrent use.
type Method interface {
	// Config makes what is kept of a mount of what it was and of what is asked for. Its errors are told to who asks.
	Config(ctx context.Context, was, asked Document) (Document, error)
	// Role does the same for a role, and for a user or a certificate.
	Role(ctx context.Context, name string, was, asked Document) (Document, error)
	// Prove says who somebody is. A *Refusal: the proof does not say it. Any other error: the question could not be answered. It takes as long for a role
	// that there is not as for one that there is, where a stranger could tell the difference from anything but a secret.
	Prove(ctx context.Context, m Mount, r Request) (Identity, error)
}

// Refusal says why a login was refused: for the record, and not for who was refused.
type Refusal struct{ Why string }

// Refuse makes a Refusal. What a stranger wrote is quoted in it and clipped by Clip.
func Refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

func (r *Refusal) Error() string { return "login refused: " + r.Why }

// Clip shortens a stranger's text.
func Clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// Plain tells whether a text can stand in a record and on a terminal: it has no control characters (RFC 20).
func Plain(s string) bool {
	for _, c := range s {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return false
		}
	}
	return true
}
