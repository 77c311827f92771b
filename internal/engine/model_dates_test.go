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

// Dates of the model: what is stored, and what dates have made of it by now. A clock that was not believed, or a kill, can take now back a little: so what is shown is
// always made anew from what is stored.

// mDates are the dates of a version; zero: none.
type mDates struct{ activate, deactivate time.Time }

func reached(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

// made adds a version.
func (k *mKey) add(s kms.State, d mDates) uint32 {
	k.versions, k.stored, k.dates = append(k.versions, s), append(k.stored, s), append(k.dates, d)
	return k.latest()
}

// enter takes a version to a state, which is stored.
func (k *mKey) enter(n uint32, s kms.State) { k.versions[n-1], k.stored[n-1] = s, s }

// protects makes a version the primary one, which serves from a moment on; zero: from when it is activated by hand.
func (k *mKey) protects(n uint32, from time.Time) {
	k.prime, k.storedPrime = n, n
	k.plan(from)
}

func (k *mKey) plan(from time.Time) {
	k.since, k.rotateAt = from, time.Time{}
	if k.period != 0 && !from.IsZero() {
		k.rotateAt = from.Truncate(time.Second).Add(k.period)
	}
	k.resume()
}

// resume notes that the rotation is wanted, if the key can be rotated as it is.
func (k *mKey) resume() { k.wanted = k.wanted || !k.rotateAt.IsZero() && k.position == kms.Enabled }

// settle stores that the version that was to be next is the primary one.
func (k *mKey) settle(now time.Time) bool {
	if k.next == 0 || !reached(k.nextAt, now) {
		return false
	}
	n, at := k.next, k.nextAt
	k.next, k.nextAt = 0, time.Time{}
	k.protects(n, at)
	return true
}

// reach shows a key as its dates have made it by a moment.
func (k *mKey) reach(now time.Time) {
	for i := range k.stored {
		k.versions[i] = stateAt(k.stored[i], k.dates[i], now)
	}
	if k.prime = k.storedPrime; k.next != 0 && reached(k.nextAt, now) {
		k.prime = k.next
	}
}

func stateAt(s kms.State, d mDates, now time.Time) kms.State {
	if s == kms.PreActive && reached(d.activate, now) {
		s = kms.Active
	}
	if (s == kms.Active || s == kms.Suspended) && reached(d.deactivate, now) {
		s = kms.Deactivated
	}
	return s
}

// reach shows all keys as they are now.
func (p *player) reach() {
	now := p.m.e.Now()
	for _, k := range p.model.keys {
		k.reach(now)
	}
}

// spend counts what a version protects: every item, also of what fails afterwards. At 80 % of the limit the version asks for a rotation, also by what is refused.
func (p *player) spend(k *mKey, v uint32, n int) (code kms.Code) {
	if k.limit == 0 {
		return 0
	}
	if k.used[v]+uint64(n) > k.limit {
		code = kms.CodeCryptoperiod
	} else {
		k.used[v] += uint64(n)
	}
	if _, asked := k.asked[v]; !asked && v == k.primary() && 5*k.used[v] >= 4*k.limit {
		k.asked[v] = p.m.e.Now()
	}
	return code
}

// limited is a key that encrypts under a limit; nil: there is none.
func (m *model) limited(r uint32) *mKey {
	return pick(slices.DeleteFunc(slices.Clone(m.keys), func(k *mKey) bool { return k.limit == 0 || k.usage != kms.EncryptDecrypt }), r)
}

// askedBy tells whether a limit asked for a rotation that is still wanted, and forgets what asked by a moment.
func (k *mKey) askedBy(by time.Time) (wanted bool) {
	for v, at := range k.asked {
		if at.After(by) {
			continue
		}
		if v == k.primary() && k.limit != 0 && k.position == kms.Enabled {
			wanted = true
		} else {
			delete(k.asked, v)
		}
	}
	return wanted
}

// writeDown is what the server does by date in one round: it stores what dates have brought by the mark, and rotates what is due by the time.
func (p *player) writeDown(c *engine.ClockStatus) {
	now := p.m.e.Now()
	by := maxTime(now, c.Trusted)
	for _, k := range p.model.keys {
		due := k.wanted && !k.rotateAt.After(by)
		if due {
			k.wanted = false
		}
		byUse := k.askedBy(by)
		tookOver := k.next != 0 && reached(k.nextAt, now)
		if !c.Suspended {
			for i := range k.stored {
				if s := stateAt(k.stored[i], k.dates[i], c.Trusted); s != k.stored[i] {
					p.byDate[fmt.Sprintf("%s:%d", p.label[k.id], i+1)] = true
					k.stored[i] = s
				}
			}
			if n := k.next; k.settle(c.Trusted) {
				p.byDate[fmt.Sprintf("%s:%d", p.label[k.id], n)] = true
			}
		}
		if due && !tookOver && k.position == kms.Enabled || byUse {
			k.settle(now)
			k.protects(k.add(kms.Active, mDates{}), now)
			p.expect("RotateKey ok %s change by keyhold", strings.TrimSpace(p.on(true, k, k.latest())))
		}
		k.reach(now)
	}
}

// byDates takes out of what was recorded what the server wrote down by date: two dates of a version that come in one round have one record or two. What it
// is about is kept.
func (p *player) byDates(lines []string) []string {
	return slices.DeleteFunc(lines, func(l string) bool {
		word := strings.Fields(l)
		if !strings.HasSuffix(l, " change by keyhold") || len(word) < 3 ||
			!slices.Contains([]string{kms.ActivateVersion.String(), kms.DeactivateVersion.String()}, word[0]) {
			return false
		}
		p.written[word[2]] = true
		return true
	})
}

// wrote compares what was written down by date with what had to be.
func (p *player) wrote() error {
	for what := range p.byDate {
		if !p.written[what] {
			return fmt.Errorf("what a date brought %s is not recorded", what)
		}
	}
	for what := range p.written {
		if !p.byDate[what] {
			return fmt.Errorf("it is recorded that a date brought %s something, and none did", what)
		}
	}
	return nil
}

// ahead is a date ahead of now.
func (p *player) ahead(r uint32) time.Time {
	return p.m.e.Now().Add(time.Duration(r%(10*24*3600)+1) * time.Second).Truncate(time.Second)
}

func someDates(p *player, r uint32) (d engine.Dates) {
	if r%3 == 0 {
		d.PreActive = true
	} else {
		d.ActivateAt = p.ahead(r >> 4)
	}
	return d
}

// rotateLater makes the version that is to be the primary next.
func (p *player) rotateLater(r [4]uint32) (string, error) {
	k, ref := p.aKey(r[0])
	c, ns := p.someone(r[1], kms.RoleAdmin, ns(k))
	k = p.model.resolve(ns, ref)
	call := p.call(c, ns)
	call.DryRun = r[2]%16 == 0
	d := someDates(p, r[3])
	out, err := p.m.e.RotateKey(p.m.t.Context(), call, engine.RotateKeyInput{Key: ref, Dates: d})
	what := fmt.Sprintf("%s in %s rotates %s at %s, dry run %v", c.name, ns, ref, d.ActivateAt, call.DryRun)
	code, named := p.model.admit(c, ns, k, kms.RotateKey, rotate)
	if code != 0 {
		return what, p.use(c, err, code, kms.RotateKey, 0, p.on(named, k, 0))
	}
	if k.next != 0 && !reached(k.nextAt, p.m.e.Now()) {
		return what, p.use(c, err, kms.CodeConflict, kms.RotateKey, 0, p.on(true, k, 0))
	}
	if call.DryRun {
		return what, p.use(c, err, 0, kms.RotateKey, audit.DryRun, p.on(true, k, k.latest()+1))
	}
	k.settle(p.m.e.Now())
	k.next, k.nextAt = k.add(kms.PreActive, mDates{activate: d.ActivateAt}), d.ActivateAt
	k.plan(k.since)
	if err := p.use(c, err, 0, kms.RotateKey, audit.OK, p.on(true, k, k.latest())+" change"); err != nil {
		return what, err
	}
	return what, p.same(k, &out.Key)
}

// activate activates a version, or says when it is to be.
func (p *player) activate(r [4]uint32) (string, error) {
	k, ref := p.aKey(r[0])
	c, ns := p.someone(r[1], kms.RoleAdmin, ns(k))
	k = p.model.resolve(ns, ref)
	in := engine.ActivateInput{Key: ref, Version: 1}
	if k != nil {
		if in.Version = r[2] % (k.latest() + 2); r[2]%4 != 0 && k.next != 0 {
			in.Version = k.next
		}
	}
	switch r[3] % 4 {
	case 0:
		in.At = p.ahead(r[3] >> 4)
	case 1:
		in.ByHand = true
	}
	out, err := p.m.e.ActivateVersion(p.m.t.Context(), p.call(c, ns), in)
	what := fmt.Sprintf("%s in %s activates %s version %d at %s, by hand %v", c.name, ns, ref, in.Version, in.At, in.ByHand)
	code, named := p.model.admit(c, ns, k, kms.ActivateVersion, manage)
	if code != 0 {
		return what, p.use(c, err, code, kms.ActivateVersion, 0, p.on(named, k, 0))
	}
	n, keys := in.Version, p.on(true, k, in.Version)
	dated := in.ByHand || !in.At.IsZero()
	switch {
	case n == 0 || n > k.latest():
		code = kms.CodeVersionNotFound
	case k.versions[n-1] == kms.Active && !dated:
	case k.versions[n-1] != kms.PreActive:
		code = kms.CodeVersionState
	case !in.At.IsZero() && !k.dates[n-1].deactivate.IsZero() && !in.At.Before(k.dates[n-1].deactivate):
		code = kms.CodeBadRequest
	case dated && in.At.Equal(k.dates[n-1].activate):
	default:
		keys += " change"
		k.dates[n-1].activate = in.At
		if dated && n == k.next {
			k.nextAt = in.At
		}
		serves := in.At
		if !dated {
			serves = p.m.e.Now()
			k.enter(n, kms.Active)
			if n == k.next {
				k.next, k.nextAt = 0, time.Time{}
				k.prime, k.storedPrime = n, n
			}
		}
		if n == k.storedPrime {
			k.plan(serves)
		}
	}
	if err := p.use(c, err, code, kms.ActivateVersion, audit.OK, keys); err != nil || code != 0 {
		return what, err
	}
	return what, p.same(k, &out.Key)
}

// deactivateLater says when a version is to be deactivated, or that it is not.
func (p *player) deactivateLater(r [4]uint32) (string, error) {
	k, ref := p.aKey(r[0])
	c, ns := p.someone(r[1], kms.RoleAdmin, ns(k))
	k = p.model.resolve(ns, ref)
	in := engine.DeactivateInput{Key: ref, Version: 1, At: p.ahead(r[3] >> 4)}
	if k != nil {
		in.Version = r[2] % (k.latest() + 2)
	}
	if r[3]%4 == 0 {
		in.At, in.Never = time.Time{}, true
	}
	out, err := p.m.e.DeactivateVersion(p.m.t.Context(), p.call(c, ns), in)
	what := fmt.Sprintf("%s in %s deactivates %s version %d at %s, never %v", c.name, ns, ref, in.Version, in.At, in.Never)
	code, named := p.model.admit(c, ns, k, kms.DeactivateVersion, manage)
	if code != 0 {
		return what, p.use(c, err, code, kms.DeactivateVersion, 0, p.on(named, k, 0))
	}
	n, keys := in.Version, p.on(true, k, in.Version)
	switch {
	case n == 0 || n > k.latest():
		code = kms.CodeVersionNotFound
	case !slices.Contains([]kms.State{kms.PreActive, kms.Active, kms.Suspended}, k.versions[n-1]):
		code = kms.CodeVersionState
	case !in.At.IsZero() && !k.dates[n-1].activate.IsZero() && !k.dates[n-1].activate.Before(in.At):
		code = kms.CodeBadRequest
	case in.At.Equal(k.dates[n-1].deactivate):
	default:
		keys += " change"
		k.dates[n-1].deactivate = in.At
		k.enter(n, k.versions[n-1])
	}
	if err := p.use(c, err, code, kms.DeactivateVersion, audit.OK, keys); err != nil || code != 0 {
		return what, err
	}
	return what, p.same(k, &out.Key)
}

// scheduleRotation sets how often a key is rotated by itself.
func (p *player) scheduleRotation(r [4]uint32) (string, error) {
	k, ref := p.aKey(r[0])
	c, ns := p.someone(r[1], kms.RoleAdmin, ns(k))
	k = p.model.resolve(ns, ref)
	call := p.call(c, ns)
	call.DryRun = r[2]%16 == 0
	every := pick([]time.Duration{0, time.Minute, 36 * time.Hour, 5 * day, 40 * day}, r[3])
	limit := pick([]uint64{0, 10, 12, 40}, r[3]>>8)
	out, err := p.m.e.ScheduleRotation(p.m.t.Context(), call, engine.ScheduleRotationInput{Key: ref, Period: kms.Period{Every: kms.Seconds(every / time.Second), Operations: limit}})
	what := fmt.Sprintf("%s in %s has %s rotated every %s and %d operations, dry run %v", c.name, ns, ref, every, limit, call.DryRun)
	code, named := p.model.admit(c, ns, k, kms.ScheduleRotation, manage)
	if code != 0 {
		return what, p.use(c, err, code, kms.ScheduleRotation, 0, p.on(named, k, 0))
	}
	keys, o := p.on(true, k, 0), audit.OK
	switch {
	case every == k.period && limit == k.limit:
		if call.DryRun {
			o = audit.DryRun
		}
	case every == time.Minute:
		code = kms.CodeBadRequest
	case call.DryRun:
		o = audit.DryRun
	default:
		keys += " change"
		k.period, k.limit, k.wanted = every, limit, false
		k.plan(k.since)
	}
	if err := p.use(c, err, code, kms.ScheduleRotation, o, keys); err != nil || code != 0 || call.DryRun {
		return what, err
	}
	return what, p.same(k, &out.Key)
}
