package policy

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/policy/iam"
)

// The entity types of the schema.
const (
	typePrincipal  types.EntityType = "Principal"
	typeRole       types.EntityType = "Role"
	typeGroup      types.EntityType = "Group"
	typeKey        types.EntityType = "Key"
	typeName       types.EntityType = "Name"
	typeFolder     types.EntityType = "Folder"
	typeNamespace  types.EntityType = "Namespace"
	typeEncryption types.EntityType = "EncryptionContext"
	typeLabels     types.EntityType = "Labels"
	typeAction     types.EntityType = "Action"
)

// attribute is one attribute of an entity type or of the context.
type attribute struct {
	name     string
	cedar    string   // its Cedar type
	optional bool     // must be tested with "has" before use
	values   []string // not nil: the only values it takes
	about    string   // what it is, in the schema's comments
}

// entityFacts is one row of the table that the schema text, the findings and the lint rules are made from.
type entityFacts struct {
	name    types.EntityType
	about   string
	parents []types.EntityType
	attrs   []attribute
	tags    bool
	enum    []string
}

func entityTable() []entityFacts {
	return []entityFacts{
		{name: typeRole, about: "A built-in role. principal in Role::\"user\"", enum: names(kms.AllRoles())},
		{name: typeGroup, about: "A further name that a credential carries. principal in Group::\"payroll-team\""},
		{name: typePrincipal, about: "Who calls: Principal::\"svc/orders\", by its name in this namespace.",
			parents: []types.EntityType{typeRole, typeGroup},
			attrs: []attribute{
				{name: "namespace", cedar: "String", about: "its home"},
				{name: "name", cedar: "String", about: "unique in its namespace"},
				{name: "method", cedar: "String", values: methodNames(), about: "how it was authenticated"},
			}},
		{name: typeNamespace, about: "A tenant: the resource of actions that are not about one key, and the parent of every key in it.",
			attrs: []attribute{{name: "namespace", cedar: "String", about: "its name"}}},
		{name: typeFolder, about: "Each path before a / in a key's name: payroll/eu/7 is in Folder::\"payroll\" and in Folder::\"payroll/eu\"."},
		{name: typeName, about: "A key's full name. resource in Name::\"payroll/eu/7\""},
		{name: typeKey, about: "A key: Key::\"<its id>\". Its labels are its tags: resource.hasTag(\"env\") && resource.getTag(\"env\") == \"prod\". " +
			"A request for a key that does not exist is decided as a key of that name with empty attributes and no tags.",
			parents: []types.EntityType{typeNamespace, typeFolder, typeName},
			attrs: []attribute{
				{name: "namespace", cedar: "String", about: "where it lives"},
				{name: "name", cedar: "String", about: "unique in its namespace"},
				{name: "algorithm", cedar: "String", values: names(kms.AllAlgorithms()), about: "e.g. aes-256-gcm"},
				{name: "usage", cedar: "String", values: names(kms.AllUsages()), about: "its one purpose"},
				{name: "state", cedar: "String", values: names(kms.AllSwitches()), about: "the switch on the whole key"},
				{name: "origin", cedar: "String", values: names([]kms.Origin{kms.Generated, kms.Imported, kms.HSM, kms.External}), about: "where its material came from"},
				{name: "multi_region", cedar: "Bool", about: "it may answer in several regions"},
				{name: "aliases", cedar: "Set<String>", about: "its further names"},
			}, tags: true},
		{name: typeEncryption, about: "The encryption context of the request, its entries as tags: " +
			"context.encryption.hasTag(\"tenant\") && context.encryption.getTag(\"tenant\") == \"a\".", tags: true},
		{name: typeLabels, about: "Labels with their names in lower case, as tags.", tags: true},
	}
}

func contextTable() []attribute {
	return []attribute{
		{name: "now", cedar: "datetime", about: "the server's time"},
		{name: "dialect", cedar: "String", values: names(kms.AllDialects()), about: "the protocol of the request"},
		{name: "source_ip", cedar: "ipaddr", optional: true, about: "absent on the local socket: test with context has source_ip"},
		{name: "encryption", cedar: string(typeEncryption), about: "always there, without tags if the request has no encryption context"},
		{name: foldedEncryption, cedar: string(typeEncryption), about: "the same with names in lower case; reading it denies if two names differ in case only"},
		{name: "encryption_names", cedar: "Set<String>", about: "the names of its entries"},
		{name: foldedLabels, cedar: string(typeLabels), about: "the key's labels, in the same way"},
		{name: foldedNewLabels, cedar: string(typeLabels), about: "the labels that the request gives the key, in the same way"},
		{name: "new_label_names", cedar: "Set<String>", about: "the names of these, and of those that it takes away"},
		{name: "region", cedar: "String", optional: true, about: "of the request, or else the home of the key; absent where neither has one"},
		{name: "alias", cedar: "String", optional: true, about: "by which the request names the key"},
		{name: "scheme", cedar: "String", optional: true, values: names(kms.AllSchemes()), about: "how the key is used; absent if it is not"},
		{name: "message_type", cedar: "String", optional: true, values: []string{iam.MessageRaw, iam.MessageDigest, iam.MessageMu}, about: "what is signed or verified"},
		{name: "pair", cedar: "String", optional: true, values: names(kms.AllAlgorithms()), about: "algorithm of the key pair that is asked for"},
		{name: "window_days", cedar: "Long", optional: true, about: "before destruction, as it is asked for"},
		{name: "bypass", cedar: "Bool", optional: true, about: "of a key policy that is written: without the check that it locks nobody out"},
		{name: "changes", cedar: "Set<String>", about: "what an update of a key changes: " + quoted(names(iam.AllChanges()))},
		{name: "grant_operations", cedar: "Set<String>", about: "that a new grant permits"},
		{name: "grant_constraint", cedar: "String", optional: true, values: []string{"EncryptionContextEquals", "EncryptionContextSubset"}, about: "of a new grant"},
		{name: "grantee", cedar: "String", optional: true, about: "the principal that a new grant permits something"},
		{name: "retiring", cedar: "String", optional: true, about: "the principal that can retire a new grant"},
		{name: "secret", cedar: "String", optional: true, about: "path of the secret that the request is about; a folder's ends in /"},
	}
}

