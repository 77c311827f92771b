package engine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/approval"
	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// need is how many others have to approve a request, and why. n 0: nobody has to.
type need struct {
	n   int
	why string
}

// errUnapproved ends the rehearsal of a request whose approvals are missing and which could be carried out otherwise.
var errUnapproved = errors.New("approvals are missing")

// needed says what approvals a request takes: by a rule of its namespace, or because it always takes some.
func needed[In, Out any](w *work, d *change[In, Out], in *In) need {
	rule := w.rules.ns.Approvals[d.name]
	n := need{n: rule}
	if rule > 0 {
		n.why = fmt.Sprintf("a rule of namespace %q", w.call.Namespace)
	}
	if d.approve == nil {
		return n
	}
	if why := d.approve(w, in); why != "" {
		least := usual(&w.rules.ns)
		switch {
		case d.approvers != nil:
			least = d.approvers(w, in)
		case rule > 0 && lowerable[d.name]:
			least = rule
		}
		n.n, n.why = max(rule, least), why
	}
	return n
}

// usual is how many approve what always takes approvals, where a namespace has no rule of its own.
func usual(n *records.Namespace) int {
	if n.Dev {
		return 1
	}
	return 2
}

// unapproved refuses at once what lacks its approvals, and asking for some that are not needed. What rehearses goes on: it tells
// whether the request could be carried out at all.
func (w *work) unapproved() error {
	switch {
	case w.call.Ask && w.needs.n == 0:
		return kms.Errorf(kms.CodeBadRequest, "%s takes no approvals here: repeat the request without asking for them", w.rec.Action)
	case w.call.Ask && !w.call.Approval.IsZero():
		return kms.Errorf(kms.CodeBadRequest, "a request either asks for approvals or names one")
	case w.needs.n > 0 && w.call.Approval.IsZero() && !w.call.DryRun && !w.call.Ask:
		return w.required()
	}
	return nil
}

// ruled is an operation that changes nothing and that a rule may put under approval all the same, because of what it gives out.
func ruled[In, Out any](d *op[In, Out]) *change[In, Out] {
	return &change[In, Out]{
		name: d.name, roles: d.roles, check: d.check, authorize: d.authorize, secret: true, releases: true,
		do: func(ctx context.Context, w *work, _ *records.Tx, in *In) (out Out, err error) {
			if w.call.DryRun {
				return out, nil
			}
			return d.do(ctx, w, in)
		},
	}
}

// required says how many approvals are needed, and why.
func (w *work) required() *kms.Error {
	return kms.Errorf(kms.CodeApprovalRequired, "%s needs the approval of %s: %s", w.rec.Action, others(w.needs.n), w.needs.why)
}

func others(n int) string {
	if n == 1 {
		return "somebody else"
	}
	return fmt.Sprintf("%d others", n)
}

// rehearsed is how a rehearsal ends that went well.
func (w *work) rehearsed(a *records.Approval) error {
	if w.needs.n > 0 && a == nil {
		return errUnapproved
	}
	return errDry
}

// approvalDigest stands for one exact request: what is asked for, of which keys (by their ids: names can be given to others), where, and by whom.
func (w *work) approvalDigest(a kms.Action, in any) ([32]byte, error) {
	request, err := digestOf(a, in)
	if err != nil {
		return request, err
	}
	h := sha256.New()
	part := func(b []byte) {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(b))) //nolint:gosec // G115: names, ids and digests
		h.Write(n[:])
		h.Write(b)
	}
	cluster, p := w.e.cfg.Cluster, w.call.Principal
	for _, b := range [][]byte{[]byte("keyhold approval 1"), cluster[:], []byte(w.call.Namespace), []byte(p.Namespace), []byte(p.Name), request[:]} {
		part(b)
	}
	for i := range w.n {
		part(w.keys[i].ID[:])
	}
	return [32]byte(h.Sum(nil)), nil
}

// approval finds the approval that the call names and decides whether it admits the request; nil: it names none. Everything that is read becomes a
// condition of the transaction, so that neither a second use nor the end of an approver's credential can come between.
func (w *work) approval(tx *records.Tx, digest [32]byte) (*records.Approval, error) {
	if w.call.Approval.IsZero() {
		return nil, nil //nolint:nilnil // none is named, and that is no error
	}
	a, there, err := tx.Approval(w.call.Namespace, w.call.Approval)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, kms.Errorf(kms.CodeNotApproved, "there is no approval %s in namespace %q", w.call.Approval, w.call.Namespace)
	}
	var counted []approval.Party
	a.Request, counted, err = a.Use(approval.PartyOf(w.call.Principal), digest, w.needs.n, w.now, func(v *approval.Vote) (bool, error) { return stillStands(tx, v) })
	if err != nil {
		return nil, err
	}
	w.rec.Approval, w.rec.Approvers, w.granted = a.ID, make([][16]byte, 0, len(counted)), nil
	for i := range counted {
		w.rec.Approvers = append(w.rec.Approvers, counted[i].Alias)
		w.granted = append(w.granted, counted[i].Name)
	}
	return &a, nil
}

