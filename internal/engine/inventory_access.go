package engine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/keyhold/keyhold/internal/cache"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/policy"
	"github.com/keyhold/keyhold/internal/records"
)

// Limits of what is looked at to tell who may use a key.
const (
	peopleRead  = 10_000      // tokens and credentials that are read, of all namespaces
	peopleFresh = time.Minute // how long one that has ended since may still be counted; what is revoked is not
	peopleShown = 64          // principals that are named of one key
	accessKept  = 4096        // answers that are kept: most keys of a namespace have the same
)

// people are the principals of a namespace that hold a credential which stands.
type people struct {
	all   []*policy.Principal
	names []string // theirs
	cut   bool     // there are more credentials than are read
	until time.Time

	mu    sync.Mutex // guards crowd
	crowd *crowd     // of the rules that were asked last
}

// crowd is people in groups that some rules cannot tell apart.
type crowd struct {
	*people
	rules  *rules
	groups []group
}

type group struct {
	one   *policy.Principal // stands for all
	names []string
}

// accessAt is what the answer to "who may use it" depends on.
type accessAt struct {
	crowd *crowd
	alike [32]byte
}

// accesses remembers who may use and manage keys.
type accesses struct {
	people *cache.Cache[kms.Namespace, *people]
	known  *cache.Cache[accessAt, *KeyAccess]
}

func newAccesses() *accesses {
	return &accesses{
		people: cache.New[kms.Namespace](maxRules, func(*people) bool { return true }, func(*people) {}),
		known:  cache.New[accessAt](accessKept, func(*KeyAccess) bool { return true }, func(*KeyAccess) {}),
	}
}

func (a *accesses) forget(t records.Touch) {
	switch t.Kind {
	case records.TouchToken, records.TouchCredential, records.TouchAccessKey, records.TouchRole, records.TouchAll:
		if t.Namespace != "" {
			a.people.Forget(t.Namespace)
			return
		}
		a.people.Clear()
	case records.TouchKey, records.TouchVersion, records.TouchName, records.TouchNamespace, records.TouchPolicy:
	}
}

// crowd answers who there is, in groups that the rules in force cannot tell apart.
func (w *work) crowd(ctx context.Context) (*crowd, error) {
	read := func(ctx context.Context) (*people, error) { return w.people(ctx) }
	p, err := w.o.who.people.Load(ctx, w.call.Namespace, read)
	if err == nil && !w.now.Before(p.until) {
		w.o.who.people.Forget(w.call.Namespace)
		p, err = w.o.who.people.Load(ctx, w.call.Namespace, read)
	}
	if err != nil {
		return nil, err
	}
	return p.under(w.rules), nil
}

func (p *people) under(r *rules) *crowd {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.crowd != nil && p.crowd.rules == r {
		return p.crowd
	}
	c := &crowd{people: p, rules: r}
	at := map[[32]byte]int{}
	for i, one := range p.all {
		alike := r.AlikePrincipal(one)
		n, ok := at[alike]
		if !ok {
			n = len(c.groups)
			at[alike] = n
			c.groups = append(c.groups, group{one: one})
		}
		c.groups[n].names = append(c.groups[n].names, p.names[i])
	}
	p.crowd = c
	return c
}