// Schema is the Cedar schema that every policy is validated against. It is made from the tables of package kms, so that it
// never lags behind them.
func Schema() string {
	var b strings.Builder
	for _, e := range entityTable() {
		fmt.Fprintf(&b, "// %s\nentity %s", e.about, e.name)
		if e.enum != nil {
			fmt.Fprintf(&b, " enum [%s];\n\n", quoted(e.enum))
			continue
		}
		if len(e.parents) > 0 {
			fmt.Fprintf(&b, " in [%s]", joined(e.parents))
		}
		if len(e.attrs) > 0 {
			b.WriteString(" {\n")
			writeAttributes(&b, e.attrs)
			b.WriteString("}")
		}
		if e.tags {
			b.WriteString(" tags String")
		}
		b.WriteString(";\n\n")
	}
	b.WriteString("type RequestContext = {\n")
	writeAttributes(&b, contextTable())
	b.WriteString("};\n")
	for _, g := range kms.AllGroups() {
		fmt.Fprintf(&b, "\naction %q;\n", g.String())
		for _, a := range kms.AllActions() {
			if a.Group() == g {
				fmt.Fprintf(&b, "action %q in [%q] appliesTo { principal: [%s], resource: [%s], context: RequestContext };\n",
					a.String(), g.String(), typePrincipal, resourceType(a))
			}
		}
	}
	return b.String()
}

func writeAttributes(b *strings.Builder, attrs []attribute) {
	for _, a := range attrs {
		mark := ""
		if a.optional {
			mark = "?"
		}
		fmt.Fprintf(b, "  %s%s: %s, // %s\n", a.name, mark, a.cedar, a.about)
		if a.values != nil {
			fmt.Fprintf(b, "  // one of %s\n", quoted(a.values))
		}
	}
}

// resourceType is the type of the resource that an action acts on.
func resourceType(a kms.Action) types.EntityType {
	if a.OnKey() {
		return typeKey
	}
	return typeNamespace
}

// vocabulary is what Check needs of the schema, made once.
type vocabulary struct {
	full     *validate.Validator // the schema as published
	brief    *validate.Validator // one action for each type of resource; see typecheck
	entities map[types.EntityType]entityFacts
	context  map[string]attribute
	actions  map[string]mask // what an action or group covers
	byName   map[string]kms.Action
	uids     [kms.ActionCount]types.EntityUID
	action   [kms.ActionCount]types.Entity
}

var theVocabulary = sync.OnceValue(newVocabulary)

// newVocabulary panics only if the schema that this package itself writes were malformed, which its tests exclude.
func newVocabulary() *vocabulary {
	v := &vocabulary{
		entities: map[types.EntityType]entityFacts{},
		context:  map[string]attribute{},
		actions:  map[string]mask{},
		byName:   map[string]kms.Action{},
	}
	v.full = mustValidator(Schema())
	for _, e := range entityTable() {
		v.entities[e.name] = e
	}
	for _, a := range contextTable() {
		v.context[a.name] = a
	}
	for _, g := range kms.AllGroups() {
		v.actions[g.String()] = groupMask(g)
	}
	for _, a := range kms.AllActions() {
		v.actions[a.String()] = maskOf(a)
		v.byName[a.String()] = a
		v.uids[a] = types.NewEntityUID(typeAction, types.String(a.String()))
		v.action[a] = types.Entity{UID: v.uids[a],
			Parents: types.NewEntityUIDSet(types.NewEntityUID(typeAction, types.String(a.Group().String())))}
	}
	v.brief = mustValidator(briefSchema())
	return v
}

// briefSchema is the schema with two actions, briefKey and briefNamespace, in the place of all.
func briefSchema() string {
	text := Schema()
	text = text[:strings.Index(text, "\naction ")]
	for _, a := range []types.EntityUID{briefKey, briefNamespace} {
		of := typeKey
		if a == briefNamespace {
			of = typeNamespace
		}
		text += fmt.Sprintf("\naction %q appliesTo { principal: [%s], resource: [%s], context: RequestContext };\n", string(a.ID), typePrincipal, of)
	}
	return text
}

var (
	briefKey       = types.NewEntityUID(typeAction, "OnKey")
	briefNamespace = types.NewEntityUID(typeAction, "OnNamespace")
)

func mustValidator(text string) *validate.Validator {
	var s schema.Schema
	if err := s.UnmarshalCedar([]byte(text)); err != nil {
		panic("policy: own schema: " + err.Error())
	}
	r, err := s.Resolve()
	if err != nil {
		panic("policy: own schema: " + err.Error())
	}
	return validate.New(r, validate.WithStrict())
}

// methodNames lists the ways to authenticate; kms has no list of them, so it is read off until the names repeat.
func methodNames() []string {
	var all []string
	for m := kms.AuthNone; !slices.Contains(all, m.String()); m++ {
		all = append(all, m.String())
	}
	return all
}

func names[T any](list []T) []string {
	all := make([]string, len(list))
	for i, x := range list {
		all[i] = fmt.Sprint(x)
	}
	return all
}

func joined[T ~string](list []T) string {
	var b strings.Builder
	for i, x := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(x))
	}
	return b.String()
}

func quoted(list []string) string {
	var b strings.Builder
	for i, x := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", x)
	}
	return b.String()
}
