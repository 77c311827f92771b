package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/records"
)

// A namespace is destroyed by erasing the shred secret of its KEK: one small write, however many keys there are. While that is pending nothing works in it
// but looking and cancelling; afterwards its record and the metadata of its keys remain, and nobody of it gets in.

// NamespaceDestroyInput schedules the destruction of the call's namespace with all its keys.
type NamespaceDestroyInput struct {
	Name   kms.Namespace
	Window time.Duration // 0: the default of 30 days; at least 7 days outside development namespaces

	counted contents
}

// contents is what is in a namespace. More: there is more than was counted.
type contents struct {
	keys, dataKeys, principals uint64
	more                       bool
}

// NamespaceDestructionOutput is a namespace whose destruction was scheduled, and what it would reach.
type NamespaceDestructionOutput struct {
	Namespace  NamespaceInfo
	Keys       uint64
	DataKeys   uint64 // that are managed
	Principals uint64 // tokens, certificate bindings and access keys that stand
	More       bool   // there are more than were counted
}

// countMost bounds how many keys, data keys and credentials are counted, each.
const countMost = 100_000

// The descriptors of the end of namespaces.
var (
	scheduleNamespace = change[NamespaceDestroyInput, NamespaceDestructionOutput]{
		name:    kms.ScheduleNamespaceDestruction,
		check:   checkNamespaceDestroy,
		prepare: countContents,
		do:      doScheduleNamespace,
	}
	cancelNamespace = change[NamespaceInput, NamespaceOutput]{
		name:  kms.CancelNamespaceDestruction,
		check: checkNamespace,
		do:    doCancelNamespace,
	}
)

// ScheduleNamespaceDestruction starts the window at whose end the call's namespace is destroyed with all its keys. Until then nothing works in it, and it
// can be saved.
func (e *Engine) ScheduleNamespaceDestruction(ctx context.Context, c kms.Call, in NamespaceDestroyInput) (NamespaceDestructionOutput, error) {
	return alter(ctx, e, c, &scheduleNamespace, &in)
}

// CancelNamespaceDestruction saves a namespace whose destruction is pending. Everything is as it was.
func (e *Engine) CancelNamespaceDestruction(ctx context.Context, c kms.Call, in NamespaceInput) (NamespaceOutput, error) {
	return alter(ctx, e, c, &cancelNamespace, &in)
}

func checkNamespaceDestroy(in *NamespaceDestroyInput) error {
	if in.Name == kms.SystemNamespace {
		return kms.Errorf(kms.CodeBadRequest, "the namespace %s is the home of operators: it cannot be destroyed", kms.SystemNamespace)
	}
	_, err := kms.ParseNamespace(string(in.Name))
	return err
}

func countContents(ctx context.Context, w *work, in *NamespaceDestroyInput) error {
	if in.Name != w.call.Namespace {
		return notThisNamespace(in.Name)
	}
	keys, dataKeys, all, err := w.o.records.CountKeys(ctx, in.Name, countMost)
	if err != nil {
		return err
	}
	in.counted = contents{keys: uint64(keys), dataKeys: uint64(dataKeys), more: !all} //nolint:gosec // G115: counts are not negative
	return w.countPrincipals(ctx, &in.counted)
}

// countPrincipals counts the credentials of the call's namespace that stand.
func (w *work) countPrincipals(ctx context.Context, c *contents) error {
	seen := 0
	for after := (kms.ID{}); ; {
		page, next, err := w.o.records.Tokens(ctx, after, 500)
		if err != nil {
			return err
		}
		for i := range page {
			if t := &page[i]; t.Namespace == w.call.Namespace && t.Revoked.IsZero() && t.Expires.After(w.now) {
				c.principals++
			}
		}
		if seen += len(page); next.IsZero() || seen >= countMost {
			c.more = c.more || !next.IsZero()
			break
		}
		after = next
	}
	for after := []byte(nil); ; {
		page, next, err := w.o.records.Credentials(ctx, after, 500)
		if err != nil {
			return err
		}
		for i := range page {
			if page[i].Namespace == w.call.Namespace && page[i].Revoked.IsZero() {
				c.principals++
			}
		}
		if seen += len(page); next == nil || seen >= 2*countMost {
			c.more = c.more || next != nil
			break
		}
		after = next
	}
	for after := []byte(nil); ; {
		page, next, err := w.o.records.AccessKeys(ctx, after, 500)
		if err != nil {
			return err
		}
		for i := range page {
			if page[i].Namespace == w.call.Namespace && page[i].Ended(w.now).IsZero() {
				c.principals++
			}
		}
		if seen += len(page); next == nil || seen >= 3*countMost {
			c.more = c.more || next != nil
			return nil
		}
		after = next
	}
}

