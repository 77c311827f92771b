package engine_test

import (
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

func newTemplate(w *world, n string) (engine.TemplateOutput, error) {
	return w.e.PutTemplate(w.t.Context(), admin, engine.PutTemplateInput{Template: engine.TemplateInfo{Name: n, Algorithm: kms.AES256GCM}})
}

var inventoryTrials = map[kms.Action]trial{
	kms.PutTemplate: plain(newTemplate),
	kms.ReadTemplate: after(newTemplate, func(w *world, in engine.TemplateOutput) (engine.TemplateOutput, error) {
		return w.e.GetTemplate(w.t.Context(), user, engine.TemplateInput{Name: in.Template.Name})
	}),
	kms.ReadInventory: plain(func(w *world, _ string) (engine.InventoryOutput, error) {
		return w.e.ReadInventory(w.t.Context(), admin, engine.InventoryInput{})
	}),
	kms.DeleteTemplate: after(newTemplate, func(w *world, in engine.TemplateOutput) (engine.TemplateOutput, error) {
		return w.e.DeleteTemplate(w.t.Context(), admin, engine.TemplateInput{Name: in.Template.Name})
	}),
}
