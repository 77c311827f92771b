package sink

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// faulty is a far end that panics until it is told not to.
type faulty struct{ calls, good atomic.Int32 }

func (f *faulty) send(context.Context, *batch) error {
	f.calls.Add(1)
	if f.good.Load() == 0 {
		panic("a mistake of ours")
	}
	return nil
}
func (f *faulty) settle() time.Duration       { return 0 }
func (f *faulty) check(context.Context) error { return nil }
func (f *faulty) close()                      {}

func TestAFaultOfOursStopsOneSinkOnly(t *testing.T) {
	b := newBench(t)
	b.write(10)
	set := b.set(folder(t, "a"))
	f := &faulty{}
	set.shippers[0].to = f
	set.Start()
	defer set.Close() //nolint:errcheck // ends the test
	eventually(t, "faults", func() bool { return f.calls.Load() >= 3 })
	if s := status(t, set, "a"); s.State != Broken || !strings.Contains(s.Error, "a mistake of ours") || s.Lag == 0 {
		t.Errorf("got %+v", s)
	}
	f.good.Store(1)
	shipped(t, set, "a")
}
