package client

import (
	"context"
	"math/rand/v2"
	"time"
)

// Retry says how often, and after which pauses, failed calls are repeated. Zero fields take the defaults.
type Retry struct {
	Attempts int           // in all. 0: 4; 1: never repeat
	Base     time.Duration // longest pause after the first attempt; doubled each time. 0: 100 ms
	Max      time.Duration // longest pause. 0: 5 s
}

func (r Retry) withDefaults() Retry {
	if r.Attempts <= 0 {
		r.Attempts = 4
	}
	if r.Base <= 0 {
		r.Base = 100 * time.Millisecond
	}
	if r.Max <= 0 {
		r.Max = 5 * time.Second
	}
	return r
}

// pause waits before the next attempt: as long as the server asked for, and a random part of a bound that doubles ("full
// jitter"), so that many clients do not come back at once. It tells whether there is time for another attempt.
func (r Retry) pause(ctx context.Context, attempt int, asked time.Duration) bool {
	bound := r.Max
	if shift := attempt - 1; shift < 16 && r.Base<<shift < r.Max {
		bound = r.Base << shift
	}
	wait := asked + rand.N(bound)
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
		return false // the caller learns the reason now rather than "deadline exceeded" later
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
