package userpass

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// users are those of a mount.
type users map[string]login.Document

func (u users) Role(_ context.Context, name string) (login.Role, error) {
	d, ok := u[name]
	if !ok {
		return login.Role{}, login.Refuse("there is no role %q", name)
	}
	d.Secret = secret.Copy(d.Secret.Reveal(reveal.Key{}))
	return login.Role{Name: name, Document: d}, nil
}

func (u users) All(context.Context, func(login.Role) bool) error { return nil }

func asked(password string) login.Document {
	return login.Document{Secret: secret.Copy([]byte(password))}
}

func prove(t *testing.T, m *Method, u users, name, password string) (login.Identity, error) {
	t.Helper()
	r := login.Request{Role: name}
	if password != "" {
		r.Proof = secret.Copy([]byte(password))
	}
	return m.Prove(t.Context(), login.Mount{Path: "userpass", Type: login.Userpass, Roles: u}, r)
}

func TestAPasswordProvesItsUser(t *testing.T) {
	m, all := New(), users{}
	for _, name := range []string{"ann", "bob"} {
		d, err := m.Role(t.Context(), name, login.Document{}, asked("the same password"))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = d
	}
	if all["ann"].Secret.Equal(all["bob"].Secret) || bytes.Contains(all["ann"].Secret.Reveal(reveal.Key{}), []byte("password")) || len(all["ann"].Public) != 0 {
		t.Error("what is kept of a password shows it, or that two are the same")
	}
	got, err := prove(t, m, all, "ann", "the same password")
	if err != nil || got.Role != "ann" || got.Name != "ann" || got.Metadata["username"] != "ann" {
		t.Errorf("got %+v %v", got, err)
	}
	for _, f := range []struct{ name, password, why string }{
		{"ann", "the same passwor", "is another"}, {"ann", "The same password", "is another"}, {"carl", "the same password", `no role "carl"`},
		{"ann", "", "there is no password"}, {"ann", strings.Repeat("x", 1025), "more than 1024 bytes"},
	} {
		_, err := prove(t, m, all, f.name, f.password)
		if no := (*login.Refusal)(nil); !errors.As(err, &no) || !strings.Contains(no.Why, f.why) {
			t.Errorf("%s: got %v want %s", f.name, err, f.why)
		}
	}
}

func TestAPasswordStaysUntilThereIsAnother(t *testing.T) {
	m := New()
	_, err := m.Role(t.Context(), "ann", login.Document{}, login.Document{})
	if kms.CodeOf(err) != kms.CodeBadRequest {
		t.Errorf("a user without a password: got %v", err)
	}
	_, err = m.Role(t.Context(), "ann", login.Document{}, asked(strings.Repeat("x", 1025)))
	if kms.CodeOf(err) != kms.CodeTooLarge {
		t.Errorf("a long password: got %v", err)
	}
	first, err := m.Role(t.Context(), "ann", login.Document{}, asked("one"))
	if err != nil {
		t.Fatal(err)
	}
	same, err := m.Role(t.Context(), "ann", first, login.Document{})
	if err != nil || !same.Secret.Equal(first.Secret) || same.Secret == first.Secret {
		t.Errorf("got %v; want a copy of what there was", err)
	}
	other, err := m.Role(t.Context(), "ann", first, asked("two"))
	if err != nil || other.Secret.Equal(first.Secret) {
		t.Errorf("got %v; want another one", err)
	}
	if _, err := prove(t, m, users{"ann": other}, "ann", "one"); err == nil {
		t.Error("the old password is good")
	}
	_, err = m.Config(t.Context(), login.Document{}, login.Document{})
	if kms.CodeOf(err) != kms.CodeBadRequest {
		t.Errorf("a configuration: got %v", err)
	}
}

// TestPasswordsWaitForEachOther, as long as their requests last: there is no memory for more.
func TestPasswordsWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New()
		m.slots = make(chan struct{}, atOnce) // of the bubble
		for range atOnce {
			if err := m.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.enter(ctx) }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("one more than %d: %v", atOnce, err)
		default:
		}
		cancel()
		if err := <-done; kms.CodeOf(err) != kms.CodeCancelled {
			t.Errorf("got %v", err)
		}
		m.leave()
		if err := m.enter(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// FuzzKept: what is kept is read, or refused, and never costs more than a bound.
func FuzzKept(f *testing.F) {
	f.Add(New().nobody)
	f.Add([]byte{form})
	f.Add(bytes.Repeat([]byte{1}, headSize+saltSize+hashSize))
	f.Add(bytes.Repeat([]byte{0xff}, headSize+saltSize+hashSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := read(b)
		if err != nil {
			return
		}
		if k.memory > maxMemory || k.passes > maxPasses || k.passes == 0 || k.lanes == 0 || len(k.salt) != saltSize || len(k.hash) != hashSize {
			t.Fatalf("%x is read as %+v", b, k)
		}
	})
}
