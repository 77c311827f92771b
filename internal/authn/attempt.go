package authn

import (
	"net/netip"

	"github.com/keyhold/keyhold/internal/kms"
)

// maxAttempt is how much of what a login names is told apart, in bytes.
const maxAttempt = 200

// Attempt has a login tried by somebody without a credential of the server, and counts it as every other credential if it proves nothing: a source that
// fails too often has to wait, and with one role or user too often from one source is locked out. of names what is tried; do answers CodeUnauthenticated if
// it proved nothing.
//
// Errors: CodeRateLimited, CodeLockedOut, and those of do.
func (a *Authenticator) Attempt(of string, remote netip.AddrPort, do func() error) error {
	now, from := a.now(), source(remote)
	if err := a.buckets.request(from, now); err != nil {
		return a.refuse(err, remote)
	}
	if err := a.buckets.mayAsk(from, now); err != nil {
		return a.refuse(err, remote)
	}
	who := pair{subject: of[:min(len(of), maxAttempt)], source: from}
	failed, locked := a.lockout.check(who, now)
	if locked != nil {
		return a.refuse(locked, remote)
	}
	err := do()
	switch {
	case err == nil && failed:
		a.lockout.forgive(who)
	case err != nil && kms.AsError(err).Kind() == kms.KindUnauthenticated:
		return a.failWith(kms.AsError(err), who, nil, kms.AuthLogin, a.now(), remote)
	}
	return err
}
