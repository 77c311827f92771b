package engine_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/release"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

func (w *world) accessKey(principal string, change ...func(*engine.CreateAccessKeyInput)) engine.CreateAccessKeyOutput {
	w.t.Helper()
	in := engine.CreateAccessKeyInput{Principal: principal, Roles: []kms.Role{kms.RoleUser}, Groups: []string{"team"}, Scope: []kms.Action{kms.Encrypt, kms.Decrypt}}
	for _, c := range change {
		c(&in)
	}
	out, err := w.e.CreateAccessKey(w.t.Context(), admin, in)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) identity(id string) (engine.Identity, error) {
	return w.e.Identities().AccessKey(w.t.Context(), id)
}

func TestAnAccessKeyIsShownOnceAndStandsForItsPrincipal(t *testing.T) {
	w := newWorld(t)
	out := w.accessKey("svc/aws")
	text := string(out.Secret.Wire(release.Wire{}))
	if !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(out.Info.ID) || !regexp.MustCompile(`^[A-Za-z0-9+/]{40}$`).MatchString(text) {
		t.Fatalf("got %s with a secret of %d characters", out.Info.ID, len(text))
	}
	got, err := w.identity(out.Info.ID)
	if err != nil {
		t.Fatal(err)
	}
	p := got.Principal
	if string(got.Secret.Reveal(reveal.Key{})) != text || p.Name != "svc/aws" || p.Method != kms.AuthSignature || p.Credential != out.Info.ID || len(p.Groups) != 1 || len(p.Scope) != 2 || p.Alias == [16]byte{} {
		t.Errorf("got %+v", p)
	}
	list, err := w.e.ListAccessKeys(t.Context(), admin, engine.ListAccessKeysInput{})
	if err != nil || len(list.AccessKeys) != 1 || list.AccessKeys[0].ID != out.Info.ID || list.AccessKeys[0].By != "alice" {
		t.Errorf("got %+v, %v", list, err)
	}
	if _, err := w.identity("AKIAAAAAAAAAAAAAAAAA"); kms.CodeOf(err) != kms.CodeUnauthenticated {
		t.Errorf("an unknown one: got %v", err)
	}
}

