package engine

import "context"

// hold takes what unsealing opened for one use: who seals, or replaces the root, waits until it is released. A root that is replaced in the same moment is
// no reason to refuse: then the new one is taken. Errors: why the server is not open, CodeSealed among them.
func (e *Engine) hold(ctx context.Context) (*opened, error) {
	for {
		o := e.open.Load()
		if o == nil {
			return nil, e.notOpen(ctx)
		}
		o.users.Add(1)
		if e.open.Load() == o {
			return o, nil
		}
		o.users.Add(-1) // replaced in between: who replaced it may not have seen us
	}
}

// holds is hold for background work, which rests while the server is sealed, blocked or stopping: false.
func (e *Engine) holds() (*opened, bool) {
	if e.closed.Load() || e.blocked.Load() != nil || e.open.Load() == nil {
		return nil, false
	}
	o, err := e.hold(context.Background())
	return o, err == nil
}

func (o *opened) release() { o.users.Add(-1) }
