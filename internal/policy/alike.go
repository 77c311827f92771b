package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"maps"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/keyhold/keyhold/internal/kms"
)

// sight is how much of a key a condition can tell from another.
type sight uint8

const (
	blind      sight = iota // nothing
	attributes              // what it is, and its labels; not its name and id
	everything
)

// sightOf is how much of the resource the conditions of a statement can tell. What they do with it otherwise than by reading attributes and tags counts as
// everything: comparing it, looking for it in folders, handing it on.
func sightOf(tree *xast.Policy) sight {
	most, mentioned, understood := blind, 0, 0
	see := func(n xast.IsNode, s sight) {
		if v, ok := n.(xast.NodeTypeVariable); ok && v.Name == "resource" {
			understood++
			most = max(most, s)
		}
	}
	for _, c := range tree.Conditions {
		xast.Inspect(xast.NewNode(c.Body), func(n xast.IsNode) bool {
			switch n := n.(type) {
			case xast.NodeTypeVariable:
				if n.Name == "resource" {
					mentioned++
				}
			case xast.NodeTypeAccess:
				see(n.Arg, sightOfAttribute(n.Value))
			case xast.NodeTypeHas:
				see(n.Arg, blind) // every key has the same attributes
			case xast.NodeTypeIs:
				see(n.Left, blind)
			case xast.NodeTypeGetTag:
				see(n.Left, attributes)
			case xast.NodeTypeHasTag:
				see(n.Left, attributes)
			}
			return true
		})
	}
	if understood < mentioned {
		return everything
	}
	return most
}

func sightOfAttribute(name types.String) sight {
	switch name {
	case "namespace":
		return blind // the rules are those of one
	case "algorithm", "usage", "state", "origin":
		return attributes
	}
	return everything
}

// tells is what the rules can tell keys and principals by, beside what the built-in rules look at.
type tells struct {
	keys       sight
	principals bool                      // some condition looks at the principal
	named      map[types.EntityType]bool // types of what statements name as their resource
	callers    map[types.EntityUID]bool  // who statements name as their principal
}

func (t *tells) learn(s *statement) {
	t.keys = max(t.keys, s.sight)
	t.principals = t.principals || s.principal
	t.named[s.resource.Type] = true
	t.callers[s.caller] = true
}

// Alike is the same for keys that the rules cannot tell from one another: whatever is decided about one of them, for anybody and under any context, is
// decided about all of them.
func (r *Rules) Alike(k *kms.Key) [32]byte {
	d := digest{sha256.New()}
	named := func(uid types.EntityUID) {
		if r.tells.named[uid.Type] && len(r.own.buckets[uid]) > 0 {
			d.add(string(uid.Type), string(uid.ID))
		}
	}
	if r.tells.named[typeKey] {
		named(types.NewEntityUID(typeKey, types.String(k.ID.String())))
	}
	named(types.NewEntityUID(typeName, types.String(k.Name)))
	if r.tells.named[typeFolder] {
		for i, c := range k.Name {
			if c == '/' && i > 0 {
				named(types.NewEntityUID(typeFolder, types.String(k.Name[:i])))
			}
		}
	}
	if r.tells.keys >= attributes {
		d.add("is", k.Algorithm.String(), k.Usage.String(), k.Switch.String(), k.Origin.String())
		for _, l := range slices.Sorted(maps.Keys(k.Labels)) {
			d.add(l, k.Labels[l])
		}
	}
	if r.tells.keys == everything {
		d.add("name", k.Name, k.ID.String())
	}
	return d.sum()
}

// AlikePrincipal is the same for principals of this namespace that the rules cannot tell from one another.
func (r *Rules) AlikePrincipal(p *Principal) [32]byte {
	d := digest{sha256.New()}
	d.add(string(p.of.Namespace), p.of.Method.String(), p.bad)
	for _, w := range p.scope {
		d.number(w)
	}
	var said []string
	for _, uid := range p.keys {
		if uid.Type == typeRole || r.tells.principals || r.tells.callers[uid] {
			said = append(said, string(uid.Type)+"\x00"+string(uid.ID))
		}
	}
	slices.Sort(said)
	d.add(strings.Join(said, "\x00\x00"))
	return d.sum()
}

// digest is a hash of texts in their order.
type digest struct{ h hash.Hash }

func (d digest) number(n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	d.h.Write(b[:])
}

func (d digest) add(texts ...string) {
	for _, t := range texts {
		d.number(uint64(len(t)))
		d.h.Write([]byte(t))
	}
}

func (d digest) sum() (out [32]byte) {
	d.h.Sum(out[:0])
	return out
}
