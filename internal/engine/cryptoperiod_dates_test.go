package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// A course is a world whose time is told in days from its beginning.
type course struct {
	*world
	began time.Time
}

func newCourse(t *testing.T, opts ...option) *course {
	t.Helper()
	w := newWorld(t, opts...)
	return &course{w, w.now}
}

// goTo lets it be a day, and what is due by then be done.
func (c *course) goTo(days float64) {
	c.t.Helper()
	c.skipTo(days)
	c.e.Upkeep(c.t.Context())
	c.e.Upkeep(c.t.Context()) // what the first round put into the index
}

// skipTo lets it be a day, and nothing be done.
func (c *course) skipTo(days float64) { c.now = c.on(days) }

func (c *course) on(days float64) time.Time { return c.began.Add(time.Duration(days * float64(day))) }

// want compares the primary version of a key, and the day on which it is due; 0: by hand.
func (c *course) want(key string, primary uint32, due float64) {
	c.t.Helper()
	k := c.keyNow(key)
	on := time.Time{}
	if due != 0 {
		on = c.on(due)
	}
	if k.Primary != primary || !k.RotateAt.Equal(on) {
		c.t.Fatalf("on %s key %s has version %d, due %s; want version %d, due %s", c.now, key, k.Primary, k.RotateAt, primary, on)
	}
}

func (c *course) next(key string, d engine.Dates) uint32 {
	c.t.Helper()
	return c.mustRotate(key, d).Latest
}

func (c *course) activate(key string, in engine.ActivateInput) {
	c.t.Helper()
	in.Key = kms.Ref(key)
	if _, err := c.e.ActivateVersion(c.t.Context(), admin, in); err != nil {
		c.t.Fatal(err)
	}
}

var tenDays = kms.Period{Every: 10 * 86400}

// A version that takes over at its date begins a period of its own, also if the day of the rotation that was planned before comes before anything was written down.
func TestAPeriodBeginsWhenADatedVersionTakesOver(t *testing.T) {
	for name, play := range map[string]func(c *course){
		"written down at once": func(c *course) { c.goTo(9) },
		"both days have come":  func(*course) {},
		"after a restart":      func(c *course) { c.skipTo(9); c.restart() },
		"another change writes the version down": func(c *course) {
			c.skipTo(9)
			for _, step := range []func(*world) error{
				func(w *world) error {
					return second(w.e.SuspendVersion(t.Context(), admin, engine.VersionInput{Key: "k", Version: 2}))
				},
				func(w *world) error {
					return second(w.e.ResumeVersion(t.Context(), admin, engine.VersionInput{Key: "k", Version: 2}))
				},
			} {
				wantCode(t, step(c.world), 0)
			}
		},
		"while the key is off": func(c *course) {
			_, err := c.e.DisableKey(t.Context(), admin, engine.KeyInput{Key: "k"})
			wantCode(t, err, 0)
			c.goTo(11)
			_, err = c.e.EnableKey(t.Context(), admin, engine.KeyInput{Key: "k"})
			wantCode(t, err, 0)
		},
		"another version is compromised": func(c *course) {
			c.skipTo(9)
			_, err := c.e.CompromiseVersion(t.Context(), admin, engine.CompromiseInput{Key: "k", Versions: []uint32{1}})
			wantCode(t, err, 0)
			c.want("k", 2, 19)
		},
		"by hand": func(c *course) {
			c.skipTo(3)
			c.activate("k", engine.ActivateInput{Version: 2, ByHand: true})
			c.goTo(9)
			c.want("k", 1, 10)
			c.activate("k", engine.ActivateInput{Version: 2})
			c.want("k", 2, 19)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCourse(t)
			c.create("k", kms.AES256GCM, 0)
			c.period("k", tenDays)
			c.next("k", engine.Dates{ActivateAt: c.on(9)})
			play(c)
			c.goTo(11)
			c.want("k", 2, 19)
			c.goTo(18.9)
			c.want("k", 2, 19)
			c.goTo(19)
			c.want("k", 3, 29)
		})
	}
}

