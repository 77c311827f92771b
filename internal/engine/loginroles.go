package engine

import (
	"context"
	"crypto/sha256"
	"net/netip"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// A role of a mount says what the tokens of those may do who log in by it, and what they have to prove. Who may write roles may hand out what they name,
// as who may make tokens can: what the one is refused, the other is.

// maxBound is from how many networks a token can be used.
const maxBound = 32

// The descriptors of roles of mounts.
var (
	putAuthRole = change[PutAuthRoleInput, AuthRoleOutput]{name: kms.PutAuthRole, check: checkAuthRole, prepare: prepareAuthRole, do: doPutAuthRole}
	getAuthRole = op[AuthRoleInput, AuthRoleOutput]{name: kms.ReadAuthRole, do: doGetAuthRole}
	listRolesOf = op[ListAuthRolesInput, AuthRolesOutput]{
		name: kms.ReadAuthRole, check: func(in *ListAuthRolesInput) error { return checkLimit(&in.Limit) }, do: doListAuthRoles,
	}
	deleteAuthRole = change[AuthRoleInput, AuthRoleOutput]{name: kms.DeleteAuthRole, do: doDeleteAuthRole}
)

// LoginTerms are what a token that a login gives may do, and for how long.
type LoginTerms struct {
	Roles     []kms.Role
	Groups    []string
	TTL       time.Duration  // 0: the mount's
	Most      time.Duration  // with all renewals; 0: the mount's
	Limit     time.Duration  // the same, kept in the token itself; 0: none
	Period    time.Duration  // every renewal gives it so much, without an end but Limit
	Uses      uint32         // 0: as many as one likes
	Bound     []netip.Prefix // from where the token is used; none: from anywhere
	NoDefault bool           // it is not said to have the policy "default", which permits nothing here
}

// LoginTermsChange changes what is not nil.
type LoginTermsChange struct {
	Rights                   *LoginRights
	TTL, Most, Limit, Period *time.Duration
	Uses                     *uint32
	Bound                    *[]netip.Prefix
	NoDefault                *bool
}

// LoginRights are the roles and groups of a token.
type LoginRights struct {
	Roles  []kms.Role
	Groups []string
}

// PutAuthRoleInput is a role, new or changed.
type PutAuthRoleInput struct {
	Mount, Name string
	Terms       LoginTermsChange
	Document    login.Document // what the method has to know of it
	Digest      [32]byte       // of the document's secret: given, not told
	There       bool           // it is changed, and not made

	was   records.LoginRole
	made  login.Document
	roles int // that there are, of tokens
}

// AuthRoleInput names a role of a mount.
type AuthRoleInput struct{ Mount, Name string }

// ListAuthRolesInput asks for a page of the roles of a mount.
type ListAuthRolesInput struct {
	Mount string
	Page  string
	Limit int
}

// AuthRoleInfo is a role of a mount, but for what is secret of it.
type AuthRoleInfo struct {
	Name    string
	Terms   LoginTerms
	Config  []byte // JSON; empty: nothing
	Created time.Time
	Changed time.Time
	By      string
}

// AuthRoleOutput is one role.
type AuthRoleOutput struct{ Role AuthRoleInfo }

// AuthRolesOutput is one page, in no meaningful order.
type AuthRolesOutput struct {
	Roles []AuthRoleInfo
	Next  string
}

// PutAuthRole writes a role of a mount. Tokens that it gave keep what they were given, and are renewed only if it still gives that.
func (e *Engine) PutAuthRole(ctx context.Context, c kms.Call, in PutAuthRoleInput) (AuthRoleOutput, error) {
	defer func() { in.made.Secret.Zero() }()
	return alter(ctx, e, c, &putAuthRole, &in)
}

// AuthRole answers a role of a mount.
func (e *Engine) AuthRole(ctx context.Context, c kms.Call, in AuthRoleInput) (AuthRoleOutput, error) {
	return use(ctx, e, c, &getAuthRole, &in)
}

// ListAuthRoles pages through the roles of a mount.
func (e *Engine) ListAuthRoles(ctx context.Context, c kms.Call, in ListAuthRolesInput) (AuthRolesOutput, error) {
	return use(ctx, e, c, &listRolesOf, &in)
}

// DeleteAuthRole takes a role of a mount away. Tokens that it gave live on until their end, and are not renewed.
func (e *Engine) DeleteAuthRole(ctx context.Context, c kms.Call, in AuthRoleInput) (AuthRoleOutput, error) {
	return alter(ctx, e, c, &deleteAuthRole, &in)
}

// document is what a method is told of what was kept. Its secret is a copy.
func document(public, hidden []byte) login.Document {
	d := login.Document{Public: public}
	if len(hidden) > 0 {
		d.Secret = secret.Copy(hidden)
	}
	return d
}

// revealed is a secret as a record keeps it, which is sealed; nil: there is none.
func revealed(s *secret.Bytes) []byte {
	if s == nil {
		return nil
	}
	return append([]byte(nil), s.Reveal(reveal.Key{})...)
}

// checkDocument bounds a document, and notes the digest of its secret.
func checkDocument(d login.Document, digest *[32]byte) error {
	if len(d.Public) > login.MaxDocument || d.Secret.Len() > login.MaxDocument {
		return kms.Errorf(kms.CodeTooLarge, "what is kept of a mount or a role has %d bytes at most", login.MaxDocument)
	}
	if digest != nil && d.Secret != nil {
		*digest = sha256.Sum256(d.Secret.Reveal(reveal.Key{}))
	}
	return nil
}

func checkAuthRole(in *PutAuthRoleInput) error {
	if err := checkLoginName(in.Name); err != nil {
		return err
	}
	return checkDocument(in.Document, &in.Digest)
}

// checkLoginName checks the name of a role: users are often called by their addresses.
func checkLoginName(s string) error {
	bad := s == "" || len(s) > login.MaxName
	for i := range len(s) {
		c := s[i]
		bad = bad || c <= ' ' || c >= 0x7f || c == '/' || c == '"' || c == '\\'
	}
	if bad {
		return kms.Errorf(kms.CodeBadName, "the name of a role or a user has 1 to %d visible ASCII characters, without slashes and quotes", login.MaxName)
	}
	return nil
}

// with are terms after a change.
func (c *LoginTermsChange) with(t records.LoginTerms) records.LoginTerms {
	if c.Rights != nil {
		t.Roles, t.Groups = c.Rights.Roles, c.Rights.Groups
	}
	for _, f := range []struct {
		to   *kms.Seconds
		from *time.Duration
	}{{&t.TTL, c.TTL}, {&t.Most, c.Most}, {&t.Limit, c.Limit}, {&t.Period, c.Period}} {
		if f.from != nil {
			*f.to = wholeSeconds(*f.from)
		}
	}
	if c.Uses != nil {
		t.Uses = *c.Uses
	}
	if c.Bound != nil {
		t.Bound = *c.Bound
	}
	if c.NoDefault != nil {
		t.NoDefault = *c.NoDefault
	}
	return t
}

// checkTerms checks terms as a whole. Who may write them may hand out what they name: what is refused to who makes a token is refused here.
func (w *work) checkTerms(t *records.LoginTerms) error {
	for _, s := range []kms.Seconds{t.TTL, t.Most, t.Limit, t.Period} {
		if s < 0 || s.Duration() > maxTTL {
			return kms.Errorf(kms.CodeBadRequest, "a token lives for %s at most, and for %s with each renewal", maxTTL, maxTTL)
		}
	}
	switch {
	case t.Most > 0 && t.TTL > t.Most:
		return kms.Errorf(kms.CodeBadRequest, "\"token_ttl\" cannot be greater than \"token_max_ttl\": %s is longer than %s", t.TTL.Duration(), t.Most.Duration())
	case len(t.Bound) > maxBound:
		return kms.Errorf(kms.CodeTooLarge, "a token is used from %d networks at most", maxBound)
	}
	if err := checkRights(t.Roles, t.Groups); err != nil {
		return err
	}
	return w.checkHome(t.Roles)
}

func roleInfoOf(r *records.LoginRole) AuthRoleInfo {
	t := &r.Terms
	return AuthRoleInfo{Name: r.Name, Config: r.Config, Created: r.Created, Changed: r.Changed, By: r.By, Terms: LoginTerms{
		Roles: t.Roles, Groups: t.Groups, TTL: t.TTL.Duration(), Most: t.Most.Duration(), Limit: t.Limit.Duration(), Period: t.Period.Duration(),
		Uses: t.Uses, Bound: t.Bound, NoDefault: t.NoDefault,
	}}
}

func noAuthRole(name string) error {
	return kms.Errorf(kms.CodeNotFound, "there is no role or user %q at this mount", clipTo(name, login.MaxName))
}

// roleNow reads a mount and one of its roles; there is none, if its Rev is 0.
func (w *work) roleNow(ctx context.Context, mount, name string) (m records.LoginMount, r records.LoginRole, err error) {
	if m, err = w.mountNow(ctx, mount); err != nil {
		return m, r, err
	}
	m.Erase()
	w.rec.Resource = clipTo(w.rec.Resource+"/"+name, maxResource)
	r, err = w.o.records.LoginRole(ctx, m.ID, name)
	return m, r, err
}

// maxResource is how much of a name a record has, in bytes.
const maxResource = 255

func prepareAuthRole(ctx context.Context, w *work, in *PutAuthRoleInput) error {
	m, r, err := w.roleNow(ctx, in.Mount, in.Name)
	if err != nil {
		return err
	}
	defer r.Erase()
	if in.There && r.Rev == 0 {
		return noAuthRole(in.Name)
	}
	method, err := w.e.method(login.Type(m.Type))
	if err != nil {
		return err
	}
	was := document(r.Config, r.Secret)
	defer was.Secret.Zero()
	in.made.Secret.Zero() // of an admission before
	if in.made, err = method.Role(ctx, in.Name, was, in.Document); err != nil {
		return err
	}
	in.was = records.LoginRole{Mount: m.ID, Rev: r.Rev}
	if m.Type == tokenMount && r.Rev == 0 { // there is no record to count them in: some that are made at the same moment may all pass
		if m.Roles, err = w.o.records.CountLoginRoles(ctx, m.ID, maxAuthRoles); err != nil {
			return err
		}
		in.roles = m.Roles
	}
	return checkDocument(in.made, nil)
}

func doPutAuthRole(_ context.Context, w *work, tx *records.Tx, in *PutAuthRoleInput) (AuthRoleOutput, error) {
	m, err := w.loginMount(tx, in.Mount)
	if err != nil {
		return AuthRoleOutput{}, err
	}
	w.rec.Resource = clipTo(w.rec.Resource+"/"+in.Name, maxResource)
	r, there, err := tx.LoginRole(m.ID, in.Name)
	if err != nil {
		return AuthRoleOutput{}, err
	}
	if m.ID != in.was.Mount || r.Rev != in.was.Rev {
		return AuthRoleOutput{}, errStale
	}
	r.Erase()
	r.Terms = in.Terms.with(r.Terms)
	if err := w.checkTerms(&r.Terms); err != nil {
		return AuthRoleOutput{}, err
	}
	before := r.Config
	r.Config, r.Secret = in.made.Public, revealed(in.made.Secret)
	r.Changed, r.By = w.now.UTC(), w.call.Principal.Name
	if !there {
		if m.Type == tokenMount {
			m.Roles, r.Tokens = in.roles, m.Namespace
		}
		if m.Roles >= maxAuthRoles {
			return AuthRoleOutput{}, kms.Errorf(kms.CodeTooMany, "the mount has %d roles or users, as many as there can be", m.Roles)
		}
		r.Mount, r.ID, r.Name, r.Created = m.ID, w.e.orderedID(w.now), in.Name, r.Changed
		w.rec.Detail = "new"
	}
	if login.Type(m.Type) == login.AppRole {
		if err := keepRoleID(tx, &m, &r, before); err != nil {
			return AuthRoleOutput{}, err
		}
	}
	w.onCommit(r.Change, func(leaf [32]byte) error {
		r.Change = leaf
		if !there {
			if err := countRole(tx, &m, 1); err != nil {
				return err
			}
		}
		return tx.PutLoginRole(r)
	})
	return AuthRoleOutput{roleInfoOf(&r)}, nil
}

// countRole keeps count of the roles of a mount, if it has a record. The mount is written whole, with its secret, which is erased then.
func countRole(tx *records.Tx, m *records.LoginMount, more int) error {
	if m.Type == tokenMount {
		return nil
	}
	m.Roles += more
	defer m.Erase()
	return tx.PutLoginMount(*m)
}

func doGetAuthRole(ctx context.Context, w *work, in *AuthRoleInput) (AuthRoleOutput, error) {
	_, r, err := w.roleNow(ctx, in.Mount, in.Name)
	if err == nil && r.Rev == 0 {
		err = noAuthRole(in.Name)
	}
	if err != nil {
		return AuthRoleOutput{}, err
	}
	r.Erase()
	return AuthRoleOutput{roleInfoOf(&r)}, nil
}

func doListAuthRoles(ctx context.Context, w *work, in *ListAuthRolesInput) (AuthRolesOutput, error) {
	after, err := pageBytes(in.Page)
	if err != nil {
		return AuthRolesOutput{}, err
	}
	m, err := w.mountNow(ctx, in.Mount)
	if err != nil {
		return AuthRolesOutput{}, err
	}
	m.Erase()
	page, next, err := w.o.records.LoginRoles(ctx, m.ID, after, in.Limit)
	out := AuthRolesOutput{Next: bytesPage(next)}
	for i := range page {
		page[i].Erase()
		out.Roles = append(out.Roles, roleInfoOf(&page[i]))
	}
	return out, err
}

func doDeleteAuthRole(_ context.Context, w *work, tx *records.Tx, in *AuthRoleInput) (AuthRoleOutput, error) {
	m, err := w.loginMount(tx, in.Mount)
	if err != nil {
		return AuthRoleOutput{}, err
	}
	w.rec.Resource = clipTo(w.rec.Resource+"/"+in.Name, maxResource)
	r, there, err := tx.LoginRole(m.ID, in.Name)
	if err == nil && !there {
		err = noAuthRole(in.Name)
	}
	if err != nil {
		return AuthRoleOutput{}, err
	}
	r.Erase()
	if login.Type(m.Type) == login.AppRole {
		of, err := ReadAppRole(r.Config)
		if err != nil {
			return AuthRoleOutput{}, err
		}
		tx.DropRoleOfID(m.ID, of.RoleID)
	}
	w.onCommit(r.Change, func([32]byte) error {
		if err := countRole(tx, &m, -1); err != nil {
			return err
		}
		return tx.RemoveLoginRole(r)
	})
	return AuthRoleOutput{roleInfoOf(&r)}, nil
}