// useApproval makes the end of an approval part of the transaction of what was approved.
func (w *work) useApproval(tx *records.Tx, a *records.Approval) error {
	if a == nil {
		return nil
	}
	return endInIndex(tx, &a.Request)
}

// stillStands tells whether the credential that a vote was given with was not revoked since. One that ended by its date still counts: it stood when it was used.
func stillStands(tx *records.Tx, v *approval.Vote) (bool, error) {
	switch v.By.Method {
	case kms.AuthToken:
		id, ok := kms.ParseID(v.By.Credential)
		if !ok {
			return false, nil
		}
		t, there, err := tx.Token(id)
		for _, id := range slices.Backward(t.Line) {
			from, is, err := tx.Token(id)
			if from.Freed { // nothing behind it counts any more
				break
			}
			if err != nil || !is || !from.Revoked.IsZero() {
				return false, err
			}
		}
		return there && t.Revoked.IsZero() && t.Namespace == v.By.Home && t.Principal == v.By.Name, err
	case kms.AuthCertificate:
		c, there, err := tx.Credential(v.By.Credential)
		return there && c.Revoked.IsZero() && c.Namespace == v.By.Home && c.Principal == v.By.Name && !c.Created.After(v.At), err
	case kms.AuthSignature:
		k, there, err := tx.AccessKey(v.By.Credential)
		k.Erase()
		return there && k.Revoked.IsZero() && k.Namespace == v.By.Home && k.Principal == v.By.Name, err
	case kms.AuthNone, kms.AuthLocal, kms.AuthCode, kms.AuthShares, kms.AuthSystem, kms.AuthOIDC, kms.AuthLogin:
	}
	return false, nil
}

// ask stores a request for the approvals that what was asked for takes, and answers with CodeApprovalRequired and its id: the request
// itself is not carried out, whatever else the caller expects of an answer.
func ask(ctx context.Context, w *work, action kms.Action, in any) error {
	digest, err := w.approvalDigest(action, in)
	if err == nil {
		err = w.authorizeNamespace(kms.RequestApproval)
	}
	var terms []approval.Term
	if err == nil {
		terms, err = termsOf(in)
	}
	told := w.required()
	var out ApprovalOutput
	if err == nil {
		asked := askInput{Request: approval.Request{Namespace: w.call.Namespace, Action: action, Resource: w.rec.Resource, Digest: digest, Terms: terms,
			Effect: w.rec.Detail, Why: w.needs.why, Reason: w.call.Reason, By: approval.PartyOf(w.call.Principal), Needed: w.needs.n}, Digest: digest, Life: w.call.AskFor}
		w.asks, w.call.DryRun, w.needs, w.rec.Action = true, false, need{}, kms.RequestApproval
		out, err = commit(ctx, w, &requestApproval, &asked)
	}
	w.rec.Action = kms.RequestApproval
	if err == nil && w.pending != nil {
		err = w.publish(w.pending)
	} else {
		err = w.settle(ctx, err)
	}
	if err != nil {
		return err
	}
	told.Approval = out.Approval.ID
	told.Next = fmt.Sprintf("%s approve it with keyhold approval approve %s; then repeat the request with --approval %s", others(out.Approval.Needed), out.Approval.ID, out.Approval.ID)
	return told
}

// askInput is a request for approval in the making. Its words may differ when it is repeated; what it is for may not.
type askInput struct {
	Request approval.Request `json:"-"`
	Digest  [32]byte
	Life    time.Duration
}

// The descriptor of asking. It runs in the place of what is asked for, after that was admitted and rehearsed.
var requestApproval = change[askInput, ApprovalOutput]{name: kms.RequestApproval, do: doRequestApproval}

func doRequestApproval(_ context.Context, w *work, tx *records.Tx, in *askInput) (ApprovalOutput, error) {
	r, err := approval.New(in.Request, w.now, in.Life)
	if err != nil {
		return ApprovalOutput{}, err
	}
	r.ID = w.e.orderedID(w.now)
	if err := addToIndex(tx, &r, w.now); err != nil {
		return ApprovalOutput{}, err
	}
	if err := tx.PutDue(forgetApprovalAt(&r)); err != nil {
		return ApprovalOutput{}, err
	}
	w.rec.Resource = r.ID.String()
	w.rec.Detail = clipTo(fmt.Sprintf("%s of %q needs %s", r.Action, r.Resource, others(r.Needed)), audit.MaxDetail)
	w.onCommit([32]byte{}, func(leaf [32]byte) error {
		return tx.PutApproval(records.Approval{Request: r, Change: leaf})
	})
	return ApprovalOutput{approvalInfo(&r, w.now)}, nil
}
