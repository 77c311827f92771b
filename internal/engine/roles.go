package engine

import (
	"context"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// The descriptors of roles that can be assumed.
var (
	putRole = change[RoleInfo, RoleOutput]{name: kms.PutRole, check: checkRole, do: doPutRole}
	getRole = op[RoleInput, RoleOutput]{
		name:  kms.ReadRole,
		check: func(in *RoleInput) error { return checkRoleName(in.Name) },
		do: func(ctx context.Context, w *work, in *RoleInput) (RoleOutput, error) {
			w.rec.Resource = in.Name
			r, err := w.o.records.Role(ctx, w.call.Namespace, in.Name)
			if err == nil && r.Rev == 0 {
				err = noRole(in.Name)
			}
			return RoleOutput{roleInfo(&r)}, err
		},
	}
	listRoles = op[PageInput, RolesOutput]{
		name:  kms.ReadRole,
		check: func(in *PageInput) error { return checkLimit(&in.Limit) },
		do: func(ctx context.Context, w *work, in *PageInput) (RolesOutput, error) {
			page, next, err := w.o.records.Roles(ctx, w.call.Namespace, clipTo(in.Page, maxRoleName), in.Limit)
			out := RolesOutput{Next: next}
			for i := range page {
				out.Roles = append(out.Roles, roleInfo(&page[i]))
			}
			return out, err
		},
	}
	deleteRole = change[RoleInput, RoleOutput]{
		name:  kms.DeleteRole,
		check: func(in *RoleInput) error { return checkRoleName(in.Name) },
		do:    doDeleteRole,
	}
)

// Limits of roles.
const (
	maxRoleName    = 64
	maxTrusted     = 64   // principals, and groups, that a role trusts
	maxWebTrusts   = 8    // issuers that a role trusts
	maxAudiences   = 16   // of one issuer
	maxClaims      = 16   // of one issuer
	maxClaim       = 1024 // bytes of a claim's value, of an issuer and of an audience
	minSession     = 15 * time.Minute
	maxSession     = 12 * time.Hour
	defaultSession = time.Hour

	// rolePrefix is before a role's name in the name of who has assumed it.
	rolePrefix = "role/"
)

// RoleInfo is a role that can be assumed for a while: rights, and who may have them.
type RoleInfo struct {
	Name      string // of letters, digits and . _ -, at most 64; who assumes it is the principal role/NAME
	Namespace kms.Namespace
	Roles     []kms.Role
	Groups    []string
	Scope     []kms.Action
	Trust     RoleTrust
	Most      kms.Seconds // longest session, 15 minutes to 12 hours; 0: an hour
	Created   time.Time
	Changed   time.Time
	By        string
}

// RoleTrust says who may assume a role: any of these.
type RoleTrust struct {
	Principals []string // of the namespace
	Groups     []string
	Web        []WebTrust
}

// WebTrust admits the bearer of a token that an OpenID Connect issuer signed for one of the audiences, if it makes all the claims.
type WebTrust struct {
	Issuer    string // https://…
	Audiences []string
	Claims    map[string]string
}

// RoleInput names a role.
type RoleInput struct{ Name string }

// RoleOutput is one role.
type RoleOutput struct{ Role RoleInfo }

// RolesOutput is one page.
type RolesOutput struct {
	Roles []RoleInfo
	Next  string
}

// PutRole stores a role, new or in place of the one of that name. What its sessions may do changes with it at once; if who may assume it changes, its
// sessions end.
func (e *Engine) PutRole(ctx context.Context, c kms.Call, in RoleInfo) (RoleOutput, error) {
	return alter(ctx, e, c, &putRole, &in)
}

// GetRole answers a role.
func (e *Engine) GetRole(ctx context.Context, c kms.Call, in RoleInput) (RoleOutput, error) {
	return use(ctx, e, c, &getRole, &in)
}

// ListRoles pages through the roles by name.
func (e *Engine) ListRoles(ctx context.Context, c kms.Call, in PageInput) (RolesOutput, error) {
	return use(ctx, e, c, &listRoles, &in)
}

// DeleteRole removes a role; its sessions end at once.
func (e *Engine) DeleteRole(ctx context.Context, c kms.Call, in RoleInput) (RoleOutput, error) {
	return alter(ctx, e, c, &deleteRole, &in)
}

func checkRoleName(s string) error {
	if err := kms.CheckName(s); err != nil || len(s) > maxRoleName || strings.Contains(s, "/") {
		return kms.Errorf(kms.CodeBadName, "a role's name is 1 to %d letters, digits and . _ -, a letter or digit first", maxRoleName)
	}
	return nil
}

func noRole(name string) error {
	return kms.Errorf(kms.CodeNotFound, "there is no role %q in this namespace", clipTo(name, maxRoleName))
}

func checkRole(in *RoleInfo) error {
	if err := checkRoleName(in.Name); err != nil {
		return err
	}
	if err := checkIdentity(in.Name, in.Roles, in.Groups); err != nil {
		return err
	}
	if in.Most == 0 {
		in.Most = kms.Seconds(defaultSession / time.Second)
	}
	t := &in.Trust
	switch {
	case in.Most < kms.Seconds(minSession/time.Second) || in.Most > kms.Seconds(maxSession/time.Second):
		return kms.Errorf(kms.CodeBadRequest, "the longest session of a role lasts %s to %s", minSession, maxSession)
	case len(in.Scope) > maxScope:
		return kms.Errorf(kms.CodeTooLarge, "the scope has more actions than there are")
	case len(t.Principals) > maxTrusted || len(t.Groups) > maxTrusted || len(t.Web) > maxWebTrusts:
		return kms.Errorf(kms.CodeTooLarge, "a role trusts at most %d principals, %d groups and %d issuers: trust a group instead", maxTrusted, maxTrusted, maxWebTrusts)
	}
	for _, name := range slices.Concat(t.Principals, t.Groups) {
		if err := kms.CheckName(name); err != nil {
			return kms.Errorf(kms.CodeBadName, "%q is not the name of a principal or group that a role could trust", clipTo(name, 64))
		}
		if strings.HasPrefix(name, rolePrefix) {
			return kms.Errorf(kms.CodeBadRequest, "a role is not assumed from a session of another role: trust principals and groups")
		}
	}
	for i := range t.Web {
		if err := checkWebTrust(&t.Web[i]); err != nil {
			return err
		}
	}
	return nil
}

func checkWebTrust(t *WebTrust) error {
	u, err := url.Parse(t.Issuer)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || len(t.Issuer) > maxClaim {
		return kms.Errorf(kms.CodeBadRequest, "an issuer is https://HOST or https://HOST/PATH, as it stands in its tokens")
	}
	if len(t.Audiences) == 0 || len(t.Audiences) > maxAudiences || len(t.Claims) > maxClaims {
		return kms.Errorf(kms.CodeBadRequest, "an issuer is trusted for 1 to %d audiences and by at most %d claims", maxAudiences, maxClaims)
	}
	for _, s := range slices.Concat(t.Audiences, slices.Collect(maps.Keys(t.Claims)), slices.Collect(maps.Values(t.Claims))) {
		if s == "" || len(s) > maxClaim {
			return kms.Errorf(kms.CodeBadRequest, "audiences and claims have 1 to %d bytes", maxClaim)
		}
	}
	return nil
}

func roleInfo(r *records.Role) RoleInfo {
	i := RoleInfo{Name: r.Name, Namespace: r.Namespace, Roles: r.Roles, Groups: r.Groups, Scope: r.Scope, Most: r.Most,
		Created: r.Created, Changed: r.Changed, By: r.By, Trust: RoleTrust{Principals: r.Trust.Principals, Groups: r.Trust.Groups}}
	for _, t := range r.Trust.Web {
		i.Trust.Web = append(i.Trust.Web, WebTrust(t))
	}
	return i
}

func trustOf(t *RoleTrust) records.Trust {
	out := records.Trust{Principals: t.Principals, Groups: t.Groups}
	for _, v := range t.Web {
		out.Web = append(out.Web, records.WebTrust(v))
	}
	return out
}

func doPutRole(_ context.Context, w *work, tx *records.Tx, in *RoleInfo) (RoleOutput, error) {
	if w.call.Namespace == kms.SystemNamespace {
		return RoleOutput{}, kms.Errorf(kms.CodeBadRequest, "roles are assumed to use keys, and the system namespace has none: choose another namespace")
	}
	if err := w.checkHome(in.Roles); err != nil {
		return RoleOutput{}, err
	}
	w.rec.Resource = in.Name
	was, there, err := tx.Role(w.call.Namespace, in.Name)
	if err != nil {
		return RoleOutput{}, err
	}
	r := records.Role{Name: in.Name, Namespace: w.call.Namespace, Roles: in.Roles, Groups: in.Groups, Scope: in.Scope, Trust: trustOf(&in.Trust),
		Most: in.Most, ID: was.ID, Terms: was.Terms, Created: was.Created, Changed: w.now.UTC(), By: w.call.Principal.Name, Rev: was.Rev}
	switch {
	case !there:
		r.ID, r.Created, w.rec.Detail = w.e.orderedID(w.now), r.Changed, "new"
	case !sameTrust(&was.Trust, &r.Trust):
		r.Terms++
		w.rec.Detail = "trusts others: its sessions end"
	default:
		w.rec.Detail = "trusts the same"
	}
	w.onCommit(was.Change, func(leaf [32]byte) error {
		r.Change = leaf
		return tx.PutRole(r)
	})
	return RoleOutput{roleInfo(&r)}, nil
}

// sameTrust compares who is trusted; none is none, however it is written.
func sameTrust(x, y *records.Trust) bool {
	return slices.Equal(x.Principals, y.Principals) && slices.Equal(x.Groups, y.Groups) &&
		slices.EqualFunc(x.Web, y.Web, func(a, b records.WebTrust) bool {
			return a.Issuer == b.Issuer && slices.Equal(a.Audiences, b.Audiences) && (len(a.Claims) == 0 && len(b.Claims) == 0 || reflect.DeepEqual(a.Claims, b.Claims))
		})
}

func doDeleteRole(_ context.Context, w *work, tx *records.Tx, in *RoleInput) (RoleOutput, error) {
	w.rec.Resource = in.Name
	r, there, err := tx.Role(w.call.Namespace, in.Name)
	if err != nil {
		return RoleOutput{}, err
	}
	if !there {
		return RoleOutput{}, noRole(in.Name)
	}
	w.rec.Detail = "its sessions end"
	w.onCommit(r.Change, func([32]byte) error { return tx.RemoveRole(r) })
	return RoleOutput{roleInfo(&r)}, nil
}
