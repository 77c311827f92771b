package engine_test

import (
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

var rotationTrials = map[kms.Action]trial{
	kms.ScheduleRotation: onKey(kms.AES256GCM, func(w *world, k kms.Ref, _ string) (engine.KeyOutput, error) {
		return w.e.ScheduleRotation(w.t.Context(), admin, engine.ScheduleRotationInput{Key: k, Period: kms.Period{Every: 90 * 86400, Operations: 1000}})
	}),
}

var rotationElsewhere = map[kms.Action]string{}
