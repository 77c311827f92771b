package authn

import (
	"context"
	"net/netip"

	"github.com/keyhold/keyhold/internal/authn/oidc"
	"github.com/keyhold/keyhold/internal/kms"
)

// WebIdentity verifies the identity token of a caller that has no credential of the server, by one of the trusts that trusts answers. A source that fails
// too often has to wait, as with every other credential.
//
// Errors: CodeIdentityToken, CodeExpired, CodeIssuer, CodeRateLimited, and those of trusts.
func (a *Authenticator) WebIdentity(ctx context.Context, token string, trusts func(context.Context) ([]oidc.Trust, error), remote netip.AddrPort) (oidc.Identity, error) {
	now, from := a.now(), source(remote)
	if err := a.buckets.request(from, now); err != nil {
		return oidc.Identity{}, a.refuse(err, remote)
	}
	if err := a.buckets.mayAsk(from, now); err != nil {
		return oidc.Identity{}, a.refuse(err, remote)
	}
	all, err := trusts(ctx)
	if err != nil {
		return oidc.Identity{}, a.refuse(kms.AsError(err), remote)
	}
	id, err := a.oidc.Verify(ctx, token, all)
	if err != nil {
		a.buckets.failure(from, now)
		return oidc.Identity{}, a.refuse(kms.AsError(err), remote)
	}
	return id, nil
}
