package vault

import (
	"context"
	"net/http"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

const (
	plainNamespace = "without custom metadata, PGP keys and seals of its own; one that is there is answered as it is"
	slowNamespace  = "a namespace is destroyed by `keyhold namespace destroy`, which takes approvals and time"
	oneTrail       = "the one trail, which always is there; `keyhold audit` reads it"
)

// namespaceRoutes are those of namespaces and of the trail. Namespaces do not nest. Vault wants sudo for making them and for audit devices; here roles and
// policies in Cedar permit that, and a path like sys/* in an ACL policy does not.
var namespaceRoutes = flat([]route{
	{method: methodList, pattern: "sys/namespaces", grants: may(canList, kms.ReadNamespace), run: (*exchange).ListNamespaces},
	{method: "GET", pattern: "sys/namespaces/{path}", grants: may(canRead, kms.ReadNamespace), run: (*exchange).ReadNamespace},
	except(plainNamespace, route{method: "POST", pattern: "sys/namespaces/{path}", run: (*exchange).MakeNamespace}),
	{method: "GET", pattern: "sys/internal/ui/namespaces", grants: may(canRead, kms.ReadNamespace), run: (*exchange).UINamespaces},
	except(oneTrail, route{method: "GET", pattern: "sys/audit", echo: true, run: (*exchange).AuditDevices}),
}, absent("DELETE", slowNamespace, "sys/namespaces/{path}"))

// namespaces reads those that the caller sees: operators see all, others their own.
func (x *exchange) namespaces(ctx context.Context) ([]engine.NamespaceInfo, error) {
	var all []engine.NamespaceInfo
	for in := (engine.PageInput{Limit: pageSize}); ; {
		page, err := x.engine.ListNamespaces(ctx, x.call, in)
		if err != nil {
			return nil, err
		}
		for i := range page.Namespaces {
			if page.Namespaces[i].Destroyed.IsZero() {
				all = append(all, page.Namespaces[i])
			}
		}
		if in.Page = page.Next; in.Page == "" {
			return all, nil
		}
		if len(all) >= maxListed {
			x.warnings = append(x.warnings, "there are more namespaces: keyhold namespace list lists them all")
			return all, nil
		}
	}
}

func paths(all []engine.NamespaceInfo) []string {
	names := make([]string, 0, len(all))
	for i := range all {
		names = append(names, string(all[i].Name)+"/")
	}
	return names
}

// ListNamespaces lists them, with what is known of each.
func (x *exchange) ListNamespaces(ctx context.Context) *fault {
	all, err := x.namespaces(ctx)
	switch {
	case err != nil:
		return faultOf(err)
	case len(all) == 0:
		return missing()
	}
	x.e.open()
	x.e.name("key_info")
	x.e.open()
	for i := range all {
		x.e.key(string(all[i].Name) + "/")
		x.namespace(&all[i])
	}
	x.e.close()
	x.e.name("keys")
	x.e.texts(paths(all))
	x.e.close()
	return nil
}

// UINamespaces answers their names, as user interfaces ask.
func (x *exchange) UINamespaces(ctx context.Context) *fault {
	all, err := x.namespaces(ctx)
	if err != nil {
		return faultOf(err)
	}
	x.e.open()
	if len(all) > 0 {
		x.e.name("keys")
		x.e.texts(paths(all))
	}
	x.e.close()
	return nil
}

// namespace writes one. tainted is Vault's word for one that is going to be destroyed.
func (x *exchange) namespace(n *engine.NamespaceInfo) {
	x.e.open()
	x.e.name("custom_metadata")
	x.e.open()
	x.e.close()
	x.e.text("id", string(n.Name))
	x.e.yes("locked", false)
	x.e.text("path", string(n.Name)+"/")
	x.e.yes("tainted", !n.DestroyAt.IsZero())
	x.e.text("uuid", "")
	x.e.close()
}

// describeNamespace answers the one that the path names.
func (x *exchange) describeNamespace(ctx context.Context, ns kms.Namespace) *fault {
	c := x.call
	c.Namespace = ns
	out, err := x.engine.DescribeNamespace(ctx, c, engine.NamespaceInput{Name: ns})
	switch {
	case kms.CodeOf(err) == kms.CodeNotFound:
		return missing()
	case err != nil:
		return faultOf(err)
	}
	x.namespace(&out.Namespace)
	return nil
}

// ReadNamespace answers one.
func (x *exchange) ReadNamespace(ctx context.Context) *fault {
	ns, err := kms.ParseNamespace(x.place.names[0])
	if err != nil {
		return missing() // none has such a name
	}
	return x.describeNamespace(ctx, ns)
}

// MakeNamespace makes one. Who asks for one that is there is told what it is like.
func (x *exchange) MakeNamespace(ctx context.Context) *fault {
	for _, m := range []string{"custom_metadata", "pgp_keys", "seal", "seals"} {
		if raw := x.in.raw(m); raw != nil && string(raw) != "null" && string(raw) != "{}" && string(raw) != "[]" {
			return newFault(http.StatusBadRequest, m+" is not supported: a namespace has a name and a description, and is sealed with the server")
		}
	}
	ns, err := kms.ParseNamespace(x.place.names[0])
	if err != nil {
		return faultOf(err)
	}
	out, err := x.engine.CreateNamespace(ctx, x.call, engine.NamespaceInput{Name: ns})
	switch {
	case kms.CodeOf(err) == kms.CodeExists:
		return x.describeNamespace(ctx, ns)
	case err != nil:
		return faultOf(err)
	}
	x.namespace(&out.Namespace)
	return nil
}

// AuditDevices answers the trail as the one device that there is. Nobody adds or removes it.
func (x *exchange) AuditDevices(ctx context.Context) *fault {
	if _, err := x.engine.Checkpoint(ctx, x.call); err != nil {
		return faultOf(err)
	}
	x.e.open()
	x.e.key(clusterName + "/")
	x.e.open()
	x.e.text("description", "the server's own trail, signed and append-only")
	x.e.yes("local", false)
	x.e.name("options")
	x.e.open()
	x.e.close()
	x.e.text("path", clusterName+"/")
	x.e.text("type", clusterName)
	x.e.close()
	x.e.close()
	return nil
}
