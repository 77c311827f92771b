package policy

import (
	"os"
	"strings"
	"testing"
)

// TestTheExamplesInAWSsLanguageCanBeStored reads the documents of docs/aws-policies.md.
func TestTheExamplesInAWSsLanguageCanBeStored(t *testing.T) {
	raw, err := os.ReadFile("../../docs/aws-policies.md")
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, b := range blocks(string(raw)) {
		switch b.kind {
		case "json key-policy":
			_, err = CheckKeyPolicy(testAccount, []byte(b.text))
		case "json identity":
			_, err = CheckIAM("p", testAccount, []byte(b.text), Attached{Groups: []string{"g"}})
		default:
			continue
		}
		if read++; err != nil {
			t.Errorf("%s: %v", strings.SplitN(b.text, "\n", 2)[0], err)
		}
	}
	if read < 2 {
		t.Errorf("%d documents, want 2 at least", read)
	}
}
