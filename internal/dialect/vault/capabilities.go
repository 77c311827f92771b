package vault

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

const (
	sameName = "of another token of the caller's own name, which has other policies, that token asks itself; needs the permission to test policies"
	noACL    = "what policies permit is no list of paths: sys/capabilities-self answers for up to 64"
)

// capabilityRoutes are those that ask what is permitted.
var capabilityRoutes = flat([]route{
	{method: "POST", pattern: "sys/capabilities-self", echo: true, run: (*exchange).Capabilities},
	except(sameName, route{method: "POST", pattern: "sys/capabilities", echo: true, run: (*exchange).CapabilitiesOf}),
	except(sameName, route{method: "POST", pattern: "sys/capabilities-accessor", echo: true, run: (*exchange).CapabilitiesOfAccessor}),
}, absent("GET", noACL, "sys/internal/ui/resultant-acl"))

// maxPaths of one question about capabilities.
const maxPaths = 64

// subject is whom a question about capabilities is about. The zero value: the caller.
type subject struct {
	name   string
	roles  []kms.Role
	groups []string
	scope  []kms.Action // if not empty, the only actions that its token may ask for
}

// Capabilities answers what the caller may do with paths, from the policies that decide it.
func (x *exchange) Capabilities(ctx context.Context) *fault { return x.capabilities(ctx, subject{}) }

// CapabilitiesOf answers what the holder of a token may do.
func (x *exchange) CapabilitiesOf(ctx context.Context) *fault {
	text, f := x.in.text("token")
	switch {
	case f != nil:
		return f
	case text == x.token:
		return x.capabilities(ctx, subject{})
	}
	p, err := x.authn.Token(ctx, text, x.call.Remote)
	if err != nil || p.Namespace != x.call.Namespace {
		if err := x.known(ctx); err != nil { // the question is on record, whatever it is about
			return faultOf(err)
		}
		return newFault(http.StatusBadRequest, "invalid token")
	}
	return x.capabilitiesOf(ctx, p.Credential, subject{p.Name, p.Roles, p.Groups, p.Scope})
}

// CapabilitiesOfAccessor answers what the holder of the token that an accessor stands for may do.
func (x *exchange) CapabilitiesOfAccessor(ctx context.Context) *fault {
	text, f := x.in.text("accessor")
	if f != nil {
		return f
	}
	id, ok := kms.ParseID(text)
	if !ok {
		return newFault(http.StatusBadRequest, "invalid accessor")
	}
	for in := (engine.PageInput{Limit: pageSize}); ; {
		page, err := x.engine.ListTokens(ctx, x.call, in)
		if err != nil {
			return faultOf(err)
		}
		for i := range page.Tokens {
			if t := &page.Tokens[i]; t.ID == id && standing(t) {
				return x.capabilitiesOf(ctx, text, subject{t.Principal, t.Roles, t.Groups, t.Scope})
			}
		}
		if in.Page = page.Next; in.Page == "" {
			return newFault(http.StatusBadRequest, "invalid accessor")
		}
	}
}

// capabilitiesOf answers for the holder of a credential. The engine takes who has the caller's name for the caller, so that one with other policies is refused.
func (x *exchange) capabilitiesOf(ctx context.Context, credential string, of subject) *fault {
	p := x.call.Principal
	switch {
	case credential == p.Credential:
		of = subject{}
	case of.name == p.Name && !slices.Equal(policies(of.roles, of.groups), policies(p.Roles, p.Groups)):
		return newFault(http.StatusBadRequest, "the token has the caller's name and other policies: ask with it at sys/capabilities-self")
	}
	return x.capabilities(ctx, of)
}

// asked are the paths that a question is about.
func (x *exchange) asked() ([]string, *fault) {
	var paths []string
	if raw := x.in.raw("paths"); raw != nil && raw[0] == '[' {
		values, f := x.j.list(raw)
		if f != nil {
			return nil, f
		}
		for _, v := range values {
			s, f := fields{{name: []byte("paths"), raw: v}}.text("paths")
			if f != nil {
				return nil, f
			}
			paths = append(paths, s)
		}
	}
	for _, name := range []string{"path", "paths"} {
		if raw := x.in.raw(name); raw != nil && raw[0] == '"' && len(paths) == 0 {
			s, f := x.in.text(name)
			if f != nil {
				return nil, f
			}
			paths = append(paths, s)
		}
	}
	switch {
	case len(paths) == 0:
		return nil, newFault(http.StatusBadRequest, "paths must be supplied")
	case len(paths) > maxPaths:
		return nil, newFault(http.StatusBadRequest, "at most "+strconv.Itoa(maxPaths)+" paths can be asked about at once")
	}
	return paths, nil
}

func (x *exchange) capabilities(ctx context.Context, of subject) *fault {
	paths, f := x.asked()
	if f != nil {
		return f
	}
	if of.name != "" {
		if _, err := x.engine.CanI(ctx, x.call, engine.CanIInput{Action: kms.WhoAmI, Principal: of.name, Roles: of.roles, Groups: of.groups}); err != nil { // also where no path stands for anything
			return faultOf(err)
		}
	}
	x.e.open()
	for i, path := range paths {
		can, err := x.can(ctx, of, path)
		if err != nil {
			return faultOf(err)
		}
		if i == 0 && len(paths) == 1 {
			x.e.name("capabilities")
			x.e.texts(can)
		}
		if path != "capabilities" {
			x.e.key(path)
			x.e.texts(can)
		}
	}
	x.e.close()
	return nil
}

// can are the capabilities on a path.
func (x *exchange) can(ctx context.Context, of subject, path string) ([]string, error) {
	p, f := x.locate("/v1/" + strings.TrimPrefix(strings.TrimPrefix(path, "/"), "v1/"))
	if f != nil || len(p.rest) == 0 {
		return []string{"deny"}, nil
	}
	var can []string
	for _, r := range x.index[p.group][p.rest[0]] {
		names, ok := r.match(p.rest)
		if !ok {
			continue
		}
		for _, g := range r.grants {
			if len(of.scope) > 0 && !slices.Contains(of.scope, g.action) {
				continue
			}
			in := engine.CanIInput{Action: g.action, Principal: of.name, Roles: of.roles, Groups: of.groups}
			switch {
			case g.action.OnKey():
				in.Key = p.ref(names[g.on])
			case g.action == kms.ListSecrets, g.action.OnSecret() && names[g.on] == "":
				in.Secret = p.secret(names[g.on]) + "/"
			case g.action.OnSecret():
				in.Secret = p.secret(names[g.on])
			}
			out, err := x.engine.CanI(ctx, x.call, in)
			switch {
			case err != nil && kms.AsError(err).Kind() == kms.KindInvalid: // no key can have such a name
				continue
			case err != nil:
				return nil, err
			case out.Explanation.Allowed && !slices.Contains(can, g.capability):
				can = append(can, g.capability)
			}
		}
	}
	if len(can) == 0 {
		return []string{"deny"}, nil
	}
	slices.Sort(can)
	return can, nil
}
