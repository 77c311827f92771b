package engine_test

import (
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

func newDataKey(w *world, n string) (engine.ManagedDataKeyInput, error) {
	w.create(n, kms.AES256GCM, 0)
	_, err := w.e.RegisterDataKey(w.t.Context(), user, engine.RegisterDataKeyInput{Key: kms.Ref(n), Name: "d"})
	return engine.ManagedDataKeyInput{Key: kms.Ref(n), DataKey: "d"}, err
}

func newCampaign(w *world, n string) (engine.CampaignInput, error) {
	in, err := newDataKey(w, n)
	if err != nil {
		return engine.CampaignInput{}, err
	}
	if in, err = idle(w, in); err != nil {
		return engine.CampaignInput{}, err
	}
	out := engine.CampaignInput{Key: in.Key}
	_, err = w.e.StartCampaign(w.t.Context(), admin, out)
	return out, err
}

// idle switches a key off, so that its campaign waits and takes no fault that is meant for somebody else.
func idle(w *world, in engine.ManagedDataKeyInput) (engine.ManagedDataKeyInput, error) {
	_, err := w.e.DisableKey(w.t.Context(), admin, engine.KeyInput{Key: in.Key})
	return in, err
}

func newIdleDataKey(w *world, n string) (engine.ManagedDataKeyInput, error) {
	in, err := newDataKey(w, n)
	if err != nil {
		return in, err
	}
	return idle(w, in)
}

var datakeysTrials = map[kms.Action]trial{
	kms.RegisterDataKey: onKey(kms.AES256GCM, func(w *world, k kms.Ref, n string) (engine.ManagedDataKeyOutput, error) {
		return w.e.RegisterDataKey(w.t.Context(), user, engine.RegisterDataKeyInput{Key: k, Name: n, WithPlaintext: true})
	}),
	kms.ReadDataKey: after(newDataKey, func(w *world, in engine.ManagedDataKeyInput) (engine.ManagedDataKeyOutput, error) {
		return w.e.ReadDataKey(w.t.Context(), user, in)
	}),
	kms.OpenDataKey: after(newDataKey, func(w *world, in engine.ManagedDataKeyInput) (engine.ManagedDataKeyOutput, error) {
		return w.e.OpenDataKey(w.t.Context(), user, in)
	}),
	kms.RevokeDataKey: after(newDataKey, func(w *world, in engine.ManagedDataKeyInput) (engine.ManagedDataKeyOutput, error) {
		return w.e.RevokeDataKey(w.t.Context(), admin, in)
	}),
	kms.RewrapDataKeys: after(newIdleDataKey, func(w *world, in engine.ManagedDataKeyInput) (engine.CampaignOutput, error) {
		return w.e.StartCampaign(w.t.Context(), admin, engine.CampaignInput{Key: in.Key})
	}),
	kms.ReadCampaign: after(newCampaign, func(w *world, in engine.CampaignInput) (engine.CampaignOutput, error) {
		return w.e.ReadCampaign(w.t.Context(), user, in)
	}),
	kms.ControlCampaign: after(newCampaign, func(w *world, in engine.CampaignInput) (engine.CampaignOutput, error) {
		return w.e.PauseCampaign(w.t.Context(), admin, in)
	}),
}

var datakeysElsewhere = map[kms.Action]string{}
