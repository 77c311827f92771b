package records

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/kms"
)

// kindRole: r namespace 00 name. kindSession is of no stored record: it binds the tokens of sessions, which are sealed in the same way and kept by
// their holders.
const (
	kindRole    kind = 'r'
	kindSession kind = 's'
)

// Role is what can be assumed for a while: rights, and who may have them.
type Role struct {
	ID        kms.ID        `json:"id"` // new when a role of that name is made again
	Name      string        `json:"name"`
	Namespace kms.Namespace `json:"ns"`
	Roles     []kms.Role    `json:"roles,omitempty"`
	Groups    []string      `json:"groups,omitempty"`
	Scope     []kms.Action  `json:"scope,omitempty"`
	Trust     Trust         `json:"trust,omitzero"`
	Terms     uint64        `json:"terms"` // counts changes of Trust: sessions of earlier terms are over
	Most      kms.Seconds   `json:"most"`  // longest session
	Created   time.Time     `json:"created"`
	Changed   time.Time     `json:"changed"`
	By        string        `json:"by"`
	Change    [32]byte      `json:"change"`

	Rev kms.Rev `json:"-"`
}

// Trust says who may assume a role: any of these.
type Trust struct {
	Principals []string   `json:"principals,omitempty"` // of the namespace
	Groups     []string   `json:"groups,omitempty"`
	Web        []WebTrust `json:"web,omitempty"`
}

// WebTrust admits the bearer of a token that an OpenID Connect issuer signed.
type WebTrust struct {
	Issuer    string            `json:"issuer"`
	Audiences []string          `json:"audiences"`
	Claims    map[string]string `json:"claims,omitempty"` // that the token must make, all of them
}

// Session is what the token of a session says.
type Session struct {
	Key       string        `json:"key"` // "ASIA" and 16 characters
	Secret    []byte        `json:"secret"`
	Namespace kms.Namespace `json:"ns"`
	Role      string        `json:"role"`
	RoleID    kms.ID        `json:"role_id"`
	Terms     uint64        `json:"terms"`
	Name      string        `json:"name"`             // of the session
	Parent    string        `json:"parent,omitempty"` // the access key that began it
	Expires   time.Time     `json:"expires"`
}

// Erase forgets the secret.
func (s *Session) Erase() {
	clear(s.Secret)
	s.Secret = nil
}

func rolePrefix(ns kms.Namespace) []byte {
	b := append([]byte{byte(kindRole)}, ns...)
	return append(b, 0)
}

func rolePath(ns kms.Namespace, name string) []byte { return append(rolePrefix(ns), name...) }

// Role reads a role; a zero Rev means there is none.
func (r *Records) Role(ctx context.Context, ns kms.Namespace, name string) (Role, error) {
	v, rev, err := load[Role](ctx, r, rolePath(ns, name))
	v.Rev = rev
	return v, err
}

// Roles reads a page of a namespace's roles by name.
func (r *Records) Roles(ctx context.Context, ns kms.Namespace, after string, n int) (all []Role, next string, err error) {
	var from []byte
	if after != "" {
		from = rolePath(ns, after)
	}
	more, err := scan(ctx, r, rolePrefix(ns), from, n, func(_ []byte, v Role, rev kms.Rev) {
		v.Rev = rev
		all = append(all, v)
	})
	if err == nil && more != nil {
		next = all[len(all)-1].Name
	}
	return all, next, err
}

// Role reads a role within the transaction.
func (tx *Tx) Role(ns kms.Namespace, name string) (Role, bool, error) {
	v, rev, ok, err := fetch[Role](tx, rolePath(ns, name))
	v.Rev = rev
	return v, ok, err
}

// PutRole writes a role.
func (tx *Tx) PutRole(v Role) error {
	tx.touched = append(tx.touched, Touch{Kind: TouchRole, Namespace: v.Namespace, ID: v.ID})
	return tx.put(rolePath(v.Namespace, v.Name), v)
}

// RemoveRole deletes a role: its sessions are over.
func (tx *Tx) RemoveRole(v Role) error {
	tx.touched = append(tx.touched, Touch{Kind: TouchRole, Namespace: v.Namespace, ID: v.ID})
	return tx.remove(rolePath(v.Namespace, v.Name))
}

var sessionPath = []byte{byte(kindSession)}

// SealSession gives a session the form in which its holder keeps it: nobody else can read or make one.
func (r *Records) SealSession(s Session) (string, error) {
	plain, err := json.Marshal(s)
	if err != nil {
		return "", kms.Errorf(kms.CodeInternal, "the session could not be encoded").Because(err)
	}
	defer clear(plain)
	sealed, err := r.chain.SealRecord(nil, 1, plain, r.aad(sessionPath))
	if err != nil {
		return "", kms.Errorf(kms.CodeInternal, "the session could not be sealed").Because(err)
	}
	return base64.StdEncoding.EncodeToString(sealed), nil
}

// OpenSession reads the token of a session; ok is false if this server's cluster did not seal it.
func (r *Records) OpenSession(token string) (s Session, ok bool) {
	sealed, err := base64.StdEncoding.Strict().DecodeString(token)
	if err != nil {
		return Session{}, false
	}
	_, plain, err := r.chain.OpenRecord(nil, sealed, r.aad(sessionPath))
	if err != nil {
		return Session{}, false
	}
	defer clear(plain)
	return s, json.Unmarshal(plain, &s) == nil
}
