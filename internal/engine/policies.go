package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/policy"
	"github.com/keyhold/keyhold/internal/records"
)

// The descriptors of policies.
var (
	putPolicy = change[PutPolicyInput, PolicyOutput]{
		name:  kms.PutPolicy,
		check: checkPolicy,
		prepare: func(_ context.Context, w *work, in *PutPolicyInput) error {
			p := w.policyRecord(in)
			var err error
			_, in.notes, err = w.o.rules.read(&p, false)
			return err
		},
		do: doPutPolicy,
	}
	tryPolicy = op[PutPolicyInput, PolicyOutput]{
		name:  kms.TestPolicy,
		check: checkPolicy,
		do: func(_ context.Context, w *work, in *PutPolicyInput) (PolicyOutput, error) {
			p := w.policyRecord(in)
			_, notes, err := w.o.rules.read(&p, false)
			if err != nil {
				return PolicyOutput{}, err
			}
			p.Changed, p.By = time.Time{}, ""
			return PolicyOutput{policyInfo(p), notes}, nil
		},
	}
	getPolicy = op[PolicyInput, PolicyOutput]{
		name: kms.ReadPolicy,
		do: func(ctx context.Context, w *work, in *PolicyInput) (PolicyOutput, error) {
			p, err := w.o.records.Policy(ctx, w.call.Namespace, in.ID)
			if err == nil && p.Rev == 0 {
				err = noPolicy(in.ID)
			}
			return PolicyOutput{Policy: policyInfo(p)}, err
		},
	}
	deletePolicy = change[PolicyInput, PolicyOutput]{
		name: kms.DeletePolicy,
		do:   doDeletePolicy,
	}
	listPolicies = op[PageInput, PoliciesOutput]{
		name:  kms.ReadPolicy,
		check: func(in *PageInput) error { return checkLimit(&in.Limit) },
		do: func(ctx context.Context, w *work, in *PageInput) (PoliciesOutput, error) {
			page, next, err := w.o.records.Policies(ctx, w.call.Namespace, in.Page, in.Limit)
			out := PoliciesOutput{Next: next}
			for _, p := range page {
				out.Policies = append(out.Policies, policyInfo(p))
			}
			return out, err
		},
	}
)

func checkPolicy(in *PutPolicyInput) error {
	if _, err := kms.ParseNamespace(in.ID); err != nil {
		return kms.Errorf(kms.CodeBadName, "a policy id has the form of a namespace's name: 1 to 63 of a-z, 0-9 and '-'")
	}
	switch in.Language {
	case "", LanguageCedar:
		in.Language = ""
		if len(in.Principals)+len(in.Groups) > 0 {
			return kms.Errorf(kms.CodeBadRequest, "a Cedar policy says itself whom it speaks about: leave principals and groups out")
		}
		_, err := policy.Check(in.ID, []byte(in.Text))
		return err
	case LanguageAWS:
		return nil // read when it is known in whose namespace
	case LanguageVault:
		if len(in.Principals)+len(in.Groups) == 0 { // tokens name it
			in.Groups = []string{in.ID}
		}
		return nil
	}
	return kms.Errorf(kms.CodeBadRequest, "%q is not a language of policies: want %s, %s or %s", clipTo(in.Language, 64), LanguageCedar, LanguageAWS, LanguageVault)
}

// policyRecord is the policy as it would be stored.
func (w *work) policyRecord(in *PutPolicyInput) records.Policy {
	p := records.Policy{ID: in.ID, Text: in.Text, Changed: w.now.UTC(), By: w.call.Principal.Name}
	switch in.Language {
	case LanguageAWS:
		p.Language, p.Account, p.Principals, p.Groups = LanguageAWS, w.e.Account(w.call.Namespace), in.Principals, in.Groups
	case LanguageVault:
		p.Language, p.Principals, p.Groups = LanguageVault, in.Principals, in.Groups
	}
	return p
}

// read reads a policy in the language that it is in. The notes say what of it has no effect. One that was accepted before is not refused for what was learned since.
func (b *rulebook) read(p *records.Policy, accepted bool) (*policy.Policy, []string, error) {
	to := policy.Attached{Principals: p.Principals, Groups: p.Groups}
	switch p.Language {
	case LanguageAWS:
		read, err := policy.CheckIAM(p.ID, p.Account, []byte(p.Text), to)
		return read, nil, err
	case LanguageVault:
		return policy.CheckACL(p.ID, b.paths, []byte(p.Text), to, accepted)
	}
	read, err := policy.Check(p.ID, []byte(p.Text))
	return read, nil, err
}

// samePolicy tells whether two say the same of the same.
func samePolicy(a, b *records.Policy) bool {
	return a.Text == b.Text && a.Language == b.Language && a.Account == b.Account && slices.Equal(a.Principals, b.Principals) && slices.Equal(a.Groups, b.Groups)
}

func noPolicy(id string) error {
	return kms.Errorf(kms.CodeNotFound, "there is no policy %q in this namespace", id)
}

func policyInfo(p records.Policy) PolicyInfo {
	i := PolicyInfo{ID: p.ID, Text: p.Text, Language: p.Language, Principals: p.Principals, Groups: p.Groups, Changed: p.Changed, By: p.By, Rev: p.Rev}
	if i.Language == "" {
		i.Language = LanguageCedar
	}
	return i
}

func doPutPolicy(_ context.Context, w *work, tx *records.Tx, in *PutPolicyInput) (PolicyOutput, error) {
	was, there, err := tx.Policy(w.call.Namespace, in.ID)
	if err != nil {
		return PolicyOutput{}, err
	}
	w.rec.Resource = in.ID
	p := w.policyRecord(in)
	if there && samePolicy(&was, &p) {
		w.rec.Detail = "nothing to do"
		return PolicyOutput{policyInfo(was), in.notes}, nil
	}
	return PolicyOutput{policyInfo(p), in.notes}, w.putRules(tx, was.Change, func(leaf [32]byte) error {
		p.Change = leaf
		return tx.PutPolicy(w.call.Namespace, p)
	})
}

func doDeletePolicy(_ context.Context, w *work, tx *records.Tx, in *PolicyInput) (PolicyOutput, error) {
	was, there, err := tx.Policy(w.call.Namespace, in.ID)
	if err != nil {
		return PolicyOutput{}, err
	}
	w.rec.Resource = in.ID
	if !there {
		return PolicyOutput{}, noPolicy(in.ID)
	}
	return PolicyOutput{Policy: policyInfo(was)}, w.putRules(tx, was.Change, func([32]byte) error {
		return tx.RemovePolicy(w.call.Namespace, in.ID)
	})
}

// putRules changes a policy and counts up the namespace's policy revision with it, so that rules are always one snapshot.
func (w *work) putRules(tx *records.Tx, previous [32]byte, write func([32]byte) error) error {
	n, there, err := tx.Namespace(w.call.Namespace)
	if err != nil {
		return err
	}
	if !there {
		return kms.Errorf(kms.CodeNotFound, "there is no namespace %q", w.call.Namespace)
	}
	n.PolicyRev++
	w.rec.Detail = fmt.Sprintf("policy revision %d", n.PolicyRev)
	w.onCommit(previous, func(leaf [32]byte) error {
		if err := tx.PutNamespace(n); err != nil {
			return err
		}
		return write(leaf)
	})
	return nil
}
