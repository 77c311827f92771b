package authn

import (
	"context"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

func TestALockOutCountsCredentialAndSourceTogether(t *testing.T) {
	r, c := newRecords(), newClock()
	id, good := r.add(1)
	_, neighbour := r.add(2)
	var locks []Lock
	a := New(Config{Identities: r, Now: c.now, Locked: func(l Lock) { locks = append(locks, l) }})
	wrong := text(id, 9)
	for range 10 {
		_, err := ask(a, wrong, here)
		wantCode(t, err, kms.CodeUnauthenticated)
	}
	if len(locks) != 1 || locks[0].Credential != id.String() || locks[0].Failures != 10 || locks[0].Remote != here || !locks[0].Until.Equal(c.now().Add(time.Minute)) {
		t.Fatalf("got %+v, want one lock of a minute", locks)
	}
	_, err := ask(a, good, here) // even the right secret: the answer must not tell a guesser that he guessed right
	if e := wantCode(t, err, kms.CodeLockedOut); e.RetryMS != 60_000 {
		t.Errorf("retry in %d ms, want 60000", e.RetryMS)
	}
	if _, err := ask(a, good, there); err != nil {
		t.Errorf("the owner is locked out by a stranger elsewhere: %v", err)
	}
	if _, err := ask(a, neighbour, here); err != nil {
		t.Errorf("another credential of the same source is locked out: %v", err)
	}
	c.advance(time.Minute)
	if _, err := ask(a, good, here); err != nil {
		t.Errorf("after the lock: %v", err)
	}
	if a.lockout.known.Load() != 0 {
		t.Error("a proven credential is not forgiven")
	}
}

func TestLocksGrowToACap(t *testing.T) {
	r, c := newRecords(), newClock()
	id, _ := r.add(1)
	var got []time.Duration
	a := New(Config{
		Identities: r, Now: c.now, LockOut: LockOut{Failures: 3, Window: time.Hour, First: time.Minute, Most: 5 * time.Minute},
		Locked: func(l Lock) { got = append(got, l.Until.Sub(c.now())) },
	})
	for range 40 {
		_, _ = ask(a, text(id, 9), here)
		c.advance(30 * time.Second)
	}
	want := []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("got locks %v, want %v", got, want)
		}
	}
	c.advance(5*time.Minute + time.Hour + time.Second) // the probation is over
	got = nil
	for range 2 {
		_, _ = ask(a, text(id, 9), here)
	}
	if len(got) != 0 {
		t.Errorf("locked after two failures although the past is over: %v", got)
	}
	_, _ = ask(a, text(id, 9), here)
	if len(got) != 1 || got[0] != time.Minute {
		t.Errorf("got %v, want one lock of a minute", got)
	}
}

func TestFailuresOutsideTheWindowDoNotAddUp(t *testing.T) {
	r, c := newRecords(), newClock()
	id, good := r.add(1)
	a := New(Config{Identities: r, Now: c.now})
	for range 30 {
		_, _ = ask(a, text(id, 9), here)
		c.advance(2 * time.Minute) // at most 8 in 15 minutes
	}
	if _, err := ask(a, good, here); err != nil {
		t.Error(err)
	}
}

func TestManyAddressesNeitherGrowTheTableNorFreeTheLocked(t *testing.T) {
	c := newClock()
	var l lockout
	l.init(LockOut{Failures: 3})
	victim := pair{id: idOf(1), source: here.Addr()}
	for range 3 {
		l.fail(victim, c.now())
	}
	for n := range 3 * maxPairs {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(n)+10<<24)
		l.fail(pair{id: idOf(n), source: netip.AddrFrom4(b)}, c.now())
	}
	for n := range 1000 { // and from the victim's own address
		l.fail(pair{id: idOf(n + 10), source: here.Addr()}, c.now())
	}
	if len(l.pairs) > maxPairs || int(l.known.Load()) != len(l.pairs) || len(l.bySource[here.Addr()]) > maxPairsPerSource {
		t.Errorf("%d pairs, %d known, %d of one source", len(l.pairs), l.known.Load(), len(l.bySource[here.Addr()]))
	}
	if _, err := l.check(victim, c.now()); err == nil {
		t.Error("the lock was dropped to make room")
	}
}

func TestATableFullOfLocksTakesNoMore(t *testing.T) {
	c := newClock()
	var l lockout
	l.init(LockOut{Failures: 1})
	addr := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}) }
	for n := range maxPairs {
		if _, is := l.fail(pair{id: idOf(n), source: addr(n)}, c.now()); !is {
			t.Fatalf("lock %d did not begin", n)
		}
	}
	if _, is := l.fail(pair{id: idOf(1), source: there.Addr()}, c.now()); is {
		t.Error("a lock began without a place")
	}
	if _, uncounted := l.figures(); uncounted != 1 {
		t.Errorf("uncounted %d, want 1", uncounted)
	}
	c.advance(24 * time.Hour)
	if _, is := l.fail(pair{id: idOf(1), source: there.Addr()}, c.now()); !is {
		t.Error("no room although every lock is over")
	}
}

