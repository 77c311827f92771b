package engine_test

import "github.com/keyhold/keyhold/internal/kms"

var destructionTrials = map[kms.Action]trial{}

var destructionElsewhere = map[kms.Action]string{
	kms.ReadReceipt:                  "not built yet",
	kms.ScheduleNamespaceDestruction: "not built yet",
	kms.CancelNamespaceDestruction:   "not built yet",
	kms.DestroyNamespace:             "not built yet",
}
