package engine_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
)

// The reference model: what a server does, in maps and slices, without a store, without cryptography, without concurrency. Nothing of
// it is shared with the engine but the words of package kms.

// mKey is a key.
type mKey struct {
	id        kms.ID
	ns        kms.Namespace
	name      string
	aliases   []string
	algorithm kms.Algorithm
	usage     kms.Usage
	labels    map[string]string
	about     string
	position  kms.Switch
	before    kms.Switch
	destroyAt time.Time
	versions  []kms.State // of version i+1, now

	stored             []kms.State // what dates have not made of it yet
	dates              []mDates
	prime, storedPrime uint32
	next               uint32 // 0: none
	nextAt             time.Time
	since              time.Time // when the primary version began to serve, or will; zero: not known
	period             time.Duration
	rotateAt           time.Time
	wanted             bool   // it is in the index
	limit              uint64 // of operations of a version; 0: none, and nothing is counted
	used               map[uint32]uint64
	asked              map[uint32]time.Time // versions for which a limit asked for a rotation, and when
	idle               map[uint32]bool      // versions that were compromised before they were active
}

func (k *mKey) primary() uint32 { return k.prime }
func (k *mKey) latest() uint32  { return uint32(len(k.versions)) }

// made is what a key made, and what undoes or verifies it.
type made struct {
	key     *mKey
	version uint32
	input   []byte
	context kms.Context
	output  []byte
}

// mToken is a bearer token.
type mToken struct {
	id      kms.ID
	ns      kms.Namespace
	name    string
	created time.Time
	expires time.Time
	revoked bool
}

// mIdem is a change that carried an idempotency token.
type mIdem struct {
	at     time.Time
	key    *mKey // whose admission it needs; nil: the creation of one
	action kms.Action
	who    *caller
	ns     kms.Namespace
	again  func(reused bool) (kms.ID, uint32, error) // the same request, or another one with its token
	id     kms.ID
	latest uint32
}

// caller is somebody.
type caller struct {
	name  string
	home  kms.Namespace
	role  kms.Role // empty: none
	scope []kms.Action
	p     *kms.Principal
}

func people() []*caller {
	all := []*caller{
		{name: "alice", home: "default", role: kms.RoleAdmin}, {name: "svc/orders", home: "default", role: kms.RoleUser},
		{name: "audrey", home: "default", role: kms.RoleAuditor}, {name: "mallory", home: "default"},
		{name: "bob", home: "tenant", role: kms.RoleAdmin}, {name: "svc/tenant", home: "tenant", role: kms.RoleUser},
		{name: "svc/narrow", home: "default", role: kms.RoleUser, scope: []kms.Action{kms.Encrypt, kms.DescribeKey}},
		{name: "op", home: kms.SystemNamespace, role: kms.RoleOperator},
	}
	for _, c := range all {
		c.p = &kms.Principal{Name: c.name, Namespace: c.home, Method: kms.AuthToken, Scope: c.scope}
		if c.role != "" {
			c.p.Roles = []kms.Role{c.role}
		}
	}
	return all
}

// mPolicy is a policy that the model understands.
type mPolicy struct {
	id, text string
	permits  func(*caller, kms.Action) bool
	forbids  func(*caller, kms.Action) bool
}

func never(*caller, kms.Action) bool { return false }

func mPolicies() []mPolicy {
	return []mPolicy{
		{"friend", `permit (principal == Principal::"mallory", action in [Action::"Encrypt", Action::"DescribeKey", Action::"GenerateMac"], resource);`,
			func(c *caller, a kms.Action) bool {
				return c.name == "mallory" && (a == kms.Encrypt || a == kms.DescribeKey || a == kms.GenerateMAC)
			}, never},
		{"orders", `forbid (principal == Principal::"svc/orders", action == Action::"Encrypt", resource);`,
			never, func(c *caller, a kms.Action) bool { return c.name == "svc/orders" && a == kms.Encrypt }},
		{"frozen", `forbid (principal, action in [Action::"RotateKey", Action::"Sign"], resource);`,
			never, func(_ *caller, a kms.Action) bool { return a == kms.RotateKey || a == kms.Sign }},
		{"users", `forbid (principal in Role::"user", action == Action::"GetPublicKey", resource);`,
			never, func(c *caller, a kms.Action) bool { return c.role == kms.RoleUser && a == kms.GetPublicKey }},
	}
}

