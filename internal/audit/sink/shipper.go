package sink

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
)

// target is the far end of a sink. One goroutine calls it.
type target interface {
	// send delivers a batch, until the context ends. Nil means that the receiver has it, as surely as its protocol can tell.
	send(ctx context.Context, b *batch) error
	// settle is how long what was sent may still turn out to be lost; 0: not at all.
	settle() time.Duration
	// check is called before anything else is done. An *ended means that what had not settled by its time may be lost.
	check(ctx context.Context) error
	close()
}

// shipper follows the log for one sink. Its fields belong to its goroutine; what others see is in view.
type shipper struct {
	cfg  *Config
	sink *Sink
	to   target
	path string // of the cursor
	view view

	opened bool
	saved  cursor         // durable
	read   audit.Position // what was read up to, and dealt with or in batch
	page   []audit.Entry  // read from the log, behind read
	batch  *batch
	sent   []sent // delivered and not settled
	failed int    // times in a row
}

// ended is the end of a connection that stood at a time.
type ended struct {
	at  time.Time
	err error
}

func (e *ended) Error() string { return e.err.Error() }

// sent is a delivery that has not settled.
type sent struct {
	upTo   cursor
	oldest time.Time // of its first record
	due    time.Time
}

// maxSent bounds the deliveries that have not settled; then sending waits.
const maxSent = 4096

func newShipper(cfg *Config, s *Sink, to target) *shipper {
	h := &shipper{cfg: cfg, sink: s, to: to, path: filepath.Join(cfg.Dir, s.Name)}
	h.view.init(cfg, s)
	return h
}

// run ships until the context ends.
func (s *shipper) run(ctx context.Context) {
	defer s.to.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(s.guarded(ctx))
	}
}

// guarded is a turn whose panic, on whatever a receiver may have answered, stops this sink alone, visibly.
func (s *shipper) guarded(ctx context.Context) (pause time.Duration) {
	defer func() {
		if p := recover(); p != nil {
			s.rewind()
			pause = s.fails(ctx, Broken, fmt.Errorf("an internal fault: %v", p))
		}
	}()
	return s.turn(ctx)
}

// turn does one piece of work and tells how long to wait before the next.
func (s *shipper) turn(ctx context.Context) time.Duration {
	if !s.opened {
		if err := s.open(ctx); err != nil {
			return s.fails(ctx, Broken, err)
		}
	}
	now := time.Now()
	trouble := s.limited(ctx, s.to.check)
	var e *ended
	if errors.As(trouble, &e) {
		now = e.at
	}
	if err := s.settled(now); err != nil {
		return s.fails(ctx, Broken, err)
	}
	switch {
	case e != nil && len(s.sent) == 0: // it ended with nothing under way: the next delivery makes another one
	case e != nil:
		s.rewind()
		return s.fails(ctx, Failing, trouble)
	case trouble != nil:
		return s.fails(ctx, Failing, trouble)
	}
	if len(s.sent) >= maxSent {
		return s.untilDue()
	}
	if err := s.fill(ctx); err != nil {
		return s.fails(ctx, Broken, err)
	}
	if s.batch == nil || !s.batch.closed && time.Since(s.batch.begun) < s.sink.Delay {
		s.view.rests(s.waiting())
		return s.untilDue()
	}
	s.batch.closed = true
	if err := s.limited(ctx, func(ctx context.Context) error { return s.to.send(ctx, s.batch) }); err != nil {
		if len(s.sent) > 0 { // what broke carried them too
			s.rewind()
		}
		return s.fails(ctx, Failing, err)
	}
	if err := s.delivered(); err != nil {
		return s.fails(ctx, Broken, err)
	}
	return 0
}

// limited gives the far end its time.
func (s *shipper) limited(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.sink.Timeout)
	defer cancel()
	return do(ctx)
}

