package server

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// TrimProgram lets go of the pages of the program's own file. The start runs through most of it once: tables, schemas, self-tests. What serving
// uses comes back from the page cache as it is used; the rest no longer counts as this process's (madvise(2): a clean page of a file is read again).
// A part that was written to stays whole, though it is read-only by now: the dynamic linker leaves its addresses in one, and the file does not have them.
// Whatever fails leaves things as they are.
func TrimProgram() {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/smaps") // proc_pid_smaps(5)
	if err != nil {
		return
	}
	part, own := "", false // of memory, where it is the program's; it has pages of its own
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) == 0:
		case !strings.HasSuffix(f[0], ":"): // the next part
			part, own = "", false
			if len(f) == 6 && f[5] == program && !strings.Contains(f[1], "w") {
				part = f[0]
			}
		case f[0] == "Anonymous:", f[0] == "Swap:":
			own = own || len(f) < 2 || f[1] != "0"
		case f[0] == "VmFlags:" && part != "" && !own: // the last line of each
			letGo(part)
		}
	}
}

// letGo lets go of memory that /proc has by the addresses where it begins and ends.
func letGo(part string) {
	first, last, _ := strings.Cut(part, "-")
	from, err1 := strconv.ParseUint(first, 16, 64)
	to, err2 := strconv.ParseUint(last, 16, 64)
	if err1 == nil && err2 == nil {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(from), uintptr(to-from), unix.MADV_DONTNEED)
	}
}