func notThisNamespace(ns kms.Namespace) error {
	return kms.Errorf(kms.CodeNotFound, "there is no namespace %q, or the call is not made in it", ns)
}

func doScheduleNamespace(ctx context.Context, w *work, tx *records.Tx, in *NamespaceDestroyInput) (out NamespaceDestructionOutput, err error) {
	w.rec.Resource = string(in.Name)
	n, there, err := tx.Namespace(in.Name)
	switch {
	case err != nil:
		return out, err
	case !there || in.Name != w.call.Namespace:
		return out, notThisNamespace(in.Name)
	}
	if err := ending(&n); err != nil {
		return out, err
	}
	end, err := lifecycle.End(w.now, in.Window, n.Dev)
	if err != nil {
		return out, err
	}
	if err := w.anotherNamespace(ctx, tx, in.Name); err != nil {
		return out, err
	}
	n.DestroyAt = end.UTC()
	c := in.counted
	w.rec.Detail = fmt.Sprintf("destroy at %s: %d keys, %d data keys, %d credentials", spelt(end), c.keys, c.dataKeys, c.principals)
	asked := w.requested(records.Receipt{Namespace: n.Name, Due: n.DestroyAt, Keys: c.keys, DataKeys: c.dataKeys, Principals: c.principals})
	if err := tx.PutReceipt(asked); err != nil {
		return out, err
	}
	if err := tx.PutDue(records.Due{Namespace: n.Name, At: n.DestroyAt, What: records.DueNamespace}); err != nil {
		return out, err
	}
	w.putNamespace(tx, &n)
	return NamespaceDestructionOutput{Namespace: namespaceInfo(n), Keys: c.keys, DataKeys: c.dataKeys, Principals: c.principals, More: c.more}, nil
}

// anotherNamespace refuses to end the last namespace that is not the operators'. The one that is found stays as it is until the change is committed.
func (w *work) anotherNamespace(ctx context.Context, tx *records.Tx, but kms.Namespace) error {
	for after := kms.Namespace(""); ; {
		page, next, err := w.o.records.Namespaces(ctx, after, 100)
		if err != nil {
			return err
		}
		for i := range page {
			if page[i].Name == but || page[i].Name == kms.SystemNamespace || ending(&page[i]) != nil {
				continue
			}
			n, there, err := tx.Namespace(page[i].Name)
			if err != nil || there && ending(&n) == nil {
				return err
			}
		}
		if next == "" {
			last := kms.Errorf(kms.CodeConflict, "%s is the last namespace but the operators'", but)
			last.Next = "an operator can make another one first: keyhold namespace create NAME"
			return last
		}
		after = next
	}
}

func (w *work) putNamespace(tx *records.Tx, n *records.Namespace) {
	w.rec.Resource = string(n.Name)
	w.onCommit(n.Change, func(leaf [32]byte) error {
		n.Change = leaf
		return tx.PutNamespace(*n)
	})
}

func doCancelNamespace(_ context.Context, w *work, tx *records.Tx, in *NamespaceInput) (NamespaceOutput, error) {
	n, there, err := tx.Namespace(in.Name)
	switch {
	case err != nil:
		return NamespaceOutput{}, err
	case !there || in.Name != w.call.Namespace:
		return NamespaceOutput{}, notThisNamespace(in.Name)
	case !n.Destroyed.IsZero():
		return NamespaceOutput{}, ending(&n)
	case n.DestroyAt.IsZero():
		w.rec.Detail = "nothing to do"
		return NamespaceOutput{namespaceInfo(n)}, nil
	}
	// While destruction is suspended nothing is being destroyed: there is time to save it.
	if r := w.e.clock.Look(); !r.Suspended() {
		if err := lifecycle.Cancellable(n.DestroyAt, r.Trusted); err != nil {
			return NamespaceOutput{}, err
		}
	}
	if err := tx.RemoveDue(records.Due{Namespace: n.Name, At: n.DestroyAt, What: records.DueNamespace}); err != nil {
		return NamespaceOutput{}, err
	}
	if err := tx.RemoveReceipt(n.Name, kms.ID{}); err != nil {
		return NamespaceOutput{}, err
	}
	n.DestroyAt = time.Time{}
	w.putNamespace(tx, &n)
	return NamespaceOutput{namespaceInfo(n)}, nil
}

