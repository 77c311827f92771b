package server

import (
	"bytes"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// gcPercent lets the heap grow to five times what is live before it is collected: the live heap of a key server is small, and
// a collection at every doubling costs more than a fifth of its time.
const gcPercent = 400

// TuneMemory sets the collector for a server, unless GOGC and GOMEMLIMIT say otherwise: a lazy collector below three quarters
// of the memory there is, an eager one above. getenv is os.Getenv.
func TuneMemory(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if getenv("GOMEMLIMIT") == "" {
		if n := memory(os.ReadFile); n > 0 {
			debug.SetMemoryLimit(n / 4 * 3)
		}
	}
}

// memory is what the machine, or the process's control group, has: in bytes; 0 if nobody says.
func memory(read func(string) ([]byte, error)) int64 {
	least := int64(math.MaxInt64)
	if text, err := read("/proc/meminfo"); err == nil {
		for line := range bytes.Lines(text) {
			if f := strings.Fields(string(line)); len(f) == 3 && f[0] == "MemTotal:" {
				if kb, err := strconv.ParseInt(f[1], 10, 64); err == nil && kb > 0 && kb < math.MaxInt64>>10 {
					least = min(least, kb<<10)
				}
			}
		}
	}
	for _, name := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} { // cgroups(7), versions 2 and 1
		if text, err := read(name); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
				least = min(least, n)
			}
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}
