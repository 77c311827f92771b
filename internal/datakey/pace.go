// Package datakey has the arithmetic of re-wrap campaigns: how fast one goes beside what else the server does, and when it will be done. It is
// pure: it is told what was measured, holds no clock, and touches neither keys nor records.
//
// What it refuses to do is to be quick at the cost of who waits for an answer. A campaign works in pages of some milliseconds and rests between
// them; how long, it learns from its own pages. A page waits for the same disk and the same processors as every other operation, so that what
// makes those slow makes pages slow first. Invariants: a rest is never shorter than the operator's rate demands, and never longer than MaxRest
// and that rate together, so that a campaign always ends.
package datakey

import "time"

// The bounds of a rest between two pages.
const (
	MinRest = 500 * time.Microsecond // so that others get a turn, also on an idle machine
	MaxRest = 60 * time.Millisecond

	busyShare = 3                    // beside other operations a campaign rests this many times as long as its page took on the processor, at least …
	busyRest  = 3 * time.Millisecond // … and this long
	slack     = 3                    // a page that takes this many times as long as an undisturbed one says that something waits
	company   = 100                  // pages that meet none are as if one was there, after one that met one: operations are short
	late      = 2 * time.Millisecond // a rest that lasted this much longer than it was to says that the processors are taken
)

// Sample is what one page measured.
type Sample struct {
	Took    time.Duration // from its beginning to its durable record
	Overrun time.Duration // by which the rest before it lasted longer than asked
	Rows    int
	Others  int // operations that were under way beside it
}

// Pacer decides how long to rest after a page. The zero value is ready. It is not safe for concurrent use.
type Pacer struct {
	base time.Duration // what an undisturbed page takes, as learnt
	rest time.Duration // the last one
	busy int           // pages for which the server is taken to do other things as well
}

// Next takes the measure of a page and answers how long to rest. rate is the operator's limit in rows a second; 0: none.
func (p *Pacer) Next(s Sample, rate uint32) time.Duration {
	p.learn(s.Took)
	busy := p.busy > 0
	if p.busy = max(p.busy-1, 0); s.Others > 0 {
		busy, p.busy = true, company
	}
	switch disturbed := s.Took > slack*p.base || s.Overrun > late; {
	case disturbed && busy:
		p.rest += p.rest/4 + MinRest
	case disturbed: // slow by itself: nobody waits but the campaign
		p.rest -= p.rest / 16
	default:
		p.rest -= p.rest / 4
	}
	least := MinRest
	if busy {
		least = max(busyRest, min(s.Took, p.base)/busyShare)
	}
	p.rest = min(max(p.rest, least), MaxRest)
	if rate == 0 {
		return p.rest
	}
	return max(p.rest, time.Duration(s.Rows)*time.Second/time.Duration(rate)-s.Took)
}

// learn follows quick pages at once and slow ones by a hundredth of the difference: one that is slow for good becomes the measure in the end.
func (p *Pacer) learn(took time.Duration) {
	if p.base == 0 || took < p.base {
		p.base = max(took, time.Microsecond)
		return
	}
	p.base += (took - p.base) / 128
}
