package native

import (
	"google.golang.org/protobuf/types/known/durationpb"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// sinkMessages tell how the copies of the audit log stand: to those of the system namespace, and on the local socket, in full; to others that are known
// without what names an operator's machines or counts other namespaces' records.
func sinkMessages(sinks []engine.SinkStatus, asks *kms.Principal) []*keyholdv1.AuditSink {
	operator := asks != nil && asks.Namespace == kms.SystemNamespace
	return each(sinks, func(s *engine.SinkStatus) *keyholdv1.AuditSink {
		m := &keyholdv1.AuditSink{Name: s.Name, Kind: s.Kind, State: s.State, Required: s.Required, Behind: durationpb.New(s.Behind)}
		if operator {
			m.Position, m.Lag, m.LastSuccess, m.Delivered, m.Failures, m.Missing = s.Position, s.Lag, stamp(s.LastSuccess), s.Delivered, s.Failures, s.Missing
			m.Error, m.Since = s.Error, stamp(s.Since)
		}
		return m
	})
}
