package pebble

import (
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/store"
)

// How long the store waits before it opens its database again: doubled after each failure.
const (
	backoffFirst = 50 * time.Millisecond
	backoffMost  = 5 * time.Second
)

// opened is a database that was opened again.
type opened struct {
	eng *engine
	at  position
}

// heal makes the store unavailable, and opens its database again until that works or the store is closed, which
// it answers with false. It refuses what is committed meanwhile.
func (s *Store) heal() bool {
	failed, last := s.com.view.eng, s.com.view.at
	cause := failed.failure()
	s.cfg.Logger.Error("store failed, opening it again", "error", cut(cause.Error()))
	s.retire(unavailable(cause))
	again := make(chan *opened, 1)
	go func() { again <- s.reopen(failed, last) }()
	for {
		select {
		case r := <-s.queue:
			s.mu.Lock()
			why := s.down
			s.mu.Unlock()
			r.refuse(why)
		case o := <-again:
			if o == nil {
				return false
			}
			s.publish(o.eng, o.at)
			s.cfg.Logger.Info("store opened again", "revision", uint64(o.at.head.Rev))
			return true
		}
	}
}

// reopen opens the database until that works; nil if the store is closed before.
func (s *Store) reopen(failed *engine, last position) *opened {
	failed.fence.drain()
	// The failed opening can do nothing any more, so that a reader who lingers in it holds up nothing but its memory.
	s.old.Go(func() {
		failed.readers.Wait()
		_ = failed.close() // what it says does not matter: its files were left as they were
	})
	said := ""
	for wait := backoffFirst; ; wait = min(2*wait, backoffMost) {
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-s.stop:
			pause.Stop()
			return nil
		}
		e, at, err := start(&s.cfg)
		if err == nil {
			if err = at.continues(last); err == nil {
				return &opened{e, at}
			}
			_ = e.close()
		}
		s.retire(unavailable(err))
		if text := err.Error(); text != said {
			said = text
			s.cfg.Logger.Warn("store not opened yet", "error", cut(text))
		}
	}
}

// continues refuses a database that has lost what readers have seen.
func (p position) continues(last position) error {
	if p.head.Rev < last.head.Rev || p.head.Rev == last.head.Rev && p.head != last.head {
		return fmt.Errorf("%w: its head is %d, and was %d before it failed", store.ErrDamaged, p.head.Rev, last.head.Rev)
	}
	return nil
}
