package engine_test

import "github.com/keyhold/keyhold/internal/kms"

var inventoryTrials = map[kms.Action]trial{}

var inventoryElsewhere = map[kms.Action]string{
	kms.ReadInventory:  "not built yet",
	kms.PutTemplate:    "not built yet",
	kms.ReadTemplate:   "not built yet",
	kms.DeleteTemplate: "not built yet",
}
