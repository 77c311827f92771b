package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/seal"
)

// The descriptors of namespaces.
var (
	createNamespace = change[NamespaceInput, NamespaceOutput]{
		name:  kms.CreateNamespace,
		check: checkNamespace,
		prepare: func(_ context.Context, w *work, in *NamespaceInput) (err error) {
			if in.made == nil && !w.call.DryRun {
				in.made, err = makeKEK(w.o, in.Name)
			}
			return err
		},
		do: doCreateNamespace,
	}
	updateNamespace = change[NamespaceInput, NamespaceOutput]{
		name:  kms.UpdateNamespace,
		check: checkNamespace,
		approve: func(w *work, in *NamespaceInput) string {
			return strings.Join(weakens(&w.rules.ns, in).what, ", ")
		},
		approvers: func(w *work, in *NamespaceInput) int { return weakens(&w.rules.ns, in).approvers },
		do:        doUpdateNamespace,
	}
	readNamespace = op[NamespaceInput, NamespaceOutput]{
		name: kms.ReadNamespace,
		do: func(ctx context.Context, w *work, in *NamespaceInput) (NamespaceOutput, error) {
			n, err := w.o.records.Namespace(ctx, in.Name)
			if err == nil && (n.Rev == 0 || in.Name != w.call.Namespace) {
				err = kms.Errorf(kms.CodeNotFound, "there is no namespace %q, or the call is not made in it", in.Name)
			}
			return NamespaceOutput{namespaceInfo(n)}, err
		},
	}
	listNamespaces = op[PageInput, NamespacesOutput]{
		name:  kms.ReadNamespace,
		check: func(in *PageInput) error { return checkLimit(&in.Limit) },
		do:    doListNamespaces,
	}
)

// newKEK is a namespace KEK made outside the transaction that stores it.
type newKEK struct {
	wrapped []byte
	check   []byte
	shred   records.Shred
}

func makeKEK(o *opened, ns kms.Namespace) (*newKEK, error) {
	place := seal.Place{Kind: seal.PlaceNamespace, Namespace: ns}.Bytes()
	shred := seal.NewShredSecret()
	defer shred.Zero()
	kek := seal.NewKEK()
	defer kek.Zero()
	wrapped, err := o.root.WrapKEK(kek, shred, place)
	if err != nil {
		return nil, err
	}
	row, err := o.epochs.WrapShred(shred, place)
	if err != nil {
		return nil, err
	}
	check := kek.Check()
	return &newKEK{wrapped: wrapped, check: check[:], shred: records.Shred{Row: row, Namespace: ns}}, nil
}

func checkNamespace(in *NamespaceInput) error {
	if _, err := kms.ParseNamespace(string(in.Name)); err != nil {
		return err
	}
	if in.Description != nil && len(*in.Description) > kms.MaxDescription {
		return kms.Errorf(kms.CodeTooLarge, "the description has %d bytes, the limit is %d", len(*in.Description), kms.MaxDescription)
	}
	if in.Required != nil {
		if err := kms.CheckRequired(*in.Required); err != nil {
			return err
		}
	}
	return checkApprovalRules(in.Approvals)
}

func namespaceInfo(n records.Namespace) NamespaceInfo {
	return NamespaceInfo{
		Name: n.Name, Description: n.Description, SeparationOfDuties: n.SeparationOfDuties, Approvals: rulesOf(&n), Required: n.Required, NoUpsert: n.NoUpsert, Created: n.Created,
		DestroyAt: n.DestroyAt, Destroyed: n.Destroyed, Irrecoverable: n.Irrecoverable, Rev: n.Rev,
	}
}

