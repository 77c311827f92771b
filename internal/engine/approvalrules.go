package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keyhold/keyhold/internal/approval"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// ApprovalRule says of how many others an action needs the approval in a namespace.
type ApprovalRule struct {
	Action    kms.Action
	Approvers int // 1 to 16; 0 ends the rule
}

// lowerable are the actions that always, or in some cases, take approvals: of these a namespace may want fewer than is usual, but
// at least one. Lowering is weakening a rule.
var lowerable = map[kms.Action]bool{
	kms.RecallVersion: true, kms.RetireVersion: true, kms.ScheduleNamespaceDestruction: true,
}

// unruled are actions of the groups below that no rule can be made for: they change nothing, or approvals are made of them.
var unruled = map[kms.Action]bool{
	kms.TestPolicy: true, kms.ReadToken: true, kms.ReadCredential: true, kms.ReadTemplate: true, kms.ReadAccessKey: true, kms.ReadRole: true,
	kms.ReadAuth: true, kms.ReadAuthRole: true, kms.ReadSecretID: true, kms.GiveApproval: true,
}

// canBeRuled tells whether a rule can put an action under approval: everything that manages keys or a namespace.
func canBeRuled(a kms.Action) bool {
	return (a.Group() == kms.ManageGroup || a.Group() == kms.AdminGroup) && !unruled[a]
}

func checkApprovalRules(rules []ApprovalRule) error {
	seen := map[kms.Action]bool{}
	for _, r := range rules {
		switch {
		case !canBeRuled(r.Action):
			return kms.Errorf(kms.CodeBadRequest, "%s cannot be put under approval: only what manages keys or a namespace can", r.Action)
		case r.Approvers < 0 || r.Approvers > approval.MaxApprovers:
			return kms.Errorf(kms.CodeBadRequest, "a rule wants 1 to %d approvers of %s, or 0 to end it, not %d", approval.MaxApprovers, r.Action, r.Approvers)
		case seen[r.Action]:
			return kms.Errorf(kms.CodeBadRequest, "there are two rules for %s", r.Action)
		}
		seen[r.Action] = true
	}
	return nil
}

// applyRules changes a namespace's rules. It answers whether anything changed.
func applyRules(n *records.Namespace, rules []ApprovalRule) bool {
	now := maps.Clone(n.Approvals)
	if now == nil {
		now = map[kms.Action]int{}
	}
	for _, r := range rules {
		if r.Approvers == 0 {
			delete(now, r.Action)
		} else {
			now[r.Action] = r.Approvers
		}
	}
	if maps.Equal(now, n.Approvals) {
		return false
	}
	if n.Approvals = now; len(now) == 0 {
		n.Approvals = nil
	}
	return true
}

// rulesOf lists a namespace's rules, by the names of the actions.
func rulesOf(n *records.Namespace) []ApprovalRule {
	var all []ApprovalRule
	for a, approvers := range n.Approvals {
		all = append(all, ApprovalRule{a, approvers})
	}
	slices.SortFunc(all, func(a, b ApprovalRule) int { return strings.Compare(a.Action.String(), b.Action.String()) })
	return all
}

func rulesText(n *records.Namespace) string {
	var said []string
	for _, r := range rulesOf(n) {
		said = append(said, fmt.Sprintf("%s %d", r.Action, r.Approvers))
	}
	return strings.Join(said, ", ")
}

// weakening is what a change of a namespace would take away from its protection.
type weakening struct {
	what      []string
	approvers int // that what is taken away wanted
}

// weakens compares the rules as they are with what they are to be. Nothing can be taken away from a namespace without rules, but the approvals
// that some actions always take.
func weakens(n *records.Namespace, in *NamespaceInput) weakening {
	var w weakening
	least := func(a kms.Action) int {
		if was := n.Approvals[a]; was > 0 || !lowerable[a] {
			return was
		}
		return usual(n)
	}
	for _, r := range in.Approvals {
		to := r.Approvers
		if to == 0 && lowerable[r.Action] {
			to = usual(n)
		}
		if was := least(r.Action); to < was {
			w.what = append(w.what, fmt.Sprintf("%s from %d to %d approvers", r.Action, was, to))
			w.approvers = max(w.approvers, was)
		}
	}
	if len(n.Approvals) > 0 && n.SeparationOfDuties && in.SeparationOfDuties != nil && !*in.SeparationOfDuties {
		w.what = append(w.what, "separation of duties switched off")
		w.approvers = max(w.approvers, usual(n), strictest(n))
	}
	return w
}

// strictest is the largest number of approvers that any rule of a namespace wants.
func strictest(n *records.Namespace) int {
	most := 0
	for _, approvers := range n.Approvals {
		most = max(most, approvers)
	}
	return most
}
