// Package gather decides how long a committer waits for more callers before it writes and syncs once for all of them.
//
// Those of the batch before have just had their answer, and mostly come back with their next request: without waiting, half of them would be
// written while the others gather for the write after it, and so on for ever, with twice as many syncs as are needed. A committer waits for as
// many as were in the batch before and came while that was written, for so many times as long as a write takes at most. Where they do not come, a
// request waits that much longer, once: the next batch expects fewer. A caller who is alone never waits.
//
// It refuses to wait itself: how callers arrive is the committer's own. Two have it: the audit log and the store.
package gather

import "time"

// Bounds of waiting.
const (
	least = 50 * time.Microsecond // below, a timer costs as much as a write
	most  = 2 * time.Millisecond
)

// Patience is how long is waited at most, in writes.
type Patience float64

// Pace is what a committer knows of its callers and of its disk. The zero value waits for nobody. Patience is set before use; the rest is for one goroutine.
type Pace struct {
	Patience Patience

	expected int           // callers
	write    time.Duration // smoothed
}

// Wrote notes a batch: of how many callers it was, how many came while it was written, and how long that took. It is called before those of the batch
// have their answer: whoever comes later is one of them who is back, and would be expected twice.
func (p *Pace) Wrote(callers, waiting int, took time.Duration) {
	const smooth = 8 // writes
	p.expected = callers + waiting
	p.write += (took - p.write) / smooth
}

// Wait tells whether to wait when so many callers are there: for how many in all, and how long at most. 0, 0: do not.
func (p *Pace) Wait(there int) (callers int, limit time.Duration) {
	limit = min(time.Duration(float64(p.write)*float64(p.Patience)), most)
	if p.expected < 2 || there >= p.expected || limit < least {
		return 0, 0
	}
	return p.expected, limit
}
