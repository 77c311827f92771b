package kms_test

import (
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
)

// TestWhatIsNoUUIDIsRefused: 36 bytes with hyphens in the four places are not enough.
func TestWhatIsNoUUIDIsRefused(t *testing.T) {
	const good = "0192f000-0000-7000-8000-00000000002a"
	if _, ok := kms.ParseID(good); !ok {
		t.Fatalf("%s was refused", good)
	}
	for i := range good {
		for _, c := range "-g\x00\xff " {
			bad := good[:i] + string(c) + good[i+1:]
			if _, ok := kms.ParseID(bad); ok && bad != good {
				t.Errorf("%q was read as an id", bad)
			}
		}
	}
	for i := 0; i+1 < len(good); i++ {
		bad := good[:i] + "--" + good[i+2:]
		if id, ok := kms.ParseID(bad); ok {
			t.Errorf("%q was read as the id %s", bad, id)
		}
	}
	for _, bad := range []string{"", good[:35], good + "0", "00000000-0000-0000-0000-0000000000-0"} {
		if _, ok := kms.ParseID(bad); ok {
			t.Errorf("%q was read as an id", bad)
		}
	}
}
