package vault

import (
	"context"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// logIn has the engine try a login at the mount of the path, and answers the token. Whatever was wrong with what was presented, the answer is the same:
// status and words are those of the method.
func (x *exchange) logIn(ctx context.Context, r login.Request, status int, words string) *fault {
	var out engine.CreateTokenOutput
	of := "auth/" + x.place.mount + "/" + r.Role + "/" + r.ID
	err := x.authn.Attempt(string(x.call.Namespace)+" "+of, x.call.Remote, func() (err error) {
		out, err = x.engine.Login(ctx, x.call, engine.LoginInput{Mount: x.place.mount, Request: r})
		return err
	})
	switch {
	case err == nil:
	case kms.CodeOf(err) == kms.CodeUnauthenticated:
		return newFault(status, words)
	default:
		return faultOf(err)
	}
	x.e.out = append(x.e.out, out.Token)
	x.authorized(out.Token.Wire(release.Wire{}), &out.Info)
	return nil
}
