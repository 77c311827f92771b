package vault

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
)

const (
	noLocalIDs    = "without `local_secret_ids` and `token_strictly_bind_ip`; policies are roles or groups"
	badAppRole    = "invalid role or secret ID"
	appRolePrefix = "auth/approle/role"
)

// roleFields are the members of a role that have a path of their own: what is written there, what is read, and what it is once it is deleted.
var roleFields = []struct {
	path    string
	members []string // the newest name first
	none    string   // JSON; empty: it is not deleted
}{
	{"bind-secret-id", []string{"bind_secret_id"}, "true"},
	{"bound-cidr-list", []string{"bound_cidr_list"}, "[]"},
	{"period", []string{"token_period", "period"}, "0"},
	{"policies", []string{"token_policies", "policies"}, "[]"},
	{"secret-id-bound-cidrs", []string{"secret_id_bound_cidrs"}, "[]"},
	{"secret-id-num-uses", []string{"secret_id_num_uses"}, "0"},
	{"secret-id-ttl", []string{"secret_id_ttl"}, "0"},
	{"token-bound-cidrs", []string{"token_bound_cidrs"}, "[]"},
	{"token-max-ttl", []string{"token_max_ttl"}, "0"},
	{"token-num-uses", []string{"token_num_uses"}, "0"},
	{"token-ttl", []string{"token_ttl"}, "0"},
	{"role-id", []string{"role_id"}, ""},
}

// appRoleRoutes are those of AppRole.
var appRoleRoutes = flat([]route{
	{method: "POST", pattern: "auth/approle/login", open: true, run: (*exchange).LogInAppRole},
	{method: methodList, pattern: appRolePrefix, grants: may(canList, kms.ReadAuthRole), run: (*exchange).ListAuthRoles},
	{method: "GET", pattern: appRolePrefix + "/{role_name}", grants: may(canRead, kms.ReadAuthRole), run: (*exchange).ReadAppRole},
	except(noLocalIDs, route{method: "POST", pattern: appRolePrefix + "/{role_name}", grants: may(canUpdate, kms.PutAuthRole), run: (*exchange).PutAppRole}),
	{method: "DELETE", pattern: appRolePrefix + "/{role_name}", grants: may(canDelete, kms.DeleteAuthRole), run: (*exchange).DeleteAppRole},
	{method: "GET", pattern: appRolePrefix + "/{role_name}/local-secret-ids", grants: may(canRead, kms.ReadAuthRole), run: (*exchange).ReadLocalIDs},
	{method: methodList, pattern: appRolePrefix + "/{role_name}/secret-id", grants: may(canList, kms.ReadSecretID), run: (*exchange).ListSecretIDs},
	{method: "POST", pattern: appRolePrefix + "/{role_name}/secret-id", grants: may(canUpdate, kms.CreateSecretID), run: (*exchange).NewSecretID},
	{method: "POST", pattern: appRolePrefix + "/{role_name}/custom-secret-id", grants: may(canUpdate, kms.CreateSecretID), run: (*exchange).CustomSecretID},
	{method: "POST", pattern: appRolePrefix + "/{role_name}/secret-id/lookup", grants: may(canUpdate, kms.ReadSecretID), run: (*exchange).LookUpSecretID},
	{method: "POST", pattern: appRolePrefix + "/{role_name}/secret-id/destroy", grants: may(canUpdate, kms.DestroySecretID), run: (*exchange).DestroySecretID},
	{method: "DELETE", pattern: appRolePrefix + "/{role_name}/secret-id/destroy", grants: may(canDelete, kms.DestroySecretID), run: (*exchange).DestroySecretID},
	{method: "POST", pattern: appRolePrefix + "/{role_name}/secret-id-accessor/lookup", grants: may(canUpdate, kms.ReadSecretID), run: (*exchange).LookUpSecretID},
	{method: "POST", pattern: appRolePrefix + "/{role_name}/secret-id-accessor/destroy", grants: may(canUpdate, kms.DestroySecretID), run: (*exchange).DestroySecretID},
	{method: "DELETE", pattern: appRolePrefix + "/{role_name}/secret-id-accessor/destroy", grants: may(canDelete, kms.DestroySecretID), run: (*exchange).DestroySecretID},
}, fieldRoutes(), absent("POST", "the server removes secret ids that ended by itself", "auth/approle/tidy/secret-id"))

