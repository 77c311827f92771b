// Package proc reads what Linux accounts for a process, proc(5): CPU time, memory, bytes written, and how busy its cores were.
// It needs no rights beyond those of the process's own user.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times: USER_HZ is 100 wherever Go runs on Linux.
const tick = 10 * time.Millisecond

// Sample is what was accounted up to a moment.
type Sample struct {
	At        time.Time
	User, Sys time.Duration // CPU time of the process, all its threads
	Written   int64         // bytes that the process caused to be written to storage
	RSS, Peak int64         // bytes in memory: now, and at most since ResetPeak
	Busy      time.Duration // time that the cores which the process may use were not idle
	Stolen    time.Duration // time that the hypervisor took from these cores
	Cores     []int
}

// CPU is user and system time together.
func (s *Sample) CPU() time.Duration { return s.User + s.Sys }

// Read takes a sample of a process.
func Read(pid int) (s Sample, err error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	var stat, status, all []byte
	if status, err = os.ReadFile(dir + "status"); err != nil {
		return s, err
	}
	if all, err = os.ReadFile("/proc/stat"); err != nil {
		return s, err
	}
	io, _ := os.ReadFile(dir + "io") // another user's process: 0
	if stat, err = os.ReadFile(dir + "stat"); err != nil {
		return s, err
	}
	s.At = time.Now()
	if s.User, s.Sys, err = times(stat); err != nil {
		return s, err
	}
	s.RSS, s.Peak = field(status, "VmRSS:")<<10, field(status, "VmHWM:")<<10 // in KiB
	s.Written = field(io, "write_bytes:")
	if s.Cores, err = cores(status); err != nil {
		return s, err
	}
	s.Busy, s.Stolen = busy(all, s.Cores)
	return s, nil
}

// ResetPeak makes the highest memory so far that of now.
func ResetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// times finds utime and stime, fields 14 and 15. The name in field 2 may hold spaces and parentheses: count from its end.
func times(stat []byte) (user, sys time.Duration, err error) {
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(f) < 13 {
		return 0, 0, fmt.Errorf("/proc/PID/stat has %d fields after the name", len(f))
	}
	u, err := strconv.ParseInt(string(f[11]), 10, 64)
	if err != nil {
		return 0, 0, err
	}
	v, err := strconv.ParseInt(string(f[12]), 10, 64)
	return time.Duration(u) * tick, time.Duration(v) * tick, err
}

// field finds a number behind a name at the beginning of a line; 0 if there is none.
func field(text []byte, name string) int64 {
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) >= 2 && string(f[0]) == name {
			n, _ := strconv.ParseInt(string(f[1]), 10, 64)
			return n
		}
	}
	return 0
}

// cores lists the CPUs that a process may use, from lines like "Cpus_allowed_list:\t0-2,7".
func cores(status []byte) ([]int, error) {
	_, list, ok := strings.Cut(string(status), "Cpus_allowed_list:")
	if !ok {
		return nil, fmt.Errorf("/proc/PID/status does not tell the cores")
	}
	list, _, _ = strings.Cut(list, "\n")
	var all []int
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		first, last, span := strings.Cut(part, "-")
		if !span {
			last = first
		}
		from, err := strconv.ParseUint(first, 10, 16)
		if err != nil {
			return nil, err
		}
		to, err := strconv.ParseUint(last, 10, 16)
		if err != nil {
			return nil, err
		}
		for c := from; c <= to; c++ {
			all = append(all, int(c))
		}
	}
	return all, nil
}

// busy adds up the lines of the cores in /proc/stat: user nice system idle iowait irq softirq steal.
func busy(stat []byte, cores []int) (busy, stolen time.Duration) {
	const idle, iowait, steal, columns = 3, 4, 7, 8
	for _, c := range cores {
		name := "cpu" + strconv.Itoa(c)
		for line := range bytes.Lines(stat) {
			f := bytes.Fields(line)
			if len(f) <= columns || string(f[0]) != name {
				continue
			}
			for i := range columns {
				n, _ := strconv.ParseInt(string(f[1+i]), 10, 64)
				switch i {
				case idle, iowait:
				case steal:
					stolen += time.Duration(n) * tick
				default:
					busy += time.Duration(n) * tick
				}
			}
		}
	}
	return busy, stolen
}
