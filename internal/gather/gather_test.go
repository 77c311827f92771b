package gather_test

import (
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/gather"
)

// paced is a pace of writes of a millisecond.
func paced(p gather.Patience) *gather.Pace {
	g := &gather.Pace{Patience: p}
	for range 100 {
		g.Wrote(1, 0, time.Millisecond)
	}
	return g
}

func TestWhoIsExpected(t *testing.T) {
	for name, c := range map[string]struct{ callers, waiting, there, want int }{
		"those who were there, and who came meanwhile": {3, 2, 1, 5},
		"those who came meanwhile, if they came back":  {1, 1, 1, 2},
		"nobody else by one who was alone":             {1, 0, 1, 0},
		"nobody when all are there":                    {3, 2, 5, 0},
		"nobody when more are there":                   {3, 2, 6, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := paced(1)
			p.Wrote(c.callers, c.waiting, time.Millisecond)
			if got, limit := p.Wait(c.there); got != c.want || (limit > 0) != (c.want > 0) {
				t.Errorf("got %d callers for %v at most, want %d", got, limit, c.want)
			}
		})
	}
}

func TestHowLong(t *testing.T) {
	about := func(got, want time.Duration) bool { return got > want*99/100 && got < want*101/100 }
	for name, c := range map[string]struct {
		patience gather.Patience
		write    time.Duration
		want     time.Duration
	}{
		"half a write":             {0.5, time.Millisecond, 500 * time.Microsecond},
		"two writes":               {2, 300 * time.Microsecond, 600 * time.Microsecond},
		"not as long as two slow":  {2, time.Second, 2 * time.Millisecond},
		"not for a disk in memory": {0.5, 40 * time.Microsecond, 0},
		"not without patience":     {0, time.Millisecond, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := paced(c.patience)
			for range 200 {
				p.Wrote(4, 0, c.write)
			}
			if _, got := p.Wait(1); got != c.want && !about(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestTheFirstBatchWaitsForNobody(t *testing.T) {
	if n, limit := new(gather.Pace).Wait(1); n != 0 || limit != 0 {
		t.Errorf("got %d callers for %v", n, limit)
	}
}
