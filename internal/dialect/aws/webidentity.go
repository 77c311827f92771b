package aws

import (
	"context"
	"encoding/xml"
	"net/http"
	"net/url"

	"github.com/keyhold/keyhold/internal/authn/oidc"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

type assumeRoleWithWebIdentityResponse struct {
	XMLName          xml.Name        `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleWithWebIdentityResponse"`
	Subject          string          `xml:"AssumeRoleWithWebIdentityResult>SubjectFromWebIdentityToken"`
	Audience         string          `xml:"AssumeRoleWithWebIdentityResult>Audience"`
	User             assumedRoleUser `xml:"AssumeRoleWithWebIdentityResult>AssumedRoleUser"`
	Credentials      stsCredentials  `xml:"AssumeRoleWithWebIdentityResult>Credentials"`
	Provider         string          `xml:"AssumeRoleWithWebIdentityResult>Provider"`
	PackedPolicySize int             `xml:"AssumeRoleWithWebIdentityResult>PackedPolicySize"`
	Metadata         stsMetadata     `xml:"ResponseMetadata"`
}

// assumeRoleWithWebIdentity begins a session of a role for the bearer of an identity token. The request is not signed: the token is the credential.
func (x *exchange) assumeRoleWithWebIdentity(ctx context.Context, _ *http.Request, form url.Values) (any, *fault) {
	account, in, f := assumption(form)
	if f != nil {
		return nil, f
	}
	if p := form.Get("ProviderId"); p != "" { // of OAuth 2.0 providers of old
		return nil, newFault("ValidationError", "The parameter ProviderId is not supported")
	}
	var trust engine.RoleTrust
	trusts := func(ctx context.Context) ([]oidc.Trust, error) {
		ns, err := x.namespaceOf(ctx, account)
		if err != nil {
			return nil, err
		}
		x.account, x.call.Namespace = account, ns
		if trust, err = x.engine.Identities().RoleTrust(ctx, ns, in.Role); err != nil {
			return nil, err
		}
		all := make([]oidc.Trust, 0, len(trust.Web))
		for _, t := range trust.Web {
			all = append(all, oidc.Trust(t))
		}
		return all, nil
	}
	id, err := x.authn.WebIdentity(ctx, form.Get("WebIdentityToken"), trusts, x.call.Remote)
	switch e := kms.AsError(err); kms.CodeOf(err) {
	case 0:
	case kms.CodeNotFound: // an account that there is not trusts nobody
		return nil, newFault("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
	case kms.CodeIdentityToken:
		return nil, newFault("InvalidIdentityToken", e.What+" ("+e.Code.String()+")")
	case kms.CodeIssuer:
		return nil, newFault("IDPCommunicationError", e.What+" ("+e.Code.String()+")")
	default:
		return nil, x.fault(err)
	}
	out, err := x.engine.AssumeRoleWithWebIdentity(ctx, x.call, in, engine.WebIdentity{Issuer: id.Issuer, Subject: id.Subject}, trust)
	if err != nil {
		return nil, x.fault(err)
	}
	user, c := x.session(&out)
	return &assumeRoleWithWebIdentityResponse{Subject: id.Subject, Audience: id.Audience, Provider: id.Issuer, User: user, Credentials: c,
		Metadata: stsMetadata{x.call.RequestID}}, nil
}

// namespaceOf finds the namespace that an account stands for.
func (x *exchange) namespaceOf(ctx context.Context, account string) (kms.Namespace, error) {
	for ns, number := range x.accounts {
		if number == account {
			return ns, nil
		}
	}
	return x.engine.Identities().NamespaceOf(ctx, func(ns kms.Namespace) bool {
		return x.accounts[ns] == "" && ns != kms.SystemNamespace && kms.AccountOf(ns) == account
	})
}
