package vault

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// policies are what a principal's roles and groups are called here.
func policies(roles []kms.Role, groups []string) []string {
	all := make([]string, 0, len(roles)+len(groups))
	for _, r := range roles {
		all = append(all, string(r))
	}
	all = append(all, groups...)
	slices.Sort(all)
	return all
}

// left is how long a credential lives still, in whole seconds; 0: for ever.
func left(expires time.Time) int64 {
	if expires.IsZero() {
		return 0
	}
	return max(int64(time.Until(expires)/time.Second), 1)
}

// LookUpSelf answers what the server knows of the caller's token.
func (x *exchange) LookUpSelf(ctx context.Context) *fault {
	who, err := x.engine.WhoAmI(ctx, x.call)
	if err != nil {
		return faultOf(err)
	}
	p, e := who.Principal, &x.e
	e.open()
	e.text("accessor", p.Credential)
	e.number("creation_ttl", 0)
	e.text("display_name", p.Name)
	e.text("entity_id", "")
	e.time("expire_time", p.Expires)
	e.number("explicit_max_ttl", 0)
	e.text("id", x.token)
	e.null("meta")
	e.text("namespace_path", string(p.Namespace)+"/")
	e.number("num_uses", 0)
	e.yes("orphan", true)
	e.text("path", "auth/token/create")
	e.name("policies")
	e.texts(policies(p.Roles, p.Groups))
	e.yes("renewable", false)
	e.number("ttl", left(p.Expires))
	e.text("type", "service")
	e.close()
	return nil
}

// RenewSelf answers how long the token lives still. It cannot be extended, and clients are told so before they rely on it.
func (x *exchange) RenewSelf(ctx context.Context) *fault {
	who, err := x.engine.WhoAmI(ctx, x.call)
	if err != nil {
		return faultOf(err)
	}
	p := who.Principal
	x.authorized([]byte(x.token), p.Credential, policies(p.Roles, p.Groups), p.Expires)
	x.warnings = append(x.warnings, "the token's life cannot be extended: make a new one before it ends")
	return nil
}

// authorized writes the member "auth".
func (x *exchange) authorized(token []byte, accessor string, policies []string, expires time.Time) {
	e := encoder{b: make([]byte, 0, 512+len(token))}
	e.open()
	e.text("client_token", string(token))
	e.text("accessor", accessor)
	e.name("policies")
	e.texts(policies)
	e.name("token_policies")
	e.texts(policies)
	e.null("metadata")
	e.number("lease_duration", left(expires))
	e.yes("renewable", false)
	e.text("entity_id", "")
	e.text("token_type", "service")
	e.yes("orphan", true)
	e.null("mfa_requirement")
	e.number("num_uses", 0)
	e.close()
	x.auth = e.b
}

// CreateToken makes a token. Its policies are roles, where they have the name of one, and groups, which policies name.
func (x *exchange) CreateToken(ctx context.Context) *fault {
	for _, m := range []string{"num_uses", "period", "id", "entity_alias"} {
		if s, f := x.in.text(m); f != nil || s != "" && s != "0" {
			return orFault(f, m+" is not supported: tokens have an end, and a name that the server gives them")
		}
	}
	in := engine.CreateTokenInput{Principal: x.call.Principal.Name}
	name, f := x.in.text("display_name")
	if f != nil {
		return f
	}
	if name != "" {
		in.Principal = name
	}
	if in.TTL, f = x.in.span("ttl"); f != nil {
		return f
	}
	if raw := x.in.raw("policies"); raw != nil {
		values, f := x.j.list(raw)
		if f != nil {
			return badField("policies")
		}
		for _, v := range values {
			s, f := fields{{name: []byte("policies"), raw: v}}.text("policies")
			switch {
			case f != nil:
				return f
			case s == "default": // every token has it, and it permits nothing of its own here
			case slices.Contains(kms.AllRoles(), kms.Role(s)):
				in.Roles = append(in.Roles, kms.Role(s))
			default:
				in.Groups = append(in.Groups, s)
			}
		}
	} else {
		in.Roles, in.Groups = x.call.Principal.Roles, x.call.Principal.Groups
	}
	out, err := x.engine.CreateToken(ctx, x.call, in)
	if err != nil {
		return faultOf(err)
	}
	x.e.out = append(x.e.out, out.Token)
	x.authorized(out.Token.Wire(release.Wire{}), out.Info.ID.String(), policies(out.Info.Roles, out.Info.Groups), out.Info.Expires)
	return nil
}

// RevokeAccessor ends a token by the name that it has for others.
func (x *exchange) RevokeAccessor(ctx context.Context) *fault {
	s, f := x.in.text("accessor")
	if f != nil {
		return f
	}
	return x.revoke(ctx, s)
}

// RevokeSelf ends the caller's token.
func (x *exchange) RevokeSelf(ctx context.Context) *fault {
	return x.revoke(ctx, x.call.Principal.Credential)
}

func (x *exchange) revoke(ctx context.Context, accessor string) *fault {
	id, ok := kms.ParseID(accessor)
	if !ok {
		return newFault(http.StatusBadRequest, "invalid accessor")
	}
	if _, err := x.engine.RevokeToken(ctx, x.call, engine.IDInput{ID: id}); err != nil {
		return noKey(faultOf(err), http.StatusBadRequest, "invalid accessor")
	}
	x.status = http.StatusNoContent
	return nil
}
