package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// The operations on the server as a whole: lists, policies, tokens, time, restarts.

func (p *player) list(r [4]uint32) (string, error) {
	c, ns := p.someone(r[0], kms.RoleUser, pick([]kms.Namespace{"default", "tenant"}, r[1]))
	out, err := p.m.e.ListKeys(p.m.t.Context(), p.call(c, ns), engine.ListKeysInput{Limit: 1000})
	what := fmt.Sprintf("%s lists the keys of %s", c.name, ns)
	code := p.model.enter(c, ns)
	if code == 0 {
		code = p.model.may(c, ns, kms.ListKeys)
	}
	if err := p.use(c, err, code, kms.ListKeys, audit.OK, ""); err != nil || code != 0 {
		return what, err
	}
	var got, want []string
	for _, k := range out.Keys {
		got = append(got, k.Name)
	}
	for _, k := range p.model.keys {
		if k.ns == ns && p.model.may(c, ns, kms.DescribeKey) == 0 {
			want = append(want, k.name)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return what, fmt.Errorf("got %v want %v", got, want)
	}
	return what, nil
}

func (p *player) policy(r [4]uint32) (string, error) {
	c, ns := p.someone(r[0], kms.RoleAdmin, pick([]kms.Namespace{"default", "default", "tenant"}, r[1]))
	pol := pick(mPolicies(), r[2])
	call := p.call(c, ns)
	call.DryRun = r[3]%16 == 0
	_, there := p.model.policies[ns][pol.id]
	a, keys, o := kms.PutPolicy, "", audit.OK
	var err error
	if remove := r[3]%3 == 1; remove {
		a = kms.DeletePolicy
		_, err = p.m.e.DeletePolicy(p.m.t.Context(), call, engine.PolicyInput{ID: pol.id})
	} else {
		_, err = p.m.e.PutPolicy(p.m.t.Context(), call, engine.PutPolicyInput{ID: pol.id, Text: pol.text})
	}
	what := fmt.Sprintf("%s in %s: %s %s, dry run %v", c.name, ns, a, pol.id, call.DryRun)
	code := p.model.enter(c, ns)
	if code == 0 {
		code = p.model.may(c, ns, a)
	}
	if code == 0 && a == kms.DeletePolicy && !there {
		code = kms.CodeNotFound
	}
	switch {
	case code != 0:
	case call.DryRun:
		o = audit.DryRun
	case a == kms.DeletePolicy:
		keys = " change"
		delete(p.model.policies[ns], pol.id)
	case !there:
		keys = " change"
		p.model.policies[ns][pol.id] = pol
	}
	return what, p.use(c, err, code, a, o, keys)
}

func (p *player) token(r [4]uint32) (string, error) {
	c, ns := p.someone(r[0], kms.RoleAdmin, pick([]kms.Namespace{"default", "tenant"}, r[1]))
	if t := pick(p.model.tokens, r[2]); t != nil && r[3]%3 == 0 {
		_, err := p.m.e.RevokeToken(p.m.t.Context(), p.call(c, ns), engine.IDInput{ID: t.id})
		what := fmt.Sprintf("%s in %s revokes a token of %s", c.name, ns, t.ns)
		code, keys := p.model.enter(c, ns), ""
		if code == 0 {
			code = p.model.may(c, ns, kms.RevokeToken)
		}
		switch {
		case code != 0:
		case t.ns != ns:
			code = kms.CodeNotFound
		case !t.revoked:
			t.revoked, keys = true, " change"
		}
		return what, p.use(c, err, code, kms.RevokeToken, audit.OK, keys)
	}
	ttl := time.Duration(r[3]%96+1) * time.Hour
	at := p.m.e.Now()
	out, err := p.m.e.CreateToken(p.m.t.Context(), p.call(c, ns), engine.CreateTokenInput{Principal: "app", Roles: []kms.Role{kms.RoleUser}, TTL: ttl})
	what := fmt.Sprintf("%s in %s makes a token for %s", c.name, ns, ttl)
	code := p.model.enter(c, ns)
	if code == 0 {
		code = p.model.may(c, ns, kms.CreateToken)
	}
	if code == 0 && ns == kms.SystemNamespace {
		code = kms.CodeBadRequest
	}
	if code != 0 {
		return what, p.use(c, err, code, kms.CreateToken, 0, "")
	}
	p.model.tokens = append(p.model.tokens, &mToken{id: out.Info.ID, ns: ns, name: "app", created: at, expires: at.Add(ttl)})
	return what, p.use(c, err, 0, kms.CreateToken, audit.OK, " change")
}

// lookUp is what authentication asks. Nothing is recorded of it.
func (p *player) lookUp(r [4]uint32) (string, error) {
	t := pick(p.model.tokens, r[0])
	if t == nil {
		return "there is no token", nil
	}
	id, err := p.m.e.Identities().Token(p.m.t.Context(), t.id)
	what := fmt.Sprintf("look up the token of %s until %s", t.ns, t.expires.UTC())
	want := kms.Code(0)
	if now := p.m.e.Now(); t.created.After(now.Add(5 * time.Second)) {
		want = kms.CodeUnauthenticated
	}
	if got := kms.CodeOf(err); got != want {
		return what, fmt.Errorf("got %v want %v", got, want)
	}
	if err == nil && (id.Revoked != t.revoked || !id.Principal.Expires.Equal(t.expires) || id.Principal.Name != t.name) {
		return what, fmt.Errorf("got %+v", id)
	}
	return what, nil
}

// see keeps what is known of time: the high-water mark does not go back, and not further than can be accounted for.
func (p *player) see() (engine.ClockStatus, error) {
	c := p.m.e.Clock()
	switch {
	case c.Trusted.Before(p.trusted):
		return c, fmt.Errorf("the mark went back from %s to %s", p.trusted.UTC(), c.Trusted)
	case c.Trusted.After(p.budget):
		return c, fmt.Errorf("the mark is at %s, although no more than %s can be accounted for", c.Trusted, p.budget.UTC())
	}
	p.trusted = c.Trusted
	return c, nil
}

// upkeep runs the jobs, and expects what they do.
func (p *player) upkeep() error {
	c, err := p.see()
	if err != nil {
		return err
	}
	p.reach()
	p.writeDown(&c)
	if !c.Suspended {
		for i, k := range p.model.due(c.Trusted) {
			if i == 50 {
				break
			}
			for left := k.latest(); left > 0; left = max(left, 40) - 40 {
				p.expect("DestroyKey ok %s:0 change by keyhold", p.label[k.id])
			}
			k.position = kms.DestroyedKey
			p.model.erased = append(p.model.erased, k)
			for n := range k.versions {
				if k.versions[n] == kms.Compromised {
					k.enter(uint32(n+1), kms.DestroyedCompromised)
				} else {
					k.enter(uint32(n+1), kms.Destroyed)
				}
			}
		}
		p.model.idems = slices.DeleteFunc(p.model.idems, func(i *mIdem) bool { return i.at.Before(c.Trusted.Add(-day)) })
		p.model.tokens = slices.DeleteFunc(p.model.tokens, func(t *mToken) bool { return !t.expires.After(c.Trusted.AddDate(0, -1, 0)) })
		if awaited := len(p.model.erased) > 0 && !c.Trusted.Before(p.model.paused); awaited || !c.Trusted.Before(p.model.rolled.Add(day)) {
			p.expectRoll("keyhold", c.Trusted)
		}
	}
	p.m.e.Upkeep(p.m.t.Context())
	p.stored = maxTime(p.stored, c.Trusted.Add(-15*time.Second))
	return nil
}

func (p *player) expectRoll(by string, at time.Time) {
	p.expect("RollEpoch ok change by %s", by) // it begins
	p.expect("RollEpoch ok change by %s", by) // the one before it is destroyed
	p.model.rolled, p.model.paused = at, at.Add(time.Minute)
	slices.SortFunc(p.model.erased, func(a, b *mKey) int { return bytes.Compare(a.id[:], b.id[:]) })
	for _, k := range p.model.erased { // nothing brings them back now: their receipts are written
		p.expect("DestroyKey ok %s:0 change by keyhold", p.label[k.id])
	}
	p.model.erased = nil
}

// lapse lets time pass.
func (p *player) lapse(d time.Duration) {
	p.m.pass(d, 0)
	p.budget = p.budget.Add(2 * d)
}

func (p *player) time(r [4]uint32) (string, error) {
	d := time.Duration(r[0]%3600) * time.Second
	switch r[1] % 8 {
	case 0:
		d = time.Duration(r[0]%(20*24*3600)) * time.Second
	case 1, 2, 3:
		d = time.Duration(r[0]%(100*3600)) * time.Second
	}
	p.lapse(d)
	if r[2]%4 == 0 {
		return d.String() + " pass, and nobody looks", nil
	}
	return d.String() + " pass", p.upkeep()
}

// clock sets the machine's clock.
func (p *player) clock(r [4]uint32) (string, error) {
	what := p.setClock(r)
	if r[3]%2 == 0 {
		return what, nil
	}
	return what, p.upkeep()
}

func (p *player) setClock(r [4]uint32) string {
	switch r[0] % 6 {
	case 0, 1: // put right: where the mark is
		p.m.pass(0, p.trusted.Sub(p.m.now()))
	case 2:
		p.m.pass(0, time.Duration(r[1]%7200)*time.Second-time.Hour)
	case 3:
		p.m.pass(0, time.Duration(r[1]%(96*3600))*time.Second-48*time.Hour)
	case 4:
		p.m.pass(0, time.Unix(int64(r[1]%1000), 0).Sub(p.m.now()))
	case 5:
		p.m.pass(0, time.Duration(r[1]%4000)*day)
	}
	return "the clock is set to " + p.m.now().UTC().String()
}

func (p *player) confirm(r [4]uint32) (string, error) {
	c, ns := p.someone(r[0], kms.RoleOperator, kms.SystemNamespace)
	if r[0]%16 == 1 {
		c, ns = p.who["alice"], kms.SystemNamespace
	}
	call := p.call(c, ns)
	call.DryRun = r[1]%8 == 0
	in := engine.ConfirmClockInput{Time: p.m.now()}
	if r[2]%8 == 0 {
		in.Time = in.Time.Add(-time.Hour)
	}
	k, err := p.see()
	if err != nil {
		return "", err
	}
	_, err = p.m.e.ConfirmClock(p.m.t.Context(), call, in)
	what := fmt.Sprintf("%s in %s confirms %s, dry run %v", c.name, ns, in.Time.UTC(), call.DryRun)
	code := p.model.enter(c, ns)
	if code == 0 {
		code = p.model.may(c, ns, kms.ConfirmClock)
	}
	o, keys := audit.OK, ""
	switch {
	case code != 0:
	case r[2]%8 == 0 || k.Behind > 0:
		code = kms.CodeClock
	case call.DryRun:
		o = audit.DryRun
	case k.Suspended:
		keys = " change"
		p.trusted = p.m.now()
		p.stored = p.trusted
		p.budget = maxTime(p.budget, p.trusted.Add(25*time.Hour))
	}
	return what, p.use(c, err, code, kms.ConfirmClock, o, keys)
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (p *player) roll([4]uint32) (string, error) {
	c, err := p.see()
	if err != nil {
		return "", err
	}
	_, err = p.m.e.RollEpoch(p.m.t.Context(), p.call(p.who["op"], kms.SystemNamespace))
	p.expect("RollEpoch ok by op")
	p.expectRoll("op", c.Trusted)
	return "", err
}

func (p *player) root([4]uint32) (string, error) {
	_, err := p.m.e.RotateRoot(p.m.t.Context(), p.call(p.who["op"], kms.SystemNamespace))
	p.expect("RotateRoot ok by op")
	p.expect("RotateRoot ok change by op") // the new generation begins
	for range 1 + len(p.model.policies) {  // the keychain, each namespace
		p.expect("RotateRoot ok change by keyhold")
	}
	p.expect("RotateRoot ok change by keyhold") // the new generation is alone
	return "", err
}

func (p *player) seal([4]uint32) (string, error) {
	_, err := p.m.e.Seal(p.m.t.Context(), p.call(p.who["op"], kms.SystemNamespace))
	p.expect("SealServer ok by op")
	if err := errors.Join(err, p.records()); err != nil {
		return "", err
	}
	p.trail = append(p.trail, "SealServer ok by op")
	_, err = p.m.e.ListKeys(p.m.t.Context(), p.call(p.who["svc/orders"], "default"), engine.ListKeysInput{})
	if kms.CodeOf(err) != kms.CodeSealed {
		return "", fmt.Errorf("sealed, it answers %w", err)
	}
	return "and unseal", p.open()
}

// restart stops the server, or kills it, lets it be off for a while, perhaps with a clock that is set, and starts it again.
func (p *player) restart(r [4]uint32) (what string, err error) {
	if _, err := p.see(); err != nil {
		return "", err
	}
	if kill := r[0]%2 == 0; kill {
		what, err = "killed", p.m.kill()
		p.trusted = p.stored
	} else {
		what, err = "stopped", p.m.close()
		p.stored = p.trusted
		p.trail = append(p.trail, "StopServer ok by keyhold")
	}
	if err != nil {
		return what, err
	}
	off := time.Duration(r[1]%7200) * time.Second
	p.m.pass(off, 0)
	what += fmt.Sprintf(", off for %s", off)
	if r[2]%4 == 0 {
		what += ", " + p.setClock([4]uint32{r[3], r[3] >> 8, 0, 0})
	}
	p.m.start()
	p.reach()
	p.model.paused = time.Time{}
	p.trail = append(p.trail, "StartServer ok")
	if err := errors.Join(p.open(), p.records(), p.readTrail()); err != nil {
		return what, err
	}
	if _, err := p.see(); err != nil {
		return what, err
	}
	return what, p.lookAtAll()
}

// lookAtAll describes every key.
func (p *player) lookAtAll() error {
	for _, k := range p.model.keys {
		c := p.who["audrey"]
		if k.ns == "tenant" {
			c = p.who["bob"]
		}
		if err := p.look(c, k.ns, k, kms.RefTo(k.id)); err != nil {
			return err
		}
	}
	return p.records()
}

// readTrail compares what is on the disk with everything that was expected since the first start.
func (p *player) readTrail() error {
	var got []string
	at := audit.Position{Node: "n1"}
	for more := true; more; {
		var page []audit.Entry
		var err error
		if page, more, err = p.m.tape.Follow(p.m.t.Context(), at, 1000); err != nil {
			return err
		}
		for i := range page {
			got = append(got, p.line(&page[i].Record))
			at = page[i].Position
		}
	}
	got, p.trail = inAnyOrder(p.byDates(got)), inAnyOrder(p.trail)
	for i := range max(len(got), len(p.trail)) {
		if i >= len(got) || i >= len(p.trail) || got[i] != p.trail[i] {
			return fmt.Errorf("record %d of %d on the disk: got %q want %q of %d", i, len(got), at2(got, i), at2(p.trail, i), len(p.trail))
		}
	}
	return nil
}

func at2(of []string, i int) string {
	if i < len(of) {
		return of[i]
	}
	return "none"
}

// end looks at everything once more.
func (p *player) end() error {
	p.reach()
	if err := errors.Join(p.lookAtAll(), p.readTrail(), p.wrote()); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	out, err := p.m.e.CheckStore(p.m.t.Context(), p.call(p.who["op"], kms.SystemNamespace))
	versions := 0
	for _, k := range p.model.keys {
		if k.position != kms.DestroyedKey {
			versions += len(k.versions)
		}
	}
	if err != nil || out.DamagedCount != 0 || out.Keys != len(p.model.keys) || out.Versions != versions {
		return fmt.Errorf("store check: %+v %w, want %d keys and %d versions", out, err, len(p.model.keys), versions)
	}
	if strings.Contains(p.m.output.String(), "operation_panicked") {
		return errors.New("an operation panicked")
	}
	return nil
}

// TestTheServerDoesWhatTheModelSays plays random operations on a server with a real store and a real log, through restarts, kills
// and clocks that are set, and compares results, states and records with the model's. KEYHOLD_SEED plays one seed;
// KEYHOLD_LONG more than a hundred thousand operations.
func TestTheServerDoesWhatTheModelSays(t *testing.T) {
	seeds, n := 5, 400
	if os.Getenv("KEYHOLD_LONG") == "1" {
		seeds, n = 60, 2000
	}
	first := uint64(1)
	if s := os.Getenv("KEYHOLD_SEED"); s != "" {
		var err error
		if first, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
		seeds = 1
	}
	for i := range seeds {
		seed := first + uint64(i)
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			steps := stream(seed, n, everything)
			told, err := play(t, steps)
			if err == nil {
				return
			}
			t.Logf("seed %d: %v", seed, err)
			less := shrink(steps[:min(len(steps), len(told))], func(s []step) bool {
				_, err := play(t, s)
				return err != nil
			})
			told, err = play(t, less)
			t.Fatalf("seed %d (KEYHOLD_SEED=%d), %d operations are enough:\n%s\n%v", seed, seed, len(less), strings.Join(told, "\n"), err)
		})
	}
}

