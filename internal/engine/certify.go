package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/receipt"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

const (
	receiptsAtOnce = 100 // that are read together
	versionsRead   = 500
)

// firstAwaiting answers the lowest epoch that a receipt awaits the end of; ok is false if none does.
func (o *opened) firstAwaiting(ctx context.Context) (epoch uint32, ok bool, err error) {
	page, _, err := o.records.Awaiting(ctx, nil, 1)
	if err != nil || len(page) == 0 {
		return 0, false, err
	}
	return page[0].Epoch, true, nil
}

// writeReceipts writes the receipts of what was erased under epochs that are gone. One that cannot be written does not hold up the others, and is tried
// again with the next look.
func (e *Engine) writeReceipts() error {
	var failed error
	for after := []byte(nil); ; {
		next, err := e.receiptPage(after)
		failed = errors.Join(failed, err)
		if next == nil {
			return failed
		}
		after = next
	}
}

func (e *Engine) receiptPage(after []byte) (next []byte, err error) {
	ctx := context.Background() // a page is short
	o, err := e.hold(ctx)
	if err != nil || e.cfg.Log == nil {
		return nil, nil //nolint:nilerr // sealed: after unsealing it goes on
	}
	defer o.release()
	page, next, err := o.records.Awaiting(ctx, after, receiptsAtOnce)
	if err != nil {
		return nil, err
	}
	oldest := o.epochs.Oldest()
	for _, a := range page {
		if a.Epoch >= oldest {
			return nil, err // of later epochs, as all that follow
		}
		if e.closed.Load() {
			return nil, err
		}
		err = errors.Join(err, e.writeReceipt(ctx, o, a))
	}
	return next, err
}

// writeReceipt signs the receipt of one destruction, and says of what was destroyed that nothing brings it back.
func (e *Engine) writeReceipt(ctx context.Context, o *opened, a records.Awaiting) error {
	r, _, err := o.records.Receipt(ctx, a.Namespace, a.Key)
	if err != nil {
		return err
	}
	r.Irrecoverable = e.now().UTC()
	action := kms.DestroyKey
	if a.Key.IsZero() {
		action = kms.DestroyNamespace
	}
	if r.Note, err = e.signReceipt(ctx, o, &r, action); err != nil {
		return err
	}
	return e.direct(ctx, o, kms.Call{Namespace: a.Namespace}, action, func(w *work, tx *records.Tx) error {
		if there, err := tx.RemoveAwaiting(a); err != nil || !there {
			w.rec.Detail = "nothing to do: the receipt is written"
			return err
		}
		w.rec.Detail = fmt.Sprintf("irrecoverable: epochs up to %d are destroyed; receipt SHA-256 %x", r.Epoch, sha256.Sum256(r.Note))
		if err := tx.PutReceipt(r); err != nil {
			return err
		}
		if a.Key.IsZero() {
			return w.finalNamespace(tx, &r)
		}
		k, there, err := tx.Key(a.Namespace, a.Key)
		if err != nil || !there {
			return err
		}
		k.Irrecoverable = r.Irrecoverable
		w.rec.Keys = append(w.rec.Keys, keyUse(k.ID, 0, k.Rev))
		w.putKey(tx, &k)
		return nil
	})
}

// signReceipt gathers what a receipt says and signs it with the key of the log.
func (e *Engine) signReceipt(ctx context.Context, o *opened, r *records.Receipt, action kms.Action) ([]byte, error) {
	out := receipt.Receipt{
		Cluster: o.cluster.String(), What: receipt.OfNamespace, Namespace: r.Namespace,
		Keys: r.Keys, DataKeys: r.DataKeys, Principals: r.Principals,
		Requested: r.Asked, RequestedBy: r.By, Reason: r.Reason, Approval: r.Approval, ApprovedBy: r.ApprovedBy,
		Due: r.Due, Erased: r.Erased, Epoch: r.Epoch, Irrecoverable: r.Irrecoverable, Record: r.Record,
	}
	if r.Assessment != [32]byte{} {
		out.Assessment = fmt.Sprintf("%x", r.Assessment)
	}
	if !r.Key.IsZero() {
		if err := o.describeDestroyed(ctx, r, &out); err != nil {
			return nil, err
		}
	}
	at, err := e.recordOf(ctx, r, action)
	if err != nil {
		return nil, err
	}
	out.Position = at.String()
	if out.Proof, err = e.cfg.Log.Prove(ctx, at); err != nil {
		return nil, err
	}
	msg, err := out.Sign(o.chain.Signer())
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the receipt of a destruction could not be signed").Because(err)
	}
	known, err := note.NewVerifier(o.chain.PublicKey())
	if err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "an audit key cannot be read").Because(err)
	}
	// A key that failed, or was erased meanwhile, signs nothing that is kept.
	if _, err := receipt.Open(msg, note.VerifierList(known)); err != nil {
		return nil, kms.Errorf(kms.CodeInternal, "the receipt of a destruction does not verify").Because(err)
	}
	return msg, nil
}

// dataKeysCounted is as far as a receipt counts the data keys of either kind that went with a key.
const dataKeysCounted = 10_000_000

// describeDestroyed says of a key what it was for, and which versions it had.
func (o *opened) describeDestroyed(ctx context.Context, r *records.Receipt, out *receipt.Receipt) error {
	k, err := o.records.Key(ctx, r.Namespace, r.Key)
	if err != nil {
		return err
	}
	out.What, out.Key = receipt.OfKey, r.Key
	out.Name, out.Class, out.Description = k.Name, k.Class, k.Description
	out.SetLabels(k.Labels)
	// Managed data keys went with their key: what is stored of them opens under it alone.
	lost, err := o.records.CountAllDataKeys(ctx, k.ID, dataKeysCounted)
	if err != nil {
		return err
	}
	r.DataKeys = uint64(lost.Total()) //nolint:gosec // G115: a count
	out.DataKeys = r.DataKeys
	var failed error
	sum := receipt.Sum(func(yield func(string)) {
		for before := k.Latest + 1; before > 0; {
			page, next, err := o.records.Versions(ctx, k.ID, k.Latest, before, versionsRead)
			if err != nil {
				failed = err
				return
			}
			for i := range page {
				v := receipt.Version{Number: page[i].Number, Algorithm: page[i].Algorithm, State: page[i].State, Created: page[i].Created.UTC(), Check: page[i].Check}
				yield(receipt.VersionText(&v))
				if out.VersionsAll++; len(out.Versions) < receipt.MaxVersions {
					out.Versions = append(out.Versions, v)
				}
			}
			before = next
		}
	})
	if out.VersionsAll > receipt.MaxVersions {
		out.VersionsSum = sum
	}
	return failed
}

// recordOf finds the record of a destruction in the log.
func (e *Engine) recordOf(ctx context.Context, r *records.Receipt, action kms.Action) (audit.Position, error) {
	f := audit.Filter{Key: r.Key, Namespace: r.Namespace, Action: action, Changes: true}
	for page := ""; ; {
		got, err := e.cfg.Log.List(ctx, f, page, audit.MaxPage)
		if err != nil {
			return audit.Position{}, err
		}
		for i := range got.Entries {
			if got.Entries[i].Record.ID == r.Record {
				return got.Entries[i].Position, nil
			}
		}
		if page = got.Next; page == "" {
			return audit.Position{}, kms.Errorf(kms.CodeNotFound, "the record %s of a destruction is not in the audit log: its receipt cannot be written", r.Record)
		}
	}
}
