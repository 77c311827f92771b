package engine

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/records"
)

// A role for tokens says which tokens may be made by it: who may make tokens by roles only can hand out what they allow, and nothing that it has not itself.
// Such roles are kept as those of a mount, which is in every namespace.

// tokenMount is the path and the type of that mount.
const tokenMount = "token"

// Limits of roles for tokens.
const (
	maxTokenPolicies = 64 // of each list
	maxSuffix        = 64 // bytes
)

var createByRole = change[CreateTokenInput, CreateTokenOutput]{
	name:   kms.CreateTokenByRole,
	check:  checkToken,
	do:     doCreateByRole,
	secret: true,
}

// TokenRole is what a role for tokens allows. It is the role's document, as JSON. The lists are of policies: names of roles or groups.
type TokenRole struct {
	Allowed        []string `json:"allowed,omitempty"` // none and no globs: what the caller has itself
	Disallowed     []string `json:"disallowed,omitempty"`
	AllowedGlob    []string `json:"allowed_glob,omitempty"` // with * for any text
	DisallowedGlob []string `json:"disallowed_glob,omitempty"`
	Orphan         bool     `json:"orphan,omitzero"` // its tokens come from none
	Renewable      bool     `json:"renewable,omitzero"`
	Suffix         string   `json:"suffix,omitempty"` // of the path of its tokens
}

// TokenRoleChange changes what is not nil.
type TokenRoleChange struct {
	Allowed        *[]string `json:"allowed,omitzero"`
	Disallowed     *[]string `json:"disallowed,omitzero"`
	AllowedGlob    *[]string `json:"allowed_glob,omitzero"`
	DisallowedGlob *[]string `json:"disallowed_glob,omitzero"`
	Orphan         *bool     `json:"orphan,omitzero"`
	Renewable      *bool     `json:"renewable,omitzero"`
	Suffix         *string   `json:"suffix,omitzero"`
}

// Document is the change as PutAuthRole takes it.
func (c *TokenRoleChange) Document() (login.Document, error) {
	b, err := json.Marshal(c)
	return login.Document{Public: b}, err
}

// ReadTokenRole reads a role's document.
func ReadTokenRole(config []byte) (r TokenRole, err error) {
	if err = json.Unmarshal(config, &r); err != nil {
		err = kms.Errorf(kms.CodeInternal, "the role's document cannot be read").Because(err)
	}
	return r, err
}

// tokenRole is the method of tokens: it has roles, and nobody logs in by it.
type tokenRole struct{ appRole }

// Role changes a role's document.
func (tokenRole) Role(_ context.Context, _ string, was, asked login.Document) (login.Document, error) {
	r := TokenRole{Renewable: true}
	if len(was.Public) > 0 {
		var err error
		if r, err = ReadTokenRole(was.Public); err != nil {
			return login.Document{}, err
		}
	}
	var c TokenRoleChange
	if len(asked.Public) > 0 {
		if err := json.Unmarshal(asked.Public, &c, json.RejectUnknownMembers(true)); err != nil {
			return login.Document{}, kms.Errorf(kms.CodeBadRequest, "what is asked of the role cannot be read").Because(err)
		}
	}
	for _, f := range []struct {
		to   *[]string
		from *[]string
	}{{&r.Allowed, c.Allowed}, {&r.Disallowed, c.Disallowed}, {&r.AllowedGlob, c.AllowedGlob}, {&r.DisallowedGlob, c.DisallowedGlob}} {
		if f.from != nil {
			*f.to = *f.from
		}
		if len(*f.to) > maxTokenPolicies {
			return login.Document{}, kms.Errorf(kms.CodeTooLarge, "a role for tokens names %d policies at most in one list", maxTokenPolicies)
		}
		for _, s := range *f.to {
			if s == "" || len(s) > kms.MaxName {
				return login.Document{}, kms.Errorf(kms.CodeBadName, "the name of a policy has 1 to %d bytes", kms.MaxName)
			}
		}
	}
	if c.Orphan != nil {
		r.Orphan = *c.Orphan
	}
	if c.Renewable != nil {
		r.Renewable = *c.Renewable
	}
	if c.Suffix != nil {
		r.Suffix = *c.Suffix
	}
	if r.Suffix != "" && (len(r.Suffix) > maxSuffix || checkLoginName(r.Suffix) != nil) {
		return login.Document{}, kms.Errorf(kms.CodeBadRequest, "a path suffix has %d visible ASCII characters at most, without slashes and quotes", maxSuffix)
	}
	b, err := json.Marshal(r, json.Deterministic(true))
	return login.Document{Public: b}, err
}

