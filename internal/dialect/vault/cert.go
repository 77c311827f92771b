package vault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
)

const (
	anyClient = "with `tls.client_certificates: pinned`, or an authority of `tls.client_ca`; tokens are renewed and used without the certificate"
	noRevoked = "lists of revoked certificates and OCSP are not asked: give certificates short lives, or delete what vouches for them"
	onlyChain = "without `required_extensions`, `allowed_metadata_extensions` and OCSP; `display_name` is kept and shown only; policies are roles or groups"
	badCert   = "invalid certificate or no client certificate supplied"
)

// certRoutes are those of TLS client certificates.
var certRoutes = flat([]route{
	except(anyClient, route{method: "POST", pattern: "auth/cert/login", open: true, run: (*exchange).LogInCert}),
	{method: methodList, pattern: "auth/cert/certs", grants: may(canList, kms.ReadAuthRole), run: (*exchange).ListAuthRoles},
	{method: "GET", pattern: "auth/cert/certs/{name}", grants: may(canRead, kms.ReadAuthRole), run: (*exchange).ReadDocumentRole},
	except(onlyChain, route{method: "POST", pattern: "auth/cert/certs/{name}", grants: may(canUpdate, kms.PutAuthRole), run: (*exchange).PutCert}),
	{method: "DELETE", pattern: "auth/cert/certs/{name}", grants: may(canDelete, kms.DeleteAuthRole), run: (*exchange).DeleteDocumentRole},
},
	absent("POST", "there is nothing to configure: tokens are not bound to the certificate", "auth/cert/config"),
	absent("GET", "there is nothing to configure: tokens are not bound to the certificate", "auth/cert/config"),
	absent(methodList, noRevoked, "auth/cert/crls"), absent("GET", noRevoked, "auth/cert/crls/{name}"),
	absent("POST", noRevoked, "auth/cert/crls/{name}"), absent("DELETE", noRevoked, "auth/cert/crls/{name}"),
)

var certRole = []member{
	{"certificate", aText}, {"display_name", aText}, {"allowed_names", aList}, {"allowed_common_names", aList}, {"allowed_dns_sans", aList},
	{"allowed_email_sans", aList}, {"allowed_uri_sans", aList}, {"allowed_organizational_units", aList},
}

// LogInCert gives a token for the client certificate of the connection. Which one that is, and that its key is held, the handshake proved.
func (x *exchange) LogInCert(ctx context.Context) *fault {
	name, f := x.in.text("name")
	if f != nil {
		return f
	}
	r := login.Request{Role: name}
	if t := x.r.TLS; t != nil && len(t.PeerCertificates) > 0 {
		r.Certificates = t.PeerCertificates
		sum := sha256.Sum256(t.PeerCertificates[0].Raw)
		r.ID = hex.EncodeToString(sum[:])
	}
	return x.logIn(ctx, r, http.StatusBadRequest, badCert)
}

// PutCert makes or changes what vouches for certificates.
func (x *exchange) PutCert(ctx context.Context) *fault {
	for _, name := range []string{"required_extensions", "allowed_metadata_extensions", "ocsp_servers_override"} {
		if all, f := x.several(x.in, name); f != nil || len(all) > 0 {
			return orFault(f, name+" is not supported here")
		}
	}
	if f := x.noMember("ocsp_enabled", "ocsp_ca_certificates", "ocsp_query_all_servers"); f != nil {
		return f
	}
	return x.putDocumentRole(ctx, certRole)
}
