package authn

import (
	"sync"
	"time"
)

// maxSeen is how many signatures of changes are remembered: with the usual skew, some hundreds of changes a second for as long as one is good.
const maxSeen = 1 << 18

// seen remembers signatures until they are too old to be accepted anyway. When it is full, the oldest make room: the window gets shorter, and nobody is
// kept from working.
type seen struct {
	mu    sync.Mutex         // guards what follows
	until map[[16]byte]int64 // by the first half of a signature, Unix seconds
	order [][16]byte         // a ring, in order of arrival
	next  int                // where the next one goes
	most  int
}

func (s *seen) init(most int) {
	s.until = make(map[[16]byte]int64)
	s.most = most
}

// again tells whether a signature has come before, and remembers it.
func (s *seen) again(digest [32]byte, until, now time.Time) bool {
	k := [16]byte(digest[:16])
	s.mu.Lock()
	defer s.mu.Unlock()
	if was, ok := s.until[k]; ok {
		return now.Unix() <= was
	}
	s.until[k] = until.Unix()
	if len(s.order) < s.most {
		s.order = append(s.order, k)
		return false
	}
	delete(s.until, s.order[s.next])
	s.order[s.next] = k
	s.next = (s.next + 1) % s.most
	return false
}

// Replayed tells whether the signature of a change has come before, on this node, while it is good; it remembers it. It is for changes
// only: cryptographic use may be repeated. Some clients sign two equal requests of one second alike, so that a replay is best answered with an error that makes
// them try again, signed anew.
func (a *Authenticator) Replayed(s *Signature) bool {
	return a.seen.again(s.digest, s.until, a.dates())
}
