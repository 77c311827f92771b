package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/release"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

func (w *world) role(name string, change ...func(*engine.RoleInfo)) {
	w.t.Helper()
	in := engine.RoleInfo{Name: name, Roles: []kms.Role{kms.RoleUser}, Groups: []string{"batch"}, Trust: engine.RoleTrust{Principals: []string{"svc/aws"}}}
	for _, c := range change {
		c(&in)
	}
	if _, err := w.e.PutRole(w.t.Context(), admin, in); err != nil {
		w.t.Fatal(err)
	}
}

// signing makes an access key and a call that it signed.
func (w *world) signing(principal string, change ...func(*engine.CreateAccessKeyInput)) kms.Call {
	w.t.Helper()
	in := engine.CreateAccessKeyInput{Principal: principal}
	for _, c := range change {
		c(&in)
	}
	k, err := w.e.CreateAccessKey(w.t.Context(), admin, in)
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := w.identity(k.Info.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return kms.Call{Principal: &id.Principal, Namespace: kms.DefaultNamespace, Dialect: kms.DialectAWS}
}

func (w *world) assume(c kms.Call, role string, ttl time.Duration) (engine.SessionOutput, error) {
	return w.e.AssumeRole(w.t.Context(), c, engine.AssumeRoleInput{Role: role, Session: "nightly", TTL: ttl})
}

func (w *world) session(out engine.SessionOutput) (engine.Identity, error) {
	return w.e.Identities().Session(w.t.Context(), string(out.Token.Wire(release.Wire{})))
}

func TestASessionHasTheRightsOfItsRoleForAWhile(t *testing.T) {
	w := newWorld(t)
	w.role("batch")
	by := w.signing("svc/aws")
	out, err := w.assume(by, "batch", 20*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.session(out)
	if err != nil {
		t.Fatal(err)
	}
	p := got.Principal
	if !strings.HasPrefix(out.AccessKey, "ASIA") || p.Credential != out.AccessKey || p.Name != "role/batch" || p.Session != "nightly" || !p.Has(kms.RoleUser) || len(p.Groups) != 1 ||
		!p.Expires.Equal(out.Expires) || got.Parent != by.Principal.Credential || string(got.Secret.Reveal(reveal.Key{})) != string(out.Secret.Wire(release.Wire{})) {
		t.Errorf("got %+v", got)
	}
	if left := out.Expires.Sub(w.e.Now()); left > 20*time.Minute || left < 19*time.Minute {
		t.Errorf("it lasts %s, want 20 minutes", left)
	}
	e := w.records(audit.Filter{Action: kms.AssumeRole})[0].Record
	if e.Resource != "role/batch" || !strings.Contains(e.Detail, "nightly") || !strings.Contains(e.Detail, out.AccessKey) || strings.Contains(e.Detail, string(out.Token.Wire(release.Wire{}))) {
		t.Errorf("got record %+v", e)
	}
	text := string(out.Token.Wire(release.Wire{}))
	for _, bad := range []string{"", "x", text[:len(text)-4], strings.Replace(text, text[40:44], "AAAA", 1), text + "A"} {
		if _, err := w.e.Identities().Session(t.Context(), bad); kms.CodeOf(err) != kms.CodeUnauthenticated {
			t.Errorf("a token that is not ours: got %v", err)
		}
	}
}

// What ends a session, and what changes it.
func TestASessionGoesWithItsRoleAndItsAccessKey(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world, by kms.Call) error
		ends   bool
	}{
		"other rights": {func(w *world, _ kms.Call) error {
			w.role("batch", func(in *engine.RoleInfo) { in.Roles = []kms.Role{kms.RoleAuditor} })
			return nil
		}, false},
		"another trust": {func(w *world, _ kms.Call) error {
			w.role("batch", func(in *engine.RoleInfo) { in.Trust.Groups = []string{"more"} })
			return nil
		}, true},
		"deleted": {func(w *world, _ kms.Call) error {
			_, err := w.e.DeleteRole(w.t.Context(), admin, engine.RoleInput{Name: "batch"})
			return err
		}, true},
		"made again": {func(w *world, _ kms.Call) error {
			_, err := w.e.DeleteRole(w.t.Context(), admin, engine.RoleInput{Name: "batch"})
			w.role("batch")
			return err
		}, true},
		"its access key revoked": {func(w *world, by kms.Call) error {
			_, err := w.e.RevokeAccessKey(w.t.Context(), admin, engine.AccessKeyInput{ID: by.Principal.Credential})
			return err
		}, true},
		"its access key replaced": {func(w *world, by kms.Call) error {
			_, err := w.e.RotateAccessKey(w.t.Context(), admin, engine.RotateAccessKeyInput{ID: by.Principal.Credential})
			return err
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.role("batch")
			by := w.signing("svc/aws")
			out, err := w.assume(by, "batch", 0)
			if err != nil {
				t.Fatal(err)
			}
			before, err := w.session(out)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.change(w, by); err != nil {
				t.Fatal(err)
			}
			after, err := w.session(out)
			if c.ends && kms.CodeOf(err) != kms.CodeUnauthenticated || !c.ends && err != nil {
				t.Fatalf("got %v, want it to end: %v", err, c.ends)
			}
			if name == "other rights" && (!after.Principal.Has(kms.RoleAuditor) || after.Rev == before.Rev) {
				t.Errorf("got %+v, want the rights the role has now", after.Principal)
			}
		})
	}
}

