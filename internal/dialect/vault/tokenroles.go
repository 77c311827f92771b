package vault

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
)

// pathByRole is the path that tokens are made by that a role allows.
const pathByRole = pathCreate + "/"

// CreateByRole makes a token within what a role for tokens allows.
func (x *exchange) CreateByRole(ctx context.Context) *fault {
	name := x.roleName()
	orphan, f := x.in.yes("no_parent")
	if f != nil {
		return f
	}
	return x.createToken(ctx, engine.CreateTokenInput{Role: name, Child: !orphan, Path: pathByRole + name}, x.engine.CreateTokenByRole)
}

// PutTokenRole makes or changes a role for tokens.
func (x *exchange) PutTokenRole(ctx context.Context) *fault {
	var c engine.TokenRoleChange
	for _, of := range []struct {
		to   **[]string
		name string
	}{{&c.Allowed, "allowed_policies"}, {&c.Disallowed, "disallowed_policies"}, {&c.AllowedGlob, "allowed_policies_glob"}, {&c.DisallowedGlob, "disallowed_policies_glob"}} {
		if !x.in.has(of.name) {
			continue
		}
		all, f := x.several(x.in, of.name)
		if f != nil {
			return f
		}
		if slices.Contains(all, "root") {
			return newFault(http.StatusBadRequest, noRoot)
		}
		*of.to = &all
	}
	for _, of := range []struct {
		to   **bool
		name string
	}{{&c.Orphan, "orphan"}, {&c.Renewable, "renewable"}} {
		if !x.in.has(of.name) {
			continue
		}
		yes, f := x.in.yes(of.name)
		if f != nil {
			return f
		}
		*of.to = &yes
	}
	if x.in.has("path_suffix") {
		s, f := x.in.text("path_suffix")
		if f != nil {
			return f
		}
		c.Suffix = &s
	}
	if aliases, f := x.several(x.in, "allowed_entity_aliases"); f != nil || len(aliases) > 0 {
		return orFault(f, "allowed_entity_aliases is not supported here")
	}
	in := engine.PutAuthRoleInput{Name: x.roleName()}
	f := x.noMember("token_strictly_bind_ip")
	if f == nil {
		in.Terms, f = x.terms()
	}
	if f == nil && x.in.has("explicit_max_ttl") && !x.in.has("token_explicit_max_ttl") { // the older name of the same
		in.Terms.Limit, f = x.in.spanIf("explicit_max_ttl")
	}
	if f != nil {
		return f
	}
	in.Terms.Rights = nil // what its tokens may do, the lists say
	var err error
	if in.Document, err = c.Document(); err != nil {
		return faultOf(err)
	}
	x.place.mount = tokenMount
	return x.putAuthRole(ctx, in)
}

// ListTokenRoles lists the roles for tokens.
func (x *exchange) ListTokenRoles(ctx context.Context) *fault {
	x.place.mount = tokenMount
	return x.ListAuthRoles(ctx)
}

// ReadTokenRole answers a role for tokens.
func (x *exchange) ReadTokenRole(ctx context.Context) *fault {
	x.place.mount = tokenMount
	r, f := x.authRole(ctx, x.roleName())
	if f != nil {
		return f
	}
	by, err := engine.ReadTokenRole(r.Config)
	if err != nil {
		return faultOf(err)
	}
	e, t := &x.e, &r.Terms
	e.open()
	e.null("allowed_entity_aliases")
	for _, l := range []struct {
		name string
		all  []string
	}{{"allowed_policies", by.Allowed}, {"allowed_policies_glob", by.AllowedGlob}, {"disallowed_policies", by.Disallowed}, {"disallowed_policies_glob", by.DisallowedGlob}} {
		e.name(l.name)
		e.texts(l.all)
	}
	e.number("explicit_max_ttl", int64(t.Limit/time.Second))
	e.text("name", r.Name)
	e.yes("orphan", by.Orphan)
	e.text("path_suffix", by.Suffix)
	e.number("period", int64(t.Period/time.Second))
	e.yes("renewable", by.Renewable)
	x.showNetworks("token_bound_cidrs", t.Bound)
	e.number("token_explicit_max_ttl", int64(t.Limit/time.Second))
	e.yes("token_no_default_policy", t.NoDefault)
	e.number("token_num_uses", int64(t.Uses))
	e.number("token_period", int64(t.Period/time.Second))
	e.text("token_type", "default-service")
	e.close()
	return nil
}

// DeleteTokenRole takes a role for tokens away.
func (x *exchange) DeleteTokenRole(ctx context.Context) *fault {
	x.place.mount = tokenMount
	return x.deleteAuthRole(ctx, x.roleName())
}
