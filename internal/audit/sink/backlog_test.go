package sink

import (
	"syscall"
	"testing"
)

// shrink makes a listener's queue as short as it can be.
func shrink(t *testing.T, raw syscall.RawConn) {
	t.Helper()
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = syscall.Listen(int(fd), 0) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}