// TestManyCallersAtOnce plays a stream of operations on keys of its own for each of several callers at once, while epochs roll, the
// root rotates and policies that concern none of them come and go.
func TestManyCallersAtOnce(t *testing.T) {
	callers, n := 4, 60
	if os.Getenv("KEYHOLD_LONG") == "1" {
		callers, n = 16, 3000
	}
	m := newMachine(t)
	defer func() {
		if err := m.close(); err != nil {
			t.Error(err)
		}
	}()
	first := newPlayer(m, "r0")
	if err := first.begin(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ended := make(chan struct{})
	for i := range callers {
		p := newPlayer(m, fmt.Sprintf("caller-%d", i))
		p.prefix, p.alone = fmt.Sprintf("of-%d/", i), false
		for _, c := range p.anybody { // people of its own: who is denied too often is slowed down
			c.name += fmt.Sprintf("-%d", i)
			c.p.Name = c.name
		}
		wg.Go(func() {
			for at, s := range stream(uint64(i), n, onKeys) {
				if err := p.step(onKeys, s); err != nil {
					t.Errorf("caller %d, operation %d: %v", i, at, err)
					return
				}
			}
			if err := p.lookAtAll(); err != nil {
				t.Errorf("caller %d: %v", i, err)
			}
		})
	}
	go func() { wg.Wait(); close(ended) }()
	op := first.call(first.who["op"], kms.SystemNamespace)
	admin := first.call(first.who["alice"], "default")
	nobody := []byte(`permit (principal == Principal::"nobody", action == Action::"Encrypt", resource);`)
	for i := 0; ; i++ {
		select {
		case <-ended:
			return
		default:
		}
		var err error
		switch i % 4 {
		case 0:
			_, err = m.e.PutPolicy(t.Context(), admin, engine.PutPolicyInput{ID: "nobody", Text: string(bytes.Repeat(nobody, 1+i%2))})
		case 1:
			_, err = m.e.RollEpoch(t.Context(), op)
		case 2:
			_, err = m.e.RotateRoot(t.Context(), op)
		case 3:
			m.pass(11*time.Second, 0)
			m.e.Upkeep(t.Context())
		}
		if err != nil {
			t.Errorf("disturbance %d: %v", i, err)
		}
	}
}
