package vault

import (
	"context"
	"net/http"

	"github.com/keyhold/keyhold/internal/kms"
)

const (
	noBrowser  = "nobody is sent through a browser here: get the token from the issuer, and log in with it at `auth/jwt/login`"
	onlyTokens = "the keys that verify tokens, and where they are; without the members of the flow by a browser"
	onlyJWT    = "of `role_type` `jwt`, which binds an audience, a subject or claims; groups are called `MOUNT/GROUP`; policies are roles or groups"
	badProof   = "error validating token"
)

// jwtRoutes are those of tokens that somebody else signed, for mounts of type jwt and oidc.
var jwtRoutes = flat([]route{
	{method: "POST", pattern: "auth/jwt/login", open: true, run: (*exchange).LogInJWT},
	{method: "GET", pattern: "auth/jwt/config", grants: may(canRead, kms.ReadAuth), run: (*exchange).ReadAuthConfig},
	except(onlyTokens, route{method: "POST", pattern: "auth/jwt/config", grants: may(canUpdate, kms.ConfigureAuth), run: (*exchange).PutJWTConfig}),
	{method: methodList, pattern: "auth/jwt/role", grants: may(canList, kms.ReadAuthRole), run: (*exchange).ListAuthRoles},
	{method: "GET", pattern: "auth/jwt/role/{name}", grants: may(canRead, kms.ReadAuthRole), run: (*exchange).ReadDocumentRole},
	except(onlyJWT, route{method: "POST", pattern: "auth/jwt/role/{name}", grants: may(canUpdate, kms.PutAuthRole), run: (*exchange).PutJWTRole}),
	{method: "DELETE", pattern: "auth/jwt/role/{name}", grants: may(canDelete, kms.DeleteAuthRole), run: (*exchange).DeleteDocumentRole},
}, absent("POST", noBrowser, "auth/jwt/oidc/auth_url", "auth/jwt/oidc/callback"), absent("GET", noBrowser, "auth/jwt/oidc/callback"))

var jwtConfig = []member{
	{"oidc_discovery_url", aText}, {"oidc_discovery_ca_pem", aText}, {"jwks_url", aText}, {"jwks_ca_pem", aText}, {"jwt_validation_pubkeys", aList},
	{"bound_issuer", aText}, {"jwt_supported_algs", aList}, {"default_role", aText},
}

var jwtRole = []member{
	{"role_type", aText}, {"user_claim", aText}, {"user_claim_json_pointer", aTruth}, {"bound_audiences", aList}, {"bound_subject", aText},
	{"bound_claims", anyJSON}, {"bound_claims_type", aText}, {"groups_claim", aText}, {"claim_mappings", anyJSON},
	{"clock_skew_leeway", aSpan}, {"expiration_leeway", aSpan}, {"not_before_leeway", aSpan},
}

// LogInJWT gives a token for one that somebody else signed.
func (x *exchange) LogInJWT(ctx context.Context) *fault {
	return x.logInBy(ctx, "jwt", http.StatusBadRequest, badProof)
}

// PutJWTConfig says whose tokens count.
func (x *exchange) PutJWTConfig(ctx context.Context) *fault {
	if f := x.noMember("oidc_client_id", "oidc_client_secret", "oidc_response_mode", "jwks_pairs"); f != nil {
		return f
	}
	return x.putAuthConfig(ctx, jwtConfig, nil)
}

// PutJWTRole makes or changes a role.
func (x *exchange) PutJWTRole(ctx context.Context) *fault {
	if f := x.noMember("max_age", "verbose_oidc_logging"); f != nil {
		return f
	}
	return x.putDocumentRole(ctx, jwtRole)
}
