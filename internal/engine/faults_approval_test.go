package engine_test

import (
	"errors"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// underRule makes a namespace of its own whose keys are rotated by approval only, and in it somebody's request for that.
func underRule(w *world, n string) (askedOf, error) {
	ns := kms.Namespace(n)
	if _, err := w.e.CreateNamespace(w.t.Context(), operator(), engine.NamespaceInput{Name: ns, Approvals: []engine.ApprovalRule{{Action: kms.RotateKey, Approvers: 1}}}); err != nil {
		return askedOf{}, err
	}
	in := func(c kms.Call, name string) kms.Call {
		p := *c.Principal
		p.Namespace, p.Name = ns, name
		c.Namespace, c.Principal = ns, &p
		return c
	}
	a := askedOf{alice: in(admin, "alice"), bob: in(admin, "bob"), carl: in(carol, "carl")}
	a.alice.Principal.Credential, a.bob.Principal.Credential = kms.ID{1}.String(), kms.ID{2}.String()
	_, err := w.e.CreateKey(w.t.Context(), a.alice, engine.CreateKeyInput{Name: n, Algorithm: kms.AES256GCM})
	return a, err
}

type askedOf struct {
	alice, bob, carl kms.Call
	id               kms.ID
}

// ask asks for the approval of a rotation.
func (a askedOf) ask(w *world) (any, error) {
	c := a.alice
	c.Ask = true
	_, err := w.e.RotateKey(w.t.Context(), c, engine.RotateKeyInput{Key: kms.Ref(c.Namespace)})
	var e *kms.Error
	if errors.As(err, &e) && !e.Approval.IsZero() {
		return e.Approval, nil // that is how it is answered
	}
	return kms.ID{}, err
}

// requested has one that waits for approvers.
func requested(w *world, n string) (askedOf, error) {
	a, err := underRule(w, n)
	if err != nil {
		return a, err
	}
	id, err := a.ask(w)
	a.id, _ = id.(kms.ID)
	return a, err
}

var approvalTrials = map[kms.Action]trial{
	kms.RequestApproval: after(underRule, func(w *world, a askedOf) (any, error) { return a.ask(w) }),
	kms.GiveApproval: after(requested, func(w *world, a askedOf) (engine.ApprovalOutput, error) {
		return w.e.GiveApproval(w.t.Context(), a.bob, engine.GiveApprovalInput{ID: a.id, Approve: true})
	}),
	kms.ReadApproval: after(requested, func(w *world, a askedOf) (engine.ApprovalOutput, error) {
		return w.e.DescribeApproval(w.t.Context(), a.carl, engine.ApprovalInput{ID: a.id})
	}),
	kms.WithdrawApproval: after(requested, func(w *world, a askedOf) (engine.ApprovalOutput, error) {
		return w.e.WithdrawApproval(w.t.Context(), a.alice, engine.ApprovalInput{ID: a.id})
	}),
}

var approvalElsewhere = map[kms.Action]string{}
