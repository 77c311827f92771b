package engine

import "context"

// Upkeep runs one round of the jobs, so that tests need not wait for one.
func (e *Engine) Upkeep(ctx context.Context) { e.upkeep(ctx, &agenda{}) }
