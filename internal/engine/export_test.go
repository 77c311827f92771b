package engine

import "context"

// Upkeep runs one round of the jobs, and what it began beside itself to the end, so that tests need not wait for one.
func (e *Engine) Upkeep(ctx context.Context) {
	e.upkeep(ctx, &agenda{})
	r := &e.jobs.rolls
	r.mu.Lock()
	ended := r.ended
	r.mu.Unlock()
	if ended != nil {
		<-ended
	}
}
