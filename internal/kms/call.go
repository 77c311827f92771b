package kms

import (
	"net/netip"
	"time"
)

// Role is a built-in bundle of permissions that a credential carries.
type Role string

// The built-in roles. A tenant's policies can grant more, and forbid any of it.
const (
	RoleOperator Role = "operator" // runs the server; lives in the system namespace
	RoleAdmin    Role = "admin"    // manages a namespace: keys, policies, tokens
	RoleUser     Role = "user"     // uses keys
	RoleAuditor  Role = "auditor"  // reads metadata and the trail
)

// AllRoles lists the built-in roles.
func AllRoles() []Role { return []Role{RoleOperator, RoleAdmin, RoleUser, RoleAuditor} }

// AuthMethod says how a principal was authenticated.
type AuthMethod uint8

// The methods.
const (
	AuthNone        AuthMethod = iota
	AuthToken                  // a bearer token
	AuthCertificate            // a TLS client certificate
	AuthLocal                  // the peer credentials of the local socket
	AuthCode                   // a one-time enrolment code
	AuthShares                 // a quorum of custodian shares
	AuthSystem                 // the server itself: scheduled work, recovery
	AuthSignature              // a request signed with an access key (AWS Signature Version 4)
	AuthOIDC                   // a token that an OpenID Connect issuer signed
	AuthLogin                  // a login, which gives a token: a role id and a secret id, a user's password, …

	authEnd
)

func (m AuthMethod) String() string {
	return [...]string{"none", "token", "certificate", "local", "code", "shares", "system", "signature", "oidc", "login"}[m%authEnd]
}

// Standing tells whether a credential that admitted a call still stands. It is asked once more
// just before an output is released, so it must be cheap and never block on a network.
type Standing interface {
	Stands() bool
}

// Principal is an authenticated caller. One value is shared by all requests of a credential and never changed.
type Principal struct {
	Name       string    // unique in its namespace, e.g. "svc/orders"; shown to people
	Namespace  Namespace // home
	Roles      []Role
	Groups     []string // further names that policies may use
	Method     AuthMethod
	Credential string    // public id of the token or certificate binding
	Expires    time.Time // of the credential; zero: never
	Session    string    // name of the session, of a role that was assumed; else empty
	Scope      []Action  // if not empty, the only actions this credential may ask for
	Standing   Standing  // nil: cannot be withdrawn (the server itself)

	// Alias is a keyed hash of the name for the audit trail; Salt (random) hides the erasable display name in the
	// record's commitment to it (docs/formats.md, "Audit record"). Computed once, when the credential is read.
	Alias [16]byte
	Salt  [16]byte
}

// Has tells whether the principal carries a role.
func (p *Principal) Has(r Role) bool {
	for _, have := range p.Roles {
		if have == r {
			return true
		}
	}
	return false
}

// Dialect names the protocol a call came in by.
type Dialect uint8

// The dialects. The order is part of the audit format: append only.
const (
	DialectInternal Dialect = iota
	DialectNative
	DialectAWS
	DialectVault
	DialectKMIP
	DialectK8s
	DialectXKS

	dialectEnd
)

// AllDialects lists every dialect.
func AllDialects() []Dialect {
	var all []Dialect
	for d := DialectInternal; d < dialectEnd; d++ {
		all = append(all, d)
	}
	return all
}

func (d Dialect) String() string {
	if d < dialectEnd {
		return [...]string{"internal", "native", "aws", "vault", "kmip", "k8s", "xks"}[d]
	}
	return "unknown-dialect"
}

// Call is who asks, for whom, and from where: a parameter of every operation. Nothing of it travels in a context.
type Call struct {
	Principal *Principal
	Namespace Namespace
	Dialect   Dialect
	Region    string         // in which a key is asked for; empty: in whichever it is
	RequestID string         // at most 64 bytes; for correlation, chosen by server or client
	Remote    netip.AddrPort // invalid for the local socket
	Token     string         // idempotency token of a change, chosen by the client; at most 128 bytes
	DryRun    bool           // decide and plan, change nothing
	Whole     bool           // of a rehearsal: cryptography is done as well, and its result erased, so that what would fail shows
	Reason    string         // why, in the caller's words; at most 256 bytes
	Approval  ID             // under which others have approved exactly this request; zero: none
	Ask       bool           // if approvals are needed, ask for them: nothing else is done
	AskFor    time.Duration  // how long the request for them is open; 0: as long as usual
	// Admit, where set, is what the dialect itself asks of each key, once the caller is allowed to do with it what the request says.
	// It sees the key as it is at home, keeps nothing that it does not copy, and answers why not.
	Admit func(*Key) error
}

// Context is the encryption context: additional authenticated data in the form of a map.
type Context map[string]string

// Limits of an encryption context.
const (
	MaxContextItems = 64
	MaxContextBytes = 8192
)

// Check verifies the size of a context.
func (c Context) Check() error {
	if len(c) > MaxContextItems {
		return Errorf(CodeTooLarge, "the encryption context has %d entries, the limit is %d", len(c), MaxContextItems)
	}
	n := 0
	for k, v := range c {
		if k == "" {
			return Errorf(CodeBadRequest, "the encryption context has an empty name")
		}
		n += len(k) + len(v)
	}
	if n > MaxContextBytes {
		return Errorf(CodeTooLarge, "the encryption context has %d bytes, the limit is %d", n, MaxContextBytes)
	}
	return nil
}
