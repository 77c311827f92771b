package vault

import (
	"context"
	"net/http"
	"strings"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/secret"
)

const (
	ownPasswords = "without `password_hash`: the server hashes passwords itself; policies are roles or groups"
	badUser      = "invalid username or password"
)

// userpassRoutes are those of users with passwords. Their names are of lower case.
var userpassRoutes = []route{
	{method: "POST", pattern: "auth/userpass/login/{username}", open: true, run: (*exchange).LogInUser},
	{method: methodList, pattern: "auth/userpass/users", grants: may(canList, kms.ReadAuthRole), run: (*exchange).ListAuthRoles},
	{method: "GET", pattern: "auth/userpass/users/{username}", grants: may(canRead, kms.ReadAuthRole), run: (*exchange).ReadUser},
	except(ownPasswords, route{method: "POST", pattern: "auth/userpass/users/{username}", grants: may(canUpdate, kms.PutAuthRole), run: (*exchange).PutUser}),
	{method: "DELETE", pattern: "auth/userpass/users/{username}", grants: may(canDelete, kms.DeleteAuthRole), run: (*exchange).DeleteUser},
	except(ownPasswords, route{method: "POST", pattern: "auth/userpass/users/{username}/password", grants: may(canUpdate, kms.PutAuthRole), run: (*exchange).PutPassword}),
	{method: "POST", pattern: "auth/userpass/users/{username}/policies", grants: may(canUpdate, kms.PutAuthRole), run: (*exchange).PutUserPolicies},
}

func (x *exchange) user() string { return strings.ToLower(x.place.names[0]) }

// sealedText is a member that is a secret, which the caller erases; nil: it is not there, or empty.
func (x *exchange) sealedText(name string) (*secret.Bytes, *fault) {
	raw := x.in.raw(name)
	if raw == nil {
		return nil, nil
	}
	if raw[0] != '"' {
		return nil, badField(name)
	}
	var s *secret.Bytes
	_, f := x.unquoted(raw, func(b []byte) ([]byte, *fault) {
		if len(b) > login.MaxProof {
			return nil, newFault(http.StatusBadRequest, name+" is too long")
		}
		if len(b) > 0 {
			s = secret.Copy(b)
		}
		return nil, nil
	})
	return s, f
}

// LogInUser gives a token for a password.
func (x *exchange) LogInUser(ctx context.Context) *fault {
	password, f := x.sealedText("password")
	if f != nil {
		return f
	}
	defer password.Zero()
	if password == nil {
		return newFault(http.StatusBadRequest, "missing password")
	}
	return x.logIn(ctx, login.Request{Role: x.user(), Proof: password}, http.StatusBadRequest, badUser)
}

// ListAuthRoles lists the names of roles or users of a mount.
func (x *exchange) ListAuthRoles(ctx context.Context) *fault {
	p, f := listingOf(x.r.URL.Query())
	if f != nil {
		return f
	}
	for in := (engine.ListAuthRolesInput{Mount: x.place.mount, Limit: pageSize}); ; {
		out, err := x.engine.ListAuthRoles(ctx, x.call, in)
		if err != nil {
			return faultOf(err)
		}
		for i := range out.Roles {
			p.add(out.Roles[i].Name)
		}
		if in.Page = out.Next; in.Page == "" {
			break
		}
	}
	return x.listed(p)
}

// authRole reads the role that the path names.
func (x *exchange) authRole(ctx context.Context, name string) (*engine.AuthRoleInfo, *fault) {
	out, err := x.engine.AuthRole(ctx, x.call, engine.AuthRoleInput{Mount: x.place.mount, Name: name})
	if err != nil {
		return nil, faultOf(err)
	}
	return &out.Role, nil
}

// putAuthRole writes a role, and answers nothing.
func (x *exchange) putAuthRole(ctx context.Context, in engine.PutAuthRoleInput) *fault {
	in.Mount = x.place.mount
	if _, err := x.engine.PutAuthRole(ctx, x.call, in); err != nil {
		return faultOf(err)
	}
	x.status = http.StatusNoContent
	return nil
}

// deleteAuthRole takes a role away. That there is none is as good.
func (x *exchange) deleteAuthRole(ctx context.Context, name string) *fault {
	_, err := x.engine.DeleteAuthRole(ctx, x.call, engine.AuthRoleInput{Mount: x.place.mount, Name: name})
	if err != nil && kms.CodeOf(err) != kms.CodeNotFound {
		return faultOf(err)
	}
	x.status = http.StatusNoContent
	return nil
}

// ReadUser answers what a user's tokens may do.
func (x *exchange) ReadUser(ctx context.Context) *fault {
	r, f := x.authRole(ctx, x.user())
	if f != nil {
		return f
	}
	x.e.open()
	x.showTerms(&r.Terms)
	x.e.close()
	return nil
}

// PutUser makes or changes a user.
func (x *exchange) PutUser(ctx context.Context) *fault {
	return x.putUser(ctx, false, "")
}

// PutPassword changes a user's password.
func (x *exchange) PutPassword(ctx context.Context) *fault {
	if !x.in.has("password") && !x.in.has("password_hash") {
		return newFault(http.StatusBadRequest, "missing password")
	}
	return x.putUser(ctx, true, "password")
}

// PutUserPolicies changes what a user's tokens may do.
func (x *exchange) PutUserPolicies(ctx context.Context) *fault {
	return x.putUser(ctx, true, "policies")
}

// putUser writes a user, of whom there is one already. only says what of it.
func (x *exchange) putUser(ctx context.Context, there bool, only string) *fault {
	in := engine.PutAuthRoleInput{Name: x.user(), There: there}
	f := x.noMember("password_hash", "token_strictly_bind_ip")
	if f == nil && only != "policies" {
		in.Document.Secret, f = x.sealedText("password")
		defer in.Document.Secret.Zero()
	}
	if f == nil && only != "password" {
		in.Terms, f = x.terms()
	}
	if f != nil {
		return f
	}
	if only == "policies" {
		in.Terms = engine.LoginTermsChange{Rights: in.Terms.Rights}
	}
	return x.putAuthRole(ctx, in)
}

// DeleteUser takes a user away.
func (x *exchange) DeleteUser(ctx context.Context) *fault { return x.deleteAuthRole(ctx, x.user()) }
