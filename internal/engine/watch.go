package engine

import (
	"context"
	"sync/atomic"
)

// rotationAlarm is what scheduled rotations did not do.
type rotationAlarm struct{ missed, failed atomic.Int64 }

// watchRotations tells operators of rotations that should have happened.
func (e *Engine) watchRotations(ctx context.Context, o *opened) error {
	missed, failed, err := o.missedRotations(ctx, e.now())
	if err != nil {
		return err
	}
	was := e.alarm.missed.Swap(int64(missed))
	e.alarm.failed.Store(int64(failed))
	if int64(missed) > was {
		e.log.Error("rotations_missed", "missed", missed, "failed", failed, "next", "keyhold jobs shows what failed and why")
	}
	return nil
}

// Rotations answers how many scheduled rotations are more than an hour late, and how many failed and are tried again.
func (e *Engine) Rotations() (missed, failed int) {
	return int(e.alarm.missed.Load()), int(e.alarm.failed.Load())
}
