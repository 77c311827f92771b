package engine

import (
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// The steps of a destruction.
const (
	DestructionScheduled     = "scheduled"     // it can be cancelled
	DestructionErased        = "erased"        // nothing opens it on this server; copies of the store taken before, with an epoch key of their time, still would
	DestructionIrrecoverable = "irrecoverable" // every epoch key that could is destroyed; the receipt is signed
)

// DestructionInfo is how a destruction stands.
type DestructionInfo struct {
	State         string
	Namespace     kms.Namespace
	Key           kms.ID // zero: of the namespace
	Name          string
	RequestedAt   time.Time
	RequestedBy   string
	Reason        string
	Approval      kms.ID
	ApprovedBy    []string
	DestroyAt     time.Time
	Erased        time.Time
	Epoch         uint32 // the last epoch under which it can have been
	Irrecoverable time.Time
	Keys          uint64 // of a namespace, when its destruction was asked for
	DataKeys      uint64
	Principals    uint64
}

// ReceiptOutput is how a destruction stands and, once it is irrecoverable, the signed receipt.
type ReceiptOutput struct {
	Destruction DestructionInfo
	Note        []byte // empty before
	VerifierKey string // to be compared with the one that was pinned
}

// The descriptors of reading receipts.
var (
	readReceipt = op[KeyInput, ReceiptOutput]{
		name:  kms.ReadReceipt,
		roles: keyRole(kms.ReadReceipt, lifecycle.Read),
		do: func(ctx context.Context, w *work, _ *KeyInput) (ReceiptOutput, error) {
			k := w.keys[0]
			return w.receipt(ctx, k.Namespace, k.ID, k.Name)
		},
	}
	readNamespaceReceipt = op[NamespaceInput, ReceiptOutput]{
		name: kms.ReadReceipt,
		// Who may see the namespace may see what became of it: an operator when nobody else is left.
		authorize: func(w *work, in *NamespaceInput) error {
			w.rec.Resource = clipTo(string(in.Name), kms.MaxNamespace)
			if err := w.authorizeNamespace(kms.ReadNamespace); err != nil {
				return err
			}
			if in.Name != w.call.Namespace {
				return kms.Errorf(kms.CodeNotFound, "there is no namespace %q, or the call is not made in it", in.Name)
			}
			return nil
		},
		do: func(ctx context.Context, w *work, in *NamespaceInput) (ReceiptOutput, error) {
			return w.receipt(ctx, in.Name, kms.ID{}, "")
		},
	}
)

// ReadReceipt tells how the destruction of a key stands, and answers its signed receipt once nothing brings the key back.
func (e *Engine) ReadReceipt(ctx context.Context, c kms.Call, in KeyInput) (ReceiptOutput, error) {
	return use(ctx, e, c, &readReceipt, &in)
}

// ReadNamespaceReceipt does the same for the call's namespace.
func (e *Engine) ReadNamespaceReceipt(ctx context.Context, c kms.Call, in NamespaceInput) (ReceiptOutput, error) {
	return use(ctx, e, c, &readNamespaceReceipt, &in)
}

func (w *work) receipt(ctx context.Context, ns kms.Namespace, key kms.ID, name string) (ReceiptOutput, error) {
	r, rev, err := w.o.records.Receipt(ctx, ns, key)
	if err != nil {
		return ReceiptOutput{}, err
	}
	if rev == 0 {
		return ReceiptOutput{}, kms.Errorf(kms.CodeNotFound, "no destruction was asked for: there is nothing to give a receipt of")
	}
	return ReceiptOutput{Destruction: destructionInfo(r, name), Note: r.Note, VerifierKey: w.o.chain.PublicKey()}, nil
}

func destructionInfo(r records.Receipt, name string) DestructionInfo {
	i := DestructionInfo{
		State: DestructionScheduled, Namespace: r.Namespace, Key: r.Key, Name: name, RequestedAt: r.Asked, RequestedBy: r.By, Reason: r.Reason,
		Approval: r.Approval, ApprovedBy: r.ApprovedBy, DestroyAt: r.Due, Erased: r.Erased, Epoch: r.Epoch, Irrecoverable: r.Irrecoverable,
		Keys: r.Keys, DataKeys: r.DataKeys, Principals: r.Principals,
	}
	switch {
	case !r.Irrecoverable.IsZero():
		i.State = DestructionIrrecoverable
	case !r.Erased.IsZero():
		i.State = DestructionErased
	}
	return i
}

// requested notes who asks for a destruction, and why.
func (w *work) requested(r records.Receipt) records.Receipt {
	r.Asked, r.By, r.Reason, r.Approval, r.ApprovedBy = w.now.UTC(), w.call.Principal.Name, w.call.Reason, w.call.Approval, w.granted
	return r
}

// erased notes with an erasure, in its transaction and after everything that was erased was read, what has to end before its receipt can be written.
// What was read is under the current epoch or an older one; a roll that comes in between changes it, and the transaction runs again.
func (w *work) erased(tx *records.Tx, ns kms.Namespace, key kms.ID, due time.Time) (records.Receipt, error) {
	r, _, err := tx.Receipt(ns, key)
	if err != nil {
		return r, err
	}
	r.Namespace, r.Key, r.Due = ns, key, due
	r.Erased, r.Epoch, r.Record = w.now.UTC(), w.o.epochs.Current(), w.rec.ID
	return r, tx.PutAwaiting(records.Awaiting{Namespace: ns, Key: key, Epoch: r.Epoch})
}
