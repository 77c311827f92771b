package records

import (
	"context"
	"net/netip"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// l 00 namespace 00 keyed hash of the path: a mount of logins; l 01 mount id, keyed hash of the name: one of its roles
const kindLogin kind = 'l'

// LoginMount is a place at which somebody without a token can get one.
type LoginMount struct {
	ID          kms.ID        `json:"id"` // new when a mount is made at that path again
	Namespace   kms.Namespace `json:"ns"`
	Path        string        `json:"path"`
	Type        string        `json:"type"`
	Description string        `json:"desc,omitempty"`
	TTL         kms.Seconds   `json:"ttl,omitzero"` // of tokens whose role says nothing; 0: as usual
	Most        kms.Seconds   `json:"max,omitzero"` // of all tokens, with their renewals; 0: as usual
	Config      []byte        `json:"config,omitempty"`
	Secret      []byte        `json:"secret,omitempty"` // the part of the configuration that is never shown
	Roles       int           `json:"roles,omitzero"`   // how many there are
	Created     time.Time     `json:"created"`
	Changed     time.Time     `json:"changed"`
	By          string        `json:"by"`
	Change      [32]byte      `json:"change"`

	Rev kms.Rev `json:"-"`
}

// LoginTerms are what a token that a login gives may do, and for how long.
type LoginTerms struct {
	Roles     []kms.Role     `json:"roles,omitempty"`
	Groups    []string       `json:"groups,omitempty"`
	TTL       kms.Seconds    `json:"ttl,omitzero"`      // 0: the mount's
	Most      kms.Seconds    `json:"max,omitzero"`      // with all renewals; 0: the mount's
	Limit     kms.Seconds    `json:"explicit,omitzero"` // the same, whatever the mount says later
	Period    kms.Seconds    `json:"period,omitzero"`
	Uses      uint32         `json:"uses,omitzero"`   // 0: as many as one likes
	Bound     []netip.Prefix `json:"bound,omitempty"` // from where the token is used
	NoDefault bool           `json:"no_default,omitzero"`
}

// LoginRole is who can log in at a mount, and on which terms; users and certificates are roles too.
type LoginRole struct {
	Mount   kms.ID        `json:"mount"`
	Tokens  kms.Namespace `json:"tokens,omitzero"` // of a role of tokens: the namespace; they have no mount, but an id in its place
	ID      kms.ID        `json:"id"`              // new when a role of that name is made again
	Name    string        `json:"name"`
	Terms   LoginTerms    `json:"terms,omitzero"`
	Config  []byte        `json:"config,omitempty"`
	Secret  []byte        `json:"secret,omitempty"` // never shown
	Created time.Time     `json:"created"`
	Changed time.Time     `json:"changed"`
	By      string        `json:"by"`
	Change  [32]byte      `json:"change"`

	Rev kms.Rev `json:"-"`
}

// Erase forgets the secrets.
func (m *LoginMount) Erase() { clear(m.Secret) }

// Erase forgets the secrets.
func (r *LoginRole) Erase() { clear(r.Secret) }

func loginMounts(ns kms.Namespace) []byte {
	return append(append([]byte{byte(kindLogin), 0}, ns...), 0)
}

func (r *Records) loginMountPath(ns kms.Namespace, path string) []byte {
	h := r.chain.Index([]byte("login mount"), []byte(ns), []byte(path))
	return append(loginMounts(ns), h[:]...)
}

func loginRoles(mount kms.ID) []byte { return append([]byte{byte(kindLogin), 1}, mount[:]...) }

func (r *Records) loginRolePath(mount kms.ID, name string) []byte {
	h := r.chain.Index([]byte("login role"), mount[:], []byte(name))
	return append(loginRoles(mount), h[:]...)
}

// LoginMounts reads the mounts of a namespace, in no meaningful order, up to n.
func (r *Records) LoginMounts(ctx context.Context, ns kms.Namespace, n int) (all []LoginMount, err error) {
	_, err = scan(ctx, r, loginMounts(ns), nil, n, func(_ []byte, m LoginMount, rev kms.Rev) {
		m.Rev = rev
		all = append(all, m)
	})
	return all, err
}

// LoginMount reads a mount; a zero Rev means there is none.
func (r *Records) LoginMount(ctx context.Context, ns kms.Namespace, path string) (LoginMount, error) {
	m, rev, err := load[LoginMount](ctx, r, r.loginMountPath(ns, path))
	m.Rev = rev
	return m, err
}

// TokenRoles is what stands for the mount of a namespace's roles of tokens.
func (r *Records) TokenRoles(ns kms.Namespace) kms.ID {
	return r.chain.Index([]byte("token roles"), []byte(ns))
}

// CountLoginRoles counts the roles of a mount, up to atMost. It opens none of them.
func (r *Records) CountLoginRoles(ctx context.Context, mount kms.ID, atMost int) (int, error) {
	return r.countUnder(ctx, loginRoles(mount), atMost)
}

// LoginRole reads a role of a mount; a zero Rev means there is none.
func (r *Records) LoginRole(ctx context.Context, mount kms.ID, name string) (LoginRole, error) {
	v, rev, err := load[LoginRole](ctx, r, r.loginRolePath(mount, name))
	v.Rev = rev
	return v, err
}

// LoginRoles reads a page of the roles of a mount, in no meaningful order. after is the previous answer's next.
func (r *Records) LoginRoles(ctx context.Context, mount kms.ID, after []byte, n int) (all []LoginRole, next []byte, err error) {
	next, err = scan(ctx, r, loginRoles(mount), after, n, func(_ []byte, v LoginRole, rev kms.Rev) {
		v.Rev = rev
		all = append(all, v)
	})
	return all, next, err
}

// LoginMount reads a mount within the transaction.
func (tx *Tx) LoginMount(ns kms.Namespace, path string) (LoginMount, bool, error) {
	m, rev, ok, err := fetch[LoginMount](tx, tx.r.loginMountPath(ns, path))
	m.Rev = rev
	return m, ok, err
}

// PutLoginMount writes a mount. If it is new, the caller also counts up the namespace's PolicyRev, as for a policy.
func (tx *Tx) PutLoginMount(m LoginMount) error {
	return tx.put(tx.r.loginMountPath(m.Namespace, m.Path), m)
}

// RemoveLoginMount deletes a mount, in the same way: the tokens that it gave are over.
func (tx *Tx) RemoveLoginMount(m LoginMount) error {
	tx.touched = append(tx.touched, Touch{Kind: TouchToken, Namespace: m.Namespace, ID: m.ID}) // as if they came from it
	return tx.remove(tx.r.loginMountPath(m.Namespace, m.Path))
}

// LoginRole reads a role of a mount within the transaction.
func (tx *Tx) LoginRole(mount kms.ID, name string) (LoginRole, bool, error) {
	v, rev, ok, err := fetch[LoginRole](tx, tx.r.loginRolePath(mount, name))
	v.Rev = rev
	return v, ok, err
}

// PutLoginRole writes a role of a mount.
func (tx *Tx) PutLoginRole(v LoginRole) error {
	return tx.put(tx.r.loginRolePath(v.Mount, v.Name), v)
}

// RemoveLoginRole deletes a role of a mount.
func (tx *Tx) RemoveLoginRole(v LoginRole) error {
	return tx.remove(tx.r.loginRolePath(v.Mount, v.Name))
}
