package engine_test

import (
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

func newAccessKey(w *world, n string) (engine.CreateAccessKeyOutput, error) {
	return w.e.CreateAccessKey(w.t.Context(), admin, engine.CreateAccessKeyInput{Principal: "svc/" + n, Roles: []kms.Role{kms.RoleUser}})
}

var credsTrials = map[kms.Action]trial{
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
}

var credsElsewhere = map[kms.Action]string{}
