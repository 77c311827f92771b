package vault

import (
	"context"
	"net/http"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
)

// noTidying says why there is nothing to tidy.
const noTidying = "no engine here makes secrets with leases"

// leaseRoutes are those of leases. No engine here makes any, so that every lease is one that there is not: the answers are Vault's for those.
var leaseRoutes = flat([]route{
	{method: "GET", pattern: "sys/leases", grants: may(canRead, kms.WhoAmI), run: (*exchange).CountLeases},
	{method: "GET", pattern: "sys/leases/count", grants: may(canRead, kms.WhoAmI), run: (*exchange).CountLeases},
	{method: methodList, pattern: "sys/leases/lookup/", grants: may(canList, kms.WhoAmI), run: (*exchange).ListLeases},
	{method: methodList, pattern: "sys/leases/lookup/{prefix}", grants: may(canList, kms.WhoAmI), run: (*exchange).ListLeases},
	{method: "POST", pattern: "sys/leases/lookup", grants: may(canUpdate, kms.WhoAmI), run: (*exchange).LookUpLease},
	{method: "POST", pattern: "sys/leases/renew", grants: may(canUpdate, kms.WhoAmI), run: (*exchange).RenewLease},
	{method: "POST", pattern: "sys/leases/renew/{url_lease_id}", grants: may(canUpdate, kms.WhoAmI), run: (*exchange).RenewLease},
	{method: "POST", pattern: "sys/leases/revoke", grants: may(canUpdate, kms.WhoAmI), run: (*exchange).RevokeLease},
	{method: "POST", pattern: "sys/leases/revoke/{url_lease_id}", grants: may(canUpdate, kms.WhoAmI), run: (*exchange).RevokeLease},
	{method: "POST", pattern: "sys/leases/revoke-prefix/{prefix}", grants: may(canUpdate, kms.WhoAmI), run: (*exchange).RevokeLeases},
	{method: "POST", pattern: "sys/leases/revoke-force/{prefix}", grants: may(canUpdate, kms.WhoAmI), run: (*exchange).RevokeLeases},
}, absent("POST", noTidying, "sys/leases/tidy"))

// CountLeases counts none. Vault counts only those that cannot be revoked, and answers nothing about others.
func (x *exchange) CountLeases(ctx context.Context) *fault {
	if err := x.known(ctx); err != nil {
		return faultOf(err)
	}
	if kind := x.r.URL.Query().Get("type"); !strings.EqualFold(kind, "irrevocable") {
		return missing()
	}
	x.e.open()
	x.e.name("counts")
	x.e.open()
	x.e.close()
	x.e.number("lease_count", 0)
	x.e.close()
	return nil
}

// ListLeases lists none.
func (x *exchange) ListLeases(ctx context.Context) *fault {
	if err := x.known(ctx); err != nil {
		return faultOf(err)
	}
	return missing()
}

// lease is the id that the body or the path names.
func (x *exchange) lease() *fault {
	for _, name := range []string{"lease_id", "url_lease_id"} {
		if s, f := x.in.text(name); f != nil || s != "" {
			return f
		}
	}
	if x.place.names[0] != "" {
		return nil
	}
	return newFault(http.StatusBadRequest, "lease_id must be specified")
}

// noLease carries the caller's identity and the id through, and refuses.
func (x *exchange) noLease(ctx context.Context, text string) *fault {
	if err := x.known(ctx); err != nil {
		return faultOf(err)
	}
	if f := x.lease(); f != nil {
		return f
	}
	return newFault(http.StatusBadRequest, text, noTidying)
}

// LookUpLease knows none.
func (x *exchange) LookUpLease(ctx context.Context) *fault { return x.noLease(ctx, "invalid lease") }

// RenewLease has none to renew.
func (x *exchange) RenewLease(ctx context.Context) *fault { return x.noLease(ctx, "lease not found") }

// RevokeLease revokes what is not there, which is no error of Vault's either: clients revoke when they stop.
func (x *exchange) RevokeLease(ctx context.Context) *fault {
	if err := x.known(ctx); err != nil {
		return faultOf(err)
	}
	if f := x.lease(); f != nil {
		return f
	}
	x.status = http.StatusNoContent
	return nil
}

// RevokeLeases revokes all below a prefix, which are none.
func (x *exchange) RevokeLeases(ctx context.Context) *fault {
	if err := x.known(ctx); err != nil {
		return faultOf(err)
	}
	x.status = http.StatusNoContent
	return nil
}
