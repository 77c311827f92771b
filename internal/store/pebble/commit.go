package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keyhold/keyhold/internal/gather"
	"github.com/keyhold/keyhold/internal/store"
)

const (
	groupMax   = 512     // transactions in one commit
	groupBytes = 2 << 20 // of keys and values in one commit, after which no other transaction joins

	// forCallers is for what they do in between: a change is written to the audit log, in a batch that is gathered too, before its caller is back.
	forCallers gather.Patience = 2

	spaceFor   = 100 * time.Millisecond // how long an answer that there is room holds
	spaceBytes = 4 << 20                // of keys and values that may be written on it
)

// committer is the state of the one goroutine that commits. Its maps and slices are reused.
type committer struct {
	s    *Store
	view *view // the current one

	reqs    []*request
	size    int // bytes of keys and values in them
	pace    gather.Pace
	late    *time.Timer
	answers []answer
	written map[string]store.Rev      // what this group has written: key → revision, 0 for a deletion
	tokens  map[store.Token]store.Rev // the tokens of this group
	at      position
	batch   *pebble.Batch
	room    error // why nothing can be written, when last asked
	asked   bool  // in this group
	spaced  time.Time
	spent   int   // bytes written since
	young   int64 // until when the oldest feed row is too young to be pruned, Unix nanoseconds
	key     []byte
}

// answer is a result that is not given yet. A settled one rests on durable state only; any other is true only if
// the group becomes durable.
type answer struct {
	result
	settled bool
	staged  bool // its own writes are in the group
}

func (c *committer) init(s *Store) {
	c.s = s
	c.written, c.tokens = make(map[string]store.Rev), make(map[store.Token]store.Rev)
	c.pace.Patience = forCallers
	c.late = time.NewTimer(time.Hour)
	c.late.Stop()
}

// gather takes what is waiting besides first, and waits for those whose transactions were in the group before. The committer has let other
// goroutines run before: it was woken by the first request, and others are about to come.
func (c *committer) gather(first *request) []*request {
	c.reqs, c.size = c.reqs[:0], 0
	c.join(first)
	for c.roomy() {
		select {
		case r := <-c.s.queue:
			c.join(r)
			continue
		default:
		}
		break
	}
	want, limit := c.pace.Wait(len(c.reqs))
	if want == 0 {
		return c.reqs
	}
	c.late.Reset(limit)
	defer c.late.Stop()
	for len(c.reqs) < want && c.roomy() {
		select {
		case r := <-c.s.queue:
			c.join(r)
		case <-c.late.C:
			return c.reqs
		case <-c.s.stop:
			return c.reqs
		}
	}
	return c.reqs
}

// join takes a request into the group, unless its caller went away.
func (c *committer) join(r *request) {
	if r.claim() {
		c.reqs = append(c.reqs, r)
		c.size += r.size
	}
}

func (c *committer) roomy() bool { return len(c.reqs) < groupMax && c.size < groupBytes }

// commit makes one durable commit of a group and answers its requests.
func (c *committer) commit(reqs []*request) {
	c.answers = c.answers[:0]
	c.at, c.asked = c.view.at, false
	c.batch = c.view.eng.db.NewBatch()
	now := time.Now().UnixNano()
	for _, r := range reqs {
		c.answers = append(c.answers, c.decide(r, now))
	}
	var failed, unknown error
	if c.at.head.Rev != c.view.at.head.Rev {
		if err := c.prune(now); err != nil {
			c.s.cfg.Logger.Warn("store feed not pruned", "error", cut(err.Error()))
		}
		failed, unknown = c.apply()
	}
	_ = c.batch.Close()
	c.batch = nil
	if failed == nil && c.at.head.Rev != c.view.at.head.Rev {
		c.s.publish(c.view.eng, c.at)
	}
	for i, r := range reqs {
		a := c.answers[i]
		if failed != nil && !a.settled {
			a.result = result{err: failed}
			if a.staged {
				a.err = unknown
			}
		}
		r.done <- a.result
		reqs[i] = nil
	}
	clear(c.written)
	clear(c.tokens)
}

// apply makes the batch durable. If it fails: what to tell those whose writes are in it, and everybody else.
func (c *committer) apply() (failed, unknown error) {
	e := c.view.eng
	if cause := e.failure(); cause != nil {
		err := unavailable(cause)
		return err, err
	}
	began := time.Now()
	if err := apply(e.db, c.batch); err != nil {
		e.fence.trip(err)
	}
	c.pace.Wrote(len(c.reqs), len(c.s.queue), time.Since(began))
	if cause := e.failure(); cause != nil {
		return unavailable(cause), fmt.Errorf("%w: %w", store.ErrUnknown, cause)
	}
	return nil, nil
}

// apply is the engine's Apply without its panics.
func apply(db *pebble.DB, b *pebble.Batch) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("engine: %v", p)
		}
	}()
	return db.Apply(b, pebble.Sync)
}

