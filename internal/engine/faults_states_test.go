package engine_test

import "github.com/keyhold/keyhold/internal/kms"

var statesTrials = map[kms.Action]trial{}

var statesElsewhere = map[kms.Action]string{
	kms.ActivateVersion:    "not built yet",
	kms.SuspendVersion:     "not built yet",
	kms.ResumeVersion:      "not built yet",
	kms.ArchiveVersion:     "not built yet",
	kms.RecallVersion:      "not built yet",
	kms.CompromiseVersion:  "not built yet",
	kms.ProcessCompromised: "not built yet",
}
