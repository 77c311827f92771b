package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// mStep is a change of a version's state: from what, and to what.
type mStep struct {
	action kms.Action
	from   kms.State
	to     kms.State
}

var mSteps = []mStep{
	{kms.SuspendVersion, kms.Active, kms.Suspended}, {kms.ResumeVersion, kms.Suspended, kms.Active}, {kms.ArchiveVersion, kms.Deactivated, kms.Archived},
}

// stepVersion takes a version that is not the primary one to another state.
func (p *player) stepVersion(r [4]uint32) (string, error) {
	k, ref := p.aKey(r[0])
	c, ns := p.someone(r[1], kms.RoleAdmin, ns(k))
	k = p.model.resolve(ns, ref)
	n := uint32(0)
	if k != nil {
		if n = r[2] % (k.latest() + 2); n == k.primary() {
			n = 0
		}
	}
	s := pick(mSteps, r[3])
	call := p.call(c, ns)
	call.DryRun = r[3]%32 == 1
	var err error
	switch in := (engine.VersionInput{Key: ref, Version: n}); s.action {
	case kms.SuspendVersion:
		_, err = p.api().SuspendVersion(p.m.t.Context(), call, in)
	case kms.ResumeVersion:
		_, err = p.api().ResumeVersion(p.m.t.Context(), call, in)
	case kms.ArchiveVersion:
		_, err = p.api().ArchiveVersion(p.m.t.Context(), call, engine.ArchiveInput{Key: ref, Version: n})
	}
	what := fmt.Sprintf("%s in %s: %s of %s version %d, dry run %v", c.name, ns, s.action, ref, n, call.DryRun)
	code, named := p.model.admit(c, ns, k, s.action, manage)
	if code != 0 {
		return what, p.use(c, err, code, s.action, 0, p.on(named, k, 0))
	}
	keys, o := p.on(true, k, n), audit.OK
	switch {
	case n == 0 || n > k.latest():
		code = kms.CodeVersionNotFound
	case k.versions[n-1] == s.to: // nothing to do
		if call.DryRun {
			o = audit.DryRun
		}
	case k.versions[n-1] != s.from:
		code = kms.CodeVersionState
	case call.DryRun:
		o = audit.DryRun
	default:
		k.enter(n, s.to)
		keys += " change"
	}
	return what, p.use(c, err, code, s.action, o, keys)
}

// compromise marks a version, mostly the primary one, which then has a successor.
func (p *player) compromise(r [4]uint32) (string, error) {
	k, ref := p.aKey(r[0])
	c, ns := p.someone(r[1], kms.RoleAdmin, ns(k))
	k = p.model.resolve(ns, ref)
	n := uint32(1)
	if k != nil {
		n = r[2] % (k.latest() + 2)
		if r[3]%2 == 0 {
			n = k.primary()
		}
		if k.position == kms.PendingDestruction && n == k.primary() {
			n = 0 // it would have no successor
		}
	}
	out, err := p.api().CompromiseVersion(p.m.t.Context(), p.call(c, ns), engine.CompromiseInput{Key: ref, Versions: []uint32{n}})
	what := fmt.Sprintf("%s in %s: compromised: %s version %d", c.name, ns, ref, n)
	code, named := p.model.admit(c, ns, k, kms.CompromiseVersion, read)
	if code == 0 && k.position == kms.DestroyedKey {
		code = kms.CodeKeyDestroyed
	}
	if code != 0 {
		return what, p.use(c, err, code, kms.CompromiseVersion, 0, p.on(named, k, 0))
	}
	if n == 0 || n > k.latest() {
		return what, p.use(c, err, kms.CodeVersionNotFound, kms.CompromiseVersion, 0, p.on(true, k, 0))
	}
	if k.versions[n-1] == kms.Compromised {
		err := p.use(c, err, 0, kms.CompromiseVersion, audit.OK, p.on(true, k, 0))
		p.exposed(c, ns, k, n)
		return what, err
	}
	now := p.m.e.Now()
	k.settle(now)
	was := k.primary()
	if k.versions[n-1] == kms.PreActive {
		k.idle[n] = true
	}
	k.enter(n, kms.Compromised)
	if n == k.next {
		k.next, k.nextAt = 0, time.Time{}
	}
	if n == was {
		k.protects(k.add(kms.Active, mDates{}), now)
	}
	if err := p.use(c, err, 0, kms.CompromiseVersion, audit.OK, p.on(true, k, was)+" change"); err != nil {
		return what, err
	}
	p.exposed(c, ns, k, n)
	return what, p.same(k, &out.Key)
}

// exposed expects what an answer about compromised versions says of their use to be read as an operation of its own, by who may.
func (p *player) exposed(c *caller, ns kms.Namespace, k *mKey, n uint32) {
	if k.idle[n] { // it never protected anything
		return
	}
	if code, _ := p.model.admit(c, ns, k, kms.ReadUsage, read); code == 0 {
		p.expect("ReadUsage ok%s by %s", p.on(true, k, 0), c.name)
	}
}

// inAnyOrder brings records of what the server does by itself in one round into one order: it does several things at a time.
func inAnyOrder(lines []string) []string {
	lines = slices.Clone(lines)
	for from := 0; from < len(lines); from++ {
		to := from
		for to < len(lines) && strings.HasSuffix(lines[to], " by keyhold") {
			to++
		}
		slices.Sort(lines[from:to])
		from = max(from, to)
	}
	return lines
}
