package engine_test

import "github.com/keyhold/keyhold/internal/kms"

var usageTrials = map[kms.Action]trial{}

var usageElsewhere = map[kms.Action]string{
	kms.RetireVersion: "not built yet",
	kms.AssessKey:     "not built yet",
	kms.ReadUsage:     "not built yet",
}
