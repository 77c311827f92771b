package engine_test

import "github.com/keyhold/keyhold/internal/kms"

var transferTrials = map[kms.Action]trial{}

var transferElsewhere = map[kms.Action]string{
	kms.CreateImportToken: "not built yet",
	kms.ImportKeyMaterial: "not built yet",
	kms.ExpireKeyMaterial: "not built yet",
	kms.ExportKey:         "not built yet",
}