// The schedule goes on beside a version that is to be the primary next: that still is, on its day.
func TestTheScheduleGoesOnBesideANextVersion(t *testing.T) {
	c := newCourse(t)
	c.create("k", kms.AES256GCM, 0)
	c.period("k", tenDays)
	c.next("k", engine.Dates{ActivateAt: c.on(15)})
	before := c.encrypt("k", "x", nil)
	c.goTo(10)
	c.want("k", 3, 20)
	c.goTo(15)
	c.want("k", 2, 25)
	c.goTo(25)
	c.want("k", 4, 35)
	if got, err := c.decrypt(user, before, nil); err != nil || got != "x" {
		t.Fatalf("got %q %v", got, err)
	}

	// One that is next by hand stays so through rotations, and takes over when it is activated.
	c.next("k", engine.Dates{PreActive: true})
	c.goTo(35)
	c.want("k", 6, 45)
	c.goTo(36)
	c.activate("k", engine.ActivateInput{Version: 5})
	c.want("k", 5, 46)

	// It would bring the algorithm before back.
	c.next("k", engine.Dates{ActivateAt: c.on(40)})
	_, err := c.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k", Algorithm: kms.XChaCha20Poly1305})
	wantCode(t, err, kms.CodeConflict)
	c.goTo(40)
	if _, err := c.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k", Algorithm: kms.XChaCha20Poly1305}); err != nil {
		t.Fatal(err)
	}
	c.want("k", 8, 50)
}

// A key that is to serve from a day on is not rotated before, which would make it serve earlier.
func TestAKeyThatDoesNotServeYetIsNotRotated(t *testing.T) {
	c := newCourse(t)
	for name, d := range map[string]engine.Dates{"dated": {ActivateAt: c.on(30)}, "by hand": {PreActive: true}} {
		for _, rehearsal := range []bool{true, false} {
			call := admin
			call.DryRun = rehearsal
			out, err := c.e.CreateKey(t.Context(), call, engine.CreateKeyInput{Name: strings.ReplaceAll(name, " ", "-"), Algorithm: kms.AES256GCM, Dates: d, Period: &tenDays})
			want := time.Time{}
			if !d.PreActive {
				want = c.on(40)
			}
			if err != nil || !out.Key.RotateAt.Equal(want) {
				t.Fatalf("%s, rehearsal %v: due %s, want %s (%v)", name, rehearsal, out.Key.RotateAt, want, err)
			}
		}
	}
	c.goTo(12)
	c.want("dated", 1, 40)
	c.want("by-hand", 1, 0)
	c.activate("by-hand", engine.ActivateInput{Version: 1})
	c.want("by-hand", 1, 22)
	c.activate("dated", engine.ActivateInput{Version: 1, At: c.on(20)})
	c.want("dated", 1, 30)
	c.period("dated", kms.Period{Every: 5 * 86400})
	c.want("dated", 1, 25)
	c.activate("dated", engine.ActivateInput{Version: 1, ByHand: true})
	c.want("dated", 1, 0)
	c.activate("dated", engine.ActivateInput{Version: 1, At: c.on(20)})
	c.goTo(24)
	c.want("dated", 1, 25)
	c.want("by-hand", 2, 32+2) // rotated on day 24, when somebody looked
	c.goTo(25)
	c.want("dated", 2, 30)
}

func TestAVersionInPlaceOfACompromisedOneBeginsAPeriod(t *testing.T) {
	c := newCourse(t)
	c.create("k", kms.AES256GCM, 0)
	c.period("k", tenDays)
	c.next("k", engine.Dates{ActivateAt: c.on(7)})
	c.goTo(5)
	if _, err := c.e.CompromiseVersion(t.Context(), admin, engine.CompromiseInput{Key: "k", All: true}); err != nil {
		t.Fatal(err)
	}
	c.want("k", 3, 15)
	c.goTo(14)
	c.want("k", 3, 15)
	c.goTo(15)
	c.want("k", 4, 25)
}

