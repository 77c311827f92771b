package audit

import (
	"crypto/sha256"
	"fmt"
	"runtime"
	"time"

	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/kms"
)

// Times of the recovery from a fault.
const (
	retryAfter = 100 * time.Millisecond // between attempts that callers cause
	firstProbe = 100 * time.Millisecond // then doubled
	lastProbe  = 5 * time.Second
)

// fault says why the log cannot be written.
type fault struct {
	err     *kms.Error
	full    bool
	retry   time.Time // when a caller may cause the next attempt
	backoff time.Duration
	timer   *time.Timer
}

func (f *fault) stop() {
	if f.timer != nil {
		f.timer.Stop()
	}
}

// run is the committer: the one goroutine that writes records. While it waits for the disk, the next batch gathers.
func (l *Log) run() {
	defer l.pub.finish()
	for {
		b, more := l.take()
		if !more {
			return
		}
		l.serve(b)
	}
}

// take waits for a batch; a nil batch asks for a probe of a disk that failed.
func (l *Log) take() (b *batch, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if l.cur.n > 0 {
			// Whoever can run now may join: this goroutine was woken by the first record, or has just answered a batch
			// whose callers come back. Without it a server with few processors would sync nearly every record by itself.
			l.mu.Unlock()
			runtime.Gosched() // those who are ready
			runtime.Gosched() // those whose requests came meanwhile
			l.mu.Lock()
			l.gatherMore()
			b, l.cur = l.cur, newBatch(l.buffer())
			l.room.Broadcast()
			return b, true
		}
		if l.closing {
			return nil, false
		}
		if l.probe {
			l.probe = false
			return nil, true
		}
		l.work.Wait()
	}
}

// buffer gives a buffer that was used before.
func (l *Log) buffer() []byte {
	if n := len(l.spares); n > 0 {
		b := l.spares[n-1]
		l.spares = l.spares[:n-1]
		return b
	}
	return nil
}

// serve writes a batch, after bringing the log back into order if it is not.
func (l *Log) serve(b *batch) {
	l.mu.Lock()
	f := l.fault
	l.mu.Unlock()
	if f != nil {
		if err := l.restore(f, b); err != nil {
			if b != nil {
				l.drop(b, err)
			}
			return
		}
	}
	if b == nil {
		return
	}
	if l.seg == nil || b.fresh && l.seg.end.Load() > 0 || l.seg.broken || !l.seg.fits(segment.Padded(int64(len(b.buf)))) {
		if err := l.roll(l.faulty() && b.normal == 0); err != nil {
			l.drop(b, l.broke("roll to a new segment", err))
			return
		}
	}
	l.keying.RLock()
	defer l.keying.RUnlock()
	h, sum, err := l.seal(b)
	if err != nil { // the keys failed, not the disk
		l.drop(b, kms.Errorf(kms.CodeAuditUnavailable, "the audit log's key cannot be used").Because(err))
		return
	}
	began := time.Now()
	if err := l.seg.write(b.buf); err != nil {
		l.seg.broken = true
		l.drop(b, l.broke("write a batch", err))
		return
	}
	took := time.Since(began)
	l.counters.committed(h, took)
	l.wrote(b.calls, took)
	l.prev, l.next = sum, h.Next()
	l.durable.Store(l.next)
	if h.Flags&segment.Keyed != 0 {
		if h.HeadRev != 0 {
			l.newest.Store(&Head{Rev: kms.Rev(h.HeadRev), Hash: h.HeadHash, At: h.Time})
		}
		if h.Flags&segment.Parting != 0 {
			l.keys.Store(nil)
		}
	}
	b.finish(h.First, nil)
	l.pub.add(b.leaves)
	l.recycle(b)
	l.fill.nudge()
}

func (l *Log) drop(b *batch, err *kms.Error) {
	l.counters.failed.Add(uint64(b.n))
	b.finish(0, err)
	l.recycle(b)
}

// recycle keeps a buffer for a later batch, unless it grew large.
func (l *Log) recycle(b *batch) {
	const keep, largest = 2, MaxBatch + MaxGroup
	buf := b.buf
	b.buf = nil
	l.mu.Lock()
	if len(l.spares) < keep && cap(buf) <= largest {
		l.spares = append(l.spares, buf)
	}
	l.mu.Unlock()
}

// seal fills in a batch's header and pads it.
func (l *Log) seal(b *batch) (segment.Header, segment.Hash, error) {
	h := segment.Header{
		Tag: l.tag, First: l.next, Count: b.n, Time: l.cfg.Now(), Prev: l.prev, Leaves: sha256.Sum256(b.leaves),
	}
	var mac func(segment.Hash) (segment.Hash, error)
	if k := l.keys.Load(); k != nil {
		h.Flags, h.KeyEpoch = segment.Keyed, k.Epoch
		if b.part {
			h.Flags |= segment.Parting
		}
		if l.cfg.Head != nil {
			rev, hash := l.cfg.Head()
			h.HeadRev, h.HeadHash = uint64(rev), hash
		}
		mac = func(sum segment.Hash) (segment.Hash, error) { return k.MAC(k.Epoch, sum[:]) }
	}
	sum, err := segment.Seal(b.buf, &h, mac)
	if err != nil {
		return h, sum, fmt.Errorf("seal batch: %w", err)
	}
	for pad := h.Size() - int64(len(b.buf)); pad > 0; pad-- {
		b.buf = append(b.buf, 0)
	}
	return h, sum, nil
}
