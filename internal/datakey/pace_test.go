package datakey_test

import (
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/datakey"
)

func run(p *datakey.Pacer, n int, s datakey.Sample, rate uint32) (rest time.Duration) {
	for range n {
		rest = p.Next(s, rate)
	}
	return rest
}

func TestAnIdleServerIsUsed(t *testing.T) {
	var p datakey.Pacer
	if got := run(&p, 50, datakey.Sample{Took: 3 * time.Millisecond, Rows: 50}, 0); got != datakey.MinRest {
		t.Errorf("rests %s between undisturbed pages, want %s", got, datakey.MinRest)
	}
}

func TestOthersGetMostOfTheMachine(t *testing.T) {
	var p datakey.Pacer
	if got := run(&p, 50, datakey.Sample{Took: 3 * time.Millisecond, Rows: 50, Others: 4}, 0); got < 3*time.Millisecond {
		t.Errorf("rests %s beside other operations, want 3ms at least", got)
	}
}

func TestItBacksOffWhenOthersWait(t *testing.T) {
	var p datakey.Pacer
	run(&p, 20, datakey.Sample{Took: 3 * time.Millisecond, Rows: 50}, 0)
	slow := datakey.Sample{Took: 30 * time.Millisecond, Rows: 50, Others: 8}
	if got := run(&p, 20, slow, 0); got < 30*time.Millisecond || got > datakey.MaxRest {
		t.Errorf("rests %s when pages take ten times as long, want 30ms to %s", got, datakey.MaxRest)
	}
	if got := run(&p, 30, datakey.Sample{Took: 3 * time.Millisecond, Rows: 50}, 0); got < 3*time.Millisecond {
		t.Errorf("rests %s as soon as it meets nobody for a moment, want 3ms at least", got)
	}
	if got := run(&p, 100, datakey.Sample{Took: 3 * time.Millisecond, Rows: 50}, 0); got != datakey.MinRest {
		t.Errorf("rests %s when it is quiet again, want %s", got, datakey.MinRest)
	}
	if got := run(&p, 5, datakey.Sample{Took: 3 * time.Millisecond, Overrun: 20 * time.Millisecond, Rows: 50, Others: 1}, 0); got <= 5*time.Millisecond {
		t.Errorf("rests %s when it is called back late, want more", got)
	}
}

// TestASlowDiskIsGotUsedTo: where everything is slow for good, that is the measure, and a campaign ends there too.
func TestASlowDiskIsGotUsedTo(t *testing.T) {
	var p datakey.Pacer
	run(&p, 1, datakey.Sample{Took: time.Millisecond, Rows: 50, Others: 2}, 0)
	if got := run(&p, 1000, datakey.Sample{Took: 30 * time.Millisecond, Rows: 50, Others: 2}, 0); got > 20*time.Millisecond {
		t.Errorf("rests %s on a disk that is slow, want 20ms at most", got)
	}
}

func TestARateIsKept(t *testing.T) {
	var p datakey.Pacer
	s := datakey.Sample{Took: 5 * time.Millisecond, Rows: 50}
	if got, want := run(&p, 10, s, 500), 95*time.Millisecond; got != want {
		t.Errorf("rests %s at 500 rows a second, want %s", got, want)
	}
	if got := run(&p, 10, s, 1_000_000); got != datakey.MinRest {
		t.Errorf("rests %s at a rate that is not reached, want %s", got, datakey.MinRest)
	}
	if got, want := run(&p, 10, s, 1), 50*time.Second-5*time.Millisecond; got != want {
		t.Errorf("rests %s at one row a second, want %s", got, want)
	}
}

func TestTheMeterFollows(t *testing.T) {
	var m datakey.Meter
	if m.Add(50, 100*time.Millisecond); m.PerSecond() != 0 {
		t.Errorf("tells %f rows a second after a tenth of one", m.PerSecond())
	}
	for range 40 {
		m.Add(50, 50*time.Millisecond)
	}
	if got := m.PerSecond(); got < 900 || got > 1000 {
		t.Errorf("got %.0f rows a second want nearly 1000", got)
	}
	for range 600 {
		m.Add(50, 500*time.Millisecond)
	}
	if got := m.PerSecond(); got < 99 || got > 105 {
		t.Errorf("got %.0f rows a second want 100", got)
	}
}

func TestRemaining(t *testing.T) {
	for _, c := range []struct {
		left  uint64
		speed float64
		want  time.Duration
	}{
		{0, 100, 0}, {100, 0, 0}, {1000, 100, 10 * time.Second}, {1, 1000, time.Second}, {1 << 63, 1e-9, 100 * 365 * 24 * time.Hour},
	} {
		if got := datakey.Remaining(c.left, c.speed); got != c.want {
			t.Errorf("%d rows at %g: got %s want %s", c.left, c.speed, got, c.want)
		}
	}
}