// people reads the principals of the call's namespace.
func (w *work) people(ctx context.Context) (*people, error) {
	p := &people{until: w.now.Add(peopleFresh)}
	add := func(of *kms.Principal) {
		p.all, p.names = append(p.all, policy.PreparePrincipal(of)), append(p.names, of.Name)
	}
	left := peopleRead
	for after := (kms.ID{}); ; {
		page, next, err := w.o.records.Tokens(ctx, after, min(left, scanPage))
		if err != nil {
			return nil, err
		}
		for i := range page {
			if t := &page[i]; t.Namespace == w.call.Namespace && t.Revoked.IsZero() && w.now.Before(t.Expires) {
				add(&kms.Principal{Name: t.Principal, Namespace: t.Namespace, Roles: t.Roles, Groups: t.Groups, Method: kms.AuthToken, Scope: t.Scope})
			}
		}
		if left -= len(page); next.IsZero() || left <= 0 {
			p.cut = !next.IsZero()
			break
		}
		after = next
	}
	left = peopleRead
	for after := []byte(nil); ; {
		page, next, err := w.o.records.Credentials(ctx, after, min(left, scanPage))
		if err != nil {
			return nil, err
		}
		for i := range page {
			if c := &page[i]; c.Namespace == w.call.Namespace && c.Revoked.IsZero() {
				add(&kms.Principal{Name: c.Principal, Namespace: c.Namespace, Roles: c.Roles, Groups: c.Groups, Method: kms.AuthCertificate})
			}
		}
		if left -= len(page); next == nil || left <= 0 {
			p.cut = p.cut || next != nil
			break
		}
		after = next
	}
	left = peopleRead
	for after := []byte(nil); ; {
		page, next, err := w.o.records.AccessKeys(ctx, after, min(left, scanPage))
		if err != nil {
			return nil, err
		}
		for i := range page {
			if k := &page[i]; k.Namespace == w.call.Namespace && k.Ended(w.now).IsZero() {
				add(&kms.Principal{Name: k.Principal, Namespace: k.Namespace, Roles: k.Roles, Groups: k.Groups, Method: kms.AuthSignature, Scope: k.Scope})
			}
		}
		if left -= len(page); next == nil || left <= 0 {
			p.cut = p.cut || next != nil
			break
		}
		after = next
	}
	for after := ""; ; {
		page, next, err := w.o.records.Roles(ctx, w.call.Namespace, after, scanPage)
		if err != nil {
			return nil, err
		}
		for i := range page {
			r := &page[i]
			add(&kms.Principal{Name: rolePrefix + r.Name, Namespace: r.Namespace, Roles: r.Roles, Groups: r.Groups, Method: kms.AuthSignature, Scope: r.Scope})
		}
		if after = next; next == "" || len(p.all) > 3*peopleRead {
			p.cut = p.cut || next != ""
			return p, nil
		}
	}
}

// access answers who could use and manage a key. Most keys of a namespace are alike to its rules: what was found out for one holds for all of them. A key
// with a policy or grants of its own is like no other.
func (w *work) access(ctx context.Context, c *crowd, k *kms.Key) (KeyAccess, error) {
	at, find := accessAt{c, c.rules.Alike(k)}, func(context.Context) (*KeyAccess, error) { return c.reach(k), nil }
	if hasRules(k) {
		at.alike = sha256.Sum256(binary.BigEndian.AppendUint64(append([]byte("its own\x00"), k.ID[:]...), uint64(k.Rev)))
		find = func(ctx context.Context) (*KeyAccess, error) { return w.ruledAccess(ctx, c, k) }
	}
	a, err := w.o.who.known.Load(ctx, at, find)
	if err != nil {
		return KeyAccess{}, err
	}
	return *a, nil
}

// ruledAccess looks at each principal by itself.
func (w *work) ruledAccess(ctx context.Context, c *crowd, k *kms.Key) (*KeyAccess, error) {
	p, err := w.o.keyPolicy(ctx, k)
	if err != nil {
		return nil, err
	}
	held := map[string][]*policy.Grant{}
	for after, more := (records.GrantID{}), k.Grants > 0; more; {
		var page []records.Grant
		if page, more, err = w.o.records.Grants(ctx, k.ID, after, scanPage); err != nil {
			return nil, err
		}
		for i := range page {
			after = page[i].ID
			held[page[i].Grantee] = append(held[page[i].Grantee], prepareGrant(&page[i]))
		}
	}
	on := policy.PrepareKey(k)
	plain := on.With(p, nil)
	var users, managers []string
	for i, one := range c.all {
		of := plain
		if grants := held[c.names[i]]; len(grants) > 0 {
			of = on.With(p, grants)
		}
		reach := c.rules.Reach(one, of)
		if reach.Uses {
			users = append(users, c.names[i])
		}
		if reach.Manages {
			managers = append(managers, c.names[i])
		}
	}
	return accessOf(users, managers), nil
}

func (c *crowd) reach(k *kms.Key) *KeyAccess {
	on := policy.PrepareKey(k)
	var users, managers []string
	for i := range c.groups {
		reach := c.rules.Reach(c.groups[i].one, on)
		if reach.Uses {
			users = append(users, c.groups[i].names...)
		}
		if reach.Manages {
			managers = append(managers, c.groups[i].names...)
		}
	}
	return accessOf(users, managers)
}

func accessOf(users, managers []string) *KeyAccess {
	a := &KeyAccess{}
	a.Users, a.UserCount = named(users)
	a.Managers, a.ManagerCount = named(managers)
	return a
}

// named puts names in order, once each, and answers the first of them and how many there are.
func named(names []string) ([]string, int) {
	slices.Sort(names)
	names = slices.Compact(names)
	return slices.Clone(names[:min(len(names), peopleShown)]), len(names)
}
