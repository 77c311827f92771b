package authn

import (
	"context"
	"net/netip"
	"strconv"

	"github.com/keyhold/keyhold/internal/kms"
)

// peerKey marks the peer of a local connection. A connection's context is the only way that net/http has from a
// connection to its requests, hence this one exception to "a context carries cancellation only"; nobody but this
// package can write it or read it.
type peerKey struct{}

// WithPeer notes the user at the other end of the local socket, as SO_PEERCRED gave it (unix(7)).
func WithPeer(ctx context.Context, uid uint32) context.Context {
	return context.WithValue(ctx, peerKey{}, uid)
}

func peer(ctx context.Context) (uint32, bool) {
	uid, ok := ctx.Value(peerKey{}).(uint32)
	return uid, ok
}

// localPrincipal is who a user of the server's machine is: named "uid:0", at home in the system namespace, without
// roles. What the local socket may do, the engine decides by the method.
func localPrincipal(uid uint32) *kms.Principal {
	name := "uid:" + strconv.FormatUint(uint64(uid), 10)
	return &kms.Principal{Name: name, Namespace: kms.SystemNamespace, Method: kms.AuthLocal, Credential: name}
}

func (a *Authenticator) local(uid uint32, remote netip.AddrPort) (*kms.Principal, error) {
	if p, ok := a.locals[uid]; ok {
		return p, nil
	}
	return nil, a.refuse(kms.Errorf(kms.CodeUnauthenticated, "user %d of this machine may not use the local socket", uid), remote)
}