// fieldRoutes are those of single members of a role.
func fieldRoutes() []route {
	var all []route
	for _, f := range roleFields {
		pattern := appRolePrefix + "/{role_name}/" + f.path
		all = append(all,
			route{method: "GET", pattern: pattern, grants: may(canRead, kms.ReadAuthRole), run: func(x *exchange, ctx context.Context) *fault {
				return x.readRoleField(ctx, f.members)
			}},
			route{method: "POST", pattern: pattern, grants: may(canUpdate, kms.PutAuthRole), run: func(x *exchange, ctx context.Context) *fault {
				return x.putRoleField(ctx, f.members)
			}})
		if f.none != "" {
			all = append(all, route{method: "DELETE", pattern: pattern, grants: may(canDelete, kms.PutAuthRole), run: func(x *exchange, ctx context.Context) *fault {
				x.in = append(x.in[:0], field{[]byte(f.members[0]), []byte(f.none)})
				return x.putRoleField(ctx, f.members)
			}})
		}
	}
	return all
}

// roleName is the name of a role; names do not tell upper from lower case.
func (x *exchange) roleName() string { return strings.ToLower(x.place.names[0]) }

// LogInAppRole gives a token for a role id and a secret id.
func (x *exchange) LogInAppRole(ctx context.Context) *fault {
	id, f := x.in.text("role_id")
	if f != nil || id == "" {
		return orFault(f, "missing role_id")
	}
	proof, f := x.sealedText("secret_id")
	if f != nil {
		return f
	}
	defer proof.Zero()
	return x.logIn(ctx, login.Request{ID: strings.TrimSpace(id), Proof: proof}, http.StatusBadRequest, badAppRole)
}

// PutAppRole makes or changes a role.
func (x *exchange) PutAppRole(ctx context.Context) *fault { return x.putAppRole(ctx, false) }

func (x *exchange) putAppRole(ctx context.Context, there bool) *fault {
	in := engine.PutAuthRoleInput{Name: x.roleName(), There: there}
	f := x.noMember("local_secret_ids", "token_strictly_bind_ip")
	if f == nil {
		in.Terms, f = x.terms()
	}
	var c engine.AppRoleChange
	if f == nil {
		f = x.appRole(&c)
	}
	if f != nil {
		return f
	}
	var err error
	if in.Document, err = c.Document(); err != nil {
		return faultOf(err)
	}
	return x.putAuthRole(ctx, in)
}

// appRole reads what a body changes of what a role asks for.
func (x *exchange) appRole(c *engine.AppRoleChange) (f *fault) {
	if x.in.has("role_id") {
		id, f := x.in.text("role_id")
		if f != nil {
			return f
		}
		c.RoleID = &id
	}
	if x.in.has("bind_secret_id") {
		bind, f := x.in.yes("bind_secret_id")
		if f != nil {
			return f
		}
		c.Bind = &bind
	}
	if c.Uses, f = x.usesIf("secret_id_num_uses"); f != nil {
		return f
	}
	ttl, f := x.in.spanIf("secret_id_ttl")
	if f != nil {
		return f
	}
	if ttl != nil {
		s := kms.Seconds(*ttl / time.Second)
		c.TTL = &s
	}
	for _, name := range []string{"bound_cidr_list", "secret_id_bound_cidrs"} { // the older name of the same
		if c.Bound, f = x.networksIf(c.Bound, name); f != nil {
			return f
		}
	}
	return nil
}

// appRoleAt reads the role that the path names, with what it asks for.
func (x *exchange) appRoleAt(ctx context.Context) (r *engine.AuthRoleInfo, a engine.AppRole, f *fault) {
	if r, f = x.authRole(ctx, x.roleName()); f != nil {
		return nil, a, f
	}
	a, err := engine.ReadAppRole(r.Config)
	if err != nil {
		return nil, a, faultOf(err)
	}
	return r, a, nil
}

