package audit

import (
	"time"

	"github.com/keyhold/keyhold/internal/gather"
)

// patience of the committer. Longer, and all callers would wait for each other while the processor has nothing to do; shorter, and they fall into halves.
const patience gather.Patience = 0.5

// gathering is how callers end the committer's waiting for more of them.
type gathering struct {
	want   uint32 // callers that end it; 0: the committer does not wait. Guarded by the log's mutex
	enough chan struct{}
	timer  *time.Timer
	pace   gather.Pace // the committer's own
}

func (g *gathering) open() {
	g.pace.Patience = patience
	g.enough = make(chan struct{}, 1)
	g.timer = time.NewTimer(time.Hour)
	g.timer.Stop()
}

// wrote notes a batch before its callers have their answer.
func (l *Log) wrote(calls uint32, took time.Duration) {
	l.mu.Lock()
	waiting := l.cur.calls
	l.mu.Unlock()
	l.gather.pace.Wrote(int(calls), int(waiting), took)
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
	want, limit := g.pace.Wait(int(l.cur.calls))
	if want == 0 || l.closing {
		return
	}
	g.want = uint32(want) //nolint:gosec // G115: of two batches, each of MaxBatch bytes at most
	g.timer.Reset(limit)
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