func doCreateNamespace(_ context.Context, w *work, tx *records.Tx, in *NamespaceInput) (NamespaceOutput, error) {
	if _, there, err := tx.Namespace(in.Name); err != nil {
		return NamespaceOutput{}, err
	} else if there {
		return NamespaceOutput{}, kms.Errorf(kms.CodeExists, "the namespace %q exists already", in.Name)
	}
	n := records.Namespace{Name: in.Name, SeparationOfDuties: true, Dev: w.o.dev, Created: w.now.UTC()}
	_ = applyNamespace(&n, in)
	w.rec.Resource = string(in.Name)
	w.rec.Detail = protection(&n)
	if w.call.DryRun {
		return NamespaceOutput{namespaceInfo(n)}, nil
	}
	n.KEK, n.KEKCheck = in.made.wrapped, in.made.check
	if err := tx.PutNamespaceShred(in.Name, in.made.shred); err != nil {
		return NamespaceOutput{}, err
	}
	w.onCommit([32]byte{}, func(leaf [32]byte) error {
		n.Change = leaf
		return tx.PutNamespace(n)
	})
	return NamespaceOutput{namespaceInfo(n)}, nil
}

// applyNamespace answers whether it changed anything.
func applyNamespace(n *records.Namespace, in *NamespaceInput) bool {
	changed := applyRules(n, in.Approvals)
	if in.Description != nil && n.Description != *in.Description {
		n.Description, changed = *in.Description, true
	}
	if in.SeparationOfDuties != nil && n.SeparationOfDuties != *in.SeparationOfDuties {
		n.SeparationOfDuties, changed = *in.SeparationOfDuties, true
	}
	if in.Required != nil && !slices.Equal(n.Required, *in.Required) {
		n.Required, changed = slices.Clone(*in.Required), true
	}
	if in.NoUpsert != nil && n.NoUpsert != *in.NoUpsert {
		n.NoUpsert, changed = *in.NoUpsert, true
	}
	return changed
}

// protection says what the change record keeps of a namespace.
func protection(n *records.Namespace) string {
	said := "separation of duties off"
	if n.SeparationOfDuties {
		said = "separation of duties on"
	}
	if rules := rulesText(n); rules != "" {
		said += "; approvals: " + rules
	}
	if len(n.Required) > 0 {
		said += "; keys must say their " + strings.Join(n.Required, ", ")
	}
	if n.NoUpsert {
		said += "; encryptions make no keys"
	}
	return clipTo(said, audit.MaxDetail)
}

func doUpdateNamespace(_ context.Context, w *work, tx *records.Tx, in *NamespaceInput) (NamespaceOutput, error) {
	n, there, err := tx.Namespace(in.Name)
	if err != nil {
		return NamespaceOutput{}, err
	}
	if !there || in.Name != w.call.Namespace {
		return NamespaceOutput{}, kms.Errorf(kms.CodeNotFound, "there is no namespace %q, or the call is not made in it", in.Name)
	}
	if n.Rev != w.rules.ns.Rev {
		return NamespaceOutput{}, errStale // its rules may be others: what this change takes is decided by those that are in force
	}
	if !applyNamespace(&n, in) {
		w.rec.Detail = "nothing to do"
		return NamespaceOutput{namespaceInfo(n)}, nil
	}
	w.rec.Resource, w.rec.Detail = string(in.Name), protection(&n)
	w.onCommit(n.Change, func(leaf [32]byte) error {
		n.Change = leaf
		return tx.PutNamespace(n)
	})
	return NamespaceOutput{namespaceInfo(n)}, nil
}

func doListNamespaces(ctx context.Context, w *work, in *PageInput) (NamespacesOutput, error) {
	if !w.call.Principal.Has(kms.RoleOperator) || w.call.Principal.Namespace != kms.SystemNamespace {
		n, err := w.o.records.Namespace(ctx, w.call.Namespace)
		return NamespacesOutput{Namespaces: []NamespaceInfo{namespaceInfo(n)}}, err
	}
	page, next, err := w.o.records.Namespaces(ctx, kms.Namespace(in.Page), in.Limit)
	out := NamespacesOutput{Next: string(next)}
	for _, n := range page {
		out.Namespaces = append(out.Namespaces, namespaceInfo(n))
	}
	return out, err
}