// model is a server.
type model struct {
	keys     []*mKey
	policies map[kms.Namespace]map[string]mPolicy
	tokens   []*mToken
	idems    []*mIdem
	rolled   time.Time // when the shred epoch began
	erased   []*mKey   // keys that were destroyed under it
	paused   time.Time // until when none begins because of them
}

func newModel() *model {
	return &model{policies: map[kms.Namespace]map[string]mPolicy{"default": {}, "tenant": {}, kms.SystemNamespace: {}}}
}

// named finds a key by a name or alias.
func (m *model) named(ns kms.Namespace, name string) *mKey {
	for _, k := range m.keys {
		if k.ns == ns && (k.name == name || slices.Contains(k.aliases, name)) {
			return k
		}
	}
	return nil
}

// resolve finds the key that a reference means in a namespace.
func (m *model) resolve(ns kms.Namespace, ref kms.Ref) *mKey {
	for _, k := range m.keys {
		if k.ns == ns && kms.RefTo(k.id) == ref {
			return k
		}
	}
	return m.named(ns, strings.TrimPrefix(string(ref), "alias/"))
}

// roles is what the built-in rules grant.
var roles = map[kms.Role][]kms.Group{
	kms.RoleOperator: {kms.OperatorGroup, kms.AdminGroup, kms.SelfGroup},
	kms.RoleAdmin:    {kms.ManageGroup, kms.ReadGroup, kms.AdminGroup, kms.SecretGroup, kms.SelfGroup},
	kms.RoleUser:     {kms.UseGroup, kms.ReadGroup, kms.SelfGroup},
	kms.RoleAuditor:  {kms.ReadGroup, kms.AuditGroup, kms.SelfGroup},
	"":               {kms.SelfGroup},
}

// enter is what a call meets before anything else: 0, or the code it is refused with.
func (m *model) enter(c *caller, ns kms.Namespace) kms.Code {
	switch _, is := m.policies[ns]; {
	case is:
		return 0
	case c.role == kms.RoleOperator:
		return kms.CodeNotFound
	}
	return kms.CodeDenied
}

// may decides what a caller may do in a namespace that is.
func (m *model) may(c *caller, ns kms.Namespace, a kms.Action) kms.Code {
	if len(c.scope) > 0 && !slices.Contains(c.scope, a) {
		return kms.CodeOutsideScope
	}
	operator := c.role == kms.RoleOperator
	granted := slices.Contains(roles[c.role], a.Group()) || operator && (a == kms.ReadNamespace || a == kms.ReadPolicy)
	if ns != c.home && !(operator && granted) || operator && (a.Group() == kms.UseGroup || a.Group() == kms.ManageGroup) {
		return kms.CodeDenied
	}
	for _, p := range m.policies[ns] {
		granted = granted || p.permits(c, a)
	}
	for _, p := range m.policies[ns] {
		granted = granted && !p.forbids(c, a)
	}
	if !granted {
		return kms.CodeDenied
	}
	return 0
}

// What operations need of the switch.
type need int

const (
	protect need = iota
	process
	rotate
	manage
	read
)

var positions = map[kms.Switch]struct {
	needs []need
	code  kms.Code
}{
	kms.Enabled:            {[]need{protect, process, rotate, manage, read}, 0},
	kms.SuspendedKey:       {[]need{process, manage, read}, kms.CodeKeySuspended},
	kms.Disabled:           {[]need{manage, read}, kms.CodeKeyDisabled},
	kms.PendingDestruction: {[]need{read}, kms.CodeKeyPendingDestruction},
	kms.DestroyedKey:       {[]need{read}, kms.CodeKeyDestroyed},
}