// showAppRole writes what a role asks for, or the members of it that are named.
func (x *exchange) showAppRole(a *engine.AppRole, only ...string) {
	e := &x.e
	wanted := func(name string) bool { return len(only) == 0 || slices.Contains(only, name) }
	if wanted("bind_secret_id") {
		e.yes("bind_secret_id", a.Bind)
	}
	if slices.Contains(only, "bound_cidr_list") {
		e.name("bound_cidr_list")
		e.texts(networks(a.Bound))
	}
	if wanted("local_secret_ids") {
		e.yes("local_secret_ids", false)
	}
	if slices.Contains(only, "role_id") {
		e.text("role_id", a.RoleID)
	}
	if wanted("secret_id_bound_cidrs") {
		x.showNetworks("secret_id_bound_cidrs", a.Bound)
	}
	if wanted("secret_id_num_uses") {
		e.number("secret_id_num_uses", int64(a.Uses))
	}
	if wanted("secret_id_ttl") {
		e.number("secret_id_ttl", int64(a.TTL))
	}
}

// showNetworks writes networks, of which none are null.
func (x *exchange) showNetworks(name string, all []netip.Prefix) {
	if len(all) == 0 {
		x.e.null(name)
		return
	}
	x.e.name(name)
	x.e.texts(networks(all))
}

// ReadAppRole answers a role.
func (x *exchange) ReadAppRole(ctx context.Context) *fault { return x.readRoleField(ctx, nil) }

// ReadLocalIDs answers that secret ids are not of one cluster alone: there are no others.
func (x *exchange) ReadLocalIDs(ctx context.Context) *fault {
	return x.readRoleField(ctx, []string{"local_secret_ids"})
}

func (x *exchange) readRoleField(ctx context.Context, members []string) *fault {
	r, a, f := x.appRoleAt(ctx)
	if f != nil {
		return f
	}
	x.e.open()
	x.showAppRole(&a, members...)
	x.showTerms(&r.Terms, members...)
	x.e.close()
	return nil
}

// putRoleField changes one member of a role that there is.
func (x *exchange) putRoleField(ctx context.Context, members []string) *fault {
	one := slices.DeleteFunc(x.in, func(f field) bool { return !slices.Contains(members, string(f.name)) })
	if len(one) == 0 {
		return newFault(http.StatusBadRequest, "missing "+members[0])
	}
	x.in = one
	return x.putAppRole(ctx, true)
}

// DeleteAppRole takes a role away, with its secret ids.
func (x *exchange) DeleteAppRole(ctx context.Context) *fault {
	return x.deleteAuthRole(ctx, x.roleName())
}

// NewSecretID makes a secret id.
func (x *exchange) NewSecretID(ctx context.Context) *fault {
	return x.makeSecretID(ctx, engine.CreateSecretIDInput{})
}

// CustomSecretID registers a secret id of the caller's choice.
func (x *exchange) CustomSecretID(ctx context.Context) *fault {
	value, f := x.sealedText("secret_id")
	if f != nil || value == nil {
		return orFault(f, "missing secret_id")
	}
	defer value.Zero()
	return x.makeSecretID(ctx, engine.CreateSecretIDInput{Value: value})
}

func (x *exchange) makeSecretID(ctx context.Context, in engine.CreateSecretIDInput) (f *fault) {
	in.Mount, in.Role = x.place.mount, x.roleName()
	if in.Meta, f = x.metadata(); f != nil {
		return f
	}
	if in.Uses, f = x.usesIf("num_uses"); f != nil {
		return f
	}
	if in.TTL, f = x.in.spanIf("ttl"); f != nil {
		return f
	}
	for _, of := range []struct {
		to   *[]netip.Prefix
		name string
	}{{&in.Bound, "cidr_list"}, {&in.Token, "token_bound_cidrs"}} {
		nets, f := x.networksIf(nil, of.name)
		if f != nil {
			return f
		}
		if nets != nil {
			*of.to = *nets
		}
	}
	out, err := x.engine.CreateSecretID(ctx, x.call, in)
	if err != nil {
		return roleFault(err)
	}
	e := &x.e
	e.open()
	e.secretText("secret_id", out.Value)
	e.text("secret_id_accessor", out.Info.Accessor.String())
	e.number("secret_id_num_uses", int64(out.Info.Uses))
	e.number("secret_id_ttl", int64(out.Info.TTL/time.Second))
	e.close()
	return nil
}

// metadata reads an object of texts that is written as JSON in a text, which is how clients send it, or as it is.
func (x *exchange) metadata() (map[string]string, *fault) {
	raw := x.in.raw("metadata")
	if raw == nil || raw[0] != '"' {
		return x.meta("metadata")
	}
	s, f := x.in.text("metadata")
	if f != nil || s == "" {
		return nil, f
	}
	if s[0] != '{' {
		return nil, newFault(http.StatusBadRequest, "failed to parse metadata: it is an object, written as JSON")
	}
	was := x.in
	x.in = fields{{[]byte("metadata"), []byte(s)}}
	defer func() { x.in = was }()
	return x.meta("metadata")
}

