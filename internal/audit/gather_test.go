package audit_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyhold/keyhold/internal/audit/disk/disktest"
)

// slow makes every sync take so long, by the clock of the test.
func slow(write time.Duration) func(disktest.Op, string) *disktest.Fault {
	return func(op disktest.Op, _ string) *disktest.Fault {
		if op == disktest.Sync {
			return &disktest.Fault{Delay: write}
		}
		return nil
	}
}

func TestCallersWhoComeBackShareOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers, rounds = 8, 50
		b := newBench(t)
		b.open()
		synctest.Wait() // until zeros stand ahead: a record that reaches the chunk being filled waits for it
		b.fs.Set(slow(time.Millisecond))
		before := b.log.Stats()
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 200 * time.Microsecond) // they do not begin together
				for range rounds {
					if err := b.append(nil); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Duration(i) * 40 * time.Microsecond) // what a caller takes for its next request
				}
			})
		}
		all.Wait()
		after := b.log.Stats()
		if got, most := after.Batches-before.Batches, uint64(rounds+callers); got > most {
			t.Errorf("%d callers wrote %d records in %d batches, want %d at most", callers, after.Records-before.Records, got, most)
		}
		b.close()
	})
}

func TestNoOneWaitsForThoseWhoDoNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const write = time.Millisecond
		b := newBench(t)
		b.open()
		synctest.Wait() // until zeros stand ahead: a record that reaches the chunk being filled waits for it
		b.fs.Set(slow(write))
		took := func() time.Duration {
			began := time.Now()
			if err := b.append(nil); err != nil {
				t.Error(err)
			}
			return time.Since(began)
		}
		const alone = 20
		longer := 0 // what the server itself writes may be in the batch before
		for range alone {
			switch d := took(); {
			case d > write+write/2:
				t.Fatalf("a caller who is alone waited %v, want %v at most", d, write+write/2)
			case d > write:
				longer++
			}
		}
		if longer > 2 {
			t.Errorf("a caller who is alone waited for others %d of %d times", longer, alone)
		}
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() { took() })
		}
		all.Wait()
		if d := took(); d > write+write/2 {
			t.Errorf("the first one after many waited %v, want %v at most", d, write+write/2)
		}
		if d := took(); d > write+write/2 {
			t.Errorf("the second one waited %v, want %v at most", d, write+write/2)
		}
		b.close()
	})
}
