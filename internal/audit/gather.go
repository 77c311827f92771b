package audit

import "time"

// gathering decides how long the committer waits for more callers before it writes. Those of the batch before have just had their answer and
// mostly come back with their next request: half of them would be written alone while the others gather for the write after it, and so on for
// ever. It waits for as many as were in the batch before and came while that was written, for half as long as a write takes at most. Where they
// do not come, a record waits that much longer, once: the next batch expects fewer. A caller who is alone never waits.
type gathering struct {
	want   uint32 // callers that end the waiting; 0: the committer does not wait. Guarded by the log's mutex
	enough chan struct{}
	timer  *time.Timer

	// The committer's own.
	last    uint32        // callers of the batch before
	waiting uint32        // callers who came while it was written
	pace    time.Duration // what a write takes, smoothed
}

const (
	leastGather = 50 * time.Microsecond // below, a timer costs as much as a write
	mostGather  = 2 * time.Millisecond
)

func (g *gathering) open() {
	g.enough = make(chan struct{}, 1)
	g.timer = time.NewTimer(time.Hour)
	g.timer.Stop()
}

// wrote notes a batch before its callers have their answer: whoever comes later is one of them who came back.
func (l *Log) wrote(calls uint32, took time.Duration) {
	const smooth = 8
	g := &l.gather
	g.last = calls
	g.pace += (took - g.pace) / smooth
	l.mu.Lock()
	g.waiting = l.cur.calls
	l.mu.Unlock()
}

// reached ends the waiting.
func (g *gathering) reached() {
	if g.want > 0 {
		g.want = 0
		g.enough <- struct{}{} // there is room: it is read before the next waiting begins
	}
}

// joined counts a caller who came.
func (g *gathering) joined(calls uint32) {
	if calls >= g.want {
		g.reached()
	}
}

// gatherMore waits for callers. The mutex is held, and let go meanwhile.
func (l *Log) gatherMore() {
	g := &l.gather
	want, most := g.last+g.waiting, min(g.pace/2, mostGather)
	if want < 2 || l.cur.calls >= want || most < leastGather || l.closing {
		return
	}
	g.want = want
	g.timer.Reset(most)
	l.mu.Unlock()
	select {
	case <-g.enough:
		g.timer.Stop()
		l.mu.Lock()
		return
	case <-g.timer.C:
	}
	l.mu.Lock()
	if g.want == 0 { // they came at that moment
		<-g.enough
	}
	g.want = 0
}
