package engine

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// AppRole is the login of machines: a role id, which is no secret, and a secret id, which was handed to the machine by somebody who may make them. It is the
// engine's own method, because a use of a secret id is counted in the transaction that makes the token.

// AppRole is what a role asks of a login. It is the role's document, as JSON.
type AppRole struct {
	RoleID string         `json:"role_id"`
	Bind   bool           `json:"bind"`            // a secret id is needed
	Bound  []netip.Prefix `json:"bound,omitempty"` // from where its secret ids log in; none: from anywhere
	Uses   uint32         `json:"uses,omitzero"`   // of a secret id; 0: as many as one likes
	TTL    kms.Seconds    `json:"ttl,omitzero"`    // of a secret id; 0: for ever
}

// AppRoleChange changes what is not nil.
type AppRoleChange struct {
	RoleID *string         `json:"role_id,omitzero"`
	Bind   *bool           `json:"bind,omitzero"`
	Bound  *[]netip.Prefix `json:"bound,omitzero"`
	Uses   *uint32         `json:"uses,omitzero"`
	TTL    *kms.Seconds    `json:"ttl,omitzero"`
}

// Document is the change as PutAuthRole takes it.
func (c *AppRoleChange) Document() (login.Document, error) {
	b, err := json.Marshal(c)
	return login.Document{Public: b}, err
}

// ReadAppRole reads a role's document.
func ReadAppRole(config []byte) (r AppRole, err error) {
	if err = json.Unmarshal(config, &r); err != nil {
		err = kms.Errorf(kms.CodeInternal, "the role's document cannot be read").Because(err)
	}
	return r, err
}

// appRole is the method, but for the proof, which the engine looks at itself.
type appRole struct{}

// Config keeps nothing: there is nothing to say of a mount of AppRole.
func (appRole) Config(context.Context, login.Document, login.Document) (login.Document, error) {
	return login.Document{}, kms.Errorf(kms.CodeBadRequest, "a mount of AppRole has no configuration")
}

// Role changes a role's document.
func (appRole) Role(_ context.Context, _ string, was, asked login.Document) (login.Document, error) {
	r := AppRole{RoleID: newUUID(), Bind: true}
	if len(was.Public) > 0 {
		var err error
		if r, err = ReadAppRole(was.Public); err != nil {
			return login.Document{}, err
		}
	}
	var c AppRoleChange
	if len(asked.Public) > 0 {
		if err := json.Unmarshal(asked.Public, &c, json.RejectUnknownMembers(true)); err != nil {
			return login.Document{}, kms.Errorf(kms.CodeBadRequest, "what is asked of the role cannot be read").Because(err)
		}
	}
	if c.RoleID != nil {
		r.RoleID = *c.RoleID
	}
	if c.Bind != nil {
		r.Bind = *c.Bind
	}
	if c.Bound != nil {
		r.Bound = *c.Bound
	}
	if c.Uses != nil {
		r.Uses = *c.Uses
	}
	if c.TTL != nil {
		r.TTL = *c.TTL
	}
	switch {
	case checkLoginName(r.RoleID) != nil:
		return login.Document{}, kms.Errorf(kms.CodeBadRequest, "a role id has 1 to %d visible ASCII characters, without slashes and quotes", login.MaxName)
	case len(r.Bound) > maxBound:
		return login.Document{}, kms.Errorf(kms.CodeTooLarge, "a secret id is used from %d networks at most", maxBound)
	case r.TTL < 0 || r.TTL.Duration() > maxSecretIDTTL:
		return login.Document{}, kms.Errorf(kms.CodeBadRequest, "a secret id lives for %s at most, or for ever", maxSecretIDTTL)
	}
	b, err := json.Marshal(r, json.Deterministic(true))
	return login.Document{Public: b}, err
}

// Prove is the engine's.
func (appRole) Prove(context.Context, login.Mount, login.Request) (login.Identity, error) {
	return login.Identity{}, kms.Errorf(kms.CodeInternal, "AppRole is proven by the engine")
}

