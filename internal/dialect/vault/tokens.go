package vault

import (
	"cmp"
	"context"
	"fmt"
	"maps"
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

// left is how long a credential lives still, rounded to seconds, so that one that was just made has all of its time; 0: for ever.
func left(expires time.Time) int64 {
	if expires.IsZero() {
		return 0
	}
	return max(int64((time.Until(expires)+time.Second/2)/time.Second), 1)
}

// LookUpSelf answers what the server knows of the caller's token.
func (x *exchange) LookUpSelf(ctx context.Context) *fault {
	out, err := x.engine.OwnToken(ctx, x.call)
	if err != nil {
		return faultOf(err)
	}
	x.describe(&out.Token, x.token)
	return nil
}

// LookUp answers what the server knows of any token, or of the caller's if none is named.
func (x *exchange) LookUp(ctx context.Context) *fault {
	text, id, f := x.named(ctx)
	if f != nil {
		return f
	}
	out, err := x.engine.Token(ctx, x.call, engine.IDInput{ID: id})
	if err != nil {
		return otherToken(err, http.StatusForbidden, badToken)
	}
	x.describe(&out.Token, text)
	return nil
}

// LookUpAccessor answers what the server knows of a token that has this accessor, but not the token itself.
func (x *exchange) LookUpAccessor(ctx context.Context) *fault {
	id, f := x.accessor()
	if f != nil {
		return f
	}
	out, err := x.engine.Token(ctx, x.call, engine.IDInput{ID: id})
	if err != nil {
		return otherToken(err, http.StatusBadRequest, badAccessor)
	}
	if !standing(&out.Token) {
		return newFault(http.StatusBadRequest, badAccessor)
	}
	x.describe(&out.Token, "")
	return nil
}

// What is said of a token that there is not.
const (
	badToken    = "bad token"
	badAccessor = "invalid accessor"
)

// standing tells whether a token has not ended by what is known of it alone.
func standing(t *engine.TokenInfo) bool {
	return t.Revoked.IsZero() && !t.UsedUp() && (t.Expires.IsZero() || time.Now().Before(t.Expires))
}

// otherToken is an error about a token that was named in the request.
func otherToken(err error, status int, text string) *fault {
	if kms.CodeOf(err) == kms.CodeNotFound {
		return newFault(status, text)
	}
	return faultOf(err)
}

// accessor reads which token is meant by the name that it has for others.
func (x *exchange) accessor() (kms.ID, *fault) {
	s, f := x.in.text("accessor")
	if f != nil {
		return kms.ID{}, f
	}
	id, ok := kms.ParseID(s)
	if !ok {
		return kms.ID{}, newFault(http.StatusBadRequest, badAccessor)
	}
	return id, nil
}

// named finds the token that the body presents, or else the caller's own. It is proven as if it had come with the request, and counts as a failed
// authentication if it is wrong.
func (x *exchange) named(ctx context.Context) (text string, id kms.ID, f *fault) {
	if text, f = x.in.text("token"); f != nil {
		return "", kms.ID{}, f
	}
	p := x.call.Principal
	if text == "" || text == x.token {
		text = x.token
	} else {
		var err error
		if p, err = x.authn.Known(ctx, text, x.call.Remote); err != nil {
			if kms.AsError(err).Kind() == kms.KindUnauthenticated {
				return "", kms.ID{}, newFault(http.StatusForbidden, badToken)
			}
			return "", kms.ID{}, faultOf(err)
		}
	}
	id, ok := kms.ParseID(p.Credential)
	if !ok {
		return "", kms.ID{}, newFault(http.StatusForbidden, badToken)
	}
	return text, id, nil
}

// describe writes a token. text is the token itself, where who asks has it.
func (x *exchange) describe(t *engine.TokenInfo, text string) {
	e := &x.e
	e.open()
	e.text("accessor", t.ID.String())
	e.number("creation_time", t.Created.Unix())
	e.number("creation_ttl", int64(t.TTL/time.Second))
	e.text("display_name", t.Principal)
	e.text("entity_id", "")
	e.time("expire_time", t.Expires)
	e.number("explicit_max_ttl", int64(t.Most/time.Second))
	e.text("id", text)
	e.time("issue_time", t.Created)
	if !t.Renewed.IsZero() {
		e.time("last_renewal", t.Renewed)
		e.number("last_renewal_time", t.Renewed.Unix())
	}
	if len(t.Bound) > 0 {
		e.name("bound_cidrs")
		e.texts(networks(t.Bound))
	}
	writeMeta(e, "meta", t.Meta)
	e.text("namespace_path", string(t.Namespace)+"/")
	e.number("num_uses", int64(t.Left))
	e.yes("orphan", len(t.Line) == 0)
	e.text("path", cmp.Or(t.Path, pathCreate))
	if t.Period > 0 {
		e.number("period", int64(t.Period/time.Second))
	}
	e.name("policies")
	e.texts(policies(t.Roles, t.Groups))
	e.yes("renewable", t.Renewable)
	if t.Role != "" {
		e.text("role", t.Role)
	}
	e.number("ttl", left(t.Expires))
	e.text("type", "service")
	e.close()
}

func writeMeta(e *encoder, name string, meta map[string]string) {
	if len(meta) == 0 {
		e.null(name)
		return
	}
	e.name(name)
	e.open()
	for _, k := range slices.Sorted(maps.Keys(meta)) {
		e.key(k)
		e.quote(meta[k])
	}
	e.close()
}

// RenewSelf lets the caller's token live longer. One that was not made for that ends when it ends, and clients are told so before they rely on it.
func (x *exchange) RenewSelf(ctx context.Context) *fault {
	in, f := x.renewal()
	if f != nil {
		return f
	}
	own, err := x.engine.OwnToken(ctx, x.call)
	if err != nil {
		return faultOf(err)
	}
	if !own.Token.Renewable {
		x.authorized([]byte(x.token), &own.Token)
		x.warnings = append(x.warnings, "the token's life cannot be extended: make a new one before it ends")
		return nil
	}
	out, err := x.engine.RenewOwnToken(ctx, x.call, in)
	if err != nil {
		return faultOf(err)
	}
	x.renewed(&out, x.token)
	return nil
}

// Renew lets a token live longer.
func (x *exchange) Renew(ctx context.Context) *fault {
	in, f := x.renewal()
	if f != nil {
		return f
	}
	text, id, f := x.named(ctx)
	if f != nil {
		return f
	}
	in.ID = id
	out, err := x.engine.RenewToken(ctx, x.call, in)
	if err != nil {
		return otherToken(err, http.StatusForbidden, badToken)
	}
	x.renewed(&out, text)
	return nil
}

// RenewAccessor lets a token live longer that has this accessor.
func (x *exchange) RenewAccessor(ctx context.Context) *fault {
	in, f := x.renewal()
	if f != nil {
		return f
	}
	if in.ID, f = x.accessor(); f != nil {
		return f
	}
	out, err := x.engine.RenewToken(ctx, x.call, in)
	if err != nil {
		return otherToken(err, http.StatusBadRequest, badAccessor)
	}
	x.renewed(&out, "")
	return nil
}

func (x *exchange) renewal() (in engine.RenewTokenInput, f *fault) {
	in.TTL, f = x.in.span("increment")
	return in, f
}

func (x *exchange) renewed(out *engine.RenewTokenOutput, text string) {
	x.authorized([]byte(text), &out.Token)
	if out.Capped {
		x.warnings = append(x.warnings, fmt.Sprintf("TTL of %q exceeded the effective max_ttl of %q; TTL value is capped accordingly",
			"increment", out.Token.Expires.Sub(out.Token.Created).Round(time.Second)))
	}
}

// authorized writes the member "auth".
func (x *exchange) authorized(token []byte, t *engine.TokenInfo) {
	e := encoder{b: make([]byte, 0, 512+len(token))}
	e.open()
	e.text("client_token", string(token))
	e.text("accessor", t.ID.String())
	names := policies(t.Roles, t.Groups)
	e.name("policies")
	e.texts(names)
	e.name("token_policies")
	e.texts(names)
	writeMeta(&e, "metadata", t.Meta)
	e.number("lease_duration", left(t.Expires))
	e.yes("renewable", t.Renewable)
	e.text("entity_id", "")
	e.text("token_type", "service")
	e.yes("orphan", len(t.Line) == 0)
	e.null("mfa_requirement")
	e.number("num_uses", int64(t.Uses))
	e.close()
	x.auth = e.b
}

// The paths that tokens are made by, as they are told of.
const pathCreate, pathOrphan = "auth/token/create", "auth/token/create-orphan"

// CreateToken makes a token that ends with the caller's, unless it is to come from none. Its policies are roles, where they have the name of one, and
// groups, which policies name.
func (x *exchange) CreateToken(ctx context.Context) *fault {
	orphan, f := x.in.yes("no_parent")
	if f != nil {
		return f
	}
	return x.createToken(ctx, engine.CreateTokenInput{Child: !orphan, Path: pathCreate}, x.engine.CreateToken)
}

// CreateOrphan makes a token that comes from none.
func (x *exchange) CreateOrphan(ctx context.Context) *fault {
	return x.createToken(ctx, engine.CreateTokenInput{Path: pathOrphan}, x.engine.CreateToken)
}

// createToken has the engine make a token by one of its ways.
func (x *exchange) createToken(ctx context.Context, in engine.CreateTokenInput,
	way func(context.Context, kms.Call, engine.CreateTokenInput) (engine.CreateTokenOutput, error),
) *fault {
	for _, m := range []string{"id", "entity_alias"} {
		if s, f := x.in.text(m); f != nil || s != "" && s != "0" {
			return orFault(f, m+" is not supported: tokens have an end, and a name that the server gives them")
		}
	}
	if kind, f := x.in.text("type"); f != nil || kind != "" && kind != "service" {
		return orFault(f, "type is not supported: tokens are of type service")
	}
	in.Principal, in.Renewable = x.call.Principal.Name, true
	name, f := x.in.text("display_name")
	if f != nil {
		return f
	}
	if name != "" {
		in.Principal = name
	}
	if x.in.has("renewable") {
		if in.Renewable, f = x.in.yes("renewable"); f != nil {
			return f
		}
	}
	for _, of := range []struct {
		name string
		to   *time.Duration
	}{{"lease", &in.TTL}, {"ttl", &in.TTL}, {"explicit_max_ttl", &in.Most}, {"period", &in.Period}} {
		if x.in.has(of.name) {
			if *of.to, f = x.in.span(of.name); f != nil {
				return f
			}
		}
	}
	if in.Meta, f = x.meta("meta"); f != nil {
		return f
	}
	uses, f := x.usesIf("num_uses")
	if f != nil {
		return f
	}
	if uses != nil {
		in.Uses = *uses
	}
	asked, f := x.rights("policies")
	if f != nil {
		return f
	}
	if in.Given = asked != nil; in.Given {
		in.Roles, in.Groups = asked.Roles, asked.Groups
	} else {
		in.Roles, in.Groups = x.call.Principal.Roles, x.call.Principal.Groups
	}
	out, err := way(ctx, x.call, in)
	switch {
	case err == nil:
	case in.Role != "" && kms.CodeOf(err) == kms.CodeNotFound:
		return newFault(http.StatusBadRequest, "unknown role "+clip(in.Role))
	default:
		return faultOf(err)
	}
	x.e.out = append(x.e.out, out.Token)
	x.authorized(out.Token.Wire(release.Wire{}), &out.Info)
	if from := x.call.Principal.Expires; len(out.Info.Line) > 0 && !from.IsZero() && from.Before(out.Info.Expires) {
		x.warnings = append(x.warnings, fmt.Sprintf("the token ends with the one that it comes from, which lives until %s unless it is renewed: use auth/token/create-orphan for one that does not",
			from.UTC().Format(time.RFC3339)))
	}
	return nil
}

// meta reads an object of text.
func (x *exchange) meta(name string) (map[string]string, *fault) {
	raw := x.in.raw(name)
	if raw == nil {
		return nil, nil //nolint:nilnil // none is what there is
	}
	all, f := x.j.object(raw, nil)
	if f != nil {
		return nil, badField(name)
	}
	m := make(map[string]string, len(all))
	for i := range all {
		s, f := all[i : i+1].text(string(all[i].name))
		if f != nil {
			return nil, badField(name)
		}
		m[string(all[i].name)] = s
	}
	return m, nil
}

// ListAccessors answers the accessors of all tokens of the namespace that stand.
func (x *exchange) ListAccessors(ctx context.Context) *fault {
	p, f := listingOf(x.r.URL.Query())
	if f != nil {
		return f
	}
	for in := (engine.PageInput{Limit: pageSize}); ; {
		out, err := x.engine.ListTokens(ctx, x.call, in)
		if err != nil {
			return faultOf(err)
		}
		for i := range out.Tokens {
			if t := &out.Tokens[i]; standing(t) {
				p.add(t.ID.String())
			}
		}
		if in.Page = out.Next; in.Page == "" {
			break
		}
	}
	return x.listed(p)
}

// Revoke ends a token, and what comes from it.
func (x *exchange) Revoke(ctx context.Context) *fault {
	if s, f := x.in.text("token"); f != nil || s == "" {
		return orFault(f, "missing token")
	}
	_, id, f := x.named(ctx)
	if f != nil {
		return f
	}
	return x.revoke(ctx, id, http.StatusForbidden, badToken)
}

// RevokeOrphan ends a token alone: what comes from it lives on, and comes from nothing.
func (x *exchange) RevokeOrphan(ctx context.Context) *fault {
	if s, f := x.in.text("token"); f != nil || s == "" {
		return orFault(f, "missing token")
	}
	_, id, f := x.named(ctx)
	if f != nil {
		return f
	}
	if _, err := x.engine.RevokeTokenAlone(ctx, x.call, engine.LetGoInput{ID: id}); err != nil {
		return otherToken(err, http.StatusForbidden, badToken)
	}
	x.status = http.StatusNoContent
	return nil
}

// RevokeAccessor ends a token by the name that it has for others, and what comes from it.
func (x *exchange) RevokeAccessor(ctx context.Context) *fault {
	id, f := x.accessor()
	if f != nil {
		return f
	}
	return x.revoke(ctx, id, http.StatusBadRequest, badAccessor)
}

// RevokeSelf ends the caller's token, and what comes from it.
func (x *exchange) RevokeSelf(ctx context.Context) *fault {
	if _, err := x.engine.RevokeOwnToken(ctx, x.call); err != nil {
		return faultOf(err)
	}
	x.status = http.StatusNoContent
	return nil
}

func (x *exchange) revoke(ctx context.Context, id kms.ID, status int, text string) *fault {
	if _, err := x.engine.RevokeToken(ctx, x.call, engine.IDInput{ID: id}); err != nil {
		return otherToken(err, status, text)
	}
	x.status = http.StatusNoContent
	return nil
}
