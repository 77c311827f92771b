package statetest_test

import (
	"testing"

	"github.com/keyhold/keyhold/internal/dialect/statetest"
	"github.com/keyhold/keyhold/internal/kms"
)

// TestEveryUseOfAKeyIsTried or stands for another one.
func TestEveryUseOfAKeyIsTried(t *testing.T) {
	same := map[kms.Action]string{
		kms.ReEncrypt:                           "ReEncryptFrom and ReEncryptTo",
		kms.GenerateDataKeyWithoutPlaintext:     "the role of GenerateDataKey",
		kms.GenerateDataKeyPairWithoutPlaintext: "the role of GenerateDataKeyPair",
		kms.RegisterDataKey:                     "managed data keys have tests of their own",
		kms.OpenDataKey:                         "managed data keys have tests of their own",
	}
	for _, o := range statetest.Operations() {
		same[o.Action] = "is tried"
	}
	for _, a := range kms.AllActions() {
		if a.Group() == kms.UseGroup && a.OnKey() && same[a] == "" {
			t.Errorf("%s is not tried", a)
		}
	}
}
