package vault

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
)

// authGroup is the group of the routes of logins and tokens; tokenMount is where tokens are, in every namespace.
const authGroup, tokenMount = "auth", "token"

const plainTune = "without audit and header settings, `listing_visibility` and `user_lockout_config`: lock-outs are the server's"

// authRoutes are those of the mounts at which one logs in. Vault wants sudo for changing them; here roles and policies in Cedar permit that.
var authRoutes = []route{
	{method: "GET", pattern: "sys/auth", echo: true, grants: may(canRead, kms.ReadAuth), run: (*exchange).AuthMounts},
	{method: "GET", pattern: "sys/auth/{path}", echo: true, run: (*exchange).AuthMount},
	except("of the types that [logins](../credentials.md#logins-of-vaults-clients) have; without plugins, `local` and `seal_wrap`", route{method: "POST", pattern: "sys/auth/{path}", run: (*exchange).EnableAuth}),
	{method: "DELETE", pattern: "sys/auth/{path}", run: (*exchange).DisableAuth},
	{method: "GET", pattern: "sys/auth/{path}/tune", echo: true, run: (*exchange).ReadAuthTune},
	except(plainTune, route{method: "POST", pattern: "sys/auth/{path}/tune", run: (*exchange).TuneAuth}),
}

// sameMethod are types whose routes are those of another one.
var sameMethod = map[login.Type]login.Type{login.OIDC: login.JWT}

// enterAuth finds the mount that a path below auth/ leads into, and has the routes of its type stand for it. Nobody needs a token for MOUNT/login and
// MOUNT/login/NAME; whoever asks for anything else has to be known first.
func (x *exchange) enterAuth(ctx context.Context, method string) *fault {
	p := &x.place
	if p.group != authGroup || len(p.rest) == 0 || p.rest[0] == tokenMount {
		return nil
	}
	if method == http.MethodPost && slices.Contains(p.rest, "login") {
		if f := x.enterNamespace(kms.DefaultNamespace); f != nil {
			return f
		}
		n, err := x.mountOf(ctx)
		switch {
		case err == nil && len(p.rest) > n && p.rest[n] == "login":
			x.leadInto(n)
			return nil
		case err != nil && kms.CodeOf(err) != kms.CodeNotFound:
			return faultOf(err)
		}
	}
	if f := x.identify(ctx); f != nil {
		return f
	}
	n, err := x.mountOf(ctx)
	switch {
	case err == nil:
		x.leadInto(n)
		return nil
	case kms.CodeOf(err) == kms.CodeNotFound:
		return noRoute(p.path)
	}
	return faultOf(err)
}

// mountOf finds the mount that the path leads into, in the namespace of the call, and how many of its segments are the mount's.
func (x *exchange) mountOf(ctx context.Context) (n int, err error) {
	x.place.mount, x.place.kind, n, err = x.engine.Identities().AuthAt(ctx, x.call.Namespace, x.place.rest)
	return n, err
}

// leadInto has the routes of the mount's type stand for what is behind its n segments.
func (x *exchange) leadInto(n int) {
	kind := x.place.kind
	if same := sameMethod[kind]; same != "" {
		kind = same
	}
	x.place.rest = append([]string{string(kind)}, x.place.rest[n:]...)
}

// authMount writes a row of sys/auth.
func (x *exchange) authMount(m *engine.AuthInfo) {
	e := &x.e
	e.text("accessor", "auth_"+string(m.Type)+"_"+m.ID.String())
	e.name("config")
	e.open()
	e.number("default_lease_ttl", int64(m.TTL/time.Second))
	e.yes("force_no_cache", false)
	e.number("max_lease_ttl", int64(m.Most/time.Second))
	e.text("token_type", "default-service")
	e.close()
	e.text("description", m.Description)
	e.yes("external_entropy_access", false)
	e.yes("local", false)
	e.null("options")
	e.text("plugin_version", "")
	e.text("running_plugin_version", apiVersion)
	e.text("type", string(m.Type))
	e.text("uuid", m.ID.String())
}

// tokenAuth is the mount that is always there.
var tokenAuth = engine.AuthInfo{Path: tokenMount, Type: tokenMount, Description: "token based credentials"}

// AuthMounts lists where one logs in.
func (x *exchange) AuthMounts(ctx context.Context) *fault {
	out, err := x.engine.ListAuth(ctx, x.call)
	if err != nil {
		return faultOf(err)
	}
	x.e.open()
	for _, m := range append(out.Mounts, tokenAuth) {
		x.e.key(m.Path + "/")
		x.e.open()
		x.authMount(&m)
		x.e.close()
	}
	x.e.close()
	return nil
}

