package engine_test

import (
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// child makes a token that comes from another one; the zero id: from none.
func (w *world) child(from kms.ID) engine.TokenInfo {
	w.t.Helper()
	by := admin
	if !from.IsZero() {
		by = withToken(admin, from)
	}
	out, err := w.e.CreateToken(w.t.Context(), by, engine.CreateTokenInput{Principal: "svc/a", Roles: []kms.Role{kms.RoleUser}, TTL: 5 * time.Hour, Child: !from.IsZero()})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Info
}

// wantAlive looks at tokens twice: now, and after a restart.
func (w *world) wantAlive(want map[kms.ID]bool) {
	w.t.Helper()
	for range 2 {
		for id, want := range want {
			i, err := w.e.Identities().Token(w.t.Context(), id)
			if got := err == nil && !i.Revoked && w.now.Before(i.Principal.Expires); got != want {
				w.t.Errorf("%s: alive %v %v, want %v", id, got, err, want)
			}
			_, err = w.e.Token(w.t.Context(), admin, engine.IDInput{ID: id})
			if want {
				wantCode(w.t, err, 0)
			}
		}
		w.restart()
	}
}

// TestATreeEndsWithItsRoot: three generations, all of them and nothing else, and so it stays.
func TestATreeEndsWithItsRoot(t *testing.T) {
	w := newWorld(t)
	root, other := w.child(kms.ID{}), w.child(kms.ID{})
	a := w.child(root.ID)
	b, c := w.child(a.ID), w.child(a.ID)
	w.wantAlive(map[kms.ID]bool{root.ID: true, a.ID: true, b.ID: true, c.ID: true, other.ID: true})
	_, err := w.e.RevokeToken(t.Context(), admin, engine.IDInput{ID: root.ID})
	wantCode(t, err, 0)
	w.wantAlive(map[kms.ID]bool{root.ID: false, a.ID: false, b.ID: false, c.ID: false, other.ID: true})
	for _, id := range []kms.ID{a.ID, b.ID} { // nobody asks for it in vain: it is not there
		_, err = w.e.Token(t.Context(), admin, engine.IDInput{ID: id})
		wantCode(t, err, kms.CodeNotFound)
	}
}

// TestWhatIsLetGoLivesOn: a token that is revoked alone takes nothing with it, and what came from it ends with nothing that was before it.
func TestWhatIsLetGoLivesOn(t *testing.T) {
	w := newWorld(t)
	root := w.child(kms.ID{})
	mid := w.child(root.ID)
	leaf := w.child(mid.ID)
	below := w.child(leaf.ID)
	out, err := w.e.RevokeTokenAlone(t.Context(), admin, engine.LetGoInput{ID: mid.ID})
	wantCode(t, err, 0)
	if out.Token.Revoked.IsZero() {
		t.Error("the token stands")
	}
	w.wantAlive(map[kms.ID]bool{root.ID: true, mid.ID: false, leaf.ID: true, below.ID: true})
	for id, want := range map[kms.ID]int{leaf.ID: 0, below.ID: 1} {
		if got, err := w.e.Token(t.Context(), admin, engine.IDInput{ID: id}); err != nil || len(got.Token.Line) != want {
			t.Errorf("got %v %v, want a line of %d", got.Token.Line, err, want)
		}
	}
	_, err = w.e.RevokeToken(t.Context(), admin, engine.IDInput{ID: root.ID})
	wantCode(t, err, 0)
	late := w.child(below.ID)
	w.wantAlive(map[kms.ID]bool{root.ID: false, leaf.ID: true, below.ID: true, late.ID: true})
	_, err = w.e.RevokeToken(t.Context(), admin, engine.IDInput{ID: leaf.ID})
	wantCode(t, err, 0)
	w.wantAlive(map[kms.ID]bool{leaf.ID: false, below.ID: false, late.ID: false})
}

// TestWhatEndedDoesNotComeBack: what came from a token that has ended stays ended, however the token is revoked after that.
func TestWhatEndedDoesNotComeBack(t *testing.T) {
	for name, end := range map[string]func(w *world, root, mid kms.ID) error{
		"it was revoked": func(w *world, _, mid kms.ID) error {
			_, err := w.e.RevokeToken(w.t.Context(), admin, engine.IDInput{ID: mid})
			return err
		},
		"what it came from was revoked": func(w *world, root, _ kms.ID) error {
			_, err := w.e.RevokeToken(w.t.Context(), admin, engine.IDInput{ID: root})
			return err
		},
		"it expired": func(w *world, _, _ kms.ID) error {
			w.now = w.now.Add(6 * time.Hour)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			root := w.child(kms.ID{})
			mid := w.child(root.ID)
			leaf := w.child(mid.ID)
			if err := end(w, root.ID, mid.ID); err != nil {
				t.Fatal(err)
			}
			_, err := w.e.RevokeTokenAlone(t.Context(), admin, engine.LetGoInput{ID: mid.ID})
			wantCode(t, err, kms.CodeNotFound)
			w.wantAlive(map[kms.ID]bool{leaf.ID: false})
		})
	}
	w := newWorld(t)
	_, err := w.e.RevokeTokenAlone(t.Context(), user, engine.LetGoInput{ID: w.child(kms.ID{}).ID})
	wantCode(t, err, kms.CodeDenied)
}