func TestALockedPeriodStays(t *testing.T) {
	w := newWorld(t)
	w.putTemplate(engine.TemplateInfo{Name: "fixed", Algorithm: kms.AES256GCM, Period: tenDays, Locked: []string{"cryptoperiod"}})
	if _, err := w.createBy(engine.CreateKeyInput{Name: "k", Template: "fixed"}); err != nil {
		t.Fatal(err)
	}
	set := func(p kms.Period) error {
		return second(w.e.ScheduleRotation(t.Context(), admin, engine.ScheduleRotationInput{Key: "k", Period: p}))
	}
	for _, p := range []kms.Period{{}, {Every: 86400}, {Every: 10 * 86400, Operations: 100}} {
		err := set(p)
		wantCode(t, err, kms.CodeBadRequest)
		if err != nil && !strings.Contains(err.Error(), `"fixed" locks the cryptoperiod of its keys: every 240h0m0s`) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	wantCode(t, set(tenDays), 0)
	// What the template says now can be followed.
	shorter := kms.Period{Every: 5 * 86400}
	w.putTemplate(engine.TemplateInfo{Name: "fixed", Algorithm: kms.AES256GCM, Period: shorter, Locked: []string{"cryptoperiod"}})
	wantCode(t, set(tenDays), 0) // nothing to do
	wantCode(t, set(shorter), 0)
	wantCode(t, set(tenDays), kms.CodeBadRequest)
}

// A key whose material comes from elsewhere is not rotated by the server, and not forgotten either: when its time has come somebody is told until new material is there.
func TestAnImportedKeyIsMissedAloud(t *testing.T) {
	c := newCourse(t)
	c.putTemplate(engine.TemplateInfo{Name: "short", Algorithm: kms.AES256GCM, Period: kms.Period{Every: 10 * 86400, Operations: 100}})
	if _, err := c.createBy(engine.CreateKeyInput{Name: "k", Template: "short", Import: true}); err != nil {
		t.Fatal(err)
	}
	c.goTo(11) // without material nothing is due
	if missed, failing := c.e.Rotations(); missed != 0 || failing != 0 || len(c.dueJobs()) != 0 {
		t.Fatalf("without material: %d missed, %d failing, %+v", missed, failing, c.dueJobs())
	}
	c.mustBring("k", 0, aesKey, time.Time{})
	c.want("k", 1, 21)
	c.goTo(20.9)
	if len(c.records(audit.Filter{Action: kms.RotateKey})) != 0 {
		t.Fatal("told too early")
	}
	c.goTo(21.5)
	jobs := c.dueJobs()
	if len(jobs) != 1 || jobs[0].State != "failed" || !strings.Contains(jobs[0].LastNote, "is imported") {
		t.Fatalf("jobs: %+v", jobs)
	}
	if missed, failing := c.e.Rotations(); missed != 1 || failing != 1 {
		t.Errorf("%d missed, %d failing; want 1 and 1", missed, failing)
	}
	if recs := c.records(audit.Filter{Action: kms.RotateKey}); len(recs) != 1 || recs[0].Code != kms.CodeImported || recs[0].Outcome == audit.OK {
		t.Errorf("recorded: %+v", recs)
	}
	if r := c.rotationReport(admin)["k"]; !r.Missed || r.Failed != 1 || !strings.Contains(r.Failure, "is imported") || r.SelfTest != engine.SelfTestPassed {
		t.Errorf("report: %+v", r)
	}
	c.mustBring("k", 0, []byte("fedcba9876543210fedcba9876543210"), time.Time{})
	c.want("k", 2, 31.5)
	c.goTo(22)
	if missed, failing := c.e.Rotations(); missed != 0 || failing != 0 {
		t.Errorf("with new material: %d missed, %d failing", missed, failing)
	}
	// So by use.
	for range 80 {
		c.encrypt("k", "x", nil)
	}
	c.goTo(22.1)
	if jobs := c.dueJobs(); len(jobs) != 2 || jobs[0].State != "failed" || jobs[0].Version != 2 {
		t.Errorf("at 80 %% of its limit: %+v", jobs)
	}
	// And with a period of its own; the server may make a version if somebody says so.
	c.period("k", kms.Period{Every: 86400})
	c.goTo(23)
	c.want("k", 2, 22.5)
	if _, err := c.e.RotateKey(t.Context(), admin, engine.RotateKeyInput{Key: "k", Generate: true}); err != nil {
		t.Fatal(err)
	}
	c.want("k", 3, 24)
}

// Limits are of the version that protects, from the second on at which it does, and whoever took over.
func TestLimitsCountForTheVersionThatTookOver(t *testing.T) {
	c := newCourse(t)
	c.create("k", kms.AES256GCM, 0)
	c.period("k", kms.Period{Operations: 10})
	c.next("k", engine.Dates{ActivateAt: c.on(1)})
	for range 7 {
		c.encrypt("k", "x", nil)
	}
	c.skipTo(1) // nothing is written down
	for range 10 {
		c.encrypt("k", "x", nil)
	}
	_, err := c.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: "k", Items: []engine.EncryptItem{{Plaintext: []byte("x")}}})
	wantCode(t, err, kms.CodeCryptoperiod)
	c.goTo(1)
	c.want("k", 3, 0)
	if recs := c.records(audit.Filter{Action: kms.RotateKey, Outcome: audit.OK}); len(recs) != 2 || !strings.Contains(recs[0].Detail, "primary 2 to 3, by limit") {
		t.Errorf("recorded: %+v", recs[0])
	}
	// A rotation because of a limit goes on beside the next version, which takes over at its date with all that it may do.
	c.next("k", engine.Dates{ActivateAt: c.on(3)})
	for range 8 {
		c.encrypt("k", "x", nil)
	}
	c.goTo(2)
	c.want("k", 5, 0)
	c.goTo(3)
	c.want("k", 4, 0)
	for range 8 {
		c.encrypt("k", "x", nil)
	}
	c.goTo(3.1)
	c.want("k", 6, 0)
}

