package vault

import (
	"context"
	"slices"
	"strings"

	"github.com/keyhold/keyhold/internal/kms"
)

// works says how much of a route there is.
type works uint8

const (
	wholly   works = iota
	partly         // how says what is missing
	notAtAll       // how says why; it answers 405
)

// route is one row of the table. Its pattern is that of OpenBao's own description of its API.
type route struct {
	method  string // GET, LIST, POST (which stands for PUT too), PATCH or DELETE
	pattern string
	grants  []grant
	works   works
	how     string
	open    bool // it needs no token
	whole   bool // its last {path} may stand for nothing: the mount itself
	bare    bool // its answer has no envelope
	echo    bool // it repeats the members of data beside it
	run     func(*exchange, context.Context) *fault

	parts []string // of the pattern, behind its group
}

// grant is a capability that allows something of a route, and the action behind it. on is the number of the variable that names the key.
type grant struct {
	capability string
	action     kms.Action
	on         int
}

func may(capability string, actions ...kms.Action) []grant {
	var all []grant
	for _, a := range actions {
		all = append(all, grant{capability: capability, action: a})
	}
	return all
}

const (
	canRead, canUpdate, canCreate, canDelete, canList, canPatch = "read", "update", "create", "delete", "list", "patch"
)

func on(i int, all []grant) []grant {
	for k := range all {
		all[k].on = i
	}
	return all
}

func join(all ...[]grant) []grant {
	var g []grant
	for _, some := range all {
		g = append(g, some...)
	}
	return g
}

// except says what of a route is missing.
func except(how string, r route) route {
	r.works, r.how = partly, how
	return r
}

func absent(method, how string, patterns ...string) []route {
	var all []route
	for _, p := range patterns {
		all = append(all, route{method: method, pattern: p, works: notAtAll, how: how})
	}
	return all
}

const (
	notYet      = "not built yet"
	noMounts    = "mounts are what the configuration says"
	noPasswords = "there are no password policies: no engine here makes passwords"
)

// routes is the table.
var routes = flat(
	transitRoutes,
	moveRoutes,
	chainRoutes,
	absent("POST", "keys serve one purpose: none that signs agrees on secrets too, and what the shared secret becomes is not described (`keyhold derive` does it with keys that were made for that, and documented functions)", "transit/derive-key/{name}"),

	tokenRoutes,
	userpassRoutes,
	appRoleRoutes,
	jwtRoutes,
	kubernetesRoutes,
	certRoutes,

	sysRoutes,
	wrappingRoutes,
	kvRoutes,
	authRoutes,
	capabilityRoutes,
	leaseRoutes,
	namespaceRoutes,
	absent("POST", noMounts, "sys/mounts/{path}/tune"),
	absent("DELETE", noMounts, "sys/mounts/{path}"),
	policyRoutes,
	sealRoutes,
	absent("LIST", noPasswords, "sys/policies/password"),
	absent("GET", noPasswords, "sys/policies/password/{name}", "sys/policies/password/{name}/generate"),
	absent("POST", noPasswords, "sys/policies/password/{name}"),
	absent("DELETE", noPasswords, "sys/policies/password/{name}"),
)

var transitRoutes = []route{
	{method: "POST", pattern: "transit/rewrap/{name}", grants: may(canUpdate, kms.ReEncryptFrom, kms.ReEncryptTo), run: (*exchange).Rewrap},
	{method: "POST", pattern: "transit/encrypt/{name}", grants: join(may(canUpdate, kms.Encrypt), may(canCreate, kms.CreateKey)), run: (*exchange).Encrypt},
	{method: "POST", pattern: "transit/decrypt/{name}", grants: may(canUpdate, kms.Decrypt), run: (*exchange).Decrypt},
	{method: "POST", pattern: "transit/datakey/{plaintext}/{name}", grants: on(1, may(canUpdate, kms.GenerateDataKey, kms.GenerateDataKeyWithoutPlaintext)), run: (*exchange).DataKey},
	{method: "LIST", pattern: "transit/keys", grants: may(canList, kms.ListKeys), run: (*exchange).ListKeys},
	{method: "GET", pattern: "transit/keys/{name}", grants: may(canRead, kms.DescribeKey, kms.GetPublicKey), run: (*exchange).ReadKey},
	{method: "POST", pattern: "transit/keys/{name}", grants: may(canUpdate, kms.CreateKey), run: (*exchange).CreateKey},
	{method: "DELETE", pattern: "transit/keys/{name}", grants: may(canDelete, kms.ScheduleKeyDestruction), run: (*exchange).DeleteKey},
	{method: "POST", pattern: "transit/keys/{name}/config", grants: may(canUpdate, kms.UpdateKey, kms.AllowExport, kms.ScheduleRotation), run: (*exchange).ConfigureKey},
	{method: "POST", pattern: "transit/keys/{name}/csr", grants: may(canUpdate, kms.Sign, kms.GetPublicKey), run: (*exchange).CSR},
	{method: "POST", pattern: "transit/keys/{name}/rotate", grants: may(canUpdate, kms.RotateKey), run: (*exchange).RotateKey},
	{method: "DELETE", pattern: "transit/keys/{name}/soft-delete", grants: may(canDelete, kms.ScheduleKeyDestruction), run: (*exchange).SoftDelete},
	{method: "POST", pattern: "transit/keys/{name}/soft-delete-restore", grants: may(canUpdate, kms.CancelKeyDestruction), run: (*exchange).SoftDeleteRestore},
	except(ownHash, route{method: "POST", pattern: "transit/sign/{name}", grants: may(canUpdate, kms.Sign), run: (*exchange).Sign}),
	except(ownHash, route{method: "POST", pattern: "transit/sign/{name}/{urlalgorithm}", grants: may(canUpdate, kms.Sign), run: (*exchange).Sign}),
	except(ownHash, route{method: "POST", pattern: "transit/verify/{name}", grants: may(canUpdate, kms.Verify, kms.VerifyMAC), run: (*exchange).Verify}),
	except(ownHash, route{method: "POST", pattern: "transit/verify/{name}/{urlalgorithm}", grants: may(canUpdate, kms.Verify, kms.VerifyMAC), run: (*exchange).Verify}),
	except(ownMAC, route{method: "POST", pattern: "transit/hmac/{name}", grants: may(canUpdate, kms.GenerateMAC), run: (*exchange).MAC}),
	except(ownMAC, route{method: "POST", pattern: "transit/hmac/{name}/{urlalgorithm}", grants: may(canUpdate, kms.GenerateMAC), run: (*exchange).MAC}),
	{method: "POST", pattern: "transit/hash", grants: may(canUpdate, kms.WhoAmI), run: (*exchange).Hash},
	{method: "POST", pattern: "transit/hash/{urlalgorithm}", grants: may(canUpdate, kms.WhoAmI), run: (*exchange).Hash},
	except(ownRandom, route{method: "POST", pattern: "transit/random", grants: may(canUpdate, kms.GenerateRandom), run: (*exchange).Random}),
	except(ownRandom, route{method: "POST", pattern: "transit/random/{source}", grants: may(canUpdate, kms.GenerateRandom), run: (*exchange).Random}),
	except(ownRandom, route{method: "POST", pattern: "transit/random/{source}/{urlbytes}", grants: may(canUpdate, kms.GenerateRandom), run: (*exchange).Random}),
	except(ownRandom, route{method: "POST", pattern: "transit/random/{urlbytes}", grants: may(canUpdate, kms.GenerateRandom), run: (*exchange).Random}),
}

