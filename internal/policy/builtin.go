package policy

import (
	"fmt"
	"strings"
	"sync"

	"github.com/keyhold/keyhold/internal/kms"
)

// The ids of the built-in rules, as they stand in decisions and audit records. No policy of a namespace can have such an id.
const (
	ruleIsolation = "keyhold:isolation"
	ruleOperators = "keyhold:operators-use-no-keys"
	ruleDestroyer = "keyhold:only-the-server-destroys"
	ruleCreator   = "keyhold:only-operators-create-namespaces"
	ruleSelf      = "keyhold:self"
	ruleDuties    = "keyhold:separation-of-duties" // judged by duties.go, not by one Cedar policy
	ruleScope     = "keyhold:token-scope"          // judged before Cedar
	ruleDevelop   = "keyhold:development"          // in development namespaces only
	rulePrefix    = "keyhold:"
	rolePrefix    = "keyhold:role/"
)

// grants is what the built-in roles permit, in whole groups and single actions.
func grants() map[kms.Role][]string {
	return map[kms.Role][]string{
		// ReadPolicy: who repairs a namespace must see what is wrong with it.
		kms.RoleOperator: {kms.OperatorGroup.String(), kms.AdminGroup.String(), kms.ReadNamespace.String(), kms.ReadPolicy.String()},
		kms.RoleAdmin:    {kms.ManageGroup.String(), kms.ReadGroup.String(), kms.AdminGroup.String(), kms.SecretGroup.String()},
		kms.RoleUser:     {kms.UseGroup.String(), kms.ReadGroup.String()},
		kms.RoleAuditor:  {kms.ReadGroup.String(), kms.AuditGroup.String()},
	}
}

type builtinText struct{ id, text string }

// builtinTexts are the guardrails and the grants of the roles, in the language that everything else is written in.
func builtinTexts() []builtinText {
	all := []builtinText{
		// Tenants are apart. Operators administer every namespace.
		{ruleIsolation, fmt.Sprintf(`forbid (principal, action, resource)
unless { principal.namespace == resource.namespace || (principal in Role::%q && action in [%s]) };`,
			kms.RoleOperator, actionList(grants()[kms.RoleOperator]))},
		// Who runs the server neither uses nor manages keys and secrets, whatever policies say.
		{ruleOperators, fmt.Sprintf(`forbid (principal in Role::%q, action in [%s], resource);`,
			kms.RoleOperator, actionList([]string{kms.UseGroup.String(), kms.ManageGroup.String(), kms.SecretGroup.String(), kms.ReadSecret.String()}))},
		// Destruction happens when the window that was asked for ends; nobody shortens it by asking for the end.
		{ruleDestroyer, fmt.Sprintf(`forbid (principal, action == Action::%q, resource) unless { principal.method == %q };`,
			kms.DestroyKey, kms.AuthSystem)},
		// An administrator administers one namespace, and a new one is not it.
		{ruleCreator, fmt.Sprintf(`forbid (principal, action == Action::%q, resource) unless { principal in Role::%q };`,
			kms.CreateNamespace, kms.RoleOperator)},
		{ruleSelf, fmt.Sprintf(`permit (principal, action in Action::%q, resource);`, kms.SelfGroup)},
	}
	for _, role := range kms.AllRoles() {
		all = append(all, builtinText{rolePrefix + string(role), fmt.Sprintf(`permit (principal in Role::%q, action in [%s], resource);`,
			role, actionList(grants()[role]))})
	}
	return all
}

func actionList(names []string) string {
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = fmt.Sprintf("Action::%q", n)
	}
	return strings.Join(list, ", ")
}

// Builtins is the text of the built-in rules, with their ids as comments, for people.
func Builtins() string {
	var b strings.Builder
	for _, r := range builtinTexts() {
		fmt.Fprintf(&b, "// %s\n%s\n\n", r.id, r.text)
	}
	return b.String()
}

var theDevelopment = sync.OnceValue(func() []*statement {
	statements, err := parse(ruleDevelop, fmt.Appendf(nil, `permit (principal in Role::%q, action in [%s], resource);`,
		kms.RoleAdmin, actionList([]string{kms.OperatorGroup.String(), kms.ReadSecret.String()})))
	if err != nil {
		panic("policy: own rule: " + err.Error()) // excluded by the tests of this package
	}
	return statements
})

var theBuiltins = sync.OnceValue(func() *index {
	ix := newIndex()
	for _, r := range builtinTexts() {
		statements, err := parse(r.id, []byte(r.text))
		if err != nil {
			panic("policy: own rule: " + err.Error()) // excluded by the tests of this package
		}
		for _, s := range statements {
			ix.add(s)
		}
	}
	return ix
})

// operatorReach is what the built-in rules alone decide for an operator: no policy of a namespace can lock operators out.
var operatorReach = sync.OnceValue(func() mask {
	var m mask
	for _, name := range grants()[kms.RoleOperator] {
		m = m.or(theVocabulary().actions[name])
	}
	return m
})
