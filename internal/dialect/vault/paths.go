package vault

import (
	"cmp"
	"slices"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
)

// dataKeyWords are what stands for {plaintext} in the route of data keys.
var dataKeyWords = map[kms.Action]string{kms.GenerateDataKey: "plaintext", kms.GenerateDataKeyWithoutPlaintext: "wrapped"}

// Paths lists what paths stand for, as ACL policies speak about them. The mounts are those of the handler.
func Paths(mounts, kv []string) []kms.Path {
	if len(mounts) == 0 {
		mounts = []string{defaultMount}
	}
	var all []kms.Path
	for i := range routes {
		r := &routes[i]
		group, rest, _ := strings.Cut(r.pattern, "/")
		at := []string{group}
		switch group {
		case authGroup:
			if kind, below, _ := strings.Cut(rest, "/"); kind != tokenMount { // of whichever mount: the action is for all of them
				at, rest = []string{group + "/{mount}"}, below
			}
		case defaultMount:
			at = mounts
		case kvGroup:
			at = kv
		}
		for _, m := range at {
			for _, g := range r.grants {
				p := kms.Path{Pattern: m + "/" + r.words(rest, g), List: r.method == methodList, Capability: g.capability, Action: g.action}
				if group == kvGroup || group == defaultMount && m != defaultMount {
					p.Prefix = m + "/"
				}
				p.Whole = wholeRole(&p)
				all = append(all, p)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b kms.Path) int {
		return cmp.Or(cmp.Compare(a.Pattern, b.Pattern), cmp.Compare(a.Capability, b.Capability))
	})
	return slices.Compact(all)
}

// wholeRole tells whether a path stands for a whole role, user or certificate of a login, or role of tokens. The actions on them are for all of these, whichever
// mount they are of, and for every field of one that has a path of its own.
func wholeRole(p *kms.Path) bool {
	switch p.Action {
	case kms.PutAuthRole, kms.DeleteAuthRole, kms.ReadAuthRole:
		return !p.List && len(strings.Split(p.Pattern, "/")) == len(strings.Split("auth/{mount}/role/{any}", "/"))
	}
	return false
}

// words is a pattern with what its variables mean for a grant.
func (r *route) words(pattern string, g grant) string {
	parts := strings.Split(strings.TrimSuffix(pattern, "/"), "/")
	n := 0
	for i, part := range parts {
		if part[0] != '{' {
			continue
		}
		switch {
		case part == "{plaintext}" && dataKeyWords[g.action] != "":
			parts[i] = dataKeyWords[g.action]
		case g.action.OnSecret() && part == "{path}":
			parts[i] = "{names}"
		case n == g.on && (g.action.OnKey() || g.action == kms.CreateKey):
			parts[i] = "{name}"
		default:
			parts[i] = "{any}"
		}
		n++
	}
	return strings.Join(parts, "/")
}
