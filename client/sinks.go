package client

import (
	"time"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
)

// AuditSink is how it stands with a place where the audit log is copied to. What is below BehindSeconds is told to operators only.
type AuditSink struct {
	Name          string    `json:"name"`
	Kind          string    `json:"kind"`
	State         string    `json:"state"` // "starting", "shipping", "failing", "refused" or "broken"
	Required      bool      `json:"required,omitempty"`
	BehindSeconds float64   `json:"behind_seconds,omitempty"` // age of the oldest record that it does not surely have
	Position      string    `json:"position,omitempty"`       // of the last record that it surely has
	Lag           uint64    `json:"lag,omitempty"`            // records that it does not surely have
	LastSuccess   time.Time `json:"last_success,omitzero"`
	Delivered     uint64    `json:"delivered,omitempty"` // records since the server's start, repetitions included
	Failures      uint64    `json:"failures,omitempty"`  // attempts since then
	Missing       uint64    `json:"missing,omitempty"`   // times since then that records had left the log before they were shipped
	Error         string    `json:"error,omitempty"`
	Since         time.Time `json:"since,omitzero"`
}

func toSink(s *keyholdv1.AuditSink) AuditSink {
	return AuditSink{
		Name: s.GetName(), Kind: s.GetKind(), State: s.GetState(), Required: s.GetRequired(), BehindSeconds: s.GetBehind().AsDuration().Seconds(), Position: s.GetPosition(),
		Lag: s.GetLag(), LastSuccess: timeOf(s.GetLastSuccess()), Delivered: s.GetDelivered(), Failures: s.GetFailures(), Missing: s.GetMissing(),
		Error: s.GetError(), Since: timeOf(s.GetSince()),
	}
}