// authAt reads the mount that the path names.
func (x *exchange) authAt(ctx context.Context) (engine.AuthInfo, *fault) {
	path := x.place.names[0]
	if path == tokenMount {
		if err := x.known(ctx); err != nil {
			return engine.AuthInfo{}, faultOf(err)
		}
		return tokenAuth, nil
	}
	out, err := x.engine.ReadAuth(ctx, x.call, engine.AuthInput{Path: path})
	if err != nil {
		return engine.AuthInfo{}, noAuth(err, path)
	}
	return out.Mount, nil
}

// noAuth is an error about a mount.
func noAuth(err error, path string) *fault {
	if kms.CodeOf(err) == kms.CodeNotFound {
		return newFault(http.StatusBadRequest, "No auth engine at "+clip(path)+"/")
	}
	return faultOf(err)
}

// AuthMount answers one row.
func (x *exchange) AuthMount(ctx context.Context) *fault {
	m, f := x.authAt(ctx)
	if f != nil {
		return f
	}
	x.e.open()
	x.authMount(&m)
	x.e.close()
	return nil
}

// ReadAuthTune answers the settings of a mount.
func (x *exchange) ReadAuthTune(ctx context.Context) *fault {
	m, f := x.authAt(ctx)
	if f != nil {
		return f
	}
	e := &x.e
	e.open()
	e.number("default_lease_ttl", int64(m.TTL/time.Second))
	e.text("description", m.Description)
	e.yes("force_no_cache", false)
	e.number("max_lease_ttl", int64(m.Most/time.Second))
	e.text("token_type", "default-service")
	e.close()
	return nil
}

// serviceTokens refuses types of tokens that there are not.
func serviceTokens(in fields) *fault {
	kind, f := in.text("token_type")
	if f != nil || kind == "" || kind == "service" || kind == "default-service" || kind == "default" {
		return f
	}
	return newFault(http.StatusBadRequest, "token_type "+strconv.Quote(clip(kind))+" is not supported: tokens are of type service")
}

// lives reads the two lengths of time that a mount has for its tokens.
func lives(in fields) (ttl, most *time.Duration, f *fault) {
	if ttl, f = in.spanIf("default_lease_ttl"); f == nil {
		most, f = in.spanIf("max_lease_ttl")
	}
	if f == nil {
		f = serviceTokens(in)
	}
	return ttl, most, f
}

// spanIf is a length of time, if there is one.
func (f fields) spanIf(name string) (*time.Duration, *fault) {
	if !f.has(name) {
		return nil, nil //nolint:nilnil // none is what there is
	}
	d, bad := f.span(name)
	return &d, bad
}

// EnableAuth makes a mount.
func (x *exchange) EnableAuth(ctx context.Context) *fault {
	kind, f := x.in.text("type")
	if f != nil || kind == "" {
		return orFault(f, "backend type must be specified as a string")
	}
	in := engine.EnableAuthInput{Path: x.place.names[0], Type: login.Type(kind)}
	if in.Description, f = x.in.text("description"); f != nil {
		return f
	}
	if raw := x.in.raw("config"); raw != nil {
		config, f := x.j.object(raw, nil)
		if f != nil {
			return badField("config")
		}
		ttl, most, f := lives(config)
		if f != nil {
			return f
		}
		if ttl != nil {
			in.TTL = *ttl
		}
		if most != nil {
			in.Most = *most
		}
	}
	if _, err := x.engine.EnableAuth(ctx, x.call, in); err != nil {
		if kms.CodeOf(err) == kms.CodeExists {
			return newFault(http.StatusBadRequest, "path is already in use at "+clip(in.Path)+"/", told(kms.AsError(err)))
		}
		return faultOf(err)
	}
	x.status = http.StatusNoContent
	return nil
}

// DisableAuth takes a mount away. That there is none is as good.
func (x *exchange) DisableAuth(ctx context.Context) *fault {
	if x.place.names[0] == tokenMount {
		return newFault(http.StatusBadRequest, "token credential backend cannot be disabled")
	}
	if _, err := x.engine.DisableAuth(ctx, x.call, engine.AuthInput{Path: x.place.names[0]}); err != nil && kms.CodeOf(err) != kms.CodeNotFound {
		return faultOf(err)
	}
	x.status = http.StatusNoContent
	return nil
}

// TuneAuth changes a mount.
func (x *exchange) TuneAuth(ctx context.Context) *fault {
	in := engine.TuneAuthInput{Path: x.place.names[0]}
	var f *fault
	if in.TTL, in.Most, f = lives(x.in); f != nil {
		return f
	}
	if x.in.has("description") {
		s, f := x.in.text("description")
		if f != nil {
			return f
		}
		in.Description = &s
	}
	if _, err := x.engine.TuneAuth(ctx, x.call, in); err != nil {
		return noAuth(err, in.Path)
	}
	x.status = http.StatusNoContent
	return nil
}
