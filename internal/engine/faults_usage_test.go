package engine_test

import (
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

var usageTrials = map[kms.Action]trial{
	kms.ReadUsage: onKey(kms.AES256GCM, func(w *world, k kms.Ref, _ string) (engine.UsageOutput, error) {
		return w.e.ReadUsage(w.t.Context(), user, engine.UsageInput{Key: k})
	}),
}

var usageElsewhere = map[kms.Action]string{
	kms.RetireVersion: "not built yet",
	kms.AssessKey:     "not built yet",
}
