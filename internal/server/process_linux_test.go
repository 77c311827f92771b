package server

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNoCoreFileShowsAKey(t *testing.T) {
	if err := Harden(); err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil || limit.Cur != 0 || limit.Max != 0 {
		t.Errorf("core limit %+v %v, want 0", limit, err)
	}
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		t.Errorf("dumpable %d %v, want 0", dumpable, err)
	}
}

// A program goes on after its pages were let go of.
func TestTheProgramComesBack(t *testing.T) {
	before := residentFile(t)
	TrimProgram()
	if after := residentFile(t); after >= before {
		t.Errorf("got %d kB of files in memory, had %d before", after, before)
	}
}

// What was written into a part of the program that is read-only by now stays, as the dynamic linker's addresses have to.
func TestWhatWasWrittenIntoTheProgramStays(t *testing.T) {
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close() //nolint:errcheck // it was read
	size := os.Getpagesize()
	part, err := unix.Mmap(int(program.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(part) //nolint:errcheck // the test's end
	was := part[100]
	part[100] = ^was
	if err := unix.Mprotect(part, unix.PROT_READ); err != nil {
		t.Fatal(err)
	}
	TrimProgram()
	if part[100] != ^was {
		t.Error("it is gone")
	}
}

// residentFile is how much of files this process has mapped and present, in kB.
func residentFile(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	n := 0
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