// What is missing of several routes.
const (
	ownHash   = "with SHA-1 signatures are verified and not made; `salt_length=auto` makes a salt as long as the hash, and verifies any"
	ownMAC    = "of keys of type `hmac`"
	ownRandom = "at most 65,536 bytes; every `source` is the server's own"
)

var sysRoutes = []route{
	{method: "GET", pattern: "sys/health", open: true, bare: true, run: (*exchange).Health},
	{method: "GET", pattern: "sys/seal-status", open: true, bare: true, run: (*exchange).SealStatus},
	{method: "GET", pattern: "sys/leader", open: true, bare: true, run: (*exchange).Leader},
	{method: "GET", pattern: "sys/init", open: true, bare: true, run: (*exchange).Initialised},
	{method: "GET", pattern: "sys/mounts", echo: true, run: (*exchange).Mounts},
	{method: "GET", pattern: "sys/mounts/{path}", echo: true, run: (*exchange).Mount},
	{method: "GET", pattern: "sys/mounts/{path}/tune", echo: true, run: (*exchange).Tune},
	except("of a mount that the configuration names, which is there already", route{method: "POST", pattern: "sys/mounts/{path}", run: (*exchange).AddMount}),
	{method: "GET", pattern: "sys/internal/ui/mounts", run: (*exchange).UIMounts},
	{method: "GET", pattern: "sys/internal/ui/mounts/{path}", run: (*exchange).UIMount},
}

func flat(all ...[]route) []route {
	var rs []route
	for _, some := range all {
		rs = append(rs, some...)
	}
	for i := range rs {
		rs[i].parts = strings.Split(strings.TrimSuffix(rs[i].pattern, "/"), "/")[1:] // "sys/leases/lookup/" is of two
	}
	return rs
}

// index finds the routes of a group by their first segment. Longer patterns come first: a {path} in a shorter one matches what they mean.
type index map[string]map[string][]*route

func indexed(all []route) index {
	m := index{}
	for i := range all {
		r := &all[i]
		group, _, _ := strings.Cut(r.pattern, "/")
		if m[group] == nil {
			m[group] = map[string][]*route{}
		}
		m[group][r.parts[0]] = append(m[group][r.parts[0]], r)
	}
	for _, group := range m {
		for _, rs := range group {
			slices.SortStableFunc(rs, func(a, b *route) int { return len(b.parts) - len(a.parts) })
		}
	}
	return m
}

// deep tells whether what stands for a variable is of one segment or several.
func deep(part string) bool {
	return part == "{path}" || part == "{prefix}" || part == "{url_lease_id}"
}

// match compares segments with a route's and answers what stands for its variables.
func (r *route) match(segments []string) (names [3]string, ok bool) {
	n := 0
	for i, part := range r.parts {
		more := len(segments) - (len(r.parts) - i - 1) // how many may stand for this part
		if r.whole && i < len(r.parts)-1 {
			more++
		}
		switch {
		case more == 0 && deep(part) && r.whole:
			n++
			continue
		case more < 1:
			return names, false
		case deep(part):
			names[n] = strings.Join(segments[:more], "/")
			n, segments = n+1, segments[more:]
			continue
		case part[0] == '{':
			names[n] = segments[0]
			n++
		case part != segments[0]:
			return names, false
		}
		segments = segments[1:]
	}
	return names, len(segments) == 0
}
