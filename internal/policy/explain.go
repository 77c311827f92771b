package policy

import (
	"fmt"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/keyhold/keyhold/internal/kms"
)

// Reason is one statement that had a part in a decision.
type Reason struct {
	Policy string // its id
	Line   int    // where it starts in the policy's text
	Text   string
}

// Explanation is a decision with its reasons and, if it was a denial, what would be needed. It quotes policies: it is for
// those who may read them.
type Explanation struct {
	Decision
	Permits []Reason // permits that hold
	Forbids []Reason // forbids that hold
	Failed  []Reason // could not be evaluated
	Unmet   []Reason // permits for this principal, action and resource whose conditions do not hold
	Manages []Reason // permits to manage the key, where separation of duties stands in the way
	Needs   []string // what would be needed, in words; empty if allowed
}

// Explain decides as Decide does, by the same code, and says why.
func (r *Rules) Explain(q Request) Explanation {
	var v verdict
	r.judge(&v, q)
	e := Explanation{Decision: v.Decision}
	if v.Code == kms.CodeOutsideScope || v.problem != "" {
		e.Needs = r.needs(&v, &e)
		return e
	}
	manages := r.matching(nil, q.Principal, q.Resource, manageMask(), r.hears(q.Principal, q.Action))
	list := r.matching(nil, q.Principal, q.Resource, maskOf(q.Action), r.hears(q.Principal, q.Action))
	reasons := v.diag.Reasons
	if v.Code == kms.CodeDuties {
		e.Manages = reasonsOf(manages, v.diag.Reasons)
		reasons = v.allowing
	}
	held := map[types.PolicyID]bool{}
	for _, s := range statementsOf(list, reasons) {
		held[s.id] = true
		if s.permit {
			e.Permits = append(e.Permits, s.reason())
		} else {
			e.Forbids = append(e.Forbids, s.reason())
		}
	}
	for _, failed := range v.diag.Errors {
		for _, s := range append(list, manages...) {
			if s.id == failed.PolicyID && !held[s.id] {
				held[s.id] = true
				e.Failed = append(e.Failed, s.reason())
			}
		}
	}
	if len(e.Permits) == 0 && len(e.Forbids) == 0 {
		for _, s := range list {
			if s.permit && !held[s.id] && (!v.closed || s.ofKey) {
				held[s.id] = true
				e.Unmet = append(e.Unmet, s.reason())
			}
		}
	}
	e.Needs = r.needs(&v, &e)
	return e
}

func (s *statement) reason() Reason { return Reason{Policy: string(s.id), Line: s.line, Text: s.text} }

func statementsOf(list []*statement, reasons []cedar.DiagnosticReason) []*statement {
	var out []*statement
	for _, reason := range reasons {
		for _, s := range list {
			if s.id == reason.PolicyID {
				out = append(out, s)
				break
			}
		}
	}
	return out
}

func reasonsOf(list []*statement, reasons []cedar.DiagnosticReason) []Reason {
	var out []Reason
	for _, s := range statementsOf(list, reasons) {
		out = append(out, s.reason())
	}
	return out
}

// needs says what a denied request would have needed.
func (r *Rules) needs(v *verdict, e *Explanation) []string {
	q := &v.q
	switch {
	case v.Allowed:
		return nil
	case v.problem != "":
		return []string{"a request that can be decided: " + v.problem}
	case v.Code == kms.CodeOutsideScope:
		return []string{fmt.Sprintf("a token whose scope has %s; this one's has %s", q.Action, scopeText(q.Principal.of.Scope))}
	case v.Code == kms.CodeDuties:
		return []string{fmt.Sprintf("a principal that may not manage the key: %s may %s %s by %s, and namespace %s separates duties",
			q.Principal.of.Name, v.managing, q.Resource, idList(e.Manages), r.namespace)}
	case len(e.Failed) > 0:
		return []string{fmt.Sprintf("%s cannot be evaluated, and then everything that it could decide is denied: put it again or delete it", idList(e.Failed))}
	case len(e.Forbids) > 0:
		var all []string
		for _, f := range e.Forbids {
			all = append(all, r.needAgainst(f, q))
		}
		return all
	}
	return r.needPermit(v, e)
}

// needAgainst says what would be needed against one forbid that stands.
func (r *Rules) needAgainst(f Reason, q *Request) string {
	switch f.Policy {
	case ruleIsolation:
		return fmt.Sprintf("a principal of namespace %s: %s is of %s, and no policy opens a namespace to another's principals", r.namespace, q.Principal.of.Name, q.Principal.of.Namespace)
	case ruleOperators:
		return "a principal that is no operator: who runs the server neither uses nor manages keys and secrets"
	case ruleDestroyer:
		return "nothing: the server itself destroys a key when its window ends (ScheduleKeyDestruction)"
	case ruleCreator:
		return "the role " + rolesFor(q.Action, r.namespace)[0]
	}
	if strings.HasPrefix(f.Policy, keyPolicyID+"#") {
		return fmt.Sprintf("that statement %s of the key's own policy does not forbid it: a Deny stands against every permit", f.Policy)
	}
	return fmt.Sprintf("that policy %s does not forbid it: a forbid stands against every permit", f.Policy)
}

// needPermit says who and what permits the action.
func (r *Rules) needPermit(v *verdict, e *Explanation) []string {
	q := &v.q
	var all []string
	if len(e.Unmet) > 0 {
		all = append(all, fmt.Sprintf("that the conditions of %s hold, which names this principal, action and resource", idList(e.Unmet)))
	}
	if v.closed {
		return append(all, fmt.Sprintf("that the policy of %s permits %s %s, or hands %s on to the account, or that a grant permits it: no role and no policy of the namespace does",
			q.Resource, q.Principal.of.Name, q.Action, q.Action))
	}
	if roles := rolesFor(q.Action, r.namespace); len(roles) > 0 {
		all = append(all, "the role "+strings.Join(roles, " or "))
	}
	if q.Principal.of.Namespace == r.namespace {
		all = append(all, fmt.Sprintf("a policy of namespace %s such as: permit (principal == %s, action == %s, resource%s);",
			r.namespace, q.Principal.entity.UID, theVocabulary().uids[q.Action], resourceScope(q.Resource)))
	}
	return all
}

func resourceScope(res *Resource) string {
	switch {
	case !res.isKey:
		return ""
	case res.name != "":
		return " in " + types.NewEntityUID(typeName, types.String(res.name)).String()
	case res.keys[0].ID != "":
		return " == " + res.keys[0].String()
	}
	return " is Key"
}

// rolesFor are the built-in roles that permit the action in a namespace.
func rolesFor(a kms.Action, ns kms.Namespace) []string {
	var all []string
	for _, role := range kms.AllRoles() {
		var m mask
		for _, name := range grants()[role] {
			m = m.or(theVocabulary().actions[name])
		}
		if m.has(a) && (a != kms.CreateNamespace || role == kms.RoleOperator) {
			home := ns
			if role == kms.RoleOperator {
				home = kms.SystemNamespace
			}
			all = append(all, fmt.Sprintf("%s (of namespace %s)", role, home))
		}
	}
	return all
}

func scopeText(scope []kms.Action) string {
	return strings.Join(names(scope), ", ")
}

func idList(reasons []Reason) string {
	ids := make([]string, 0, MaxNamed)
	for i, r := range reasons {
		if i == MaxNamed {
			ids = append(ids, "…")
			break
		}
		ids = append(ids, r.Policy)
	}
	return strings.Join(ids, ", ")
}