// roleFault is an error about the secret id of a role.
func roleFault(err error) *fault {
	if kms.CodeOf(err) == kms.CodeNotFound {
		return newFault(http.StatusNotFound, told(kms.AsError(err)))
	}
	return faultOf(err)
}

// ListSecretIDs lists the accessors of a role's secret ids.
func (x *exchange) ListSecretIDs(ctx context.Context) *fault {
	p, f := listingOf(x.r.URL.Query())
	if f != nil {
		return f
	}
	for in := (engine.ListSecretIDsInput{Mount: x.place.mount, Role: x.roleName(), Limit: pageSize}); ; {
		out, err := x.engine.ListSecretIDs(ctx, x.call, in)
		if err != nil {
			return roleFault(err)
		}
		for i := range out.SecretIDs {
			p.add(out.SecretIDs[i].Accessor.String())
		}
		if in.Page = out.Next; in.Page == "" {
			break
		}
	}
	return x.listed(p)
}

// secretIDAt reads which secret id is meant: by itself or by its accessor, as the path says. The caller erases it. nil: there can be no such one.
func (x *exchange) secretIDAt() (*engine.SecretIDInput, *fault) {
	in := engine.SecretIDInput{Mount: x.place.mount, Role: x.roleName()}
	var f *fault
	if x.r.Method == http.MethodDelete { // which has a body here
		if f = x.read(x.r); f == nil {
			x.in, f = x.j.object(x.body, x.in[:0])
		}
		if f != nil {
			return nil, f
		}
	}
	if x.place.rest[len(x.place.rest)-2] == "secret-id" {
		if in.Value, f = x.sealedText("secret_id"); f != nil || in.Value == nil {
			return nil, orFault(f, "missing secret_id")
		}
		return &in, nil
	}
	s, f := x.in.text("secret_id_accessor")
	if f != nil || s == "" {
		return nil, orFault(f, "missing secret_id_accessor")
	}
	var ok bool
	if in.Accessor, ok = kms.ParseID(s); !ok || in.Accessor.IsZero() {
		return nil, noAccessor()
	}
	return &in, nil
}

func noAccessor() *fault {
	return newFault(http.StatusNotFound, "failed to find accessor entry for secret_id_accessor")
}

// secretIDFault is an error about a secret id that was named. There being none is no error, but for an accessor.
func (x *exchange) secretIDFault(in *engine.SecretIDInput, err error) *fault {
	switch {
	case kms.CodeOf(err) != kms.CodeNotFound:
		return faultOf(err)
	case in.Value == nil:
		return noAccessor()
	}
	x.status = http.StatusNoContent
	return nil
}

// LookUpSecretID tells of a secret id.
func (x *exchange) LookUpSecretID(ctx context.Context) *fault {
	in, f := x.secretIDAt()
	if f != nil {
		return f
	}
	defer in.Value.Zero()
	out, err := x.engine.SecretID(ctx, x.call, *in)
	if err != nil {
		return x.secretIDFault(in, err)
	}
	i, e := &out.Info, &x.e
	e.open()
	e.name("cidr_list")
	e.texts(networks(i.Bound))
	e.time("creation_time", i.Created)
	if i.Expires.IsZero() {
		e.text("expiration_time", "0001-01-01T00:00:00Z")
	} else {
		e.time("expiration_time", i.Expires)
	}
	e.time("last_updated_time", i.Changed)
	writeMeta(e, "metadata", i.Meta)
	e.text("secret_id_accessor", i.Accessor.String())
	e.number("secret_id_num_uses", int64(i.Uses))
	e.number("secret_id_ttl", int64(i.TTL/time.Second))
	e.name("token_bound_cidrs")
	e.texts(networks(i.Token))
	e.close()
	return nil
}

// DestroySecretID takes a secret id away.
func (x *exchange) DestroySecretID(ctx context.Context) *fault {
	in, f := x.secretIDAt()
	if f != nil {
		return f
	}
	defer in.Value.Zero()
	if _, err := x.engine.DestroySecretID(ctx, x.call, *in); err != nil {
		return x.secretIDFault(in, err)
	}
	x.status = http.StatusNoContent
	return nil
}
