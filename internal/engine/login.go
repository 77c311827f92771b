package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/records"
)

// A login gives a token to somebody who has none. No policy decides on it: who may log in, and what for, the roles of the mount say. Every login is on the
// record, also one that failed, with the reason; who failed is told the same whatever it was.

// How many failed logins are on the record: so many a second, after a burst. Beyond, they are counted only, so that strangers cannot fill the trail.
const (
	failedLogins      = 20
	failedLoginsBurst = 1000
)

// LoginInput is what somebody presents at a mount.
type LoginInput struct {
	Mount   string
	Request login.Request // its Now and Remote are the engine's to set
}

// Login gives a token to somebody who proves who it is. The call has no principal. CodeUnauthenticated: the proof is not good, or there is no such mount.
func (e *Engine) Login(ctx context.Context, c kms.Call, in LoginInput) (CreateTokenOutput, error) {
	if b := e.blocked.Load(); b != nil {
		return CreateTokenOutput{}, b
	}
	o, err := e.hold(ctx)
	if err != nil {
		return CreateTokenOutput{}, err
	}
	defer o.release()
	a := &attempt{e: e, o: o, call: c, in: &in}
	in.Request.Now, in.Request.Remote = e.now(), c.Remote
	a.call.Principal = a.claimed()
	for range maxAdmissions {
		var out CreateTokenOutput
		if out, err = a.run(ctx); !errors.Is(err, errStale) {
			return out, err
		}
	}
	return CreateTokenOutput{}, a.refuse(kms.Errorf(kms.CodeConflict, "other changes of this mount came between %d times", maxAdmissions))
}

// attempt is a login under way.
type attempt struct {
	e    *Engine
	o    *opened
	call kms.Call
	in   *LoginInput

	mount  records.LoginMount
	id     login.Identity
	role   records.LoginRole
	bound  []netip.Prefix                 // from where the token is used; none: as the role says
	redeem func(*work, *records.Tx) error // what the login uses up, in the transaction that makes the token; nil: nothing
}

// claimed is who somebody says that it is.
func (a *attempt) claimed() *kms.Principal {
	name := a.in.Mount
	if r := a.in.Request.Role; r != "" {
		name += "/" + login.Clip(r)
	}
	p := &kms.Principal{Name: clipTo(name, kms.MaxName), Namespace: a.call.Namespace, Method: kms.AuthLogin, Credential: clipTo("auth/"+a.in.Mount, kms.MaxName)}
	a.o.identify(p)
	return p
}

// refused is what everybody is told who is refused.
func refused() *kms.Error {
	return kms.Errorf(kms.CodeUnauthenticated, "the login is refused: what was presented does not prove who it is")
}

// refuse records a login that failed. The reason of a refusal goes into the record, and nowhere else.
func (a *attempt) refuse(err error) error {
	detail := "auth/" + login.Clip(a.in.Mount)
	if why := (*login.Refusal)(nil); errors.As(err, &why) {
		err = refused()
		detail += ": " + why.Why
	}
	return a.e.note(a.call, kms.Login, err, detail)
}

func (a *attempt) run(ctx context.Context) (out CreateTokenOutput, err error) {
	a.redeem, a.bound = nil, nil
	if err = a.prove(ctx); err != nil {
		return out, a.refuse(err)
	}
	who := *a.call.Principal
	who.Name, who.Alias = a.in.Mount+"/"+a.id.Name, [16]byte{}
	a.call.Principal = &who
	err = a.e.direct(ctx, a.o, a.call, kms.Login, func(w *work, tx *records.Tx) error {
		out, err = a.give(w, tx)
		return err
	})
	if err != nil || a.call.DryRun {
		return CreateTokenOutput{}, err
	}
	return out, nil
}

// prove has the method of the mount look at the proof.
func (a *attempt) prove(ctx context.Context) error {
	if err := a.find(ctx); err != nil {
		return err
	}
	if login.Type(a.mount.Type) == login.AppRole {
		if err := a.proveAppRole(ctx); err != nil {
			return err
		}
		return a.fits()
	}
	method, err := a.e.method(login.Type(a.mount.Type))
	if err != nil {
		return err
	}
	config := document(a.mount.Config, a.mount.Secret)
	defer config.Secret.Zero()
	a.mount.Erase()
	a.id, err = method.Prove(ctx, login.Mount{Path: a.mount.Path, Type: login.Type(a.mount.Type), Config: config, Roles: rolesOf{a}}, a.in.Request)
	if err != nil {
		return err
	}
	if a.role, err = a.o.records.LoginRole(ctx, a.mount.ID, a.id.Role); err != nil {
		return err
	}
	a.role.Erase()
	if a.role.Rev == 0 {
		return login.Refuse("there is no role %q any more", login.Clip(a.id.Role))
	}
	return a.fits()
}

// fits refuses an identity that no token can have.
func (a *attempt) fits() error {
	id, groups := &a.id, union(a.role.Terms.Groups, a.id.Groups)
	switch {
	case id.Name == "" || len(a.mount.Path)+1+len(id.Name) > kms.MaxName:
		return login.Refuse("the name %q is empty, or too long for that of a principal", login.Clip(id.Name))
	case checkRights(a.role.Terms.Roles, groups) != nil:
		return login.Refuse("it would be in %d groups, or in one whose name no group can have", len(groups))
	case checkMeta(id.Metadata) != nil:
		return login.Refuse("the metadata of the token would be too large")
	}
	if len(a.bound) == 0 {
		a.bound = a.role.Terms.Bound
	}
	if len(a.bound) > 0 && !within(a.bound, a.call.Remote.Addr()) {
		return login.Refuse("the role's tokens are not used from %s", a.call.Remote.Addr())
	}
	return nil
}

