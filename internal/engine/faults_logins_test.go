package engine_test

import (
	"context"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/login"
	"github.com/keyhold/keyhold/internal/login/userpass"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// testLogins are the methods of the engine under test: users with passwords, and one that keeps whatever it is told.
var testLogins = map[login.Type]login.Method{login.Userpass: userpass.New(), login.Kubernetes: keeper{}}

// keeper is a method that keeps documents as they are; whoever presents the secret of its mount is the role that it names, in the groups of the mount's document.
type keeper struct{}

func (keeper) Config(_ context.Context, was, asked login.Document) (login.Document, error) {
	return keep(was, asked), nil
}

func (keeper) Role(_ context.Context, _ string, was, asked login.Document) (login.Document, error) {
	return keep(was, asked), nil
}

func keep(was, asked login.Document) login.Document {
	if asked.Secret == nil {
		asked.Secret = was.Secret
	}
	if asked.Secret != nil {
		asked.Secret = secret.Copy(asked.Secret.Reveal(reveal.Key{}))
	}
	return asked
}

func (keeper) Prove(ctx context.Context, m login.Mount, r login.Request) (login.Identity, error) {
	role, err := m.Roles.Role(ctx, r.Role)
	if err != nil {
		return login.Identity{}, err
	}
	defer role.Secret.Zero()
	if r.Proof == nil || m.Config.Secret == nil || !r.Proof.Equal(m.Config.Secret) {
		return login.Identity{}, login.Refuse("it is not the secret of the mount")
	}
	id := login.Identity{Role: role.Name, Name: r.ID, Metadata: map[string]string{"role": role.Name}}
	if len(m.Config.Public) > 0 {
		id.Groups = []string{string(m.Config.Public)}
	}
	return id, nil
}

// newMount makes a mount of users.
func newMount(w *world, n string) (engine.AuthOutput, error) {
	return w.e.EnableAuth(w.t.Context(), admin, engine.EnableAuthInput{Path: "at-" + n, Type: login.Userpass})
}

// newUser makes a mount with one user.
func newUser(w *world, n string) (engine.AuthRoleInput, error) {
	if _, err := newMount(w, n); err != nil {
		return engine.AuthRoleInput{}, err
	}
	in := engine.AuthRoleInput{Mount: "at-" + n, Name: "ann"}
	_, err := w.e.PutAuthRole(w.t.Context(), admin, userOf(in))
	return in, err
}

func userOf(at engine.AuthRoleInput) engine.PutAuthRoleInput {
	return engine.PutAuthRoleInput{Mount: at.Mount, Name: at.Name, Document: login.Document{Secret: secret.Copy([]byte("correct horse"))},
		Terms: engine.LoginTermsChange{Rights: &engine.LoginRights{Roles: []kms.Role{kms.RoleUser}}}}
}

// logsIn is a login with a password.
func (w *world) logsIn(at engine.AuthRoleInput, password string) (engine.CreateTokenOutput, error) {
	return w.e.Login(w.t.Context(), stranger(), engine.LoginInput{Mount: at.Mount, Request: login.Request{Role: at.Name, Proof: secret.Copy([]byte(password))}})
}

// stranger is a call of nobody.
func stranger() kms.Call {
	c := user
	c.Principal = nil
	return c
}

var loginTrials = map[kms.Action]trial{
	kms.EnableAuth: plain(newMount),
	kms.TuneAuth: after(newMount, func(w *world, in engine.AuthOutput) (engine.AuthOutput, error) {
		about := "users"
		return w.e.TuneAuth(w.t.Context(), admin, engine.TuneAuthInput{Path: in.Mount.Path, Description: &about})
	}),
	kms.DisableAuth: after(newMount, func(w *world, in engine.AuthOutput) (engine.AuthOutput, error) {
		return w.e.DisableAuth(w.t.Context(), admin, engine.AuthInput{Path: in.Mount.Path})
	}),
	kms.ReadAuth: after(newMount, func(w *world, _ engine.AuthOutput) (engine.AuthsOutput, error) {
		return w.e.ListAuth(w.t.Context(), admin)
	}),
	kms.ConfigureAuth: func(w *world, n string) func() (any, error) {
		if _, err := w.e.EnableAuth(w.t.Context(), admin, engine.EnableAuthInput{Path: n, Type: login.Kubernetes}); err != nil {
			w.t.Fatal(err)
		}
		return func() (any, error) {
			return w.e.ConfigureAuth(w.t.Context(), admin, engine.ConfigureAuthInput{Path: n, Document: login.Document{Public: []byte(`staff`), Secret: secret.Copy([]byte("s"))}})
		}
	},
	kms.PutAuthRole: after(newMount, func(w *world, in engine.AuthOutput) (engine.AuthRoleOutput, error) {
		return w.e.PutAuthRole(w.t.Context(), admin, userOf(engine.AuthRoleInput{Mount: in.Mount.Path, Name: "ann"}))
	}),
	kms.ReadAuthRole: after(newUser, func(w *world, in engine.AuthRoleInput) (engine.AuthRolesOutput, error) {
		return w.e.ListAuthRoles(w.t.Context(), admin, engine.ListAuthRolesInput{Mount: in.Mount})
	}),
	kms.DeleteAuthRole: after(newUser, func(w *world, in engine.AuthRoleInput) (engine.AuthRoleOutput, error) {
		return w.e.DeleteAuthRole(w.t.Context(), admin, in)
	}),
	kms.Login: after(newUser, func(w *world, in engine.AuthRoleInput) (engine.CreateTokenOutput, error) {
		return w.logsIn(in, "correct horse")
	}),
	kms.CreateSecretID: after(newAppRole, func(w *world, in engine.AuthRoleInput) (engine.CreateSecretIDOutput, error) {
		return w.e.CreateSecretID(w.t.Context(), admin, engine.CreateSecretIDInput{Mount: in.Mount, Role: in.Name})
	}),
	kms.CreateTokenByRole: func(w *world, n string) func() (any, error) {
		if _, err := w.e.PutAuthRole(w.t.Context(), admin, engine.PutAuthRoleInput{Mount: "token", Name: n}); err != nil {
			w.t.Fatal(err)
		}
		return func() (any, error) {
			return w.e.CreateTokenByRole(w.t.Context(), admin, engine.CreateTokenInput{Principal: "svc/" + n, Role: n})
		}
	},
	kms.ReadSecretID: after(newSecretID, func(w *world, in engine.SecretIDInput) (engine.SecretIDOutput, error) {
		return w.e.SecretID(w.t.Context(), admin, in)
	}),
	kms.DestroySecretID: after(newSecretID, func(w *world, in engine.SecretIDInput) (engine.SecretIDOutput, error) {
		return w.e.DestroySecretID(w.t.Context(), admin, in)
	}),
}

// newAppRole makes a mount with one role of AppRole.
func newAppRole(w *world, n string) (engine.AuthRoleInput, error) {
	in := engine.AuthRoleInput{Mount: "at-" + n, Name: "ci"}
	if _, err := w.e.EnableAuth(w.t.Context(), admin, engine.EnableAuthInput{Path: in.Mount, Type: login.AppRole}); err != nil {
		return in, err
	}
	id := "role-id"
	doc, err := (&engine.AppRoleChange{RoleID: &id}).Document()
	if err == nil {
		_, err = w.e.PutAuthRole(w.t.Context(), admin, engine.PutAuthRoleInput{Mount: in.Mount, Name: in.Name, Document: doc})
	}
	return in, err
}

// newSecretID makes a secret id, and names it by its accessor.
func newSecretID(w *world, n string) (engine.SecretIDInput, error) {
	at, err := newAppRole(w, n)
	if err != nil {
		return engine.SecretIDInput{}, err
	}
	out, err := w.e.CreateSecretID(w.t.Context(), admin, engine.CreateSecretIDInput{Mount: at.Mount, Role: at.Name})
	return engine.SecretIDInput{Mount: at.Mount, Role: at.Name, Accessor: out.Info.Accessor}, err
}
