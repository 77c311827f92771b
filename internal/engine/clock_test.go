package engine_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/clock"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/store"
	"github.com/keyhold/keyhold/internal/store/mem"
)

const day = 24 * time.Hour

// setClock is an option for machines whose clock is set: w.now is what the clock says, passed the time that really passes.
func setClock(passed *time.Duration) option {
	return func(c *engine.Config) { c.Elapsed = func() time.Duration { return *passed } }
}

func (w *world) turn(r kms.Ref) kms.Switch {
	w.t.Helper()
	out, err := w.e.DescribeKey(w.t.Context(), user, engine.KeyInput{Key: r})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Key.Switch
}

func (w *world) job(name string) engine.JobInfo {
	w.t.Helper()
	out, err := w.e.Jobs(w.t.Context(), operator(), engine.JobsInput{})
	if err != nil {
		w.t.Fatal(err)
	}
	i := slices.IndexFunc(out.Jobs, func(j engine.JobInfo) bool { return j.Name == name })
	if i < 0 {
		w.t.Fatalf("there is no job %q", name)
	}
	return out.Jobs[i]
}

func TestAJumpingClockDestroysNothing(t *testing.T) {
	var passed time.Duration
	w := newWorld(t, setClock(&passed))
	w.create("doomed", kms.AES256GCM, 0)
	w.create("saved", kms.AES256GCM, 0)
	w.create("other", kms.AES256GCM, 0)
	for _, k := range []kms.Ref{"doomed", "saved"} {
		if _, err := w.schedule(admin, engine.DestroyInput{Key: k, Window: 7 * day}); err != nil {
			t.Fatal(err)
		}
	}
	epoch := w.e.Status(t.Context()).Epoch

	w.now = w.now.Add(8 * day)
	w.e.Upkeep(t.Context())
	if got := w.turn("doomed"); got != kms.PendingDestruction {
		t.Fatalf("the clock jumped by 8 days: the key is %s", got)
	}
	if s := w.e.Status(t.Context()); !s.Clock.Suspended || !s.Ready || s.Epoch != epoch || !s.Clock.Wall.Equal(w.now) {
		t.Fatalf("got %+v", s)
	}
	if j := w.job("due-work"); j.State != "suspended" || !strings.Contains(j.LastNote, "confirm-clock") {
		t.Fatalf("got %+v", j)
	}
	if !strings.Contains(w.output.String(), "clock_jumped_ahead") {
		t.Error("operators are not told")
	}
	w.encrypt("other", "cryptography goes on", nil)
	if _, err := w.e.CancelKeyDestruction(t.Context(), admin, engine.CancelInput{Key: "saved"}); err != nil {
		t.Fatalf("a key that waits for an operator's word cannot be saved: %v", err)
	}

	confirm := func(c kms.Call, at time.Time) error {
		_, err := w.e.ConfirmClock(t.Context(), c, engine.ConfirmClockInput{Time: at})
		return err
	}
	wantCode(t, confirm(admin, w.now), kms.CodeDenied)
	wantCode(t, confirm(operator(), w.now.Add(-8*day)), kms.CodeClock)
	rehearsal := operator()
	rehearsal.DryRun = true
	wantCode(t, confirm(rehearsal, w.now), 0)
	w.e.Upkeep(t.Context())
	if got := w.turn("doomed"); got != kms.PendingDestruction {
		t.Fatalf("nobody confirmed the clock: the key is %s", got)
	}
	once := operator()
	once.Token = "once"
	wantCode(t, confirm(once, w.now.Add(time.Minute)), 0)
	// An answer that is given again confirms no further jump.
	w.now = w.now.Add(8 * day)
	wantCode(t, confirm(once, w.now.Add(time.Minute-8*day)), 0)
	if !w.e.Status(t.Context()).Clock.Suspended {
		t.Fatal("an old answer confirmed a new jump")
	}
	w.now = w.now.Add(-8 * day)
	w.e.Upkeep(t.Context())
	if got := w.turn("doomed"); got != kms.DestroyedKey {
		t.Fatalf("the clock was confirmed: the key is %s", got)
	}
	if got := w.turn("saved"); got != kms.Enabled {
		t.Fatalf("the saved key is %s", got)
	}
	recs := w.records(audit.Filter{Action: kms.ConfirmClock, Outcome: audit.OK})
	if len(recs) != 1 || recs[0].Detail != "from 2026-03-01T12:00:00Z to 2026-03-09T12:00:00Z" || recs[0].Name != "op" {
		t.Fatalf("got %+v", recs)
	}
	w.now = w.now.Add(8 * day)
	w.restart(setClock(&passed)) // which is no confirmation either
	if !w.e.Status(t.Context()).Clock.Suspended {
		t.Fatal("a restart confirmed a jump")
	}
}

