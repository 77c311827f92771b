package vault

import "github.com/keyhold/keyhold/internal/kms"

const (
	ownRoles = "without `allowed_entity_aliases` and batch tokens; without allowed policies the role allows those of the caller"
	noTidy   = "the server removes tokens that ended by itself"
)

// tokenRoutes are those of tokens.
var tokenRoutes = flat(
	[]route{
		{method: "GET", pattern: "auth/token/lookup-self", grants: may(canRead, kms.WhoAmI), run: (*exchange).LookUpSelf},
		{method: "POST", pattern: "auth/token/lookup-self", grants: may(canUpdate, kms.WhoAmI), run: (*exchange).LookUpSelf},
		{method: "GET", pattern: "auth/token/lookup", grants: may(canRead, kms.ReadToken), run: (*exchange).LookUp},
		{method: "POST", pattern: "auth/token/lookup", grants: may(canUpdate, kms.ReadToken), run: (*exchange).LookUp},
		{method: "POST", pattern: "auth/token/lookup-accessor", grants: may(canUpdate, kms.ReadToken), run: (*exchange).LookUpAccessor},
		{method: "LIST", pattern: "auth/token/accessors", grants: may(canList, kms.ReadToken), run: (*exchange).ListAccessors},
		{method: "POST", pattern: "auth/token/renew-self", grants: may(canUpdate, kms.RenewOwnToken), run: (*exchange).RenewSelf},
		{method: "POST", pattern: "auth/token/renew", grants: may(canUpdate, kms.RenewToken), run: (*exchange).Renew},
		{method: "POST", pattern: "auth/token/renew-accessor", grants: may(canUpdate, kms.RenewToken), run: (*exchange).RenewAccessor},
		except(onlyTimed, route{method: "POST", pattern: "auth/token/create", grants: may(canUpdate, kms.CreateToken), run: (*exchange).CreateToken}),
		except(onlyTimed, route{method: "POST", pattern: "auth/token/create-orphan", grants: may(canUpdate, kms.CreateToken), run: (*exchange).CreateOrphan}),
		except(onlyTimed, route{method: "POST", pattern: "auth/token/create/{role_name}", grants: may(canUpdate, kms.CreateTokenByRole), run: (*exchange).CreateByRole}),
		{method: methodList, pattern: "auth/token/roles", grants: may(canList, kms.ReadAuthRole), run: (*exchange).ListTokenRoles},
		{method: "GET", pattern: "auth/token/roles/{role_name}", grants: may(canRead, kms.ReadAuthRole), run: (*exchange).ReadTokenRole},
		except(ownRoles, route{method: "POST", pattern: "auth/token/roles/{role_name}", grants: may(canUpdate, kms.PutAuthRole), run: (*exchange).PutTokenRole}),
		{method: "DELETE", pattern: "auth/token/roles/{role_name}", grants: may(canDelete, kms.DeleteAuthRole), run: (*exchange).DeleteTokenRole},
		{method: "POST", pattern: "auth/token/revoke", grants: may(canUpdate, kms.RevokeToken), run: (*exchange).Revoke},
		{method: "POST", pattern: "auth/token/revoke-accessor", grants: may(canUpdate, kms.RevokeToken), run: (*exchange).RevokeAccessor},
		{method: "POST", pattern: "auth/token/revoke-orphan", grants: may(canUpdate, kms.RevokeToken), run: (*exchange).RevokeOrphan},
		{method: "POST", pattern: "auth/token/revoke-self", grants: may(canUpdate, kms.RevokeOwnToken), run: (*exchange).RevokeSelf},
	},
	absent("POST", noTidy, "auth/token/tidy"),
)

// onlyTimed is what is missing of making tokens.
const onlyTimed = "without `id`, `entity_alias` and batch tokens; policies are the roles of the token, or its groups; a token comes from 8 others at most"
