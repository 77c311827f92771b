//go:build linux || darwin

package cli

import "golang.org/x/sys/unix"

// freeSpace is the room that an ordinary user has on the disk of a directory, in bytes.
func freeSpace(dir string) (uint64, bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return st.Bavail * uint64(st.Bsize), true //nolint:gosec,unconvert // G115: a block is not negative; its type differs by system
}
