package sink

import (
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/keyhold/keyhold/internal/audit"
)

// State is how a sink stands.
type State string

// The states.
const (
	Starting State = "starting" // nothing was tried yet
	Shipping State = "shipping" // the last thing that was tried succeeded
	Failing  State = "failing"  // the receiver cannot be reached or has trouble; tried again
	Refused  State = "refused"  // the receiver says no; tried again, but somebody has to do something
	Broken   State = "broken"   // trouble on this side: the cursor, the log
)

// States are all of them.
func States() []State { return []State{Starting, Shipping, Failing, Refused, Broken} }

// Status is how a sink stands, for operators.
type Status struct {
	Name        string
	Kind        Kind
	Required    bool
	State       State
	Position    audit.Position // of the last record that is surely there; zero: none
	Lag         uint64         // records behind the position
	Behind      time.Duration  // age of the oldest of them; 0: none
	LastSuccess time.Time      // zero: none since the start
	Delivered   uint64         // records since the start, those that were sent again included
	Failures    uint64         // since the start
	Missing     uint64         // times since the start that records had left the log before they were shipped
	Error       string         // of the last failure, while it lasts
	Since       time.Time      // that it lasts
}

// view is what others see of a shipper.
type view struct {
	log      *slog.Logger
	quiet    time.Duration // between two lines about the same trouble
	mu       sync.Mutex    // guards what follows
	now      Status
	waiting  time.Time // of the oldest record that is not surely there
	began    time.Time
	lastLine time.Time
}

func (v *view) init(cfg *Config, s *Sink) {
	v.log, v.quiet, v.began = cfg.Logger.With("sink", s.Name, "kind", string(s.Kind)), cfg.Pace.Log, time.Now()
	v.now = Status{Name: s.Name, Kind: s.Kind, Required: s.Required, State: Starting}
}

func (v *view) ships(at audit.Position) {
	v.mu.Lock()
	v.now.Position = at
	v.mu.Unlock()
}

func (v *view) position() audit.Position {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now.Position
}

// rests notes that everything that can be tried now was tried, and succeeded.
func (v *view) rests(waiting time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.waiting = waiting
	v.recovers(time.Now())
}

func (v *view) delivered(records int, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now.LastSuccess = now
	v.now.Delivered += uint64(records) //nolint:gosec // G115: not negative
	v.waiting = time.Time{}
	v.recovers(now)
}

// recovers ends what lasted. The lock is held.
func (v *view) recovers(now time.Time) {
	if v.now.Error != "" {
		v.log.Info("audit sink recovered", "after", now.Sub(v.now.Since).Round(time.Second).String())
	}
	v.now.State, v.now.Error, v.now.Since = Shipping, "", time.Time{}
}

func (v *view) fails(state State, err error, now time.Time, waiting time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	text := plain(err.Error())
	fresh := v.now.Error == "" || v.now.State != state
	if v.now.Error == "" {
		v.now.Since = now
	}
	v.now.State, v.now.Error, v.waiting = state, text, waiting
	v.now.Failures++
	if fresh && now.Sub(v.lastLine) >= time.Second || now.Sub(v.lastLine) >= v.quiet {
		v.lastLine = now
		v.log.Warn("audit sink does not take records", "state", string(state), "error", text)
	}
}

// misses notes that records are gone.
func (v *view) misses(after, next audit.Position) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now.Missing++
	v.log.Error("audit records left the log before they were shipped", "after", after.String(), "next", next.String())
}

// status is what others see; lag counts the records behind a position.
func (v *view) status(lag func(audit.Position) uint64) Status {
	v.mu.Lock()
	s, waiting := v.now, v.waiting
	v.mu.Unlock()
	if s.Lag = lag(s.Position); s.Lag == 0 {
		return s
	}
	if waiting.IsZero() { // nothing of it was read yet
		if waiting = s.LastSuccess; waiting.IsZero() {
			waiting = v.began
		}
	}
	s.Behind = max(time.Since(waiting), 0)
	return s
}

// plain makes the text of an error, which may hold a receiver's words, fit for one line.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxError {
		text = strings.ToValidUTF8(text[:maxError], "") + "…"
	}
	return text
}
