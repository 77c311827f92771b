package sink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
)

// closeTime is how long Close waits for shippers; what they had under way is shipped again after the next start.
const closeTime = 5 * time.Second

// Set is all sinks of a server.
type Set struct {
	cfg      Config
	shippers []*shipper
	past     func() map[uint64]uint64
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// New checks the settings and makes the folder of the cursors. It connects to nothing. Errors are mistakes in the settings, or of the
// disk.
func New(cfg Config) (*Set, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the audit sinks' cursors: %w", err)
	}
	t := &Set{cfg: cfg}
	t.past = sync.OnceValue(func() map[uint64]uint64 { return pastSizes(cfg.Log, cfg.Node) })
	for i := range t.cfg.Sinks {
		s := &t.cfg.Sinks[i]
		to, err := targetOf(&t.cfg, s)
		if err != nil {
			return nil, fmt.Errorf("audit sink %q: %w", s.Name, err)
		}
		h := newShipper(&t.cfg, s, to)
		if c, err := loadCursor(h.path); err == nil { // whether it stands in this log is checked by the shipper
			h.view.ships(c.at)
		}
		t.shippers = append(t.shippers, h)
	}
	return t, nil
}

func targetOf(cfg *Config, s *Sink) (target, error) {
	switch s.Kind {
	case Syslog:
		return newSyslog(cfg, s)
	case Webhook:
		return newWebhook(s)
	case OTLP:
		return newOTLP(cfg, s)
	case Directory:
		return newDirectory(cfg, s)
	}
	return nil, fmt.Errorf("there is no kind %q", s.Kind)
}

// Start lets the shippers run, each on a goroutine of its own.
func (t *Set) Start() {
	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	for _, s := range t.shippers {
		t.running.Go(func() { s.run(ctx) })
	}
}

// Close stops the shippers and waits for them, but not for long: what hangs is left alone. The log must stay open until it returns.
func (t *Set) Close() error {
	if t.stop == nil {
		return nil
	}
	t.stop()
	done := make(chan struct{})
	go func() {
		t.running.Wait()
		close(done)
	}()
	limit := time.NewTimer(closeTime)
	defer limit.Stop()
	select {
	case <-done:
		return nil
	case <-limit.C:
		return errors.New("an audit sink did not stop in time")
	}
}

// Status tells how the sinks stand, in the order of the configuration.
func (t *Set) Status() []Status {
	all := make([]Status, len(t.shippers))
	for i, s := range t.shippers {
		all[i] = s.view.status(t.lag)
	}
	return all
}

// Passed tells whether every required sink surely has the record at a position and all before it: the log may drop them.
func (t *Set) Passed(p audit.Position) bool {
	for _, s := range t.shippers {
		if at := s.view.position(); s.sink.Required && (at.IsZero() || at.Before(p)) {
			return false
		}
	}
	return true
}

// lag counts the records behind a position.
func (t *Set) lag(at audit.Position) uint64 {
	present := t.cfg.Log.Epoch()
	n := t.cfg.Log.Size()
	if at.Epoch < present {
		for epoch, size := range t.past() {
			if epoch >= at.Epoch {
				n += size
			}
		}
	}
	if at.IsZero() {
		return n
	}
	return n - min(n, at.Seq+1)
}

// maxPast bounds the boot epochs that are counted.
const maxPast = 4096

// pastSizes counts the records of earlier boot epochs: the first record of each says how many the one before had.
func pastSizes(log *audit.Log, node string) map[uint64]uint64 {
	sizes := make(map[uint64]uint64)
	for e := log.Epoch(); e > 1 && len(sizes) < maxPast; e-- {
		r, err := log.Read(audit.Position{Node: node, Epoch: e})
		if err != nil {
			return sizes // what is gone is not waiting
		}
		if _, _, epoch, ok := audit.ParseOrigin(r.Prev.Origin); ok {
			sizes[epoch] = r.Prev.Size
		}
	}
	return sizes
}
