package server

import (
	"bytes"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
)

// How far the heap may grow beyond what is live before it is collected: to five times that, because the live heap of a key server is small
// and a collection at every doubling costs more than a fifth of its time; but by headroom at most, because with caches that are full
// (the store's own lies on the heap as well) five times would be most of a gigabyte, for very little time.
const (
	gcPercent      = 400
	gcPercentLeast = 25
	headroom       = 64 << 20 // bytes
)

// TuneMemory sets the collector for a server, unless GOGC and GOMEMLIMIT say otherwise: a lazy collector below three quarters
// of the memory there is, an eager one above. getenv is os.Getenv.
func TuneMemory(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
		new(tuner).arm()
	}
	if getenv("GOMEMLIMIT") == "" {
		if n := memory(os.ReadFile); n > 0 {
			debug.SetMemoryLimit(n / 4 * 3)
		}
	}
}

// tuner sets the collector anew after each collection, by what that left.
type tuner struct{ set int }

// arm leaves something to be collected. Its finalizer runs after the next collection, and leaves another.
func (t *tuner) arm() {
	runtime.SetFinalizer(&struct{ t *tuner }{t}, func(*struct{ t *tuner }) {
		t.tune()
		t.arm()
	})
}

// tune is called by the finalizers' one goroutine only.
func (t *tuner) tune() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if live[0].Value.Kind() != metrics.KindUint64 {
		return
	}
	want := growth(live[0].Value.Uint64())
	if diff := want - t.set; diff < -t.set/10 || diff > t.set/10 { // it stops the world for a moment
		t.set = want
		debug.SetGCPercent(want)
	}
}

// growth is how far the heap may grow beyond what is live, in percent.
func growth(live uint64) int {
	return int(min(max(headroom*100/max(live, 1), gcPercentLeast), gcPercent)) //nolint:gosec // G115: at most gcPercent
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
