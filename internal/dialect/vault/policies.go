package vault

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// policyRoutes are those of ACL policies, which are policies of the namespace in a language of their own.
var policyRoutes = []route{
	{method: "LIST", pattern: "sys/policies/acl", grants: may(canList, kms.ReadPolicy), run: (*exchange).ListPolicies},
	{method: "GET", pattern: "sys/policies/acl/{name}", grants: may(canRead, kms.ReadPolicy), run: (*exchange).ReadPolicy},
	except(ownPolicy, route{method: "POST", pattern: "sys/policies/acl/{name}", grants: may(canUpdate, kms.PutPolicy), run: (*exchange).WritePolicy}),
	{method: "DELETE", pattern: "sys/policies/acl/{name}", grants: may(canDelete, kms.DeletePolicy), run: (*exchange).DeletePolicy},
	{method: "LIST", pattern: "sys/policies/detailed/acl", grants: may(canList, kms.ReadPolicy), run: (*exchange).DetailPolicies},
	{method: "GET", pattern: "sys/policies/detailed/acl/{name}", grants: may(canRead, kms.ReadPolicy), run: (*exchange).ReadPolicy},
	{method: "LIST", pattern: "sys/policy", echo: true, grants: may(canList, kms.ReadPolicy), run: (*exchange).ListPolicies},
	{method: "GET", pattern: "sys/policy/{name}", echo: true, grants: may(canRead, kms.ReadPolicy), run: (*exchange).ReadPolicy},
	except(ownPolicy, route{method: "POST", pattern: "sys/policy/{name}", grants: may(canUpdate, kms.PutPolicy), run: (*exchange).WritePolicy}),
	{method: "DELETE", pattern: "sys/policy/{name}", grants: may(canDelete, kms.DeletePolicy), run: (*exchange).DeletePolicy},
}

const ownPolicy = "names are of a-z, 0-9 and -; without parameters, wrapping times, control groups and templates; what several policies permit adds up"

// rootPolicy and defaultPolicy are policies that every Vault has. Here the first is nobody's, and the second permits nothing: what every token may do needs no policy.
const (
	rootPolicy    = "root"
	defaultPolicy = "default"
)

// policyName is the name that the path names: Vault's have no upper case.
func (x *exchange) policyName() string { return strings.ToLower(x.place.names[0]) }

// fixed tells what a policy says that is not the namespace's to write: a role of Keyhold's, or one of the two.
func fixed(name string) (text string, is bool) {
	switch {
	case name == defaultPolicy:
		return "# Every token may look at itself, renew and revoke itself, and ask for its capabilities.\n", true
	case name == rootPolicy:
		return "", true
	case slices.Contains(kms.AllRoles(), kms.Role(name)):
		return "# A role of Keyhold's: keyhold policy roles tells what it permits.\n", true
	}
	return "", false
}

// acls reads the ACL policies of the namespace.
func (x *exchange) acls(ctx context.Context) ([]engine.PolicyInfo, error) {
	var all []engine.PolicyInfo
	for in := (engine.PageInput{Limit: pageSize}); ; {
		page, err := x.engine.ListPolicies(ctx, x.call, in)
		if err != nil {
			return nil, err
		}
		for i := range page.Policies {
			if page.Policies[i].Language == engine.LanguageVault {
				all = append(all, page.Policies[i])
			}
		}
		if in.Page = page.Next; in.Page == "" || len(all) >= maxListed {
			return all, nil
		}
	}
}

func named(all []engine.PolicyInfo) []string {
	names := []string{defaultPolicy, rootPolicy}
	for i := range all {
		names = append(names, all[i].ID)
	}
	slices.Sort(names)
	return names
}

// ListPolicies lists the policies. Those in other languages are Keyhold's own, and not shown.
func (x *exchange) ListPolicies(ctx context.Context) *fault {
	all, err := x.acls(ctx)
	if err != nil {
		return faultOf(err)
	}
	names := named(all)
	x.e.open()
	x.e.name("keys")
	x.e.texts(names)
	if strings.HasPrefix(x.place.path, "sys/policy") {
		x.e.name("policies")
		x.e.texts(names)
	}
	x.e.close()
	return nil
}

