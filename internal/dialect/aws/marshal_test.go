package aws_test

import (
	"encoding/json"
	"testing"
)

func marshal(t testing.TB, in any) string {
	t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
