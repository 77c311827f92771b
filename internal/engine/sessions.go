package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/secret"
)

// assumeRole gives temporary credentials out. It writes nothing: what the server must know of a session is sealed in its token.
var assumeRole = op[AssumeRoleInput, SessionOutput]{
	name:      kms.AssumeRole,
	check:     checkAssume,
	authorize: mayAssume,
	do:        doAssumeRole,
	erase:     func(out *SessionOutput) { out.Secret.Zero(); out.Token.Zero() },
}

// AssumeRoleInput asks for a session of a role.
type AssumeRoleInput struct {
	Role    string
	Session string        // a name for it, 2 to 64 letters, digits and = , . @ _ + -
	TTL     time.Duration // 15 minutes to the role's longest; 0: an hour, or that

	role  records.Role
	trust *RoleTrust // of a web identity: what its token was checked against
}

// SessionOutput is a session of a role: temporary credentials.
type SessionOutput struct {
	AccessKey string // "ASIA" and 16 characters
	Secret    secret.Released
	Token     secret.Released // text that goes with every signed request
	Expires   time.Time
	Role      string
	RoleID    kms.ID
	Session   string
}

// AssumeRole begins a session of a role that trusts the caller. It lasts until its end, until the role's trust changes or the role is deleted, or until the access
// key that began it is revoked, whichever is first.
func (e *Engine) AssumeRole(ctx context.Context, c kms.Call, in AssumeRoleInput) (SessionOutput, error) {
	in.trust = nil
	return use(ctx, e, c, &assumeRole, &in)
}

// WebIdentity is who an OpenID Connect issuer says that somebody is. It has been verified by what RoleTrust answered.
type WebIdentity struct{ Issuer, Subject string }

// RoleTrust answers, for whoever verifies an identity token, what a role trusts. A role that there is not trusts nobody.
func (i Identities) RoleTrust(ctx context.Context, ns kms.Namespace, role string) (RoleTrust, error) {
	o, err := i.e.hold(ctx)
	if err != nil {
		return RoleTrust{}, err
	}
	defer o.release()
	if err := checkRoleName(role); err != nil {
		return RoleTrust{}, err
	}
	r, err := o.records.Role(ctx, ns, role)
	return roleInfo(&r).Trust, err
}

// AssumeRoleWithWebIdentity begins a session of a role for who has no credential of the server but an identity token, which was verified by trust. It is
// refused if the role's trust is another by now.
func (e *Engine) AssumeRoleWithWebIdentity(ctx context.Context, c kms.Call, in AssumeRoleInput, id WebIdentity, trust RoleTrust) (SessionOutput, error) {
	o, err := e.hold(ctx)
	if err != nil {
		return SessionOutput{}, err
	}
	p := kms.Principal{Name: clipTo("oidc/"+id.Subject, kms.MaxName), Namespace: c.Namespace, Method: kms.AuthOIDC, Credential: clipTo(id.Issuer, kms.MaxName)}
	o.identify(&p)
	o.release()
	c.Principal, in.trust = &p, &trust
	return use(ctx, e, c, &assumeRole, &in)
}

// maxNamed bounds how many namespaces NamespaceOf looks at.
const maxNamed = 10_000

// NamespaceOf finds the namespace that a test picks, for a dialect that names them in another way. CodeNotFound: there is none.
func (i Identities) NamespaceOf(ctx context.Context, picks func(kms.Namespace) bool) (kms.Namespace, error) {
	o, err := i.e.hold(ctx)
	if err != nil {
		return "", err
	}
	defer o.release()
	for after, seen := kms.Namespace(""), 0; seen < maxNamed; {
		page, next, err := o.records.Namespaces(ctx, after, scanPage)
		if err != nil {
			return "", err
		}
		for j := range page {
			if picks(page[j].Name) {
				return page[j].Name, nil
			}
		}
		if seen += len(page); next == "" {
			break
		}
		after = next
	}
	return "", kms.Errorf(kms.CodeNotFound, "there is no such namespace")
}