func TestUnknownTokensDoNotStormTheStore(t *testing.T) {
	r, c := newRecords(), newClock()
	_, cached := r.add(1)
	_, uncached := r.add(2)
	a := New(Config{Identities: r, Now: c.now, Failures: Rate{PerSecond: 2, Burst: 20}})
	if _, err := ask(a, cached, here); err != nil {
		t.Fatal(err)
	}
	for n := range 5000 {
		_, err := ask(a, text(idOf(1000+n), n), here)
		if err == nil {
			t.Fatal("admitted")
		}
	}
	if got := r.asked.Load(); got != 21 {
		t.Errorf("the records were asked %d times, want 21", got)
	}
	if _, err := ask(a, cached, here); err != nil {
		t.Errorf("a neighbour that is known is stopped: %v", err)
	}
	_, err := ask(a, uncached, here)
	if e := wantCode(t, err, kms.CodeRateLimited); e.RetryMS != 500 {
		t.Errorf("retry in %d ms, want 500", e.RetryMS)
	}
	if _, err := ask(a, uncached, there); err != nil {
		t.Errorf("another source is stopped: %v", err)
	}
	c.advance(500 * time.Millisecond)
	if _, err := ask(a, uncached, here); err != nil {
		t.Errorf("after the time that was named: %v", err)
	}
}

func TestLockOutReportsAreLimited(t *testing.T) {
	r, c := newRecords(), newClock()
	reported := 0
	a := New(Config{Identities: r, Now: c.now, LockOut: LockOut{Failures: 1}, Failures: Rate{1e9, 1 << 30}, Locked: func(Lock) { reported++ }})
	for n := range 1000 {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 1)
		_, _ = ask(a, text(idOf(n), n), at)
	}
	s := a.Stats()
	if reported != reportsBurst || s.Unreported != 1000-reportsBurst || s.Locks != 1000 || s.Unauthenticated != 1000 {
		t.Errorf("reported %d, %+v", reported, s)
	}
}

func TestAPrincipalsRateCoversAllItsCredentials(t *testing.T) {
	r, c := newRecords(), newClock()
	same := func(id *Identity) { id.Principal.Name = "svc/same" }
	_, one := r.add(1, same)
	_, two := r.add(2, same)
	_, other := r.add(3)
	a := New(Config{Identities: r, Now: c.now, Principals: Rate{PerSecond: 10, Burst: 4}})
	for i := range 4 {
		if _, err := ask(a, []string{one, two}[i%2], here); err != nil {
			t.Fatal(err)
		}
	}
	_, err := ask(a, two, there)
	if e := wantCode(t, err, kms.CodeRateLimited); e.RetryMS != 100 {
		t.Errorf("retry in %d ms, want 100", e.RetryMS)
	}
	if _, err := ask(a, other, here); err != nil {
		t.Error(err)
	}
	c.advance(100 * time.Millisecond)
	if _, err := ask(a, one, here); err != nil {
		t.Error(err)
	}
}

func TestASourcesRate(t *testing.T) {
	r, c := newRecords(), newClock()
	_, tok := r.add(1)
	a := New(Config{Identities: r, Now: c.now, Sources: Rate{PerSecond: 10, Burst: 3}})
	v6 := func(s string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(s), 1) }
	for _, at := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::ffff:3"} {
		if _, err := ask(a, tok, v6(at)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := ask(a, tok, v6("2001:db8::4")) // the same /64
	wantCode(t, err, kms.CodeRateLimited)
	if _, err := ask(a, tok, v6("2001:db8:0:1::1")); err != nil {
		t.Error(err)
	}
	if source(v6("::ffff:192.0.2.1")) != here.Addr() {
		t.Error("an IPv4-mapped address is another source")
	}
	for range 3 {
		_, err = a.Authenticate(context.Background(), nil, nil, there)
		wantCode(t, err, kms.CodeUnauthenticated)
	}
	_, err = a.Authenticate(context.Background(), nil, nil, there)
	wantCode(t, err, kms.CodeRateLimited)
}

func BenchmarkAuthenticate(b *testing.B) {
	r := newRecords()
	_, tok := r.add(1)
	for name, c := range map[string]Config{
		"unlimited": {Identities: r},
		"limited":   {Identities: r, Principals: Rate{1e9, 1 << 30}, Sources: Rate{1e9, 1 << 30}},
	} {
		b.Run(name, func(b *testing.B) {
			a := New(c)
			h := header(tok)
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Authenticate(ctx, h, nil, here); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