// CreateTokenByRole makes a token within what the role of in.Role allows. CodeNotFound: there is no such role. in.Given says that the caller named roles or
// groups; otherwise it is given all that the role allows, or what the caller has.
func (e *Engine) CreateTokenByRole(ctx context.Context, c kms.Call, in CreateTokenInput) (CreateTokenOutput, error) {
	return alter(ctx, e, c, &createByRole, &in)
}

func doCreateByRole(_ context.Context, w *work, tx *records.Tx, asked *CreateTokenInput) (CreateTokenOutput, error) {
	in := *asked // it may run more than once
	mount := w.o.records.TokenRoles(w.call.Namespace)
	r, there, err := tx.LoginRole(mount, in.Role)
	if err != nil {
		return CreateTokenOutput{}, err
	}
	if !there {
		return CreateTokenOutput{}, noAuthRole(in.Role)
	}
	by, err := ReadTokenRole(r.Config)
	if err != nil {
		return CreateTokenOutput{}, err
	}
	if err := by.choose(w.call.Principal, &in); err != nil {
		return CreateTokenOutput{}, err
	}
	t := &r.Terms
	in.Child, in.Renewable = in.Child && !by.Orphan, in.Renewable && by.Renewable
	in.Period = cmp.Or(t.Period.Duration(), in.Period)
	if !in.Renewable {
		in.Period = 0
	}
	in.Most, in.Uses = least(in.Most, t.Limit.Duration()), least(in.Uses, t.Uses)
	if len(t.Bound) > 0 {
		in.Bound = t.Bound
	}
	if by.Suffix != "" {
		in.Path += "/" + by.Suffix
	}
	return w.makeToken(tx, &in, records.TokenLogin{Mount: mount, Path: tokenMount, Role: r.Name, RoleID: r.ID})
}

// least is the lesser of two limits, of which 0 is none.
func least[T time.Duration | uint32](a, b T) T {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// choose says what a token may do that is made by the role: what was asked for, if the role allows it.
func (r *TokenRole) choose(caller *kms.Principal, in *CreateTokenInput) error {
	limited := len(r.Allowed)+len(r.AllowedGlob) > 0
	has := policyNames(caller.Roles, caller.Groups)
	if !in.Given {
		given := has
		if limited {
			given = r.Allowed
		}
		in.Roles, in.Groups = rightsOf(given)
	}
	for _, name := range policyNames(in.Roles, in.Groups) {
		switch {
		case matches(name, r.Disallowed, r.DisallowedGlob):
			return kms.Errorf(kms.CodeBadRequest, "token policy %q is disallowed by this role", name)
		case limited && !matches(name, r.Allowed, r.AllowedGlob):
			return kms.Errorf(kms.CodeBadRequest, "token policies must be subset of the role's allowed policies: %q is not", name)
		case !limited && !slices.Contains(has, name):
			return kms.Errorf(kms.CodeBadRequest, "child policies must be subset of parent: %q is not", name)
		}
	}
	return checkRights(in.Roles, in.Groups)
}

// policyNames are roles and groups as policies name them.
func policyNames(roles []kms.Role, groups []string) []string {
	all := make([]string, 0, len(roles)+len(groups))
	for _, r := range roles {
		all = append(all, string(r))
	}
	return append(all, groups...)
}

// rightsOf is what names stand for: roles, where they are the name of one, and groups. "default" permits nothing, and is none.
func rightsOf(all []string) (roles []kms.Role, groups []string) {
	for _, s := range all {
		switch {
		case s == "default":
		case known(kms.Role(s)):
			roles = append(roles, kms.Role(s))
		default:
			groups = append(groups, s)
		}
	}
	return roles, groups
}

// matches tells whether a name is in a list, or meets a glob.
func matches(name string, list, globs []string) bool {
	return slices.Contains(list, name) || slices.ContainsFunc(globs, func(g string) bool { return meets(name, strings.Split(g, "*")) })
}

// meets tells whether a text has the parts, one behind the other, the first at its beginning and the last at its end.
func meets(s string, parts []string) bool {
	last := len(parts) - 1
	if last == 0 {
		return s == parts[0]
	}
	rest, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	for _, p := range parts[1:last] {
		if _, rest, ok = strings.Cut(rest, p); !ok {
			return false
		}
	}
	return strings.HasSuffix(rest, parts[last])
}
