package policy

import (
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/policy/iam"
)

// Facts is what policies can know of a request beside who asks for what, when and from where. Most decisions need none of it.
type Facts struct {
	Action  kms.Action    // that is decided on: given, not told
	Alias   string        // by which the request names the key; empty: it does not
	Scheme  kms.Scheme    // that the request names; 0: the key's own
	Message string        // iam.MessageRaw, iam.MessageDigest or iam.MessageMu; empty: nothing is signed
	Pair    kms.Algorithm // of a key pair that is asked for; 0: none
	Window  int           // days before destruction; 0: none are asked for
	Bypass  *bool         // of the check that a key policy locks nobody out; nil: no policy is written
	Changes []iam.Change  // that an update of a key makes

	NewLabels  map[string]string // that the request gives the key
	LabelNames []string          // of these, and of those that it takes away

	Operations []kms.Action // that a grant would permit
	Constraint string       // of the grant: "EncryptionContextEquals", "EncryptionContextSubset"; empty: none
	Grantee    string       // the principal that it would permit them
	Retiring   string       // the principal that could retire it; empty: none

	Secret string // path of the secret that it is about; of a folder, with / at its end; empty: none
}

// Teller is a request that says more of itself where a policy asks.
type Teller interface{ Tell(f *Facts) }

// folded are entities of the context whose tags have their names in lower case, as condition keys of AWS have no case.
const (
	foldedEncryption = "folded_encryption"
	foldedLabels     = "folded_labels"
	foldedNewLabels  = "folded_new_labels"
)

var foldedUIDs = map[types.String]types.EntityUID{
	foldedEncryption: types.NewEntityUID(typeEncryption, "folded"),
	foldedLabels:     types.NewEntityUID(typeLabels, "key"),
	foldedNewLabels:  types.NewEntityUID(typeLabels, "request"),
}

// readsFacts tells whether a condition reads more of the context than every decision has.
func readsFacts(tree *xast.Policy) bool {
	found := false
	for _, c := range tree.Conditions {
		xast.Inspect(xast.NewNode(c.Body), func(n xast.IsNode) bool {
			var of xast.IsNode
			var name types.String
			switch n := n.(type) {
			case xast.NodeTypeAccess:
				of, name = n.Arg, n.Value
			case xast.NodeTypeHas:
				of, name = n.Arg, n.Value
			default:
				return true
			}
			if v, ok := of.(xast.NodeTypeVariable); ok && v.Name == "context" {
				switch name {
				case "now", "dialect", "source_ip", "encryption":
				default:
					found = true
				}
			}
			return !found
		})
	}
	return found
}

// addFacts puts what the request says of itself into the context.
func (v *verdict) addFacts(m types.RecordMap) {
	q, f := &v.q, &v.facts
	if f.Action = q.Action; q.Asks != nil {
		q.Asks.Tell(f)
	}
	if f.Alias == "" {
		f.Alias = q.Alias
	}
	region := q.Region
	if region == "" {
		region = q.Resource.home
	}
	for name, s := range map[types.String]string{
		"region": region, "alias": f.Alias, "message_type": f.Message, "grant_constraint": f.Constraint, "grantee": f.Grantee, "retiring": f.Retiring, "secret": f.Secret,
	} {
		if s != "" {
			m[name] = types.String(s)
		}
	}
	if scheme := q.scheme(f.Scheme); scheme != kms.NoScheme {
		m["scheme"] = types.String(scheme.String())
	}
	if f.Pair != 0 {
		m["pair"] = types.String(f.Pair.String())
	}
	if f.Window != 0 {
		m["window_days"] = types.Long(f.Window)
	}
	if f.Bypass != nil {
		m["bypass"] = types.Boolean(*f.Bypass)
	}
	names := make([]string, 0, len(q.Context))
	for n := range q.Context {
		names = append(names, n)
	}
	m["encryption_names"] = setOf(names)
	m["changes"] = setOf(f.Changes)
	m["new_label_names"] = setOf(f.LabelNames)
	operations := make([]string, len(f.Operations))
	for i, a := range f.Operations {
		operations[i] = a.String()
	}
	m["grant_operations"] = setOf(operations)
	for name, uid := range foldedUIDs {
		if _, ok := v.folded(uid); ok {
			m[name] = uid
		}
	}
}

// scheme is how the key will be used, where it is.
func (q *Request) scheme(asked kms.Scheme) kms.Scheme {
	if asked != kms.NoScheme || q.Action.Group() != kms.UseGroup || q.Resource.algorithm == 0 {
		return asked
	}
	for _, s := range q.Resource.algorithm.Facts().Schemes {
		if s.Usage == q.Resource.usage {
			return s.Scheme
		}
	}
	return kms.NoScheme
}

func setOf[T ~string](list []T) types.Set {
	all := make([]types.Value, len(list))
	for i, s := range list {
		all[i] = types.String(s)
	}
	return types.NewSet(all...)
}

// folded is an entity with its names in lower case. Where two names differ in case only there is none, and the context does not name it:
// whatever would be read of it is an error, and denies.
func (v *verdict) folded(uid types.EntityUID) (types.Entity, bool) {
	var from map[string]string
	switch uid {
	case foldedUIDs[foldedEncryption]:
		from = v.q.Context
	case foldedUIDs[foldedLabels]:
		from = v.q.Resource.labels
	case foldedUIDs[foldedNewLabels]:
		from = v.facts.NewLabels
	default:
		return types.Entity{}, false
	}
	tags := make(types.RecordMap, len(from))
	for name, value := range from {
		lower := types.String(strings.ToLower(name))
		if _, twice := tags[lower]; twice {
			return types.Entity{}, false
		}
		tags[lower] = types.String(value)
	}
	return types.Entity{UID: uid, Tags: types.NewRecord(tags)}, true
}
