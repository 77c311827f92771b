package proc

import (
	"os"
	"slices"
	"testing"
	"time"
)

func TestTimesAreCountedFromTheEndOfTheName(t *testing.T) {
	user, sys, err := times([]byte("7 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20"))
	if err != nil || user != 1500*time.Millisecond || sys != 250*time.Millisecond {
		t.Errorf("got %v, %v, %v, want 1.5s, 250ms", user, sys, err)
	}
	for _, bad := range []string{"", "7 (a) S 1 2", "7 (a) S 1 2 3 4 5 6 7 8 9 10 x 25 0"} {
		if _, _, err := times([]byte(bad)); err == nil {
			t.Errorf("%q is no error", bad)
		}
	}
}

func TestCoresAreSpansAndSingles(t *testing.T) {
	for list, want := range map[string][]int{"0": {0}, "0-2,7": {0, 1, 2, 7}, "3,5": {3, 5}} {
		got, err := cores([]byte("Name:\tx\nCpus_allowed_list:\t" + list + "\nMems_allowed_list:\t0\n"))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %v, %v, want %v", list, got, err, want)
		}
	}
	for _, bad := range []string{"", "Cpus_allowed_list:\tx\n", "Cpus_allowed_list:\t1-\n", "Cpus_allowed_list:\t0-99999999\n"} {
		if _, err := cores([]byte(bad)); err == nil {
			t.Errorf("%q is no error", bad)
		}
	}
}

func TestIdleAndStolenTimeIsNotBusy(t *testing.T) {
	stat := []byte("cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 1 2 1000 500 3 4 7 0 0\ncpu1 10 0 0 1000 0 0 0 0 0 0\ncpu10 5 0 0 0 0 0 0 0 0 0\n")
	got, stolen := busy(stat, []int{0, 10})
	if got != 115*tick || stolen != 7*tick {
		t.Errorf("got %v busy and %v stolen, want %v and %v", got, stolen, 115*tick, 7*tick)
	}
}

// A process that works is seen to work, and what it holds is seen.
func TestReadSeesThisProcess(t *testing.T) {
	before, err := Read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	after := before
	for until := time.Now().Add(10 * time.Second); after.CPU() == before.CPU(); {
		if after, err = Read(os.Getpid()); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(until) {
			t.Fatal("ten seconds of work took no CPU time")
		}
	}
	if after.RSS < 1<<20 || after.Peak < after.RSS || len(after.Cores) == 0 || after.Busy < before.Busy {
		t.Errorf("got %+v", after)
	}
}
