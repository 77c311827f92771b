package aws

import (
	"strings"
	"testing"
)

// TestEveryOperationOfTheModelHasARow is for operations that a newer model brings: each is placed, if only as one that there is not.
func TestEveryOperationOfTheModelHasARow(t *testing.T) {
	for name := range byName {
		if _, is := modelled[name]; !is {
			t.Errorf("the model has no operation %s", name)
		}
	}
}

// TestEveryChangeIsCarriedOutOncePerSignature: what neither looks nor uses a key changes something.
func TestEveryChangeIsCarriedOutOncePerSignature(t *testing.T) {
	uses := set("Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext",
		"GenerateRandom", "Sign", "Verify", "GenerateMac", "VerifyMac", "DeriveSharedSecret", "Encapsulate", "Decapsulate")
	for name := range modelled {
		looks := strings.HasPrefix(name, "Get") && name != "GetParametersForImport" || strings.HasPrefix(name, "List") || strings.HasPrefix(name, "Describe")
		if changing[name] == (looks || uses[name]) {
			t.Errorf("%s: it is a change: %v", name, changing[name])
		}
	}
	for name := range changing {
		if _, is := modelled[name]; !is {
			t.Errorf("the model has no operation %s", name)
		}
	}
}