func checkAssume(in *AssumeRoleInput) error {
	if in.TTL != 0 && (in.TTL < minSession || in.TTL > maxSession) {
		return kms.Errorf(kms.CodeBadRequest, "a session lasts %s to %s", minSession, maxSession)
	}
	if len(in.Session) < 2 || len(in.Session) > maxRoleName {
		return kms.Errorf(kms.CodeBadName, "the name of a session has 2 to %d characters", maxRoleName)
	}
	for i := range len(in.Session) {
		if c := in.Session[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !slices.Contains([]byte("=,.@_+-"), c) {
			return kms.Errorf(kms.CodeBadName, "the name of a session is made of letters, digits and = , . @ _ + -")
		}
	}
	return checkRoleName(in.Role)
}

// mayAssume decides by the role's trust, beside the policies, which can forbid. A role that there is not trusts nobody.
func mayAssume(w *work, in *AssumeRoleInput) error {
	w.rec.Resource = rolePrefix + in.Role
	if err := w.authorizeNamespace(kms.AssumeRole); err != nil {
		return err
	}
	r, err := w.o.records.Role(context.Background(), w.call.Namespace, in.Role)
	if err != nil {
		return err
	}
	p := w.call.Principal
	switch {
	case r.Rev == 0:
		return denied(w.call, kms.AssumeRole)
	case in.trust != nil:
		now := trustOf(in.trust)
		if !sameTrust(&r.Trust, &now) {
			return kms.Errorf(kms.CodeConflict, "the role's trust changed while the identity was verified")
		}
	case p.Method != kms.AuthSignature:
		return kms.Errorf(kms.CodeDenied, "a session of a role begins with a request that an access key signed")
	case p.Session != "":
		return kms.Errorf(kms.CodeDenied, "a role is not assumed from a session: use the access key that began it")
	case p.Namespace != r.Namespace,
		!slices.Contains(r.Trust.Principals, p.Name) && !slices.ContainsFunc(p.Groups, func(g string) bool { return slices.Contains(r.Trust.Groups, g) }):
		return denied(w.call, kms.AssumeRole)
	}
	in.role = r
	return nil
}

func doAssumeRole(_ context.Context, w *work, in *AssumeRoleInput) (SessionOutput, error) {
	most := in.role.Most.Duration()
	ttl := in.TTL
	if ttl == 0 {
		ttl = min(defaultSession, most)
	}
	if ttl > most {
		return SessionOutput{}, kms.Errorf(kms.CodeBadRequest, "the requested DurationSeconds exceeds the MaxSessionDuration set for this role: %d s", int(most.Seconds()))
	}
	id, text := newAccessPair(sessionPrefix)
	s := records.Session{Key: id, Secret: slices.Clone(text), Namespace: in.role.Namespace, Role: in.role.Name, RoleID: in.role.ID, Terms: in.role.Terms,
		Name: in.Session, Expires: w.now.Add(ttl).UTC().Truncate(time.Second)}
	defer s.Erase()
	if p := w.call.Principal; in.trust == nil {
		if s.Parent = p.Credential; !p.Expires.IsZero() && p.Expires.Before(s.Expires) {
			s.Expires = p.Expires.UTC()
		}
	}
	token, err := w.o.records.SealSession(s)
	if err != nil {
		return SessionOutput{}, err
	}
	w.rec.Detail = fmt.Sprintf("session %s, %s, until %s", s.Name, s.Key, spelt(s.Expires))
	return SessionOutput{AccessKey: id, Secret: secret.Release(text), Token: secret.Release([]byte(token)), Expires: s.Expires,
		Role: s.Role, RoleID: s.RoleID, Session: s.Name}, nil
}

// Session finds the identity of a session token, with its secret, which the receiver erases. What it may do is what its role may do now.
// CodeUnauthenticated: it is none, or its role or the access key that began it is no longer what it was.
func (i Identities) Session(ctx context.Context, token string) (Identity, error) {
	o, err := i.e.hold(ctx)
	if err != nil {
		return Identity{}, err
	}
	defer o.release()
	s, ok := o.records.OpenSession(token)
	if !ok {
		return Identity{}, unknownCredential()
	}
	defer s.Erase()
	r, err := o.records.Role(ctx, s.Namespace, s.Role)
	if err != nil {
		return Identity{}, err
	}
	if r.Rev == 0 || r.ID != s.RoleID || r.Terms != s.Terms {
		return Identity{}, unknownCredential()
	}
	if err := o.standing(ctx, s.Namespace); err != nil {
		return Identity{}, err
	}
	p := kms.Principal{Name: rolePrefix + r.Name, Session: s.Name, Namespace: s.Namespace, Roles: r.Roles, Groups: r.Groups, Method: kms.AuthSignature,
		Credential: s.Key, Expires: s.Expires, Scope: r.Scope}
	if s.Parent != "" {
		k, err := o.records.AccessKey(ctx, s.Parent)
		if err != nil {
			return Identity{}, err
		}
		k.Erase()
		if k.Rev == 0 || !k.Revoked.IsZero() {
			return Identity{}, unknownCredential()
		}
		if !k.Expires.IsZero() && k.Expires.Before(p.Expires) { // it was replaced since, and has its grace
			p.Expires = k.Expires
		}
	}
	o.identify(&p)
	return Identity{Principal: p, Rev: r.Rev, Secret: secret.Copy(s.Secret), Parent: s.Parent, Role: r.ID}, nil
}
