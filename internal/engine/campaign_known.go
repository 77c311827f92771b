package engine

import (
	"sync"
	"time"

	"github.com/keyhold/keyhold/internal/datakey"
	"github.com/keyhold/keyhold/internal/kms"
)

const rewrapKnown = 4096 // campaigns whose speed is remembered

// campaigns is what one process knows of the campaigns that it works on. What they do is decided by what is in the store.
type campaigns struct {
	mu    sync.Mutex // guards what follows
	ended chan struct{}
	at    map[kms.ID]*campaignAt
}

// campaignAt is where one campaign is.
type campaignAt struct {
	meter   datakey.Meter
	waits   time.Time         // until then
	why     string            // it waits
	stuck   map[uint32]string // versions of which nothing more can be re-wrapped, and why
	version uint32            // data keys under it …
	after   kms.ID            // … up to this one were tried
	single  int               // data keys to be tried one by one, because one of a page is damaged
}

func (s *campaigns) of(key kms.ID) *campaignAt {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.at[key]
	if a == nil {
		if s.at == nil || len(s.at) >= rewrapKnown {
			s.at = map[kms.ID]*campaignAt{}
		}
		a = &campaignAt{stuck: map[uint32]string{}}
		s.at[key] = a
	}
	return a
}

func (s *campaigns) forget(key kms.ID) {
	s.mu.Lock()
	delete(s.at, key)
	s.mu.Unlock()
}

// working tells whether a run is under way.
func (s *campaigns) working() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended != nil
}

// look answers how fast a campaign goes, or why it waits.
func (s *campaigns) look(key kms.ID) (speed float64, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.at[key]; a != nil {
		return a.meter.PerSecond(), a.why
	}
	return 0, ""
}

func (s *campaigns) hold(a *campaignAt, until time.Time, why string) {
	s.mu.Lock()
	a.waits, a.why = until, why
	s.mu.Unlock()
}
