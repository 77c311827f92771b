package policy

import (
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/keyhold/keyhold/internal/kms"
)

// MaxGroups limits the groups of one principal.
const MaxGroups = 64

// Principal is a caller in the form that decisions need: immutable, made once for a credential and kept beside it.
type Principal struct {
	of       *kms.Principal
	entity   types.Entity
	keys     []types.EntityUID // where the index is looked up for it: itself and its parents
	scope    mask              // of the token; empty: everything
	operator bool
	bad      string // why it cannot be described completely; every decision then denies
}

// PreparePrincipal describes a caller. The role of an operator counts in the system namespace alone; roles that do not exist
// are left out. A principal that cannot be described (without name or namespace, with more than MaxGroups groups) is denied everything.
func PreparePrincipal(p *kms.Principal) *Principal {
	if p == nil {
		return &Principal{of: &kms.Principal{}, bad: "the request has no principal"}
	}
	out := &Principal{of: p, scope: maskOfKnown(p.Scope)}
	switch {
	case p.Name == "":
		out.bad = "the principal has no name"
	case p.Namespace == "":
		out.bad = "the principal has no namespace"
	case p.Method == kms.AuthNone:
		out.bad = "the principal is not authenticated"
	case len(p.Groups) > MaxGroups:
		out.bad = "the principal has more groups than can be decided about"
	}
	if out.bad != "" {
		return out
	}
	out.keys = append(out.keys, types.NewEntityUID(typePrincipal, types.String(p.Name)))
	for _, r := range kms.AllRoles() {
		if p.Has(r) && (r != kms.RoleOperator || p.Namespace == kms.SystemNamespace) {
			out.keys = append(out.keys, types.NewEntityUID(typeRole, types.String(r)))
			out.operator = out.operator || r == kms.RoleOperator
		}
	}
	for _, g := range p.Groups {
		if uid := types.NewEntityUID(typeGroup, types.String(g)); !slices.Contains(out.keys, uid) {
			out.keys = append(out.keys, uid)
		}
	}
	out.entity = types.Entity{
		UID:     out.keys[0],
		Parents: types.NewEntityUIDSet(out.keys[1:]...),
		Attributes: types.NewRecord(types.RecordMap{
			"namespace": types.String(p.Namespace),
			"name":      types.String(p.Name),
			"method":    types.String(p.Method.String()),
		}),
	}
	return out
}

// maskOfKnown is the set of a scope's actions. A scope that names none that exists must stay a scope: it then holds the
// invalid action 0, which no request has.
func maskOfKnown(scope []kms.Action) mask {
	var m mask
	for _, a := range scope {
		if a.Group() == 0 {
			a = 0
		}
		m = m.or(maskOf(a))
	}
	return m
}

// Resource is what is acted on, in the form that decisions need: immutable, made once for a revision of a key and kept beside it.
type Resource struct {
	namespace kms.Namespace
	name      string // of the key, as far as it is known
	isKey     bool
	missing   bool
	entity    types.Entity
	keys      []types.EntityUID // where the index is looked up for it: itself and its parents
	bad       string            // why it cannot be described completely; every decision then denies
	algorithm kms.Algorithm
	usage     kms.Usage
	labels    map[string]string
	home      string // region
	own       *own   // what decides about this key alone; nil: nothing
}

// PrepareKey describes a key. For the creation of a key, pass it as it would be created: its labels count.
func PrepareKey(k *kms.Key) *Resource {
	if k == nil {
		return &Resource{bad: "the request has no key"}
	}
	tags := make(types.RecordMap, len(k.Labels))
	for name, value := range k.Labels {
		tags[types.String(name)] = types.String(value)
	}
	r := &Resource{namespace: k.Namespace, name: k.Name, isKey: true, algorithm: k.Algorithm, usage: k.Usage, labels: k.Labels, home: k.Region}
	r.describe(k.ID.String(), types.RecordMap{
		"algorithm":    types.String(k.Algorithm.String()),
		"usage":        types.String(k.Usage.String()),
		"state":        types.String(k.Switch.String()),
		"origin":       types.String(k.Origin.String()),
		"multi_region": types.Boolean(k.ID.MultiRegion()),
		"aliases":      setOf(k.Aliases),
	}, types.NewRecord(tags))
	if k.ID.IsZero() || k.Name == "" {
		r.bad = "the key has no id or no name"
	}
	return r
}

// PrepareMissing describes a key that a caller named and that does not exist, so that the refusal is the same as for one
// that exists. By name it is in the folders of that name; by id or alias it has no name, because the name of an existing
// key could not be told from it either. It has empty attributes and no labels.
func PrepareMissing(ns kms.Namespace, ref kms.Ref) *Resource {
	r := &Resource{namespace: ns, isKey: true, missing: true}
	form, id, name, err := ref.Parse()
	uid := ""
	switch {
	case err != nil:
		r.bad = "the reference names no possible key"
		return r
	case form == kms.ByID:
		uid = id.String()
	case form == kms.ByName:
		r.name = name
	}
	r.describe(uid, types.RecordMap{
		"algorithm": types.String(""), "usage": types.String(""), "state": types.String(""), "origin": types.String(""),
		"multi_region": types.False, "aliases": types.NewSet(),
	}, types.Record{})
	return r
}

// describe fills in the entity of a key. All ancestors are direct parents: nothing above them is ever loaded.
func (r *Resource) describe(uid string, attrs types.RecordMap, tags types.Record) {
	if r.namespace == "" {
		r.bad = "the key has no namespace"
		return
	}
	attrs["namespace"] = types.String(r.namespace)
	attrs["name"] = types.String(r.name)
	r.keys = append(r.keys, types.NewEntityUID(typeKey, types.String(uid)), namespaceUID(r.namespace))
	if r.name != "" {
		r.keys = append(r.keys, types.NewEntityUID(typeName, types.String(r.name)))
	}
	for i, c := range r.name {
		if c == '/' && i > 0 {
			r.keys = append(r.keys, types.NewEntityUID(typeFolder, types.String(r.name[:i])))
		}
	}
	r.entity = types.Entity{
		UID:        r.keys[0],
		Parents:    types.NewEntityUIDSet(r.keys[1:]...),
		Attributes: types.NewRecord(attrs),
		Tags:       tags,
	}
}

// PrepareNamespace describes a namespace, the resource of every action that is not about one key.
func PrepareNamespace(ns kms.Namespace) *Resource {
	r := &Resource{namespace: ns}
	if ns == "" {
		r.bad = "the request has no namespace"
		return r
	}
	r.keys = []types.EntityUID{namespaceUID(ns)}
	r.entity = types.Entity{UID: r.keys[0], Attributes: types.NewRecord(types.RecordMap{"namespace": types.String(ns)})}
	return r
}

func namespaceUID(ns kms.Namespace) types.EntityUID {
	return types.NewEntityUID(typeNamespace, types.String(ns))
}

// String names the resource for messages.
func (r *Resource) String() string {
	switch {
	case !r.isKey:
		return "namespace " + string(r.namespace)
	case r.name != "":
		return "key " + r.name
	case len(r.keys) > 0 && r.keys[0].ID != "":
		return "key " + string(r.keys[0].ID)
	}
	return "key"
}

// validFolder tells whether some key could be in the folder.
func validFolder(s string) bool { return kms.CheckName(s) == nil && !strings.HasSuffix(s, "/") }
