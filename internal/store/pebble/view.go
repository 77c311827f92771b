package pebble

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyhold/keyhold/internal/store"
)

// A view is what readers see: the state after one durable commit. The engine shows a write before it is durable;
// a snapshot taken between two commits does not.
type view struct {
	eng  *engine
	snap *pebble.Snapshot
	at   position
	refs int // guarded by Store.mu: one while it is current, and one for each reader
}

// publish makes the state as it is now the one that readers see. Only the committer may call it, between commits.
func (s *Store) publish(e *engine, at position) {
	v := &view{eng: e, snap: e.db.NewSnapshot(), at: at, refs: 1}
	e.readers.Add(1)
	s.com.view = v
	s.swap(v, nil)
}

// retire makes the store unavailable and answers the view that was current, if any.
func (s *Store) retire(why error) *view { return s.swap(nil, why) }

func (s *Store) swap(v *view, down error) (before *view) {
	s.mu.Lock()
	before, s.cur, s.down = s.cur, v, down
	close(s.turn)
	s.turn = make(chan struct{})
	s.mu.Unlock()
	if before != nil {
		s.release(before)
	}
	return before
}

// acquire answers the current view, which the caller must release, or why there is none.
func (s *Store) acquire() (*view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cur == nil {
		return nil, s.down
	}
	if err := s.cur.eng.failure(); err != nil {
		return nil, unavailable(err)
	}
	s.cur.refs++
	return s.cur, nil
}

func (s *Store) release(v *view) {
	s.mu.Lock()
	v.refs--
	last := v.refs == 0
	s.mu.Unlock()
	if last {
		_ = v.snap.Close() // it answers no errors
		v.eng.readers.Done()
	}
}

// closing tells a long read that it should stop.
func (s *Store) closing(v *view) error {
	if err := v.eng.failure(); err != nil {
		return unavailable(err)
	}
	select {
	case <-s.stop:
		return store.ErrClosed
	default:
		return nil
	}
}

// fault names an error of reading through a view.
func fault(v *view, err error) error {
	if cause := v.eng.failure(); cause != nil {
		return unavailable(cause)
	}
	return classify(err)
}

// unavailable is the error of a store that is about to open its database again: store.ErrFull where the disk is full,
// store.ErrDamaged where a file is, store.ErrClosed for everything else.
func unavailable(cause error) error {
	err := classify(cause)
	if err == cause { //nolint:errorlint // whether classify found nothing to say: identity is meant
		return fmt.Errorf("%w for now, it will be opened again: %w", store.ErrClosed, cause)
	}
	return fmt.Errorf("%w; it will be opened again", err)
}
