package engine_test

import (
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// ownNamespace is an operator's call in a namespace that was made for it.
func ownNamespace(w *world, n string) (kms.Call, error) {
	if _, err := w.e.CreateNamespace(w.t.Context(), operator(), engine.NamespaceInput{Name: kms.Namespace(n)}); err != nil {
		return kms.Call{}, err
	}
	c := operator()
	c.Namespace = kms.Namespace(n)
	return c, nil
}

func scheduled(w *world, n string) (kms.Call, error) {
	c, err := ownNamespace(w, n)
	if err == nil {
		_, err = w.e.ScheduleNamespaceDestruction(w.t.Context(), c, engine.NamespaceDestroyInput{Name: c.Namespace})
	}
	return c, err
}

var destructionTrials = map[kms.Action]trial{
	kms.ReadReceipt: after(func(w *world, n string) (engine.KeyOutput, error) {
		w.create(n, kms.AES256GCM, 0)
		return w.schedule(admin, engine.DestroyInput{Key: kms.Ref(n)})
	}, func(w *world, in engine.KeyOutput) (engine.ReceiptOutput, error) {
		return w.e.ReadReceipt(w.t.Context(), admin, engine.KeyInput{Key: kms.RefTo(in.Key.ID)})
	}),
	kms.ScheduleNamespaceDestruction: after(ownNamespace, func(w *world, c kms.Call) (engine.NamespaceDestructionOutput, error) {
		return w.e.ScheduleNamespaceDestruction(w.t.Context(), c, engine.NamespaceDestroyInput{Name: c.Namespace})
	}),
	kms.CancelNamespaceDestruction: after(scheduled, func(w *world, c kms.Call) (engine.NamespaceOutput, error) {
		return w.e.CancelNamespaceDestruction(w.t.Context(), c, engine.NamespaceInput{Name: c.Namespace})
	}),
}

var destructionElsewhere = map[kms.Action]string{
	kms.DestroyNamespace: "done by the system when a window ends: TestADestructionSurvivesEveryFault fails each of its steps",
}
