package engine_test

import "github.com/keyhold/keyhold/internal/kms"

var datakeysTrials = map[kms.Action]trial{}

var datakeysElsewhere = map[kms.Action]string{
	kms.RegisterDataKey: "not built yet",
	kms.ReadDataKey:     "not built yet",
	kms.OpenDataKey:     "not built yet",
	kms.RevokeDataKey:   "not built yet",
	kms.RewrapDataKeys:  "not built yet",
	kms.ReadCampaign:    "not built yet",
	kms.ControlCampaign: "not built yet",
}