// newUUID is a random UUID (RFC 9562 §5.4), which is the form that clients know of role ids and secret ids: 122 random bits.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // never fails since Go 1.24
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// keepRoleID has a role's id lead to it, and the one that it had before lead nowhere. It is part of the change of the role.
func keepRoleID(tx *records.Tx, m *records.LoginMount, r *records.LoginRole, was []byte) error {
	now, err := ReadAppRole(r.Config)
	if err != nil {
		return err
	}
	if !now.Bind && len(now.Bound) == 0 && len(r.Terms.Bound) == 0 {
		return kms.Errorf(kms.CodeBadRequest, "at least one constraint should be enabled on the role: bind_secret_id, or networks from where it logs in")
	}
	if len(was) > 0 {
		before, err := ReadAppRole(was)
		if err != nil || before.RoleID == now.RoleID {
			return err
		}
		tx.DropRoleOfID(m.ID, before.RoleID)
	}
	switch other, err := tx.RoleOfID(m.ID, now.RoleID); {
	case err != nil:
		return err
	case other != "" && other != r.Name:
		return kms.Errorf(kms.CodeExists, "the role id is that of another role")
	}
	return tx.PutRoleOfID(m.ID, now.RoleID, r.Name)
}

// proveAppRole looks at a role id and a secret id. What is not the same for every use of them is looked at again in the transaction that makes the token.
func (a *attempt) proveAppRole(ctx context.Context) error {
	name, err := a.o.records.RoleOfID(ctx, a.mount.ID, a.in.Request.ID)
	if err != nil {
		return err
	}
	if name == "" {
		return login.Refuse("there is no role with the id %q", login.Clip(a.in.Request.ID))
	}
	if a.role, err = a.o.records.LoginRole(ctx, a.mount.ID, name); err != nil {
		return err
	}
	if a.role.Rev == 0 {
		return login.Refuse("there is no role %q", name)
	}
	r, err := ReadAppRole(a.role.Config)
	if err != nil {
		return err
	}
	at := a.call.Remote.Addr()
	if len(r.Bound) > 0 && !within(r.Bound, at) {
		return login.Refuse("role %q does not log in from %s", name, at)
	}
	a.id = login.Identity{Role: name, Name: name, Metadata: map[string]string{"role_name": name}}
	if !r.Bind {
		return nil
	}
	return a.proveSecretID(ctx)
}

// proveSecretID finds the secret id that was presented, and has its use counted.
func (a *attempt) proveSecretID(ctx context.Context) error {
	proof := a.in.Request.Proof
	if n := proof.Len(); n == 0 || n > maxSecretID {
		return login.Refuse("role %q: there is no secret id, or one of more than %d bytes", a.role.Name, maxSecretID)
	}
	hash := a.o.records.HashSecretID(a.role.ID, proof.Reveal(reveal.Key{}))
	accessor, err := a.o.records.AccessorOf(ctx, a.role.ID, hash)
	if err != nil {
		return err
	}
	s, err := a.o.records.SecretID(ctx, a.role.ID, accessor)
	if err != nil {
		return err
	}
	at := a.call.Remote.Addr()
	switch {
	case s.Rev == 0 || s.Hash != hash:
		return login.Refuse("role %q has no such secret id", a.role.Name)
	case over(&s, a.in.Request.Now):
		return login.Refuse("the secret id %s of role %q expired at %s", s.Accessor, a.role.Name, spelt(s.Expires))
	case len(s.Bound) > 0 && !within(s.Bound, at):
		return login.Refuse("the secret id %s of role %q is not used from %s", s.Accessor, a.role.Name, at)
	}
	for name, value := range s.Meta {
		if _, is := a.id.Metadata[name]; !is {
			a.id.Metadata[name] = value
		}
	}
	a.bound = s.Token
	a.redeem = func(w *work, tx *records.Tx) error {
		now, there, err := tx.SecretID(s.Role, s.Accessor)
		switch {
		case err != nil:
			return err
		case !there:
			w.rec.Detail = fmt.Sprintf("auth/%s: the secret id %s of role %q was used up, or taken away, in between", a.mount.Path, s.Accessor, a.role.Name)
			return refused()
		case now.Uses == 0:
			return nil
		case now.Uses == 1:
			return tx.RemoveSecretID(now)
		}
		now.Uses--
		now.Changed = w.now.UTC()
		return tx.PutSecretID(now)
	}
	return nil
}

func over(s *records.SecretID, now time.Time) bool {
	return !s.Expires.IsZero() && !now.Before(s.Expires)
}

// covered tells whether each of the networks is in one of others.
func covered(all, by []netip.Prefix) bool {
	return len(by) == 0 || !slices.ContainsFunc(all, func(p netip.Prefix) bool {
		return !slices.ContainsFunc(by, func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) })
	})
}