// decide checks a transaction against the state and the group before it, and puts its writes into the batch.
func (c *committer) decide(r *request, now int64) answer {
	t := &r.txn
	if t.Token != (store.Token{}) && !t.Fresh {
		if rev, ok := c.tokens[t.Token]; ok {
			return answer{result: result{rev: rev}, staged: true} // unknown when the group is
		}
		rev, err := c.rev(appendTokenKey(c.key[:0], t.Token), decodeRev)
		if err != nil || rev != 0 {
			return answer{result: result{rev, err}, settled: true}
		}
	}
	settled := true
	for _, cond := range t.If {
		rev, ours := c.written[string(cond.Key)]
		if !ours {
			var err error
			if rev, err = c.rev(appendDataKey(c.key[:0], cond.Key), dataRev); err != nil {
				return answer{result: result{err: err}, settled: true}
			}
		}
		settled = settled && !ours
		if rev != cond.Rev {
			err := fmt.Errorf("%w: %q has revision %d, not %d", store.ErrConflict, cond.Key, rev, cond.Rev)
			return answer{result: result{err: err}, settled: settled}
		}
	}
	if len(t.Then) == 0 {
		return answer{result: result{rev: c.at.head.Rev}, settled: c.at.head.Rev == c.view.at.head.Rev}
	}
	if err := c.space(); err != nil {
		return answer{result: result{err: err}, settled: true}
	}
	c.spent += r.size
	rev, err := c.stage(r, now)
	return answer{result: result{rev, err}, staged: true}
}

func dataRev(row []byte) (store.Rev, error) {
	rev, _, err := decodeData(row)
	return rev, err
}

// rev reads the revision in a row; 0 if there is none. The key is c's own buffer.
func (c *committer) rev(key []byte, decode func([]byte) (store.Rev, error)) (store.Rev, error) {
	c.key = key
	row, closer, err := c.view.eng.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fault(c.view, err)
	}
	defer closer.Close()
	rev, err := decode(row)
	if err != nil {
		return 0, fmt.Errorf("%w: row %q", err, key)
	}
	return rev, nil
}

// stage puts the writes of a transaction, its feed row and its token into the batch.
func (c *committer) stage(r *request, now int64) (store.Rev, error) {
	head := c.at.head.Next(r.trace)
	rev := uint64(head.Rev)
	for i := range r.txn.Then {
		w := &r.txn.Then[i]
		if w.Delete {
			c.key = appendDataKey(c.key[:0], w.Key)
			if err := c.batch.Delete(c.key, nil); err != nil {
				return 0, err
			}
			c.written[string(w.Key)] = 0
			continue
		}
		op := c.batch.SetDeferred(1+len(w.Key), revSize+len(w.Value))
		op.Key[0] = prefixData
		copy(op.Key[1:], w.Key)
		binary.BigEndian.PutUint64(op.Value, rev)
		copy(op.Value[revSize:], w.Value)
		if err := op.Finish(); err != nil {
			return 0, err
		}
		c.written[string(w.Key)] = head.Rev
	}
	op := c.batch.SetDeferred(1+revSize, feedRowHead+len(r.events))
	op.Key[0] = prefixFeed
	binary.BigEndian.PutUint64(op.Key[1:], rev)
	appendFeedHead(op.Value[:0], head.Hash, now, r.txn.Token)
	copy(op.Value[feedRowHead:], r.events)
	if err := op.Finish(); err != nil {
		return 0, err
	}
	if t := r.txn.Token; t != (store.Token{}) {
		op := c.batch.SetDeferred(tokenRowSize, revSize)
		appendTokenKey(op.Key[:0], t)
		binary.BigEndian.PutUint64(op.Value, rev)
		if err := op.Finish(); err != nil {
			return 0, err
		}
		c.tokens[t] = head.Rev
	}
	c.at.head = head
	return head.Rev, nil
}

// space tells why nothing can be written. It asks the disk once for each group, but where there was room a moment ago and little was
// written since.
func (c *committer) space() error {
	if c.asked {
		return c.room
	}
	now := time.Now()
	if c.room == nil && c.spent < spaceBytes && now.Sub(c.spaced) < spaceFor && !c.view.eng.fence.isCrowded() {
		return nil
	}
	c.asked, c.room = true, c.s.space(c.view.eng)
	c.spaced, c.spent = now, 0
	return c.room
}

func (s *Store) space(e *engine) error {
	if e.fence.isCrowded() {
		return fmt.Errorf("%w: the disk has no room for compactions", store.ErrFull)
	}
	usage, err := s.cfg.FS.GetDiskUsage(s.cfg.Dir)
	switch {
	case errors.Is(err, vfs.ErrUnsupported): // a file system in memory
		return nil
	case err != nil:
		return unavailable(fmt.Errorf("ask for free space: %w", err))
	case usage.AvailBytes < s.cfg.MinFree:
		return fmt.Errorf("%w: %d bytes are free on the disk of %s, %d must be", store.ErrFull, usage.AvailBytes, s.cfg.Dir, s.cfg.MinFree)
	}
	return nil
}
