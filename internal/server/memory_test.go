package server

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestTheHeapGrowsByABoundedAmount(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 400}, {5 << 20, 400}, {16 << 20, 400}, {32 << 20, 200}, {64 << 20, 100}, {128 << 20, 50}, {1 << 40, 25}} {
		if got := growth(c.live); got != c.want {
			t.Errorf("%d MiB live: got %d %%, want %d", c.live>>20, got, c.want)
		}
	}
}

// A large heap that is live is not multiplied: the next collection comes after the headroom.
func TestTheCollectorFollowsWhatIsLive(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	new(tuner).arm()
	live := make([]byte, 256<<20)
	var m runtime.MemStats
	for until := time.Now().Add(10 * time.Second); ; {
		runtime.GC() // the finalizer runs some time after it
		if runtime.ReadMemStats(&m); m.NextGC < uint64(len(live))+headroom*5/4 {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("%d MiB are live, and the next collection comes at %d MiB", len(live)>>20, m.NextGC>>20)
		}
	}
	runtime.KeepAlive(live)
}
