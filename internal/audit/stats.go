package audit

import (
	"sync/atomic"
	"time"

	"github.com/keyhold/keyhold/internal/audit/segment"
)

// Stats are figures since Open, for metrics.
type Stats struct {
	Records    uint64 // acknowledged
	Batches    uint64
	Bytes      uint64        // of frames
	Writing    time.Duration // spent in write and sync
	Slowest    time.Duration // write and sync
	Segments   uint64
	Failed     uint64 // records whose write failed
	Refused    uint64 // records that were not tried because the log is out of order
	Checkpoint uint64 // records under the newest signed checkpoint
	Reserve    bool   // the reserve for a full disk is ready
}

type counters struct {
	batches, bytes, writing, slowest, segments, failed, refused atomic.Uint64
}

// committed counts a batch. The committer alone calls it.
func (c *counters) committed(h segment.Header, took time.Duration) {
	c.batches.Add(1)
	c.bytes.Add(uint64(h.Length))
	ns := uint64(max(took, 0)) //nolint:gosec // G115: not negative
	c.writing.Add(ns)
	if ns > c.slowest.Load() {
		c.slowest.Store(ns)
	}
}

// Stats reads the figures.
func (l *Log) Stats() Stats {
	c := &l.counters
	return Stats{
		Records: l.Size(), Batches: c.batches.Load(), Bytes: c.bytes.Load(), Writing: time.Duration(c.writing.Load()), //nolint:gosec // G115: a duration
		Slowest: time.Duration(c.slowest.Load()), Segments: c.segments.Load(), Failed: c.failed.Load(), //nolint:gosec // G115: a duration
		Refused: c.refused.Load(), Checkpoint: l.pub.covered(), Reserve: l.fill.hasReserve(),
	}
}