// destroyNamespaceDue destroys a namespace at the end of its window.
func destroyNamespaceDue(ctx context.Context, t *task) error {
	e := t.e
	err := e.direct(ctx, t.o, kms.Call{Namespace: t.Namespace}, kms.DestroyNamespace, func(w *work, tx *records.Tx) error {
		n, there, err := tx.Namespace(t.Namespace)
		if err != nil {
			return err
		}
		if err := t.take(tx); err != nil {
			return err
		}
		w.rec.Resource = string(t.Namespace)
		if !there || !n.DestroyAt.Equal(t.Date()) || !n.Destroyed.IsZero() || lifecycle.Due(n.DestroyAt, e.clock.Trusted()) != nil {
			w.rec.Detail = "nothing to do: cancelled or done"
			return nil
		}
		if err := e.putTime(tx); err != nil {
			return err
		}
		if err := errors.Join(tx.EraseNamespaceShred(n.Name), tx.EraseArchiveKEK(n.Name)); err != nil {
			return err
		}
		n.KEK, n.Destroyed = nil, w.now.UTC()
		r, err := w.erased(tx, n.Name, kms.ID{}, n.DestroyAt)
		if err != nil {
			return err
		}
		w.rec.Detail = fmt.Sprintf("the namespace's KEK is erased; irrecoverable when epoch %d is destroyed", r.Epoch)
		w.putNamespace(tx, &n)
		return tx.PutReceipt(r)
	})
	// Whatever was open of it leaves memory, and its credentials end.
	e.tell([]Touch{{Kind: records.TouchAll}})
	e.jobs.rolls.erased.Store(true)
	return err
}

// finalNamespace says of a namespace that nothing brings it back.
func (w *work) finalNamespace(tx *records.Tx, r *records.Receipt) error {
	n, there, err := tx.Namespace(r.Namespace)
	if err != nil || !there {
		return err
	}
	n.Irrecoverable = r.Irrecoverable
	w.putNamespace(tx, &n)
	return nil
}

// ending says why a namespace takes no work: it is destroyed, or is going to be. nil: it does.
func ending(n *records.Namespace) error {
	switch {
	case !n.Destroyed.IsZero():
		return kms.Errorf(kms.CodeNamespaceDestroyed, "the namespace %s was destroyed at %s", n.Name, spelt(n.Destroyed))
	case !n.DestroyAt.IsZero():
		return kms.Errorf(kms.CodeNamespacePending, "the namespace %s will be destroyed at %s", n.Name, spelt(n.DestroyAt))
	}
	return nil
}

// savers are the actions beside looking that go on while the destruction of a namespace is pending: what saves it, and what lets somebody in to do so.
var savers = map[kms.Action]bool{
	kms.CancelNamespaceDestruction: true, kms.CreateToken: true, kms.RevokeToken: true, kms.RenewToken: true, kms.RevokeCredential: true, kms.RevokeAccessKey: true,
	kms.DisableAuth: true, kms.DeleteAuthRole: true, kms.DestroySecretID: true,
}

// admits decides whether an action is possible in a namespace that is ending.
func (w *work) admits(r *rules) error {
	switch w.rec.Action.Group() {
	case kms.ReadGroup, kms.AuditGroup, kms.SelfGroup:
		return nil
	case kms.UseGroup, kms.ManageGroup, kms.AdminGroup, kms.OperatorGroup, kms.ExceptionGroup, kms.SecretGroup:
	}
	if r.ns.Destroyed.IsZero() && savers[w.rec.Action] {
		return nil
	}
	// Who does not belong here does not learn that there is a namespace.
	if p := w.call.Principal; p.Namespace != w.call.Namespace && !p.Has(kms.RoleOperator) {
		return denied(w.call, w.rec.Action)
	}
	return ending(&r.ns)
}

// standing refuses credentials of a namespace that is destroyed.
func (o *opened) standing(ctx context.Context, home kms.Namespace) error {
	n, err := o.records.Namespace(ctx, home)
	if err == nil && !n.Destroyed.IsZero() {
		err = unknownCredential()
	}
	return err
}
