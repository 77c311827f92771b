package arena

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mapMemory maps size bytes of the best memory there is, between two pages that nothing can read.
func mapMemory(size int) (memory []byte, kind Kind, unmap func() error, err error) {
	page := os.Getpagesize()
	whole, kind, err := mapWhole(size + 2*page)
	if err != nil {
		return nil, 0, nil, fmt.Errorf("map memory for secrets: %w", err)
	}
	unmap = func() error { return unix.Munmap(whole) }
	for _, guard := range [][]byte{whole[:page], whole[page+size:]} {
		if err := unix.Mprotect(guard, unix.PROT_NONE); err != nil {
			_ = unmap()
			return nil, 0, nil, fmt.Errorf("guard memory for secrets: %w", err)
		}
	}
	return whole[page : page+size : page+size], kind, unmap, nil
}

func mapWhole(size int) ([]byte, Kind, error) {
	if b, err := mapHidden(size); err == nil {
		return b, Hidden, nil
	}
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, 0, err
	}
	kind := Locked
	if unix.Mlock(b) != nil { // RLIMIT_MEMLOCK
		kind = Visible
	}
	for _, advice := range []int{unix.MADV_DONTDUMP, unix.MADV_WIPEONFORK} {
		if unix.Madvise(b, advice) != nil {
			kind = Visible
		}
	}
	return b, kind, nil
}

// mapHidden fails where the kernel is older than 5.14, was built or booted without secret memory, or RLIMIT_MEMLOCK is too low.
func mapHidden(size int) ([]byte, error) {
	fd, err := unix.MemfdSecret(unix.O_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd) //nolint:errcheck // the mapping stays
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, err
	}
	b, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	if err := unix.Madvise(b, unix.MADV_DONTFORK); err != nil {
		_ = unix.Munmap(b)
		return nil, err
	}
	return b, nil
}
