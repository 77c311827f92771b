package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/keyhold/keyhold/internal/audit/segment"
	"github.com/keyhold/keyhold/internal/kms"
)

// batch collects the records of callers while the one before is being written.
type batch struct {
	buf    []byte // room for the header, then frames
	leaves []byte // leaf hashes
	n      uint32
	normal uint32 // records that may not use the reserve
	calls  uint32 // groups
	part   bool   // put the keys away after it
	fresh  bool   // begin a segment with it

	done  chan struct{} // closed when the fields below are final
	first uint64
	err   *kms.Error
}

func newBatch(buf []byte) *batch {
	if buf == nil {
		buf = make([]byte, segment.HeaderSize, 64<<10)
	}
	b := &batch{buf: buf[:segment.HeaderSize], done: make(chan struct{})}
	b.leaves = (*leafPool.Get().(*[]byte))[:0] //nolint:forcetypeassert,errcheck // the pool holds nothing else
	return b
}

func (b *batch) finish(first uint64, err *kms.Error) {
	b.first, b.err = first, err
	close(b.done)
}

// leafPool keeps the lists of leaf hashes, which go from the committer to the tree.
var leafPool = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// group is records on their way into a batch.
type group struct {
	frames []byte
	leaves []byte
	n      uint32
	urgent bool
	part   bool
	fresh  bool
}

var groups = sync.Pool{New: func() any { return new(group) }}

func (g *group) reset() {
	g.frames, g.leaves = g.frames[:0], g.leaves[:0]
	g.n, g.urgent, g.part, g.fresh = 0, true, false, false
}

// add encodes a record and hashes it: callers do this in parallel.
func (g *group) add(r *Record) error {
	start := len(g.frames)
	var err error
	if g.frames, err = appendFrame(g.frames, r); err != nil {
		return err
	}
	return g.hash(start, r.Action)
}

func (g *group) hash(start int, a kms.Action) error {
	frame := g.frames[start:]
	body := int(binary.BigEndian.Uint16(frame))
	leaf := sha256.Sum256(frame[segment.FrameSize-1 : segment.FrameSize+body])
	g.leaves = append(g.leaves, leaf[:]...)
	g.n++
	g.urgent = g.urgent && urgent(a)
	if len(g.frames) > MaxGroup {
		return kms.Errorf(kms.CodeTooLarge, "the audit records of one request have more than %d bytes", MaxGroup)
	}
	return nil
}

// urgent tells whether a record may use the reserve on a full disk: what an administrator needs to put things right.
func urgent(a kms.Action) bool {
	return a.Group() == kms.OperatorGroup || a.Group() == kms.AdminGroup
}

// Append writes a record and waits until it is durable. Nothing that depends on the record may leave the server before it returns a position.
// It sets r.Commit. Errors: CodeTooLarge, CodeBadRequest for a record beyond the limits; CodeDiskFull, CodeAuditUnavailable,
// CodeStopping: the record has no position and must be taken for unwritten.
func (l *Log) Append(r *Record) (Position, error) {
	g := groups.Get().(*group) //nolint:forcetypeassert,errcheck // the pool holds nothing else
	defer groups.Put(g)
	g.reset()
	if err := g.add(r); err != nil {
		return Position{}, err
	}
	first, err := l.write(g)
	if err != nil {
		return Position{}, err
	}
	return l.position(first), nil
}

// AppendAll writes several records in one batch, with consecutive positions: all of them or none. Errors are those of Append.
func (l *Log) AppendAll(rs []*Record) ([]Position, error) {
	if len(rs) == 0 {
		return nil, nil
	}
	g := groups.Get().(*group) //nolint:forcetypeassert,errcheck // the pool holds nothing else
	defer groups.Put(g)
	g.reset()
	for _, r := range rs {
		if err := g.add(r); err != nil {
			return nil, err
		}
	}
	first, err := l.write(g)
	if err != nil {
		return nil, err
	}
	all := make([]Position, len(rs))
	for i := range all {
		all[i] = l.position(first + uint64(i)) //nolint:gosec // G115: an index
	}
	return all, nil
}

// AppendEncoded writes a record that Encode made earlier, as it stands in an outbox. It may use the reserve. Errors: CodeRecordDamaged for parts
// that are not a record or do not belong together; otherwise those of Append.
func (l *Log) AppendEncoded(body, annex []byte) (Position, error) {
	if _, err := Decode(body, annex); err != nil {
		return Position{}, kms.Errorf(kms.CodeRecordDamaged, "an audit record that waits to be written is damaged").Because(err)
	}
	g := groups.Get().(*group) //nolint:forcetypeassert,errcheck // the pool holds nothing else
	defer groups.Put(g)
	g.reset()
	g.frames = segment.AppendFrame(g.frames, body, annex)
	if err := g.hash(0, kms.StartServer); err != nil {
		return Position{}, err
	}
	first, err := l.write(g)
	if err != nil {
		return Position{}, err
	}
	return l.position(first), nil
}

func (l *Log) position(seq uint64) Position {
	return Position{Node: l.cfg.Node, Epoch: l.epoch, Seq: seq}
}

// urgentTries is how often a group that may use the reserve is tried: the segment in use, what is left of it, the reserve.
const urgentTries = 3

// write hands a group to the committer and waits. A group that may use the reserve is tried again when the disk turned out to be full.
func (l *Log) write(g *group) (uint64, error) {
	first, err := l.join(g)
	for try := 1; try < urgentTries && err != nil && g.urgent && err.Code == kms.CodeDiskFull; try++ {
		first, err = l.join(g)
	}
	if err != nil {
		return 0, err
	}
	return first, nil
}

// join puts a group into the current batch. Under the mutex it only takes its place.
func (l *Log) join(g *group) (uint64, *kms.Error) {
	l.mu.Lock()
	for {
		if l.closing {
			l.mu.Unlock()
			return 0, kms.Errorf(kms.CodeStopping, "the audit log is closed")
		}
		if f := l.fault; f != nil && !f.admits(g, l.cfg.Now()) {
			err := f.err
			l.mu.Unlock()
			l.counters.refused.Add(uint64(g.n))
			return 0, err
		}
		if l.cur.n == 0 || len(l.cur.buf)+len(g.frames) <= MaxBatch {
			break
		}
		l.gather.reached() // it is full
		l.room.Wait()
	}
	b, index := l.cur, uint64(l.cur.n)
	b.buf = append(b.buf, g.frames...)
	b.leaves = append(b.leaves, g.leaves...)
	b.n += g.n
	if !g.urgent {
		b.normal += g.n
	}
	b.part = b.part || g.part
	b.fresh = b.fresh || g.fresh
	b.calls++
	if index == 0 {
		l.work.Signal()
	}
	l.gather.joined(b.calls)
	l.mu.Unlock()

	<-b.done
	if b.err != nil {
		return 0, b.err
	}
	return b.first + index, nil
}

// admits tells whether a record may be tried while the log is out of order: one that may use the reserve of a full disk, or any, now and
// then, so that the log mends as soon as it can.
func (f *fault) admits(g *group, now time.Time) bool {
	if g.urgent && f.full {
		return true
	}
	return !now.Before(f.retry)
}
