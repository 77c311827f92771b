package engine_test

import "github.com/keyhold/keyhold/internal/kms"

var rotationTrials = map[kms.Action]trial{}

var rotationElsewhere = map[kms.Action]string{
	kms.ScheduleRotation: "not built yet",
}
