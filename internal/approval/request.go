package approval

import (
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// Limits of requests.
const (
	MaxApprovers = 16                 // that a request can need, and that it holds
	DefaultLife  = 24 * time.Hour     // of a request that says nothing else
	MinLife      = time.Minute        // less nobody can act on
	MaxLife      = 7 * 24 * time.Hour // more would approve for a world that is no longer there
)

// Party is somebody who asked or voted, and the credential it was done with.
type Party struct {
	Home       kms.Namespace  `json:"home"`
	Name       string         `json:"name"`
	Alias      [16]byte       `json:"alias"` // keyed hash of home and name, as the audit trail has it
	Method     kms.AuthMethod `json:"method"`
	Credential string         `json:"cred,omitempty"`
}

// PartyOf is a principal as a party.
func PartyOf(p *kms.Principal) Party {
	return Party{Home: p.Namespace, Name: p.Name, Alias: p.Alias, Method: p.Method, Credential: p.Credential}
}

// Is tells whether two parties are one principal.
func (p *Party) Is(q *Party) bool { return p.Home == q.Home && p.Name == q.Name }

// Shares tells whether two parties may be one person: one principal, or one credential under two names.
func (p *Party) Shares(q *Party) bool {
	return p.Is(q) || p.Credential != "" && p.Method == q.Method && p.Credential == q.Credential
}

// Vote is what one party said about a request.
type Vote struct {
	By     Party     `json:"by"`
	For    bool      `json:"for"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

// Term is one thing that is asked for, in words.
type Term struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Request asks others to approve one exact request.
type Request struct {
	ID        kms.ID        `json:"id"`
	Namespace kms.Namespace `json:"ns"`
	Action    kms.Action    `json:"action"`
	Resource  string        `json:"resource,omitempty"`
	Digest    [32]byte      `json:"digest"` // of the request, its namespace and who asks
	Terms     []Term        `json:"terms,omitempty"`
	Effect    string        `json:"effect,omitempty"` // what a rehearsal said would be done
	Why       string        `json:"why"`              // approvals are needed
	Reason    string        `json:"reason,omitempty"` // of who asks
	By        Party         `json:"by"`
	Needed    int           `json:"needed"` // approvers
	Votes     []Vote        `json:"votes,omitempty"`
	Created   time.Time     `json:"created"`
	Expires   time.Time     `json:"expires"`
	End       End           `json:"end,omitzero"`
	Ended     time.Time     `json:"ended,omitzero"`
}

// End is how a request ended other than by time.
type End uint8

// The ends. The numbers are part of the stored format: append only.
const (
	Open End = iota
	EndRefused
	EndWithdrawn
	EndUsed
)

// State is how a request stands at a moment.
type State uint8

// The states.
const (
	Pending   State = iota + 1 // approvers are missing
	Approved                   // it can be used
	Refused                    // an approver said no
	Withdrawn                  // who asked took it back
	Expired                    // its time passed
	Used                       // what was asked for was done
)

var stateNames = [...]string{Pending: "pending", Approved: "approved", Refused: "refused", Withdrawn: "withdrawn", Expired: "expired", Used: "used"}

// AllStates lists every state.
func AllStates() []State { return []State{Pending, Approved, Refused, Withdrawn, Expired, Used} }

func (s State) String() string {
	if s >= Pending && int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// Over tells whether nothing more can come of a request.
func (s State) Over() bool { return s != Pending && s != Approved }

// ParseState reads a state as String writes it.
func ParseState(s string) (State, error) {
	for _, st := range AllStates() {
		if st.String() == s {
			return st, nil
		}
	}
	return 0, kms.Errorf(kms.CodeBadRequest, "%q is not a state of an approval: want pending, approved, refused, withdrawn, expired or used", clip(s))
}

func clip(s string) string {
	if len(s) > 32 {
		return s[:32] + "…"
	}
	return s
}

// StateAt is how the request stands at a moment. It is over from the very second that it expires at.
func (r *Request) StateAt(now time.Time) State {
	switch {
	case r.End == EndUsed:
		return Used
	case r.End == EndRefused:
		return Refused
	case r.End == EndWithdrawn:
		return Withdrawn
	case r.End != Open: // of a newer version of the program: nothing can be done with it here
		return Withdrawn
	case !now.Before(r.Expires):
		return Expired
	case r.Approvers() >= r.Needed:
		return Approved
	}
	return Pending
}

// Approvers counts who approved, whether or not their credentials still stand.
func (r *Request) Approvers() int {
	n := 0
	for i := range r.Votes {
		if r.Votes[i].For {
			n++
		}
	}
	return n
}
