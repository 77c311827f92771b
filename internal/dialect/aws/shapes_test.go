package aws

import (
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