func TestTimeStandsThroughRestartsWithAClockThatLost(t *testing.T) {
	var passed time.Duration
	w := newWorld(t, setClock(&passed))
	w.create("k", kms.AES256GCM, 0)
	w.e.Upkeep(t.Context())
	w.now, passed = w.now.Add(2*time.Hour), 2*time.Hour
	if _, err := w.schedule(admin, engine.DestroyInput{Key: "k", Window: 7 * day}); err != nil {
		t.Fatal(err)
	}
	was := w.e.Now()

	w.stop()
	w.now, passed = time.Unix(0, 0), 0 // no battery
	w.start(setClock(&passed))
	w.unseal()
	if got := w.e.Now(); got.Before(was) {
		t.Fatalf("after a restart at %s it is %s, and was %s", w.now.UTC(), got.UTC(), was.UTC())
	}
	w.e.Upkeep(t.Context())
	if s := w.e.Status(t.Context()).Clock; s.Behind < 50*365*day || s.Suspended {
		t.Fatalf("got %+v", s)
	}
	if !strings.Contains(w.output.String(), "clock_behind") {
		t.Error("operators are not told")
	}
	_, err := w.e.ConfirmClock(t.Context(), operator(), engine.ConfirmClockInput{})
	wantCode(t, err, kms.CodeClock)
	// The window goes on with the time that passes.
	w.now, passed = w.now.Add(6*day), 6*day
	w.e.Upkeep(t.Context())
	if got := w.turn("k"); got != kms.PendingDestruction {
		t.Fatalf("after 6 of 7 days: %s", got)
	}
	w.now, passed = w.now.Add(2*day), 8*day
	w.e.Upkeep(t.Context())
	if got := w.turn("k"); got != kms.DestroyedKey {
		t.Fatalf("after 8 of 7 days: %s", got)
	}
	// What was destroyed by a time is not before that time again, even if the server is killed at once.
	if got := w.records(audit.Filter{Action: kms.DestroyKey}); len(got) != 2 || got[0].Time.Before(was.Add(7*day)) {
		t.Fatalf("got %+v", got)
	}
}

// A server that is killed loses little of the mark, and nothing of what it destroyed by.
func TestAKilledServerKeepsTheMark(t *testing.T) {
	var passed time.Duration
	w := newWorld(t, setClock(&passed))
	w.create("k", kms.AES256GCM, 0)
	if _, err := w.schedule(admin, engine.DestroyInput{Key: "k", Window: 7 * day}); err != nil {
		t.Fatal(err)
	}
	kill := func() time.Time {
		t.Helper()
		was := w.e.Now()
		if err := w.log.Close(); err != nil { // it takes no more: what the engine does when it is closed at the end of the test goes nowhere
			t.Fatal(err)
		}
		frozen := w.store
		w.store = copyOf(t, frozen)
		w.now, passed = w.now.Add(-3*day), 0
		w.start(setClock(&passed))
		w.unseal()
		return was
	}
	for range 100 {
		w.now, passed = w.now.Add(11*time.Second), passed+11*time.Second
		w.e.Upkeep(t.Context())
	}
	was := kill()
	if got := was.Sub(w.e.Now()); got > 15*time.Second {
		t.Fatalf("%s of the mark were lost", got)
	}
	w.now, passed = w.now.Add(11*day), 11*day
	w.e.Upkeep(t.Context())
	if got := w.turn("k"); got != kms.DestroyedKey {
		t.Fatalf("after the window: %s", got)
	}
	was = kill()
	if got := w.e.Now(); got.Before(was) {
		t.Fatalf("a key was destroyed at %s, and now it is %s", was.UTC(), got.UTC())
	}
}

// A wrong clock at the start is all that a server has to go by. What was made by it does not outlive it.
func TestAWrongClockAtTheStart(t *testing.T) {
	var passed time.Duration
	w := newWorld(t, setClock(&passed))
	w.create("k", kms.AES256GCM, 0)
	before, err := w.e.CreateToken(t.Context(), admin, engine.CreateTokenInput{Principal: "app", Roles: []kms.Role{kms.RoleUser}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.schedule(admin, engine.DestroyInput{Key: "k", Window: 7 * day}); err != nil {
		t.Fatal(err)
	}
	right := w.now
	w.stop()
	w.now, passed = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), 0
	w.start(setClock(&passed))
	w.unseal()
	w.e.Upkeep(t.Context())
	if got := w.turn("k"); got != kms.PendingDestruction || !w.e.Status(t.Context()).Clock.Suspended {
		t.Fatalf("the server started in 2200: the key is %s", got)
	}
	within, err := w.e.CreateToken(t.Context(), admin, engine.CreateTokenInput{Principal: "late", Roles: []kms.Role{kms.RoleUser}})
	if err != nil || !within.Info.Expires.Equal(w.now.Add(day)) {
		t.Fatalf("%+v %v", within, err)
	}
	identity := func(o engine.CreateTokenOutput) error {
		_, err := w.e.Identities().Token(t.Context(), o.Info.ID)
		return err
	}
	wantCode(t, identity(within), 0)

	w.now = right.Add(time.Hour)
	w.e.Upkeep(t.Context())
	if s := w.e.Status(t.Context()).Clock; s.Suspended || !s.Time.Equal(w.now) {
		t.Fatalf("the clock was put right: %+v", s)
	}
	wantCode(t, identity(before), 0)
	wantCode(t, identity(within), kms.CodeUnauthenticated)
	if got := w.turn("k"); got != kms.PendingDestruction {
		t.Fatalf("the key is %s", got)
	}
	if got := w.e.Status(t.Context()); got.Epoch != 1 {
		t.Fatalf("epoch %d: the roll was made by a clock that nobody believed", got.Epoch)
	}
}

func TestInitRefusesAClockBeforeItsTime(t *testing.T) {
	w := newWorld(t)
	w.stop()
	w.store, w.dir, w.now = mem.Open(mem.Config{}), t.TempDir(), clock.Floor.Add(-1)
	w.start()
	_, err := w.e.Init(t.Context(), local(), engine.InitInput{Shares: 3, Threshold: 2})
	wantCode(t, err, kms.CodeClock)
}

// copyOf is a store as it is found after its server was killed.
func copyOf(t *testing.T, st store.Store) store.Store {
	t.Helper()
	var b bytes.Buffer
	if _, err := st.Export(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	c, err := mem.Import(t.Context(), mem.Config{}, &b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
