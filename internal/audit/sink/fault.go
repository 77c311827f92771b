package sink

import (
	"errors"
	"math/rand/v2"
	"time"
)

// fault is why a delivery failed, with what is known of when it may succeed.
type fault struct {
	err     error
	refused bool          // trying again changes nothing until somebody does something
	after   time.Duration // what the receiver asked for; 0: nothing
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func refused(err error) error { return &fault{err: err, refused: true} }

// pause is how long to wait after the nth failure in a row: twice as long each time, half of it by chance so that receivers that come
// back are not met by everybody at once.
func (p *Pace) pause(n int, err error) time.Duration {
	d := p.Most
	if n = max(n, 1); n < 32 && p.First<<(n-1) < p.Most {
		d = p.First << (n - 1)
	}
	var f *fault
	if errors.As(err, &f) && f.refused {
		d = min(max(d, p.Refused), max(p.Most, p.Refused))
	}
	d = d/2 + rand.N(d/2+1) //nolint:gosec // G404: it protects nothing
	if f != nil {
		d = max(d, min(f.after, maxRetryAfter))
	}
	return d
}
