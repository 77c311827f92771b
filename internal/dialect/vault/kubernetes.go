package vault

import (
	"context"
	"net/http"

	"github.com/keyhold/keyhold/internal/kms"
)

const (
	onlyReviews = "`kubernetes_host` is asked over TLS; without `token_reviewer_jwt` each token reviews itself: the server reads none of the pod that it runs in"
	onlyNames   = "without `bound_service_account_namespace_selector`; policies are roles or groups"
)

// kubernetesRoutes are those of the service accounts of a cluster.
var kubernetesRoutes = []route{
	{method: "POST", pattern: "auth/kubernetes/login", open: true, run: (*exchange).LogInKubernetes},
	{method: "GET", pattern: "auth/kubernetes/config", grants: may(canRead, kms.ReadAuth), run: (*exchange).ReadAuthConfig},
	except(onlyReviews, route{method: "POST", pattern: "auth/kubernetes/config", grants: may(canUpdate, kms.ConfigureAuth), run: (*exchange).PutKubernetesConfig}),
	{method: methodList, pattern: "auth/kubernetes/role", grants: may(canList, kms.ReadAuthRole), run: (*exchange).ListAuthRoles},
	{method: "GET", pattern: "auth/kubernetes/role/{name}", grants: may(canRead, kms.ReadAuthRole), run: (*exchange).ReadDocumentRole},
	except(onlyNames, route{method: "POST", pattern: "auth/kubernetes/role/{name}", grants: may(canUpdate, kms.PutAuthRole), run: (*exchange).PutKubernetesRole}),
	{method: "DELETE", pattern: "auth/kubernetes/role/{name}", grants: may(canDelete, kms.DeleteAuthRole), run: (*exchange).DeleteDocumentRole},
}

var kubernetesConfig = []member{
	{"kubernetes_host", aText}, {"kubernetes_ca_cert", aText}, {"pem_keys", aList}, {"issuer", aText}, {"disable_local_ca_jwt", aTruth}, {"disable_iss_validation", aTruth},
}

var kubernetesRole = []member{
	{"bound_service_account_names", aList}, {"bound_service_account_namespaces", aList}, {"audience", aText}, {"alias_name_source", aText},
}

// LogInKubernetes gives a token for that of a service account.
func (x *exchange) LogInKubernetes(ctx context.Context) *fault {
	if !x.in.has("role") {
		return newFault(http.StatusBadRequest, "missing role")
	}
	return x.logInBy(ctx, "jwt", http.StatusForbidden, "permission denied")
}

// PutKubernetesConfig says which cluster knows the tokens.
func (x *exchange) PutKubernetesConfig(ctx context.Context) *fault {
	if f := x.noMember("use_annotations_as_alias_metadata"); f != nil {
		return f
	}
	reviewer, f := x.sealedText("token_reviewer_jwt")
	if f != nil {
		return f
	}
	defer reviewer.Zero()
	return x.putAuthConfig(ctx, kubernetesConfig, reviewer)
}

// PutKubernetesRole makes or changes a role.
func (x *exchange) PutKubernetesRole(ctx context.Context) *fault {
	if f := x.noMember("bound_service_account_namespace_selector"); f != nil {
		return f
	}
	return x.putDocumentRole(ctx, kubernetesRole)
}