func TestARevokedAccessKeyIsNoCredentialAndHasNoSecret(t *testing.T) {
	w := newWorld(t)
	out := w.accessKey("svc/aws")
	for range 2 { // the second time there is nothing to do
		got, err := w.e.RevokeAccessKey(t.Context(), admin, engine.AccessKeyInput{ID: out.Info.ID})
		if err != nil || got.AccessKey.Revoked.IsZero() {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	if _, err := w.identity(out.Info.ID); kms.CodeOf(err) != kms.CodeUnauthenticated {
		t.Errorf("got %v", err)
	}
	_, err := w.e.RotateAccessKey(t.Context(), admin, engine.RotateAccessKeyInput{ID: out.Info.ID})
	wantCode(t, err, kms.CodeConflict)
	entries := w.records(audit.Filter{Action: kms.RevokeAccessKey})
	if len(entries) != 2 || entries[0].Record.Resource != out.Info.ID {
		t.Errorf("got %+v", entries)
	}
}

func TestARotatedAccessKeyGoesOnForItsGrace(t *testing.T) {
	w := newWorld(t)
	hour, none := time.Hour, time.Duration(0)
	old := w.accessKey("svc/aws", func(in *engine.CreateAccessKeyInput) { in.TTL = 240 * time.Hour })
	next, err := w.e.RotateAccessKey(t.Context(), admin, engine.RotateAccessKeyInput{ID: old.Info.ID, Grace: &hour})
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.identity(old.Info.ID)
	if err != nil || got.Principal.Expires.Sub(next.Info.Created) != hour {
		t.Errorf("the old one: got %v, %v, want it to go on for an hour", got.Principal.Expires, err)
	}
	if p := next.Info; p.Principal != "svc/aws" || len(p.Scope) != 2 || len(p.Groups) != 1 || len(p.Roles) != 1 || p.Expires.Sub(p.Created) != 240*time.Hour {
		t.Errorf("got %+v, want the same rights and the same life", p)
	}
	if next.Replaced.Successor != next.Info.ID {
		t.Errorf("got %+v", next.Replaced)
	}
	_, err = w.e.RotateAccessKey(t.Context(), admin, engine.RotateAccessKeyInput{ID: old.Info.ID})
	wantCode(t, err, kms.CodeConflict)

	last, err := w.e.RotateAccessKey(t.Context(), admin, engine.RotateAccessKeyInput{ID: next.Info.ID, Grace: &none})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.identity(next.Info.ID); kms.CodeOf(err) != kms.CodeUnauthenticated {
		t.Errorf("without grace: got %v", err)
	}
	if _, err := w.identity(last.Info.ID); err != nil {
		t.Error(err)
	}
}

func TestAPrincipalHasSoManyAccessKeysAndNoMore(t *testing.T) {
	w := newWorld(t)
	var first string
	for n := range 8 {
		out := w.accessKey("svc/aws")
		if n == 0 {
			first = out.Info.ID
		}
	}
	create := func() error {
		_, err := w.e.CreateAccessKey(t.Context(), admin, engine.CreateAccessKeyInput{Principal: "svc/aws"})
		return err
	}
	wantCode(t, create(), kms.CodeTooLarge)
	_, err := w.e.RotateAccessKey(t.Context(), admin, engine.RotateAccessKeyInput{ID: first})
	wantCode(t, err, kms.CodeTooLarge)
	w.accessKey("svc/other")
	if _, err := w.e.RevokeAccessKey(t.Context(), admin, engine.AccessKeyInput{ID: first}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, create(), 0)
	list, err := w.e.ListAccessKeys(t.Context(), admin, engine.ListAccessKeysInput{Principal: "svc/aws"})
	if err != nil || len(list.AccessKeys) != 8 {
		t.Errorf("got %d access keys, %v, want 8 in force", len(list.AccessKeys), err)
	}
}

func TestBadAccessKeysAreRefused(t *testing.T) {
	w := newWorld(t)
	long, year := 31*24*time.Hour, 400*24*time.Hour
	for name, in := range map[string]engine.CreateAccessKeyInput{
		"no name": {}, "a bad role": {Principal: "a", Roles: []kms.Role{"root"}}, "an operator": {Principal: "a", Roles: []kms.Role{kms.RoleOperator}},
		"too long a life": {Principal: "a", TTL: year}, "a negative life": {Principal: "a", TTL: -1}, "too many groups": {Principal: "a", Groups: make([]string, 33)},
	} {
		if _, err := w.e.CreateAccessKey(t.Context(), admin, in); kms.AsError(err).Kind() != kms.KindInvalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
	out := w.accessKey("svc/aws")
	_, err := w.e.RotateAccessKey(t.Context(), admin, engine.RotateAccessKeyInput{ID: out.Info.ID, Grace: &long})
	wantCode(t, err, kms.CodeBadRequest)
	other := admin
	other.Principal = &kms.Principal{Name: "boss", Namespace: "tenant", Roles: []kms.Role{kms.RoleAdmin}, Method: kms.AuthToken}
	_, err = w.e.RevokeAccessKey(t.Context(), other, engine.AccessKeyInput{ID: out.Info.ID})
	if kms.AsError(err).Kind() != kms.KindDenied {
		t.Errorf("another tenant: got %v", err)
	}
	_, err = w.e.CreateAccessKey(t.Context(), user, engine.CreateAccessKeyInput{Principal: "a"})
	wantCode(t, err, kms.CodeDenied)
	_, err = w.e.RevokeAccessKey(t.Context(), admin, engine.AccessKeyInput{ID: "AKIAAAAAAAAAAAAAAAAA"})
	wantCode(t, err, kms.CodeNotFound)
	_, err = w.e.ListAccessKeys(t.Context(), admin, engine.ListAccessKeysInput{Page: "eA"})
	wantCode(t, err, kms.CodeBadToken)
	system := operator()
	_, err = w.e.CreateAccessKey(t.Context(), system, engine.CreateAccessKeyInput{Principal: "a", Roles: []kms.Role{kms.RoleOperator}})
	wantCode(t, err, kms.CodeBadRequest)
}

func TestARehearsedAccessKeyIsNotMade(t *testing.T) {
	w := newWorld(t)
	dry := admin
	dry.DryRun = true
	out, err := w.e.CreateAccessKey(t.Context(), dry, engine.CreateAccessKeyInput{Principal: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.identity(out.Info.ID); kms.CodeOf(err) != kms.CodeUnauthenticated {
		t.Errorf("got %v", err)
	}
}
