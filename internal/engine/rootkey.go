package engine

import (
	"context"
	"fmt"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/seal"
)

var rotateRoot = op[struct{}, struct{}]{
	name: kms.RotateRoot,
	do:   func(context.Context, *work, *struct{}) (struct{}, error) { return struct{}{}, nil },
}

// RotateRoot makes a new root key, seals it to every recipient (no custodian has to come), and re-wraps the one small
// level below it: the keychain, the namespaces' KEKs and the epoch KEKs. Interrupted, it goes on at the next start.
func (e *Engine) RotateRoot(ctx context.Context, c kms.Call) (Status, error) {
	if _, err := use(ctx, e, c, &rotateRoot, &struct{}{}); err != nil {
		return Status{}, err
	}
	if c.DryRun {
		return e.Status(ctx), nil
	}
	if err := e.beginRotation(ctx, c); err != nil {
		return Status{}, err
	}
	err := e.finishRotation(ctx)
	return e.Status(ctx), err
}

func (e *Engine) beginRotation(ctx context.Context, c kms.Call) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	o := e.open.Load()
	if o == nil {
		return e.notOpen(ctx)
	}
	config, root, err := o.root.BeginRotation(o.config, e.now())
	if err != nil {
		return err
	}
	err = e.direct(ctx, o, c, kms.RotateRoot, func(w *work, tx *records.Tx) error {
		w.rec.Detail = fmt.Sprintf("root generation %d begins", root.Generation())
		return tx.PutSystem(records.System{Config: config.Bytes()})
	})
	if err != nil {
		root.Zero()
		return err
	}
	e.replaceRoot(o, config, root)
	return nil
}

// replaceRoot puts a root and its configuration in force. Operations under way end on the old ones.
func (e *Engine) replaceRoot(o *opened, config *seal.Config, root *seal.Root) {
	next := &opened{records: o.records, root: root, chain: o.chain, epochs: o.epochs, config: config, cluster: o.cluster, dev: o.dev}
	e.furnish(next)
	e.open.Store(next)
	o.drained()
	o.ring.Clear()
	o.root.Zero()
}

// finishRotation re-wraps what is under the old generation, and drops it when nothing is left.
func (e *Engine) finishRotation(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	o := e.open.Load()
	if o == nil || !o.root.Rotating() {
		return nil
	}
	c := kms.Call{Namespace: kms.SystemNamespace}
	if err := o.epochs.RewrapRoot(o.root, o.config); err != nil {
		return err
	}
	if err := e.rewrapKeychain(ctx, o, c); err != nil {
		return err
	}
	if err := e.rewrapNamespaces(ctx, o, c); err != nil {
		return err
	}
	left, err := e.namespacesLeft(ctx, o)
	if err != nil {
		return err
	}
	config, root, err := o.root.FinishRotation(o.config, left+o.epochs.Left(o.root))
	if err != nil {
		return err
	}
	err = e.direct(ctx, o, c, kms.RotateRoot, func(w *work, tx *records.Tx) error {
		w.rec.Detail = fmt.Sprintf("root generation %d alone", root.Generation())
		return tx.PutSystem(records.System{Config: config.Bytes()})
	})
	if err != nil {
		root.Zero()
		return err
	}
	e.jobs.set(jobRoot, func(i *JobInfo) { i.LastNote = fmt.Sprintf("root generation %d", root.Generation()) })
	if err := o.epochs.RewrapRoot(root, config); err != nil { // the epochs keep the new root, not one with two generations
		root.Zero()
		return err
	}
	e.replaceRoot(o, config, root)
	return nil
}

func (e *Engine) rewrapKeychain(ctx context.Context, o *opened, c kms.Call) error {
	sys, err := records.ReadSystem(ctx, e.cfg.Store)
	if err != nil {
		return err
	}
	blob, changed, err := o.root.RewrapKeychain(sys.Keychain)
	if err != nil || !changed {
		return err
	}
	return e.direct(ctx, o, c, kms.RotateRoot, func(w *work, tx *records.Tx) error {
		w.rec.Detail = fmt.Sprintf("keychain under root generation %d", o.root.Generation())
		return tx.PutSystem(records.System{Keychain: blob})
	})
}

// rewrapNamespaces brings every namespace's KEK under the newest root key. Namespaces made meanwhile are under it already.
func (e *Engine) rewrapNamespaces(ctx context.Context, o *opened, c kms.Call) error {
	return o.eachNamespace(ctx, func(n records.Namespace) error { return e.rewrapNamespace(ctx, o, c, n.Name) })
}

// namespacesLeft counts, afresh, the KEKs that are not under the newest root key.
func (e *Engine) namespacesLeft(ctx context.Context, o *opened) (left int, err error) {
	err = o.eachNamespace(ctx, func(n records.Namespace) error {
		old, err := o.oldKEKs(ctx, &n)
		left += old
		return err
	})
	return left, err
}

// oldKEKs counts the KEKs of a namespace that are not under the newest root key: its own, and that of its archive.
func (o *opened) oldKEKs(ctx context.Context, n *records.Namespace) (old int, err error) {
	archive, _, err := o.records.ArchiveKEK(ctx, n.Name)
	if err != nil {
		return 0, err
	}
	for _, kek := range [][]byte{n.KEK, archive.KEK} {
		if kek == nil {
			continue
		}
		gen, err := seal.WrappedUnder(kek)
		if err != nil {
			return 0, err
		}
		if gen != o.root.Generation() {
			old++
		}
	}
	return old, nil
}

func (o *opened) eachNamespace(ctx context.Context, do func(records.Namespace) error) error {
	for after := kms.Namespace(""); ; {
		page, next, err := o.records.Namespaces(ctx, after, 100)
		if err != nil {
			return err
		}
		for _, n := range page {
			if len(n.KEK) == 0 { // destroyed
				continue
			}
			if err := do(n); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		after = next
	}
}

func (e *Engine) rewrapNamespace(ctx context.Context, o *opened, c kms.Call, ns kms.Namespace) error {
	rec, err := o.records.Namespace(ctx, ns)
	if err != nil {
		return err
	}
	if len(rec.KEK) == 0 { // destroyed meanwhile
		return nil
	}
	if old, err := o.oldKEKs(ctx, &rec); err != nil || old == 0 {
		return err
	}
	place := seal.Place{Kind: seal.PlaceNamespace, Namespace: ns}.Bytes()
	return e.direct(ctx, o, c, kms.RotateRoot, func(w *work, tx *records.Tx) error {
		n, there, err := tx.Namespace(ns)
		if err != nil || !there || len(n.KEK) == 0 {
			return err
		}
		row, err := o.records.NamespaceShred(ctx, ns)
		if err != nil {
			return err
		}
		shred, err := o.epochs.OpenShred(row.Row, place)
		if err != nil {
			return err
		}
		defer shred.Zero()
		if n.KEK, _, err = o.root.RewrapKEK(n.KEK, shred, place); err != nil {
			return err
		}
		if err := o.rewrapArchive(tx, ns); err != nil {
			return err
		}
		w.rec.Resource = string(ns)
		w.rec.Detail = fmt.Sprintf("KEK of namespace %s under root generation %d", ns, o.root.Generation())
		w.onCommit(n.Change, func(leaf [32]byte) error {
			n.Change = leaf
			return tx.PutNamespace(n)
		})
		return nil
	})
}
