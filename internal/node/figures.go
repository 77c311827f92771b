package node

import (
	"context"

	"github.com/keyhold/keyhold/internal/authn"
	"github.com/keyhold/keyhold/internal/server"
)

// measure lists the figures that the parts keep, for the metrics.
func (n *Node) measure(m *server.Metrics, auth *authn.Authenticator) {
	m.AddCounts(func() []server.Count {
		var all []server.Count
		for _, c := range n.engine.Metrics() {
			all = append(all, server.Count{Action: c.Action, Dialect: c.Dialect, Outcome: c.Outcome.String(), N: c.N})
		}
		return all
	})
	yes := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	m.Add(
		server.Figure{Name: "unsealed", Help: "1 while the root key is in memory.", Read: func() float64 {
			_, _, open := n.engine.Sizes()
			return yes(open)
		}},
		server.Figure{Name: "ready", Help: "1 while operations are served.", Read: func() float64 { return yes(n.engine.Health() == nil) }},
		server.Figure{Name: "clock_suspended", Help: "1 while the machine's clock is not believed, and nothing is destroyed by date.", Read: func() float64 { return yes(n.engine.Clock().Suspended) }},
		server.Figure{Name: "clock_behind_seconds", Help: "By how much the machine's clock is behind a time that was already.", Read: func() float64 { return n.engine.Clock().Behind.Seconds() }},
		server.Figure{Name: "rotations_missed", Help: "Scheduled rotations that are more than an hour late.", Read: func() float64 { missed, _ := n.engine.Rotations(); return float64(missed) }},
		server.Figure{Name: "rotations_failed", Help: "Scheduled rotations that failed and are tried again.", Read: func() float64 { _, failed := n.engine.Rotations(); return float64(failed) }},
		server.Figure{Name: "key_pending_destruction_uses_total", Help: "Uses of keys that are pending destruction, all of them refused: somebody misses a key that will be gone.", Counter: true, Read: func() float64 { return float64(n.engine.Missed()) }},
		server.Figure{Name: "keyring_keys", Help: "Keys held in memory.", Read: func() float64 { k, _, _ := n.engine.Sizes(); return float64(k) }},
		server.Figure{Name: "keyring_versions", Help: "Unwrapped key versions held in memory.", Read: func() float64 { _, v, _ := n.engine.Sizes(); return float64(v) }},
		server.Figure{Name: "store_revision", Help: "Newest durable revision of the store.", Read: func() float64 {
			h, err := n.store.Confirm(context.Background())
			if err != nil {
				return -1
			}
			return float64(h.Rev)
		}},
		server.Figure{Name: "audit_records_total", Help: "Audit records made durable since the start.", Counter: true, Read: func() float64 { return float64(n.log.Stats().Records) }},
		server.Figure{Name: "audit_batches_total", Help: "Groups of audit records, one sync each.", Counter: true, Read: func() float64 { return float64(n.log.Stats().Batches) }},
		server.Figure{Name: "audit_bytes_total", Help: "Bytes of audit records.", Counter: true, Read: func() float64 { return float64(n.log.Stats().Bytes) }},
		server.Figure{Name: "audit_sync_seconds_total", Help: "Time spent writing and syncing audit records.", Counter: true, Read: func() float64 { return n.log.Stats().Writing.Seconds() }},
		server.Figure{Name: "audit_failed_total", Help: "Audit records whose write failed; nothing was released for them.", Counter: true, Read: func() float64 { return float64(n.log.Stats().Failed) }},
		server.Figure{Name: "audit_checkpoint_lag", Help: "Audit records that are not under a signed checkpoint yet.", Read: func() float64 {
			s := n.log.Stats()
			return float64(s.Records) - float64(s.Checkpoint)
		}},
		server.Figure{Name: "authn_lockouts_total", Help: "Lock-outs that began.", Counter: true, Read: func() float64 { return float64(auth.Stats().Locks) }},
		server.Figure{Name: "authn_unauthenticated_total", Help: "Requests with no credential that proves anything.", Counter: true, Read: func() float64 { return float64(auth.Stats().Unauthenticated) }},
		server.Figure{Name: "authn_lookups_total", Help: "Credentials looked up in the store.", Counter: true, Read: func() float64 { return float64(auth.Stats().LookUps) }},
	)
}