// within tells whether an address is in one of the networks.
func within(all []netip.Prefix, at netip.Addr) bool {
	at = at.Unmap()
	return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(at) })
}

// union is all of a, and of b what is not in a.
func union(a, b []string) []string {
	all := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// find finds the mount, in a namespace that stands.
func (a *attempt) find(ctx context.Context) error {
	r, err := a.o.rules.get(ctx, a.call.Namespace)
	if err != nil {
		return err
	}
	if !r.ns.Destroyed.IsZero() { // while it is only going to be, somebody may have to get in to save it
		return login.Refuse("the namespace is destroyed")
	}
	if _, ok := r.logins[a.in.Mount]; !ok {
		return login.Refuse("there is no such mount")
	}
	a.mount, err = a.o.records.LoginMount(ctx, a.call.Namespace, a.in.Mount)
	if err == nil && a.mount.Rev == 0 {
		err = login.Refuse("there is no such mount")
	}
	return err
}

// rolesOf gives a method the roles of its mount.
type rolesOf struct{ a *attempt }

func methodRole(r *records.LoginRole) login.Role {
	v := login.Role{Name: r.Name, Document: document(r.Config, r.Secret)}
	r.Erase()
	return v
}

// Role finds a role.
func (l rolesOf) Role(ctx context.Context, name string) (login.Role, error) {
	if checkLoginName(name) != nil {
		return login.Role{}, login.Refuse("%q is not the name of a role", login.Clip(name))
	}
	r, err := l.a.o.records.LoginRole(ctx, l.a.mount.ID, name)
	if err == nil && r.Rev == 0 {
		err = login.Refuse("there is no role %q", login.Clip(name))
	}
	if err != nil {
		return login.Role{}, err
	}
	return methodRole(&r), nil
}

// All goes through the roles.
func (l rolesOf) All(ctx context.Context, see func(login.Role) bool) error {
	for after := []byte(nil); ; {
		page, next, err := l.a.o.records.LoginRoles(ctx, l.a.mount.ID, after, scanPage)
		if err != nil {
			return err
		}
		for i := range page {
			if !see(methodRole(&page[i])) {
				return nil
			}
		}
		if after = next; next == nil {
			return nil
		}
	}
}

// give makes the token, if the mount and the role are what the proof was judged by. How many roles a mount has does not matter to that.
func (a *attempt) give(w *work, tx *records.Tx) (CreateTokenOutput, error) {
	m, there, err := tx.LoginMount(a.call.Namespace, a.mount.Path)
	if err != nil {
		return CreateTokenOutput{}, err
	}
	m.Erase()
	r, is, err := tx.LoginRole(a.mount.ID, a.role.Name)
	if err != nil {
		return CreateTokenOutput{}, err
	}
	r.Erase()
	if !there || !is || m.ID != a.mount.ID || m.Change != a.mount.Change || r.Rev != a.role.Rev {
		return CreateTokenOutput{}, errStale
	}
	if a.redeem != nil {
		if err := a.redeem(w, tx); err != nil {
			return CreateTokenOutput{}, err
		}
	}
	t := records.Token{Namespace: a.call.Namespace, Principal: a.call.Principal.Name, Roles: r.Terms.Roles, Groups: union(r.Terms.Groups, a.id.Groups),
		Path: "auth/" + m.Path + "/login", Meta: a.id.Metadata, Uses: r.Terms.Uses, Bound: a.bound,
		Login: records.TokenLogin{Mount: m.ID, Path: m.Path, Role: r.Name, RoleID: r.ID, Groups: r.Terms.Groups}}
	ttl := liveBy(&t, w.now, &m, &r.Terms)
	out, err := w.putToken(tx, t, ttl)
	w.rec.Detail = fmt.Sprintf("by role %s, until %s", r.Name, spelt(out.Info.Expires))
	return out, err
}

// liveBy says how long a token lives at first, and writes into it how long with its renewals.
func liveBy(t *records.Token, now time.Time, m *records.LoginMount, by *records.LoginTerms) time.Duration {
	t.Renewable, t.Period, t.Limit = true, by.Period, by.Limit
	most := cmp.Or(by.Most.Duration(), m.Most.Duration(), renewableFor)
	if m.Most > 0 {
		most = min(most, m.Most.Duration())
	}
	ttl := cmp.Or(by.Period.Duration(), by.TTL.Duration(), m.TTL.Duration(), defaultTTL)
	switch {
	case by.Limit > 0 && by.Period > 0:
		t.Until = now.Add(by.Limit.Duration()).UTC()
	case by.Limit > 0:
		t.Until = now.Add(min(by.Limit.Duration(), most)).UTC()
	case by.Period == 0:
		t.Until = now.Add(most).UTC()
	}
	if !t.Until.IsZero() {
		ttl = min(ttl, t.Until.Sub(now))
	}
	return ttl
}
