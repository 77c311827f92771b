package server

import (
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"

	"golang.org/x/time/rate"

	"github.com/keyhold/keyhold/internal/kms"
)

// What strangers can cause in the log: so many lines a second, and at once. The rest is counted, and the next line says
// how many were left out.
const (
	linesPerSecond = 1
	linesBurst     = 20
	maxLine        = 512 // bytes of a line that net/http wrote
)

// Strangers counts what comes from callers that nobody knows, and logs a sample of it.
type Strangers struct {
	log     *slog.Logger
	limit   *rate.Limiter
	left    atomic.Uint64               // lines left out since the last
	dropped atomic.Uint64               // lines left out since the start
	refused map[kms.Code]*atomic.Uint64 // every code; the map never changes
}

// NewStrangers makes a Strangers that logs to l.
func NewStrangers(l *slog.Logger) *Strangers {
	s := &Strangers{log: l, limit: rate.NewLimiter(linesPerSecond, linesBurst), refused: make(map[kms.Code]*atomic.Uint64)}
	for _, code := range kms.AllCodes() {
		s.refused[code] = new(atomic.Uint64)
	}
	return s
}

// Refused counts a request that came to nothing before the engine saw it: not authenticated, or not to be decoded. It is
// for authn.Config.Refused and for dialects.
func (s *Strangers) Refused(code kms.Code, remote netip.AddrPort) {
	if n, ok := s.refused[code]; ok {
		n.Add(1)
	}
	if s.mayLog() {
		s.write("request refused", "code", code.String(), "reason", code.Title(), "remote", remote.String())
	}
}

// Write takes what net/http logs: failed TLS handshakes, mostly.
func (s *Strangers) Write(line []byte) (int, error) {
	if s.mayLog() {
		s.write("connection failed", "event", strings.TrimSpace(string(line[:min(len(line), maxLine)])))
	}
	return len(line), nil
}

// tooMany notes a connection that was closed because too many were open.
func (s *Strangers) tooMany(from string) {
	if s.mayLog() {
		s.write("connection refused because too many are open", "remote", from)
	}
}

func (s *Strangers) mayLog() bool {
	if s.limit.Allow() {
		return true
	}
	s.left.Add(1)
	s.dropped.Add(1)
	return false
}

func (s *Strangers) write(message string, args ...any) {
	if n := s.left.Swap(0); n > 0 {
		args = append(args, "left_out", n)
	}
	s.log.Warn(message, args...)
}
