package engine_test

import (
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

func newAccessKey(w *world, n string) (engine.CreateAccessKeyOutput, error) {
	return w.e.CreateAccessKey(w.t.Context(), admin, engine.CreateAccessKeyInput{Principal: "svc/" + n, Roles: []kms.Role{kms.RoleUser}})
}

var credsTrials = map[kms.Action]trial{
	kms.RenewToken: after(renewable, func(w *world, c kms.Call) (engine.RenewTokenOutput, error) {
		id, _ := kms.ParseID(c.Principal.Credential)
		return w.e.RenewToken(w.t.Context(), admin, engine.RenewTokenInput{ID: id, TTL: 2 * time.Hour})
	}),
	kms.RenewOwnToken: after(renewable, func(w *world, c kms.Call) (engine.RenewTokenOutput, error) {
		return w.e.RenewOwnToken(w.t.Context(), c, engine.RenewTokenInput{TTL: 2 * time.Hour})
	}),
	kms.RevokeOwnToken: after(renewable, func(w *world, c kms.Call) (engine.TokenOutput, error) {
		return w.e.RevokeOwnToken(w.t.Context(), c)
	}),
	kms.CreateAccessKey: plain(newAccessKey),
	kms.ReadAccessKey: plain(func(w *world, _ string) (engine.AccessKeysOutput, error) {
		return w.e.ListAccessKeys(w.t.Context(), admin, engine.ListAccessKeysInput{})
	}),
	kms.RotateAccessKey: after(newAccessKey, func(w *world, in engine.CreateAccessKeyOutput) (engine.CreateAccessKeyOutput, error) {
		return w.e.RotateAccessKey(w.t.Context(), admin, engine.RotateAccessKeyInput{ID: in.Info.ID})
	}),
	kms.RevokeAccessKey: after(newAccessKey, func(w *world, in engine.CreateAccessKeyOutput) (engine.AccessKeyOutput, error) {
		return w.e.RevokeAccessKey(w.t.Context(), admin, engine.AccessKeyInput{ID: in.Info.ID})
	}),
	kms.PutRole: plain(newRole),
	kms.ReadRole: plain(func(w *world, _ string) (engine.RolesOutput, error) {
		return w.e.ListRoles(w.t.Context(), admin, engine.PageInput{})
	}),
	kms.DeleteRole: after(newRole, func(w *world, in engine.RoleOutput) (engine.RoleOutput, error) {
		return w.e.DeleteRole(w.t.Context(), admin, engine.RoleInput{Name: in.Role.Name})
	}),
	kms.AssumeRole: after(newRole, func(w *world, in engine.RoleOutput) (engine.SessionOutput, error) {
		return w.e.AssumeRole(w.t.Context(), signer(), engine.AssumeRoleInput{Role: in.Role.Name, Session: "test"})
	}),
}

// renewable makes a token that can be renewed, and answers a call that comes with it.
func renewable(w *world, n string) (kms.Call, error) {
	out, err := w.e.CreateToken(w.t.Context(), admin, engine.CreateTokenInput{Principal: "svc/" + n, Roles: []kms.Role{kms.RoleUser}, TTL: time.Hour, Renewable: true})
	return withToken(user, out.Info.ID), err
}

// withToken is a call that came with a token.
func withToken(c kms.Call, id kms.ID) kms.Call {
	p := *c.Principal
	p.Method, p.Credential = kms.AuthToken, id.String()
	c.Principal = &p
	return c
}

var credsElsewhere = map[kms.Action]string{}

func newRole(w *world, n string) (engine.RoleOutput, error) {
	return w.e.PutRole(w.t.Context(), admin, engine.RoleInfo{Name: n, Roles: []kms.Role{kms.RoleUser}, Trust: engine.RoleTrust{Principals: []string{user.Principal.Name}}})
}

// signer is a call of user that an access key signed.
func signer() kms.Call {
	c := user
	p := *c.Principal
	p.Method, p.Credential = kms.AuthSignature, "AKIAAAAAAAAAAAAAAAAA"
	c.Principal = &p
	return c
}
