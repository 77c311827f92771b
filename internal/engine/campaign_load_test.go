package engine_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/store/pebble"
)

func spentCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// foreground encrypts at a steady pace until it is told to end, and answers how long each took.
func (w *world) foreground(clients int, every time.Duration, end <-chan struct{}) []time.Duration {
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			var took []time.Duration
			for {
				select {
				case <-end:
					mu.Lock()
					all = append(all, took...)
					mu.Unlock()
					return
				case <-tick.C:
				}
				began := time.Now()
				if _, err := w.e.Encrypt(w.t.Context(), user, engine.EncryptInput{Key: "front", Items: []engine.EncryptItem{{Plaintext: []byte("0123456789abcdef")}}}); err != nil {
					w.t.Errorf("encrypt: %v", err)
					return
				}
				took = append(took, time.Since(began))
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	return all
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}

// TestAMillionDataKeys re-wraps data keys on the real store beside a foreground of encryptions: a million in five minutes, while the 99th percentile of the
// foreground stays within twice what it is without. Short runs have two thousand data keys and hold only that all of them are re-wrapped.
func TestAMillionDataKeys(t *testing.T) { // LIF-6
	n, warm := 2000, 200*time.Millisecond
	if long() {
		n, warm = 1_000_000, 20*time.Second
	}
	st, err := pebble.Open(pebble.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	w := newWorldOn(t, st, func(c *engine.Config) { c.Now = time.Now })
	w.create("kek", kms.AES256GCM, 0)
	w.create("front", kms.AES256GCM, 0)
	began := time.Now()
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := w.e.RegisterDataKey(t.Context(), user, engine.RegisterDataKeyInput{Key: "kek"}); err != nil {
					t.Errorf("register: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d data keys made by 16 clients in %s", n, time.Since(began).Round(time.Millisecond))

	run := func(what func()) []time.Duration {
		end := make(chan struct{})
		go func() {
			what()
			close(end)
		}()
		return w.foreground(8, 10*time.Millisecond, end)
	}
	idle := run(func() { time.Sleep(warm) })
	w.rotate("kek")
	began, cpu := time.Now(), spentCPU()
	busy := run(func() { w.e.Upkeep(t.Context()) })
	took, cpu := time.Since(began), spentCPU()-cpu
	c := w.campaign("kek")
	if c.State != "done" || c.Done != uint64(n) || c.Left != 0 {
		t.Errorf("got %+v want %d re-wrapped, none left", c, n)
	}
	after := run(func() { time.Sleep(warm) })
	alone := max(quantile(idle, 0.99), quantile(after, 0.99))
	t.Logf("%d re-wrapped in %s: %.0f a second, %s CPU with the foreground; foreground p50 %s p99 %s before, p50 %s p99 %s beside it, p50 %s p99 %s after (%d, %d and %d encryptions)",
		n, took.Round(time.Millisecond), float64(n)/took.Seconds(), cpu.Round(time.Millisecond), quantile(idle, 0.5), quantile(idle, 0.99), quantile(busy, 0.5), quantile(busy, 0.99),
		quantile(after, 0.5), quantile(after, 0.99), len(idle), len(busy), len(after))
	if !long() {
		return
	}
	if took > 5*time.Minute {
		t.Errorf("%d data keys took %s, want 5m at most", n, took)
	}
	if got := quantile(busy, 0.99); got > 2*alone {
		t.Errorf("the 99th percentile of the foreground is %s beside the campaign, want %s at most, twice what it is without", got, 2*alone)
	}
}