func TestOnlyWhoIsTrustedAssumesARole(t *testing.T) {
	w := newWorld(t)
	w.role("batch", func(in *engine.RoleInfo) { in.Trust.Groups = []string{"team"}; in.Most = 30 * 60 })
	in := func(groups ...string) func(*engine.CreateAccessKeyInput) {
		return func(in *engine.CreateAccessKeyInput) { in.Groups = groups }
	}
	for name, c := range map[string]struct {
		by   kms.Call
		role string
		ttl  time.Duration
		want kms.Code
	}{
		"by name":          {w.signing("svc/aws"), "batch", 0, 0},
		"by group":         {w.signing("svc/member", in("team")), "batch", 0, 0},
		"a stranger":       {w.signing("svc/other", in("others")), "batch", 0, kms.CodeDenied},
		"no such role":     {w.signing("svc/aws"), "nosuch", 0, kms.CodeDenied},
		"a token":          {as("svc/aws"), "batch", 0, kms.CodeDenied},
		"too short":        {w.signing("svc/aws"), "batch", time.Minute, kms.CodeBadRequest},
		"too long":         {w.signing("svc/aws"), "batch", time.Hour, kms.CodeBadRequest},
		"a name of a path": {w.signing("svc/aws"), "a/b", 0, kms.CodeBadName},
	} {
		if _, err := w.assume(c.by, c.role, c.ttl); kms.CodeOf(err) != c.want {
			t.Errorf("%s: got %v want %v", name, err, c.want)
		}
	}
	out, err := w.assume(w.signing("svc/aws"), "batch", 0)
	if err != nil {
		t.Fatal(err)
	}
	w.role("other", func(in *engine.RoleInfo) { in.Trust.Groups = []string{"batch"} })
	id, err := w.session(out)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.assume(kms.Call{Principal: &id.Principal, Namespace: kms.DefaultNamespace, Dialect: kms.DialectAWS}, "other", 0)
	wantCode(t, err, kms.CodeDenied)

	if _, err := w.e.PutPolicy(t.Context(), admin, engine.PutPolicyInput{ID: "no", Text: `forbid (principal == Principal::"svc/aws", action == Action::"AssumeRole", resource);`}); err != nil {
		t.Fatal(err)
	}
	_, err = w.assume(w.signing("svc/aws"), "batch", 0)
	wantCode(t, err, kms.CodeDenied)
}

func TestASessionEndsNoLaterThanItsAccessKey(t *testing.T) {
	w := newWorld(t)
	w.role("batch")
	by := w.signing("svc/aws", func(in *engine.CreateAccessKeyInput) { in.TTL = 30 * time.Minute })
	out, err := w.assume(by, "batch", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if out.Expires.After(by.Principal.Expires) {
		t.Errorf("it ends at %s, after its access key (%s)", out.Expires, by.Principal.Expires)
	}
}

func TestBadRolesAreRefused(t *testing.T) {
	w := newWorld(t)
	web := func(t engine.WebTrust) engine.RoleInfo {
		return engine.RoleInfo{Name: "r", Trust: engine.RoleTrust{Web: []engine.WebTrust{t}}}
	}
	for name, in := range map[string]engine.RoleInfo{
		"no name": {}, "a path": {Name: "a/b"}, "a long name": {Name: strings.Repeat("a", 65)}, "an operator": {Name: "r", Roles: []kms.Role{kms.RoleOperator}},
		"too long": {Name: "r", Most: 13 * 3600}, "too short": {Name: "r", Most: 60}, "trusts a role": {Name: "r", Trust: engine.RoleTrust{Principals: []string{"role/x"}}},
		"trusts too many": {Name: "r", Trust: engine.RoleTrust{Groups: make([]string, 65)}},
		"plain http":      web(engine.WebTrust{Issuer: "http://issuer.example", Audiences: []string{"a"}}), "no audience": web(engine.WebTrust{Issuer: "https://issuer.example"}),
		"a query": web(engine.WebTrust{Issuer: "https://issuer.example/?x", Audiences: []string{"a"}}), "an empty claim": web(engine.WebTrust{Issuer: "https://issuer.example", Audiences: []string{"a"}, Claims: map[string]string{"sub": ""}}),
	} {
		if _, err := w.e.PutRole(t.Context(), admin, in); kms.AsError(err).Kind() != kms.KindInvalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
	_, err := w.e.PutRole(t.Context(), user, engine.RoleInfo{Name: "r"})
	wantCode(t, err, kms.CodeDenied)
	_, err = w.e.DeleteRole(t.Context(), admin, engine.RoleInput{Name: "nosuch"})
	wantCode(t, err, kms.CodeNotFound)
	w.role("b")
	w.role("a")
	got, err := w.e.ListRoles(t.Context(), admin, engine.PageInput{})
	if err != nil || len(got.Roles) != 2 || got.Roles[0].Name != "a" || got.Roles[1].Most.Duration() != time.Hour {
		t.Errorf("got %+v, %v", got, err)
	}
}
