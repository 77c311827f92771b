//go:build fill

package engine

import (
	"context"
	"fmt"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// FillMost is how many keys one Fill makes at most: a transaction has store.MaxOps conditions and writes, a new key five of them, and the
// outbox takes the rest.
const FillMost = 40

// Fill makes many keys in one transaction, for measurements of large stores. It is no operation of the server: only programs built with the
// tag "fill" have it. Each key is made, wrapped and written by the code of CreateKey; what differs is that n keys share one change record,
// which names the first and the last, and is the change that each of them carries.
func (e *Engine) Fill(ctx context.Context, ns kms.Namespace, a kms.Algorithm, names []string) error {
	o := e.open.Load()
	if o == nil {
		return e.notOpen(ctx)
	}
	if len(names) == 0 || len(names) > FillMost {
		return kms.Errorf(kms.CodeTooLarge, "%d keys: want 1 to %d", len(names), FillMost)
	}
	c := kms.Call{Namespace: ns, Principal: system}
	w := &work{e: e, o: o, call: &c, now: e.now()}
	w.claim()
	defer w.unclaim()
	all := make([]CreateKeyInput, len(names))
	for i, name := range names {
		all[i] = CreateKeyInput{Name: name, Algorithm: a}
		if err := checkCreate(&all[i]); err != nil {
			return err
		}
		all[i].plan, _ = w.planKey(&all[i]) // it asks for no template
		if err := prepareCreate(ctx, w, &all[i]); err != nil {
			return err
		}
	}
	return e.direct(ctx, o, c, kms.CreateKey, func(w *work, tx *records.Tx) error {
		keys := make([]kms.Key, len(all))
		for i := range all {
			out, err := doCreate(ctx, w, tx, &all[i])
			if err != nil {
				return err
			}
			keys[i] = out.Key
		}
		w.rec.Keys, w.rec.Resource = nil, names[0]
		w.rec.Detail = fmt.Sprintf("%d keys, %q to %q", len(names), names[0], names[len(names)-1])
		w.onCommit([32]byte{}, func(leaf [32]byte) error {
			for _, k := range keys {
				if err := tx.InsertKey(records.Key{Key: k, Change: leaf}); err != nil {
					return err
				}
			}
			return nil
		})
		return nil
	})
}
