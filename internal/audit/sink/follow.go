package sink

import (
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
)

// fill reads on until the batch is full, the log ends, or the next record belongs into another batch.
func (s *shipper) fill(ctx context.Context) error {
	var skipped *audit.Entry
	for scanned, more := 0, true; scanned < maxScan && (s.batch == nil || !s.batch.closed); scanned++ {
		if len(s.page) == 0 {
			if !more {
				break
			}
			var err error
			if s.page, more, err = s.cfg.Log.Follow(ctx, s.read, s.sink.BatchRecords); err != nil {
				return err
			}
			if len(s.page) == 0 {
				break
			}
		}
		e := &s.page[0]
		if s.sink.Namespace == "" || e.Namespace == s.sink.Namespace {
			if taken, err := s.take(e); err != nil || !taken {
				return err
			}
		} else {
			skipped = e
		}
		if s.batch != nil {
			s.batch.upTo = *e
		}
		if missing(s.read, e) {
			s.view.misses(s.read, e.Position)
		}
		s.read, s.page = e.Position, s.page[1:]
	}
	if skipped == nil || s.batch != nil || len(s.sent) > 0 {
		return nil
	}
	c, err := cursorAt(skipped)
	if err != nil {
		return err
	}
	return s.save(c)
}

// take adds a record to the batch, if there is room and it belongs there.
func (s *shipper) take(e *audit.Entry) (bool, error) {
	r := recordOf(e)
	line, err := encode(&r)
	if err != nil {
		return false, err
	}
	if b := s.batch; b != nil && (e.Epoch != b.first().Epoch || b.size+len(line) > s.sink.BatchBytes) {
		b.closed = true
		return false, nil
	}
	if s.batch == nil {
		s.batch = &batch{origin: audit.Origin(s.cfg.Cluster, e.Node, e.Epoch), begun: time.Now()}
	}
	b := s.batch
	b.entries, b.records, b.lines = append(b.entries, *e), append(b.records, r), append(b.lines, line)
	b.size += len(line)
	b.closed = len(b.entries) >= s.sink.BatchRecords || b.size >= s.sink.BatchBytes
	return true, nil
}

// missing tells whether records stood between a position and an entry that are gone from the log. The first record of an epoch says how many the
// one before had.
func missing(after audit.Position, e *audit.Entry) bool {
	switch {
	case after.IsZero():
		return false
	case e.Epoch == after.Epoch:
		return e.Seq != after.Seq+1
	case e.Epoch == after.Epoch+1 && e.Seq == 0:
		return e.Prev.Size != after.Seq+1
	}
	return true
}
