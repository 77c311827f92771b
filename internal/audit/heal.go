package audit

import (
	"time"

	"github.com/keyhold/keyhold/internal/audit/disk"
	"github.com/keyhold/keyhold/internal/kms"
)

// broke notes that the disk failed: from here on records are refused until an attempt on a new segment succeeds. A region of a file that
// failed is never written again: after a failed sync the kernel may report pages clean that never reached the disk.
func (l *Log) broke(what string, err error) *kms.Error {
	out := failure(what, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault == nil {
		l.cfg.Logger.Error("audit log failed", "during", what, "error", err)
		l.fault = &fault{backoff: firstProbe}
	}
	f := l.fault
	f.stop()
	f.err, f.full = out, disk.Full(err)
	f.retry = l.cfg.Now().Add(retryAfter)
	if !l.closing {
		f.timer = time.AfterFunc(f.backoff, l.due)
		f.backoff = min(2*f.backoff, lastProbe)
	}
	return out
}

// due wakes the committer for a probe.
func (l *Log) due() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.probe = true
	l.work.Signal()
}

// restore tries to bring the log back into order. While the disk is full, a batch of urgent records alone goes to the reserve instead.
func (l *Log) restore(f *fault, b *batch) *kms.Error {
	if b != nil && b.normal == 0 && f.full {
		if l.seg != nil && !l.seg.broken {
			return nil // on the reserve already; roll finds out when it is used up
		}
		l.abandon()
		if err := l.useReserve(); err != nil {
			return l.broke("use the reserve", err)
		}
		return nil
	}
	seg, err := l.newSegment(true)
	if err != nil {
		return l.broke("begin a new segment after a fault", err)
	}
	l.abandon()
	l.adopt(seg)
	l.mu.Lock()
	l.fault.stop()
	l.fault = nil
	l.mu.Unlock()
	l.cfg.Logger.Info("audit log recovered", "origin", l.origin, "size", l.next)
	return nil
}

// abandon leaves the present segment. What was never acknowledged is cut off if the disk permits it; readers do not depend on that,
// since the next segment starts with the number at which this one counts no further.
func (l *Log) abandon() {
	if l.seg == nil {
		return
	}
	l.fill.retire(l.seg)
	l.seg = nil
}

func (l *Log) faulty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault != nil
}

// Healthy is nil if records can be written; otherwise it is the error that Append would give.
func (l *Log) Healthy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closing:
		return kms.Errorf(kms.CodeStopping, "the audit log is closed")
	case l.fault != nil:
		return l.fault.err
	}
	return nil
}
