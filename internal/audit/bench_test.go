//go:build unix

package audit

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// BenchmarkAppend reports durable appends by number of callers, with the process's own CPU time for each: gate on that, not on wall time.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			cfg := testConfig(b)
			cfg.SegmentBytes = DefaultSegment
			k, _ := testKeys(b)
			l := opened(b, cfg, k)
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			cpu := processCPU(b)
			b.ResetTimer()
			for range callers {
				wg.Go(func() {
					r := typical()
					for left.Add(-1) >= 0 {
						if _, err := l.Append(&r); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(processCPU(b)-cpu)/float64(b.N)/1e3, "cpu-µs/op")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N), "mallocs/op")
			b.ReportMetric(float64(l.Stats().Records)/float64(l.Stats().Batches), "records/sync")
		})
	}
}

func processCPU(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkFollow reports what reading on costs for each record: what a reader such as the usage ledger pays before it adds anything up.
func BenchmarkFollow(b *testing.B) {
	cfg := testConfig(b)
	cfg.FS, cfg.SegmentBytes = unsynced{}, DefaultSegment
	k, _ := testKeys(b)
	l := opened(b, cfg, k)
	synthetic(b, l, 50_000)
	var after Position
	b.ReportAllocs()
	cpu := processCPU(b)
	for left := 0; b.Loop(); left-- {
		if left > 0 {
			continue
		}
		page, more, err := l.Follow(b.Context(), after, MaxPage)
		if err != nil {
			b.Fatal(err)
		}
		left, after = len(page), page[len(page)-1].Position
		if !more {
			after = Position{}
		}
	}
	b.ReportMetric(float64(processCPU(b)-cpu)/float64(b.N)/1e3, "cpu-µs/op")
}