// admit is what a call on a key meets: 0, or the code it is refused with, and whether its record names the key.
func (m *model) admit(c *caller, ns kms.Namespace, k *mKey, a kms.Action, n need) (code kms.Code, named bool) {
	if code := m.enter(c, ns); code != 0 {
		return code, false
	}
	if k != nil && k.ns != ns {
		k = nil
	}
	if code := m.may(c, ns, a); code != 0 {
		return code, k != nil
	}
	if k == nil {
		return kms.CodeKeyNotFound, false
	}
	if p := positions[k.position]; !slices.Contains(p.needs, n) {
		return p.code, true
	}
	return 0, true
}

// version is what asking for a version of an admitted key meets.
func (k *mKey) version(n uint32, to need) (uint32, kms.Code) {
	if n == 0 {
		n = k.primary()
	}
	switch {
	case n > k.latest():
		return n, kms.CodeVersionNotFound
	case k.versions[n-1] == kms.Active, k.versions[n-1] == kms.Suspended && to == process:
		return n, 0
	}
	return n, kms.CodeVersionState
}

// turn moves the switch: the position it comes to, whether that is a change, and the code if it is refused.
func (k *mKey) turn(a kms.Action) (to kms.Switch, moved bool, code kms.Code) {
	type at struct {
		kms.Switch
		kms.Action
	}
	steps := map[at]kms.Switch{
		{kms.Enabled, kms.DisableKey}: kms.Disabled, {kms.SuspendedKey, kms.DisableKey}: kms.Disabled,
		{kms.Enabled, kms.SuspendKey}: kms.SuspendedKey, {kms.Disabled, kms.EnableKey}: kms.Enabled,
		{kms.SuspendedKey, kms.ResumeKey}:                  kms.Enabled,
		{kms.Enabled, kms.ScheduleKeyDestruction}:          kms.PendingDestruction,
		{kms.Disabled, kms.ScheduleKeyDestruction}:         kms.PendingDestruction,
		{kms.SuspendedKey, kms.ScheduleKeyDestruction}:     kms.PendingDestruction,
		{kms.PendingDestruction, kms.CancelKeyDestruction}: k.before,
	}
	there := map[at]bool{{kms.Enabled, kms.EnableKey}: true, {kms.Enabled, kms.ResumeKey}: true, {kms.Disabled, kms.DisableKey}: true, {kms.SuspendedKey, kms.SuspendKey}: true}
	here := at{k.position, a}
	if to, ok := steps[here]; ok {
		return to, true, 0
	}
	switch code := positions[k.position].code; {
	case there[here]:
		return k.position, false, 0
	case a == kms.CancelKeyDestruction && code != kms.CodeKeyDestroyed:
		return 0, false, kms.CodeWindow
	default:
		return 0, false, code
	}
}

// due lists the keys whose windows have ended, in the order in which they are destroyed.
func (m *model) due(now time.Time) []*mKey {
	var all []*mKey
	for _, k := range m.keys {
		if k.position == kms.PendingDestruction && !k.destroyAt.After(now) {
			all = append(all, k)
		}
	}
	slices.SortFunc(all, func(a, b *mKey) int {
		return cmp.Or(cmp.Compare(a.destroyAt.Unix(), b.destroyAt.Unix()), strings.Compare(string(a.id[:]), string(b.id[:])))
	})
	return all
}

func (k *mKey) String() string {
	return fmt.Sprintf("%s/%s %s %s aliases %v labels %v about %q versions %v destroy %v", k.ns, k.name, k.algorithm, k.position, k.aliases,
		slices.Sorted(maps.Keys(k.labels)), k.about, k.versions, k.destroyAt)
}

// outcome is how the record of a refusal calls it.
func outcome(c kms.Code) audit.Outcome {
	switch c.Kind() {
	case kms.KindDenied, kms.KindUnauthenticated:
		return audit.Denied
	case kms.KindIntegrity, kms.KindInternal, kms.KindUnavailable:
		return audit.Failed
	default:
		return audit.Refused
	}
}
