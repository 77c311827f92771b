package arena_test

import (
	"errors"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/secret/arena"
	"github.com/keyhold/keyhold/internal/secret/reveal"
)

// Hidden memory cannot be read through /proc/self/mem, by root either (memfd_secret(2)). Other kinds can: the test then shows that it
// would notice.
func TestOnlyHiddenMemoryCannotBeReadFromOutside(t *testing.T) {
	a := open(t)
	s := a.Keep(secret.Copy([]byte("planted secret")))
	b := s.Reveal(reveal.Key{})
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close() //nolint:errcheck // read only
	got := make([]byte, len(b))
	_, err = mem.ReadAt(got, int64(uintptr(unsafe.Pointer(&b[0])))) //nolint:gosec // G103, G115: the address of mapped memory
	switch kind := a.Figures().Kind; {
	case kind == arena.Hidden && !errors.Is(err, unix.EIO):
		t.Errorf("hidden memory was read from outside: %q, %v", got, err)
	case kind != arena.Hidden && (err != nil || string(got) != "planted secret"):
		t.Errorf("%s memory read from outside: %q, %v", kind, got, err)
	}
}
