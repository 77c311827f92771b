package engine_test

import (
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// TestATokenLivesNoLongerThanWhatItComesFrom: nor does a renewal of its own help it, but one of the other does.
func TestATokenLivesNoLongerThanWhatItComesFrom(t *testing.T) {
	w := newWorld(t)
	create := func(by kms.Call, in engine.CreateTokenInput) engine.TokenInfo {
		t.Helper()
		in.Principal, in.Roles, in.Renewable = "svc/a", []kms.Role{kms.RoleAdmin}, true
		out, err := w.e.CreateToken(t.Context(), by, in)
		if err != nil {
			t.Fatal(err)
		}
		return out.Info
	}
	first := create(admin, engine.CreateTokenInput{TTL: time.Hour})
	by := withToken(admin, first.ID)
	child := create(by, engine.CreateTokenInput{TTL: 5 * time.Hour, Child: true})
	orphan := create(by, engine.CreateTokenInput{TTL: 5 * time.Hour})
	until := func(id kms.ID, want time.Time) {
		t.Helper()
		if got, err := w.e.Identities().Token(t.Context(), id); err != nil || got.Revoked || !got.Principal.Expires.Equal(want) {
			t.Errorf("got %v %v, want %v", got.Principal.Expires, err, want)
		}
	}
	until(child.ID, first.Expires)
	until(orphan.ID, orphan.Expires)
	if _, err := w.e.RenewOwnToken(t.Context(), withToken(user, child.ID), engine.RenewTokenInput{TTL: 9 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	until(child.ID, first.Expires)
	again, err := w.e.RenewToken(t.Context(), admin, engine.RenewTokenInput{ID: first.ID, TTL: 6 * time.Hour})
	if err != nil || again.Capped {
		t.Fatal(again, err)
	}
	until(child.ID, again.Token.Expires)

	for i, by := 1, child.ID; i <= 8; i++ {
		out, err := w.e.CreateToken(t.Context(), withToken(admin, by), engine.CreateTokenInput{Principal: "svc/a", Child: true})
		if i == 8 {
			wantCode(t, err, kms.CodeTooMany)
			break
		}
		wantCode(t, err, 0)
		if by = out.Info.ID; len(out.Info.Line) != i+1 {
			t.Fatalf("got a line of %d, want %d", len(out.Info.Line), i+1)
		}
	}
	// 32 days, whatever is asked for; then it is over, and stays so.
	for range 10 {
		if again, err = w.e.RenewToken(t.Context(), admin, engine.RenewTokenInput{ID: orphan.ID, TTL: 80 * time.Hour}); err != nil {
			t.Fatal(err)
		}
		w.now = again.Token.Expires.Add(-time.Minute)
	}
	if !again.Capped || !again.Token.Expires.Equal(orphan.Created.Add(32*24*time.Hour)) {
		t.Errorf("got %+v", again)
	}
	w.now = w.now.Add(time.Hour)
	_, err = w.e.RenewToken(t.Context(), admin, engine.RenewTokenInput{ID: orphan.ID})
	wantCode(t, err, kms.CodeExpired)
	_, err = w.e.RenewToken(t.Context(), user, engine.RenewTokenInput{ID: orphan.ID})
	wantCode(t, err, kms.CodeDenied)
	if _, err = w.e.RevokeToken(t.Context(), admin, engine.IDInput{ID: first.ID}); err != nil {
		t.Fatal(err)
	}
	if got, err := w.e.Identities().Token(t.Context(), child.ID); err != nil || !got.Revoked {
		t.Errorf("got %+v %v", got, err)
	}
	_, err = w.e.OwnToken(t.Context(), user)
	wantCode(t, err, kms.CodeNotFound)
}
