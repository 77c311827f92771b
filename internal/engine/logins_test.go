package engine_test

import (
	"bytes"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/release"
)

const password = "correct horse"

// identified answers whether a token still stands for somebody, and for whom.
func (w *world) identified(id kms.ID) (engine.Identity, bool) {
	w.t.Helper()
	who, err := w.e.Identities().Token(w.t.Context(), id)
	if err != nil && kms.CodeOf(err) != kms.CodeUnauthenticated {
		w.t.Fatal(err)
	}
	return who, err == nil && !who.Revoked
}

// always makes a function of two things one that does not fail.
func always[A, B, T any](t testing.TB, f func(A, B) (T, error)) func(A, B) T {
	return func(a A, b B) T {
		t.Helper()
		v, err := f(a, b)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestEveryLoginIsOnTheRecord: with its reason, which who was refused is not told.
func TestEveryLoginIsOnTheRecord(t *testing.T) {
	w := newWorld(t)
	ann := always(t, newUser)(w, "m")
	bob := engine.AuthRoleInput{Mount: ann.Mount, Name: "bob"}
	other := engine.AuthRoleInput{Mount: "nowhere", Name: "ann"}
	out, err := w.logsIn(ann, password)
	if err != nil || out.Info.Principal != ann.Mount+"/ann" || len(out.Info.Roles) != 1 || !out.Info.Renewable {
		t.Fatalf("got %+v %v", out.Info, err)
	}
	var said string
	for _, f := range []struct {
		at            engine.AuthRoleInput
		password, why string
	}{
		{ann, "wrong", `the password of user "ann" is another`}, {bob, password, `there is no role "bob"`},
		{other, password, "there is no such mount"}, {ann, strings.Repeat("x", 2000), "one of more than 1024 bytes"},
	} {
		before := len(w.records(audit.Filter{Action: kms.Login}))
		_, err := w.logsIn(f.at, f.password)
		wantCode(t, err, kms.CodeUnauthenticated)
		if said == "" {
			said = err.Error()
		}
		if err.Error() != said {
			t.Errorf("%s: is told %q, others %q", f.why, err, said)
		}
		now := w.records(audit.Filter{Action: kms.Login})
		if len(now) != before+1 {
			t.Fatalf("%s: %d records of it", f.why, len(now)-before)
		}
		r := w.since(kms.Login, before)[0]
		if r.Outcome != audit.Denied || r.Code != kms.CodeUnauthenticated || !strings.Contains(r.Detail, f.why) || r.Method != kms.AuthLogin || !strings.HasPrefix(r.Name, f.at.Mount) {
			t.Errorf("got %+v, want %s", r.Record, f.why)
		}
	}
}

// TestATokenEndsWithItsMount: at once, with what came of it, and also if a mount is made there again.
func TestATokenEndsWithItsMount(t *testing.T) {
	w := newWorld(t)
	ann := always(t, newUser)(w, "m")
	given := always(t, w.logsIn)(ann, password)
	child, err := w.e.CreateToken(t.Context(), withToken(admin, given.Info.ID), engine.CreateTokenInput{Principal: "svc/a", Child: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []kms.ID{given.Info.ID, child.Info.ID} {
		if who, ok := w.identified(id); !ok || len(who.Line) == 0 {
			t.Errorf("got %+v %v", who, ok)
		}
	}
	w.restart()
	if _, ok := w.identified(child.Info.ID); !ok {
		t.Error("it does not stand after a restart")
	}
	if _, err := w.e.DisableAuth(t.Context(), admin, engine.AuthInput{Path: ann.Mount}); err != nil {
		t.Fatal(err)
	}
	always(t, newMount)(w, "m")
	for _, id := range []kms.ID{given.Info.ID, child.Info.ID} {
		if _, ok := w.identified(id); ok {
			t.Errorf("%s stands", id)
		}
	}
	_, err = w.logsIn(ann, password) // its users went with the old one
	wantCode(t, err, kms.CodeUnauthenticated)
}

// TestATokenIsRenewedAsLongAsItsRoleGivesIt.
func TestATokenIsRenewedAsLongAsItsRoleGivesIt(t *testing.T) {
	w := newWorld(t)
	ann := always(t, newUser)(w, "m")
	given := always(t, w.logsIn)(ann, password)
	renew := func(want kms.Code) {
		t.Helper()
		_, err := w.e.RenewOwnToken(t.Context(), withToken(user, given.Info.ID), engine.RenewTokenInput{})
		wantCode(t, err, want)
	}
	put := func(c engine.LoginTermsChange) {
		t.Helper()
		if _, err := w.e.PutAuthRole(t.Context(), admin, engine.PutAuthRoleInput{Mount: ann.Mount, Name: ann.Name, Terms: c}); err != nil {
			t.Fatal(err)
		}
	}
	renew(0)
	ttl := 2 * time.Hour
	put(engine.LoginTermsChange{TTL: &ttl})
	renew(0)
	put(engine.LoginTermsChange{Rights: &engine.LoginRights{Roles: []kms.Role{kms.RoleAuditor}}})
	renew(kms.CodeBadRequest)
	put(engine.LoginTermsChange{Rights: &engine.LoginRights{Roles: []kms.Role{kms.RoleUser}}})
	renew(0)
	if _, err := w.e.DeleteAuthRole(t.Context(), admin, ann); err != nil {
		t.Fatal(err)
	}
	if _, err := w.e.PutAuthRole(t.Context(), admin, userOf(ann)); err != nil { // another one, of the same name
		t.Fatal(err)
	}
	renew(kms.CodeBadRequest)
}

// TestLivesOfLogins: of role and mount, the shorter one counts.
func TestLivesOfLogins(t *testing.T) {
	w := newWorld(t)
	ann := always(t, newUser)(w, "m")
	h := func(n int) *time.Duration { d := time.Duration(n) * time.Hour; return &d }
	const days = 24 * time.Hour
	for _, c := range []struct {
		mount engine.TuneAuthInput
		role  engine.LoginTermsChange
		first time.Duration
		all   time.Duration // with one renewal
	}{
		{first: 24 * time.Hour, all: 32 * days},
		{mount: engine.TuneAuthInput{TTL: h(2), Most: h(5)}, first: 2 * time.Hour, all: 5 * time.Hour},
		{mount: engine.TuneAuthInput{TTL: h(2), Most: h(5)}, role: engine.LoginTermsChange{TTL: h(3), Most: h(4)}, first: 3 * time.Hour, all: 4 * time.Hour},
		{mount: engine.TuneAuthInput{TTL: h(2), Most: h(5)}, role: engine.LoginTermsChange{TTL: h(8), Most: h(9)}, first: 5 * time.Hour, all: 5 * time.Hour},
		{role: engine.LoginTermsChange{Limit: h(1)}, first: time.Hour, all: time.Hour},
		{role: engine.LoginTermsChange{Period: h(6)}, first: 6 * time.Hour, all: 6 * time.Hour},
		{role: engine.LoginTermsChange{Period: h(6), Limit: h(5)}, first: 5 * time.Hour, all: 5 * time.Hour},
	} {
		zero := time.Duration(0)
		for _, p := range []**time.Duration{&c.mount.TTL, &c.mount.Most, &c.role.TTL, &c.role.Most, &c.role.Limit, &c.role.Period} {
			if *p == nil {
				*p = &zero
			}
		}
		c.mount.Path = ann.Mount
		if _, err := w.e.TuneAuth(t.Context(), admin, c.mount); err != nil {
			t.Fatal(err)
		}
		if _, err := w.e.PutAuthRole(t.Context(), admin, engine.PutAuthRoleInput{Mount: ann.Mount, Name: ann.Name, Terms: c.role}); err != nil {
			t.Fatal(err)
		}
		out := always(t, w.logsIn)(ann, password)
		if got := out.Info.Expires.Sub(out.Info.Created); got != c.first {
			t.Errorf("%+v: got %s at first, want %s", c, got, c.first)
		}
		until, err := w.e.RenewToken(t.Context(), admin, engine.RenewTokenInput{ID: out.Info.ID, TTL: 300 * days})
		if got := until.Token.Expires.Sub(out.Info.Created); err != nil || got != c.all {
			t.Errorf("%+v: got %s with a renewal, %v, want %s", c, got, err, c.all)
		}
	}
}

// TestASecretIDGivesNoMoreTokensThanItCan, however many come at once.
func TestASecretIDGivesNoMoreTokensThanItCan(t *testing.T) {
	w := newWorld(t)
	at := always(t, newAppRole)(w, "m")
	uses := uint32(5)
	id, err := w.e.CreateSecretID(t.Context(), admin, engine.CreateSecretIDInput{Mount: at.Mount, Role: at.Name, Uses: &uses})
	if err != nil {
		t.Fatal(err)
	}
	value := bytes.Clone(id.Value.Wire(release.Wire{}))
	var good, refused atomic.Int64
	var wait sync.WaitGroup
	for range 9 {
		wait.Go(func() {
			_, err := w.e.Login(t.Context(), stranger(), engine.LoginInput{Mount: at.Mount, Request: login.Request{ID: "role-id", Proof: secret.Copy(value)}})
			switch kms.CodeOf(err) {
			case 0:
				good.Add(1)
			case kms.CodeUnauthenticated:
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if good.Load() != 5 || refused.Load() != 4 {
		t.Errorf("%d logins, %d refused, want 5 and 4", good.Load(), refused.Load())
	}
}

// TestSecretsOfLoginsAreNotInTheStore, nor in what is shown: only what proves them, sealed.
func TestSecretsOfLoginsAreNotInTheStore(t *testing.T) {
	w := newWorld(t)
	ann := always(t, newUser)(w, "m")
	at := always(t, newAppRole)(w, "n")
	id, err := w.e.CreateSecretID(t.Context(), admin, engine.CreateSecretIDInput{Mount: at.Mount, Role: at.Name})
	if err != nil {
		t.Fatal(err)
	}
	value := bytes.Clone(id.Value.Wire(release.Wire{}))
	for after := []byte(nil); ; {
		page, _, err := w.store.Scan(t.Context(), nil, after, 500)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			for _, hidden := range [][]byte{[]byte(password), value, []byte("role-id"), []byte(ann.Mount), []byte("argon2")} {
				if bytes.Contains(r.Value, hidden) || bytes.Contains(r.Key, hidden) {
					t.Errorf("%q is in the record %x", hidden, r.Key)
				}
			}
		}
		if len(page) < 500 {
			break
		}
		after = page[len(page)-1].Key
	}
	got, err := w.e.AuthRole(t.Context(), admin, ann)
	if err != nil || len(got.Role.Config) != 0 {
		t.Errorf("got %+v %v", got, err)
	}
	checked, err := w.e.CheckStore(t.Context(), operator())
	if err != nil || checked.DamagedCount != 0 {
		t.Errorf("got %+v %v", checked, err)
	}
}

// TestWhatIsLeftOfLoginsIsSwept: secret ids that ended, and what a mount and a role leave behind.
func TestWhatIsLeftOfLoginsIsSwept(t *testing.T) {
	w := newWorld(t)
	rows := func(want int) {
		t.Helper()
		recs, _, err := w.store.Scan(t.Context(), []byte{'l'}, nil, 100)
		if err != nil || len(recs) != want {
			t.Errorf("got %d records, %v, want %d", len(recs), err, want)
		}
	}
	at := always(t, newAppRole)(w, "m") // a mount, a role, its id
	rows(3)
	ttl := time.Hour
	for _, d := range []*time.Duration{&ttl, nil} {
		if _, err := w.e.CreateSecretID(t.Context(), admin, engine.CreateSecretIDInput{Mount: at.Mount, Role: at.Name, TTL: d}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.e.PutAuthRole(t.Context(), admin, engine.PutAuthRoleInput{Mount: "token", Name: "ci"}); err != nil {
		t.Fatal(err)
	}
	rows(8)
	w.e.Upkeep(t.Context())
	rows(8)
	w.now = w.now.Add(2 * time.Hour)
	w.e.Upkeep(t.Context())
	rows(6)
	if _, err := w.e.DisableAuth(t.Context(), admin, engine.AuthInput{Path: at.Mount}); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(2 * time.Hour)
	w.e.Upkeep(t.Context())
	rows(1) // the role for tokens
}

// TestConfigurationsAreTheMethods: it is told its secret, and nobody else is.
func TestConfigurationsAreTheMethods(t *testing.T) {
	w := newWorld(t)
	if _, err := w.e.EnableAuth(t.Context(), admin, engine.EnableAuthInput{Path: "k", Type: login.Kubernetes}); err != nil {
		t.Fatal(err)
	}
	configure := func(public, hidden string) {
		t.Helper()
		in := engine.ConfigureAuthInput{Path: "k", Document: login.Document{Public: []byte(public)}}
		if hidden != "" {
			in.Document.Secret = secret.Copy([]byte(hidden))
		}
		if _, err := w.e.ConfigureAuth(t.Context(), admin, in); err != nil {
			t.Fatal(err)
		}
	}
	configure("staff", "reviewer")
	configure("guests", "") // the secret stays
	out, err := w.e.ReadAuth(t.Context(), admin, engine.AuthInput{Path: "k"})
	if err != nil || string(out.Config) != "guests" || out.Mount.Type != login.Kubernetes {
		t.Errorf("got %+v %v", out, err)
	}
	here := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	if _, err := w.e.PutAuthRole(t.Context(), admin, engine.PutAuthRoleInput{Mount: "k", Name: "app", Terms: engine.LoginTermsChange{
		Rights: &engine.LoginRights{Groups: []string{"apps"}}, Bound: &here}}); err != nil {
		t.Fatal(err)
	}
	from := func(at, proof string) (engine.CreateTokenOutput, error) {
		c := stranger()
		c.Remote = netip.MustParseAddrPort(at)
		return w.e.Login(t.Context(), c, engine.LoginInput{Mount: "k", Request: login.Request{Role: "app", ID: "ns/sa", Proof: secret.Copy([]byte(proof))}})
	}
	got, err := from("192.0.2.9:1", "reviewer")
	if err != nil || got.Info.Principal != "k/ns/sa" || strings.Join(got.Info.Groups, " ") != "apps guests" || len(got.Info.Bound) != 1 || got.Info.Meta["role"] != "app" {
		t.Errorf("got %+v %v", got.Info, err)
	}
	for _, f := range [][2]string{{"192.0.3.9:1", "reviewer"}, {"192.0.2.9:1", "other"}} {
		_, err := from(f[0], f[1])
		wantCode(t, err, kms.CodeUnauthenticated)
	}
}

// TestMountsAreFew: their number, their names and their places have bounds.
func TestMountsAreFew(t *testing.T) {
	w := newWorld(t)
	enable := func(path string, of login.Type) error {
		_, err := w.e.EnableAuth(t.Context(), admin, engine.EnableAuthInput{Path: path, Type: of})
		return err
	}
	for _, path := range []string{"", "/a", "a//b", "a b", "token", "a/login", "a/b/c/d/e", strings.Repeat("a", 65)} {
		wantCode(t, enable(path, login.Userpass), kms.CodeBadName)
	}
	wantCode(t, enable("team/a", login.Userpass), 0)
	wantCode(t, enable("team/ab", login.Userpass), 0)
	wantCode(t, enable("team", login.Userpass), kms.CodeExists)
	wantCode(t, enable("team/a/b", login.Userpass), kms.CodeExists)
	wantCode(t, enable("x", "ldap"), kms.CodeBadRequest)
	wantCode(t, enable("x", "token"), kms.CodeBadRequest)
	for i := 2; i < 64; i++ {
		if err := enable("m"+string(rune('a'+i/26))+string(rune('a'+i%26)), login.Userpass); err != nil {
			t.Fatal(i, err)
		}
	}
	wantCode(t, enable("one-more", login.Userpass), kms.CodeTooMany)
	_, err := w.e.EnableAuth(t.Context(), user, engine.EnableAuthInput{Path: "x", Type: login.Userpass})
	wantCode(t, err, kms.CodeDenied)
	_, err = w.e.DisableAuth(t.Context(), admin, engine.AuthInput{Path: "token"})
	wantCode(t, err, kms.CodeBadRequest)
}
