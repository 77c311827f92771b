package engine_test

import (
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

var usageTrials = map[kms.Action]trial{
	kms.ReadUsage: onKey(kms.AES256GCM, func(w *world, k kms.Ref, _ string) (engine.UsageOutput, error) {
		return w.e.ReadUsage(w.t.Context(), user, engine.UsageInput{Key: k})
	}),
	kms.AssessKey: onKey(kms.AES256GCM, func(w *world, k kms.Ref, _ string) (engine.AssessOutput, error) {
		return w.e.AssessKey(w.t.Context(), admin, engine.AssessInput{Key: k})
	}),
	kms.RebuildUsage: plain(func(w *world, _ string) (engine.RebuildUsageOutput, error) {
		return w.e.RebuildUsage(w.t.Context(), operator())
	}),
	kms.RetireVersion: after(func(w *world, n string) (engine.KeyOutput, error) {
		w.create(n, kms.AES256GCM, 0)
		return w.e.RotateKey(w.t.Context(), admin, engine.RotateKeyInput{Key: kms.Ref(n)})
	}, func(w *world, in engine.KeyOutput) (engine.RetireOutput, error) {
		return w.e.RetireVersion(w.t.Context(), admin, engine.RetireInput{Key: kms.RefTo(in.Key.ID), Version: 1})
	}),
}

var usageElsewhere = map[kms.Action]string{}