// A limit that is lowered below what was used already rotates the key as soon as somebody wants to protect with it.
func TestALoweredLimitDoesNotStopAKeyForEver(t *testing.T) {
	c := newCourse(t)
	c.create("k", kms.AES256GCM, 0)
	c.period("k", kms.Period{Operations: 1000})
	for range 50 {
		c.encrypt("k", "x", nil)
	}
	c.restart() // what is reserved ahead is given back
	c.period("k", kms.Period{Operations: 20})
	_, err := c.e.Encrypt(t.Context(), user, engine.EncryptInput{Key: "k", Items: []engine.EncryptItem{{Plaintext: []byte("x")}}})
	wantCode(t, err, kms.CodeCryptoperiod)
	c.goTo(0.1)
	c.want("k", 2, 0)
	c.encrypt("k", "x", nil)
}

// What is gone with its namespace is not missed.
func TestKeysOfADestroyedNamespaceAreNotMissed(t *testing.T) {
	c := newCourse(t)
	x := c.tenant("acme")
	if _, err := c.e.CreateKey(t.Context(), x.admin, engine.CreateKeyInput{Name: "k", Algorithm: kms.AES256GCM, Period: &tenDays}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.e.ScheduleNamespaceDestruction(t.Context(), x.admin, engine.NamespaceDestroyInput{Name: "acme", Window: week}); err != nil {
		t.Fatal(err)
	}
	for d := 1.0; d <= 12; d++ {
		c.goTo(d)
	}
	if missed, failing := c.e.Rotations(); missed != 0 || failing != 0 {
		t.Errorf("%d missed, %d failing; jobs %+v", missed, failing, c.dueJobs())
	}
}
