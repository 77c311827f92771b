package server

import (
	"context"
	"net/http"

	"github.com/keyhold/keyhold/internal/kms"
)

// healthReport is the body of /health. Strangers read it: conditions and codes, no names, no numbers of theirs.
type healthReport struct {
	Status      string   `json:"status"` // "ok", "unavailable"
	Version     string   `json:"version"`
	Initialised bool     `json:"initialised"`
	Sealed      bool     `json:"sealed"`
	Development bool     `json:"development,omitempty"`
	Stopping    bool     `json:"stopping,omitempty"`
	Clock       string   `json:"clock,omitempty"` // "jumped ahead" or "behind": it serves, but somebody should see to the clock
	Problem     *problem `json:"problem,omitempty"`
}

// maxAsking bounds how many ask for the condition at the same time: strangers may, and it takes locks and reads the store.
const maxAsking = 8

// health tells whether the server can serve: 200, or 503 with the reason.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	if !readOnly(w, r) {
		return
	}
	c, ok := s.ask(r.Context())
	if !ok {
		return // nobody waits any more
	}
	report := healthReport{
		Status: "ok", Version: s.cfg.Version, Initialised: c.Initialised, Sealed: c.Sealed, Development: c.Dev, Stopping: s.draining.Load(), Clock: c.Clock,
	}
	why := c.Problem
	if report.Stopping {
		why = kms.Errorf(kms.CodeStopping, "the server is stopping")
	}
	status := http.StatusOK
	if why != nil {
		status, report.Status = http.StatusServiceUnavailable, "unavailable"
		report.Problem = &problem{Code: why.Code.String(), Title: why.Code.Title(), Message: why.What, Next: why.Advice(), RetryMS: why.RetryMS}
	}
	writeJSON(w, r, status, report)
}

func (s *Server) ask(ctx context.Context) (Condition, bool) {
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
		return s.cfg.Condition(ctx), true
	case <-ctx.Done():
		return Condition{}, false
	}
}

// live tells that the process answers, whatever its condition: a supervisor must not restart a server because it is sealed.
func (s *Server) live(w http.ResponseWriter, r *http.Request) {
	if readOnly(w, r) {
		writeJSON(w, r, http.StatusOK, struct {
			Status string `json:"status"`
		}{"alive"})
	}
}

func readOnly(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	w.WriteHeader(http.StatusMethodNotAllowed)
	return false
}
