package engine

import (
	"bytes"
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// How often the newest checkpoint of the log goes into the store, while records arrive, and how long it may take when the server is sealed.
const (
	logEndEvery   = time.Minute
	logEndTimeout = 5 * time.Second
)

// checkLogEnd refuses a log that is behind the checkpoint that the store keeps, or differs from it: its files were changed or put back while the
// server was down. It runs before the log gets its keys, and so before anything is signed over what is there.
func (e *Engine) checkLogEnd(ctx context.Context, c kms.Call, r *records.Records) error {
	if e.cfg.Log == nil {
		return nil
	}
	m, err := r.LogEnd(ctx, e.cfg.Log.Node())
	if err != nil || len(m.Note) == 0 {
		return err
	}
	if err := e.cfg.Log.Expect(m.Note); err != nil {
		return e.note(c, kms.UnsealServer, err, "the store keeps a checkpoint of "+m.Time.UTC().Format(time.RFC3339)+" that the audit log does not fit")
	}
	return nil
}

// keepLogEnd puts the newest checkpoint into the store, if it is not there. It is no change that anybody asked for, says nothing that the log does not, and
// has no record: one would call for another checkpoint.
func (e *Engine) keepLogEnd(ctx context.Context, o *opened) error {
	if e.cfg.Log == nil {
		return nil
	}
	note, _ := e.cfg.Log.Published()
	if note == nil {
		return nil
	}
	o.keeping.Lock()
	defer o.keeping.Unlock()
	if bytes.Equal(note, o.kept) {
		return nil
	}
	_, _, err := o.records.Update(ctx, func(tx *records.Tx) error {
		return tx.PutLogEnd(e.cfg.Log.Node(), records.LogEnd{Note: note, Time: e.now().UTC()})
	})
	if err == nil {
		o.kept = note
	}
	return err
}

// keepLastLogEnd puts the checkpoint that sealing signed into the store.
func (e *Engine) keepLastLogEnd(o *opened) {
	ctx, cancel := context.WithTimeout(context.Background(), logEndTimeout)
	defer cancel()
	if err := e.keepLogEnd(ctx, o); err != nil {
		e.log.Warn("log_checkpoint_not_kept", "error", err)
	}
}