// TestWhatWasUsedUpIsNotThere, for whoever looks; its last use may still look at itself.
func TestWhatWasUsedUpIsNotThere(t *testing.T) {
	w := newWorld(t)
	made, err := w.e.CreateToken(t.Context(), admin, engine.CreateTokenInput{Principal: "svc/a", Roles: []kms.Role{kms.RoleUser}, Uses: 2, Renewable: true})
	wantCode(t, err, 0)
	id := made.Info.ID
	left := func(want uint32) {
		t.Helper()
		list, err := w.e.ListTokens(t.Context(), admin, engine.PageInput{})
		wantCode(t, err, 0)
		for i := range list.Tokens {
			if got := &list.Tokens[i]; got.ID == id && (got.Left != want || got.UsedUp() != (want == 0)) {
				t.Errorf("got %d uses left, want %d", got.Left, want)
			}
		}
	}
	for want := uint32(2); want > 0; want-- {
		left(want)
		out, err := w.e.Token(t.Context(), admin, engine.IDInput{ID: id})
		if wantCode(t, err, 0); out.Token.Left != want {
			t.Errorf("got %d, want %d", out.Token.Left, want)
		}
		wantCode(t, w.e.Identities().UseToken(t.Context(), id), 0)
	}
	left(0)
	_, err = w.e.Token(t.Context(), admin, engine.IDInput{ID: id})
	wantCode(t, err, kms.CodeNotFound)
	_, err = w.e.RenewToken(t.Context(), admin, engine.RenewTokenInput{ID: id})
	wantCode(t, err, kms.CodeNotFound)
	_, err = w.e.OwnToken(t.Context(), withToken(user, id))
	wantCode(t, err, 0)
}

// TestWhatWasLetGoOutlivesTheSweep: what is left of a token that was revoked alone stays as long as somebody came from it, and no longer.
func TestWhatWasLetGoOutlivesTheSweep(t *testing.T) {
	w := newWorld(t)
	from := w.child(kms.ID{})
	out, err := w.e.CreateToken(t.Context(), withToken(admin, from.ID), engine.CreateTokenInput{Principal: "svc/a", TTL: 90 * 24 * time.Hour, Child: true})
	wantCode(t, err, 0)
	_, err = w.e.RevokeTokenAlone(t.Context(), admin, engine.LetGoInput{ID: from.ID})
	wantCode(t, err, 0)
	for _, days := range []int{40, 40} {
		w.now = w.now.AddDate(0, 0, days)
		w.e.Upkeep(t.Context())
		w.wantAlive(map[kms.ID]bool{out.Info.ID: true})
	}
	for range 2 { // the one, and then the other
		w.now = w.now.AddDate(0, 3, 0)
		w.e.Upkeep(t.Context())
	}
	for _, id := range []kms.ID{from.ID, out.Info.ID} {
		_, err = w.e.Token(t.Context(), admin, engine.IDInput{ID: id})
		wantCode(t, err, kms.CodeNotFound)
	}
}

// TestAVoteOutlivesWhatItsTokenCameFrom if that was revoked alone, and does not otherwise.
func TestAVoteOutlivesWhatItsTokenCameFrom(t *testing.T) {
	for name, c := range map[string]struct {
		revoke func(w *world, id kms.ID) error
		want   kms.Code
	}{
		"alone": {func(w *world, id kms.ID) error {
			_, err := w.e.RevokeTokenAlone(w.t.Context(), admin, engine.LetGoInput{ID: id})
			return err
		}, 0},
		"with what came from it": {func(w *world, id kms.ID) error {
			_, err := w.e.RevokeToken(w.t.Context(), admin, engine.IDInput{ID: id})
			return err
		}, kms.CodeNotApproved},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.create("orders", kms.AES256GCM, 0)
			w.rule(kms.ScheduleKeyDestruction, 1)
			alice, from := w.holder("alice", kms.RoleAdmin), w.child(kms.ID{})
			made, err := w.e.CreateToken(t.Context(), withToken(admin, from.ID), engine.CreateTokenInput{Principal: "bob", Roles: []kms.Role{kms.RoleAdmin}, Child: true})
			wantCode(t, err, 0)
			bob := withToken(w.holder("bob", kms.RoleAdmin), made.Info.ID)
			id := askedFor(t, w.destroyAs(asking(alice), "orders"))
			wantCode(t, w.approve(bob, id), 0)
			wantCode(t, c.revoke(w, from.ID), 0)
			wantCode(t, w.destroyAs(under(alice, id), "orders"), c.want)
		})
	}
}
