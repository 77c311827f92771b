package engine

import (
	"context"

	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/secret"
)

// Status tells the server's condition. It names no secrets, and needs no credential.
func (e *Engine) Status(ctx context.Context) Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status(ctx)
}

func (e *Engine) status(ctx context.Context) Status {
	s := Status{Sealed: true, Problem: e.Health()}
	s.Ready = s.Problem == nil
	s.Memory, s.Erasing = e.cfg.Memory.Figures(), secret.Erasing
	if e.cfg.Sinks != nil {
		s.Sinks = e.cfg.Sinks()
	}
	if e.cfg.Witnesses != nil {
		s.Witnesses = e.cfg.Witnesses()
	}
	s.Clock = e.Clock()
	s.Missed, s.Failing = e.Rotations()
	config := (*seal.Config)(nil)
	if o := e.open.Load(); o != nil {
		s.Sealed, config, s.Epoch, s.AuditKey = false, o.config, o.epochs.Current(), o.chain.PublicKey()
	} else if _, c, err := e.readConfig(ctx); err == nil {
		config = c
	}
	if config == nil {
		return s
	}
	s.Initialised, s.Dev, s.Cluster, s.RootGen = true, config.Development(), config.Cluster(), config.Generation()
	for _, r := range config.Recipients() {
		s.Recipients = append(s.Recipients, RecipientInfo{ID: r.ID.String(), Kind: r.Kind.String(), Label: r.Label, Fingerprint: r.Fingerprint()})
		if q, ok := r.Quorum(); ok {
			s.Threshold, s.Shares = q.K, q.N
		}
	}
	if e.collector != nil {
		s.Given = e.collector.Progress().Given
	}
	return s
}