// DetailPolicies lists them with their texts.
func (x *exchange) DetailPolicies(ctx context.Context) *fault {
	all, err := x.acls(ctx)
	if err != nil {
		return faultOf(err)
	}
	x.e.open()
	x.e.name("key_info")
	x.e.open()
	for i := range all {
		x.e.name(all[i].ID)
		x.e.open()
		x.policy(&all[i])
		x.e.close()
	}
	x.e.close()
	x.e.name("keys")
	x.e.texts(named(all))
	x.e.close()
	return nil
}

func (x *exchange) policy(p *engine.PolicyInfo) {
	x.e.yes("cas_required", false)
	x.e.text("data_pattern", "")
	x.e.time("modified", p.Changed)
	x.e.text("name", p.ID)
	x.e.text("policy", p.Text)
	x.e.number("version", int64(p.Rev)) //nolint:gosec // G115: counted from 1
}

// ReadPolicy answers one.
func (x *exchange) ReadPolicy(ctx context.Context) *fault {
	name := x.policyName()
	text, is := fixed(name)
	var p engine.PolicyInfo
	if is {
		if err := x.known(ctx); err != nil {
			return faultOf(err)
		}
		p = engine.PolicyInfo{ID: name, Text: text}
	} else {
		out, err := x.engine.GetPolicy(ctx, x.call, engine.PolicyInput{ID: name})
		if err != nil {
			return faultOf(err)
		}
		if p = out.Policy; p.Language != engine.LanguageVault {
			return missing()
		}
	}
	x.e.open()
	switch {
	case strings.HasPrefix(x.place.path, "sys/policy/"):
		x.e.text("name", p.ID)
		x.e.text("rules", p.Text)
	default:
		x.policy(&p)
	}
	x.e.close()
	return nil
}

// WritePolicy stores one, as it is written. It is for tokens that name it.
func (x *exchange) WritePolicy(ctx context.Context) *fault {
	name := x.policyName()
	if _, is := fixed(name); is {
		return newFault(http.StatusBadRequest, `cannot update "`+clip(name)+`" policy`)
	}
	text, f := x.in.text("policy")
	if f == nil && text == "" {
		text, f = x.in.text("rules")
	}
	switch {
	case f != nil:
		return f
	case text == "":
		return newFault(http.StatusBadRequest, "'policy' parameter not supplied or empty")
	}
	was, err := x.engine.GetPolicy(ctx, x.call, engine.PolicyInput{ID: name})
	switch {
	case err == nil && was.Policy.Language != engine.LanguageVault:
		return newFault(http.StatusBadRequest, "the policy "+clip(name)+" is in the language "+was.Policy.Language+": it is not for this API to change")
	case err != nil && kms.CodeOf(err) != kms.CodeNotFound && kms.CodeOf(err) != kms.CodeDenied && kms.CodeOf(err) != kms.CodeBadName:
		return faultOf(err)
	}
	out, err := x.engine.PutPolicy(ctx, x.call, engine.PutPolicyInput{ID: name, Text: text, Language: engine.LanguageVault})
	if err != nil {
		return faultOf(err)
	}
	if x.warnings = append(x.warnings, out.Notes...); len(x.warnings) == 0 {
		x.status = http.StatusNoContent
		return nil
	}
	return nil
}

// DeletePolicy removes one. One that there is not is removed already.
func (x *exchange) DeletePolicy(ctx context.Context) *fault {
	name := x.policyName()
	if _, is := fixed(name); is {
		return newFault(http.StatusBadRequest, `cannot delete "`+clip(name)+`" policy`)
	}
	was, err := x.engine.GetPolicy(ctx, x.call, engine.PolicyInput{ID: name})
	if err == nil && was.Policy.Language != engine.LanguageVault {
		return newFault(http.StatusBadRequest, "the policy "+clip(name)+" is in the language "+was.Policy.Language+": it is not for this API to delete")
	}
	if _, err := x.engine.DeletePolicy(ctx, x.call, engine.PolicyInput{ID: name}); err != nil && kms.CodeOf(err) != kms.CodeNotFound {
		return faultOf(err)
	}
	x.status = http.StatusNoContent
	return nil
}
