package engine_test

import (
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

var statesTrials = map[kms.Action]trial{
	kms.ActivateVersion: after(func(w *world, n string) (engine.KeyOutput, error) {
		return w.e.CreateKey(w.t.Context(), admin, engine.CreateKeyInput{Name: n, Algorithm: kms.AES256GCM, Dates: engine.Dates{PreActive: true}})
	}, func(w *world, in engine.KeyOutput) (engine.KeyOutput, error) {
		return w.e.ActivateVersion(w.t.Context(), admin, engine.ActivateInput{Key: kms.RefTo(in.Key.ID), Version: 1})
	}),
	kms.SuspendVersion: onKey(kms.AES256GCM, func(w *world, k kms.Ref, _ string) (engine.KeyOutput, error) {
		return w.e.SuspendVersion(w.t.Context(), admin, engine.VersionInput{Key: k, Version: 1})
	}),
	kms.ResumeVersion: after(func(w *world, n string) (engine.KeyOutput, error) {
		w.create(n, kms.AES256GCM, 0)
		return w.e.SuspendVersion(w.t.Context(), admin, engine.VersionInput{Key: kms.Ref(n), Version: 1})
	}, func(w *world, in engine.KeyOutput) (engine.KeyOutput, error) {
		return w.e.ResumeVersion(w.t.Context(), admin, engine.VersionInput{Key: kms.RefTo(in.Key.ID), Version: 1})
	}),
	kms.ArchiveVersion: after(deactivated, func(w *world, in engine.KeyOutput) (engine.KeyOutput, error) {
		return w.e.ArchiveVersion(w.t.Context(), admin, engine.ArchiveInput{Key: kms.RefTo(in.Key.ID), Version: 1})
	}),
	kms.CompromiseVersion: onKey(kms.AES256GCM, func(w *world, k kms.Ref, _ string) (engine.CompromiseOutput, error) {
		return w.e.CompromiseVersion(w.t.Context(), admin, engine.CompromiseInput{Key: k, All: true})
	}),
}

// deactivated makes a key whose first version is deactivated.
func deactivated(w *world, n string) (engine.KeyOutput, error) {
	w.create(n, kms.AES256GCM, 0)
	if _, err := w.e.RotateKey(w.t.Context(), admin, engine.RotateKeyInput{Key: kms.Ref(n)}); err != nil {
		return engine.KeyOutput{}, err
	}
	return w.e.DeactivateVersion(w.t.Context(), admin, engine.DeactivateInput{Key: kms.Ref(n), Version: 1})
}

var statesElsewhere = map[kms.Action]string{
	kms.RecallVersion:      "takes approvals: the tests of approvals and of the archive try it",
	kms.ProcessCompromised: "a permission, not an operation",
}