// open reads the cursor and checks that it stands in this log. It is done anew until it succeeds, so that what an operator mends
// is seen.
func (s *shipper) open(ctx context.Context) error {
	c, err := loadCursor(s.path)
	if err == nil {
		err = s.stands(ctx, c)
	}
	if err != nil {
		return err
	}
	s.opened, s.saved, s.read = true, c, c.at
	s.view.ships(c.at)
	return nil
}

// stands tells whether the log still has, at the cursor's position, the record that was shipped. If not, the log was put back to an earlier time
// and went on differently: the receiver then has records under positions that name others here.
func (s *shipper) stands(ctx context.Context, c cursor) error {
	if c.at.IsZero() {
		return nil
	}
	body, _, err := s.cfg.Log.ReadEncoded(c.at)
	if err == nil && audit.LeafHash(body) == c.leaf {
		return nil
	}
	if err != nil && kms.CodeOf(err) != kms.CodeNotFound {
		return err
	}
	if err != nil { // dropped by retention, if everything that is left is younger
		oldest, _, err := s.cfg.Log.Follow(ctx, audit.Position{}, 1)
		if err != nil {
			return err
		}
		if c.at.Node == s.cfg.Node && len(oldest) > 0 && c.at.Before(oldest[0].Position) {
			return nil
		}
	}
	return refused(fmt.Errorf("the log is not the one that %s was shipped from: it was put back to an earlier time, or replaced. Remove %s to ship the whole log once more", c.at, s.path))
}

// rewind goes back to what is surely there.
func (s *shipper) rewind() {
	s.read, s.page, s.batch, s.sent = s.saved.at, nil, nil, nil
}

// delivered notes that the receiver has the batch.
func (s *shipper) delivered() error {
	b, now := s.batch, time.Now()
	upTo, err := cursorAt(&b.upTo)
	if err != nil {
		return err
	}
	s.sent = append(s.sent, sent{upTo, b.entries[0].Time, now.Add(s.to.settle())})
	s.batch, s.failed = nil, 0
	s.view.delivered(len(b.entries), now)
	return s.settled(now)
}

// settled moves the cursor over what is surely there by now.
func (s *shipper) settled(now time.Time) error {
	n := 0
	for n < len(s.sent) && !s.sent[n].due.After(now) {
		n++
	}
	if n == 0 {
		return nil
	}
	if err := s.save(s.sent[n-1].upTo); err != nil {
		return err
	}
	s.sent = slices.Delete(s.sent, 0, n)
	return nil
}

// save makes a cursor durable. Until that succeeds nothing more is delivered: the same would be delivered again after a restart.
func (s *shipper) save(c cursor) error {
	if err := c.save(s.path); err != nil {
		return fmt.Errorf("save the cursor: %w", err)
	}
	s.saved = c
	s.view.ships(c.at)
	return nil
}

func cursorAt(e *audit.Entry) (cursor, error) {
	r := e.Record // LeafHash sets the commitment
	leaf, err := r.LeafHash()
	return cursor{e.Position, leaf}, err
}

// waiting is the time of the oldest record that is not surely there; zero: there is none.
func (s *shipper) waiting() time.Time {
	switch {
	case len(s.sent) > 0:
		return s.sent[0].oldest
	case s.batch != nil:
		return s.batch.entries[0].Time
	}
	return time.Time{}
}

// untilDue is the time to the next look.
func (s *shipper) untilDue() time.Duration {
	d := s.cfg.Pace.Poll
	if len(s.sent) > 0 {
		d = min(d, max(time.Until(s.sent[0].due), 0))
	}
	return d
}

// fails notes a failure and tells how long to wait.
func (s *shipper) fails(ctx context.Context, state State, err error) time.Duration {
	if ctx.Err() != nil {
		return s.cfg.Pace.Poll // it is the end that interrupted it
	}
	s.failed++
	var f *fault
	if errors.As(err, &f) && f.refused && state == Failing {
		state = Refused
	}
	pause := s.cfg.Pace.pause(s.failed, err)
	s.view.fails(state, err, time.Now(), s.waiting())
	return pause
}
