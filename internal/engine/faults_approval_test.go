package engine_test

import "github.com/keyhold/keyhold/internal/kms"

var approvalTrials = map[kms.Action]trial{}

var approvalElsewhere = map[kms.Action]string{
	kms.RequestApproval:  "not built yet",
	kms.GiveApproval:     "not built yet",
	kms.ReadApproval:     "not built yet",
	kms.WithdrawApproval: "not built yet",
}
