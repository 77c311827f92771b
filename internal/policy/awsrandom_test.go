package policy

import (
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/policy/iam"
)

// A straightforward interpreter of AWS's rules, from its documentation, over a small vocabulary. It shares no code with the translation.

type refStatement struct {
	Effect     string
	Principals []string // "root", "*", names of users
	Except     bool     // NotPrincipal
	Actions    []string
	NotAction  bool
	Conditions []refCondition
}

type refCondition struct {
	operator string
	key      string
	values   []string
}

type refRequest struct {
	who     string
	action  string
	context map[string]string
	role    bool // the server's role "user" permits
}

// refLike matches * and ?, by trying.
func refLike(p, s string) bool {
	if p == "" {
		return s == ""
	}
	if p[0] == '*' {
		for i := 0; i <= len(s); i++ {
			if refLike(p[1:], s[i:]) {
				return true
			}
		}
		return false
	}
	return s != "" && (p[0] == '?' || p[0] == s[0]) && refLike(p[1:], s[1:])
}

// values of a condition key in a request.
func (q *refRequest) values(key string) []string {
	switch key {
	case "kms:EncryptionContextKeys":
		return slices.Collect(maps.Keys(q.context))
	case "kms:ViaService":
		return nil
	case "aws:username":
		return []string{q.who}
	case "aws:PrincipalArn":
		return []string{"arn:aws:iam::" + testAccount + ":user/" + q.who}
	}
	name := strings.TrimPrefix(key, "kms:EncryptionContext:")
	if v, ok := q.context[name]; ok {
		return []string{v}
	}
	return nil
}

func (c *refCondition) holds(q *refRequest) bool {
	got := q.values(c.key)
	op, quantifier := c.operator, ""
	if a, b, ok := strings.Cut(op, ":"); ok {
		quantifier, op = a, b
	}
	if op == "Null" {
		return slices.ContainsFunc(c.values, func(v string) bool { return (v == "true") == (len(got) == 0) })
	}
	op, ifExists := strings.CutSuffix(op, "IfExists")
	negated := strings.Contains(op, "Not")
	one := func(s string) bool {
		hit := slices.ContainsFunc(c.values, func(v string) bool {
			if strings.HasSuffix(op, "Like") || strings.HasPrefix(op, "Arn") { // ArnEquals is ArnLike by another name
				return refLike(v, s)
			}
			return v == s
		})
		return hit != negated
	}
	switch {
	case quantifier == "ForAllValues":
		return !slices.ContainsFunc(got, func(s string) bool { return !one(s) })
	case quantifier == "ForAnyValue":
		return len(got) == 0 && ifExists || slices.ContainsFunc(got, one)
	case len(got) == 0:
		return negated || ifExists
	}
	return one(got[0])
}

// matches tells whether the statement is about the request, for its direct principals and for the account.
func (s *refStatement) matches(q *refRequest) (direct, account bool) {
	hit := slices.ContainsFunc(s.Actions, func(a string) bool { return refLike(strings.ToLower(a), "kms:"+strings.ToLower(q.action)) })
	if hit == s.NotAction {
		return false, false
	}
	for i := range s.Conditions {
		if !s.Conditions[i].holds(q) {
			return false, false
		}
	}
	named := slices.Contains(s.Principals, "*") || slices.Contains(s.Principals, q.who)
	if s.Except {
		return !named, false
	}
	return named, slices.Contains(s.Principals, "root")
}

// refDecide is AWS's evaluation of a request to a key in its own account.
func refDecide(policy []refStatement, q *refRequest) bool {
	allowed, delegated := false, false
	for i := range policy {
		direct, account := policy[i].matches(q)
		if policy[i].Effect == "Deny" && (direct || account) {
			return false
		}
		allowed, delegated = allowed || direct && policy[i].Effect == "Allow", delegated || account && policy[i].Effect == "Allow"
	}
	return allowed || delegated && q.role
}

// text is the document in AWS's language.
func refText(policy []refStatement) []byte {
	type object = map[string]any
	var all []any
	for _, s := range policy {
		o := object{"Effect": s.Effect, "Resource": "*"}
		var arns []string
		for _, p := range s.Principals {
			switch p {
			case "*":
			case "root":
				p = "arn:aws:iam::" + testAccount + ":root"
			default:
				p = "arn:aws:iam::" + testAccount + ":user/" + p
			}
			arns = append(arns, p)
		}
		o[map[bool]string{false: "Principal", true: "NotPrincipal"}[s.Except]] = object{"AWS": arns}
		o[map[bool]string{false: "Action", true: "NotAction"}[s.NotAction]] = s.Actions
		conditions := map[string]map[string][]string{}
		for _, c := range s.Conditions {
			if conditions[c.operator] == nil {
				conditions[c.operator] = map[string][]string{}
			}
			conditions[c.operator][c.key] = c.values
		}
		if len(conditions) > 0 {
			o["Condition"] = conditions
		}
		all = append(all, o)
	}
	b, _ := json.Marshal(object{"Version": iam.Version2012, "Statement": all})
	return b
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func some[T any](r *rand.Rand, most int, of ...T) []T {
	r.Shuffle(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
	return slices.Clone(of[:1+r.IntN(most)])
}

func randomStatement(r *rand.Rand) refStatement {
	s := refStatement{Effect: pick(r, "Allow", "Allow", "Deny"), Principals: some(r, 2, "root", "alice", "bob", "*"),
		Actions: some(r, 2, "kms:*", "kms:Encrypt", "kms:Decrypt", "kms:?ncrypt", "kms:De*", "kms:GenerateDataKey*", "kms:*DataKey", "s3:*")}
	s.NotAction = r.IntN(6) == 0
	if s.Effect == "Deny" && r.IntN(4) == 0 {
		s.Except, s.Principals = true, append(some(r, 2, "alice", "bob", "carol"), "root")
	}
	seen := map[string]bool{}
	for range r.IntN(3) {
		c := refCondition{key: pick(r, "kms:EncryptionContext:a", "kms:EncryptionContext:b", "kms:EncryptionContextKeys", "kms:ViaService", "aws:username", "aws:PrincipalArn")}
		c.operator = pick(r, "StringEquals", "StringNotEquals", "StringLike", "StringNotLike")
		if c.key == "aws:PrincipalArn" && r.IntN(2) == 0 {
			c.operator = pick(r, "ArnEquals", "ArnLike", "ArnNotLike")
		}
		if r.IntN(4) == 0 {
			c.operator += "IfExists"
		}
		if r.IntN(4) == 0 || c.key == "kms:EncryptionContextKeys" {
			c.operator = pick(r, "ForAllValues:", "ForAnyValue:") + c.operator
		}
		c.values = some(r, 3, "a", "b", "x", "alice")
		switch {
		case r.IntN(8) == 0:
			c.operator, c.values = "Null", some(r, 1, "true", "false")
		case c.key == "aws:PrincipalArn":
			c.values = some(r, 2, "arn:aws:iam::"+testAccount+":user/alice", "arn:aws:iam::"+testAccount+":user/b*", "arn:aws:iam::*:user/*", "arn:aws:iam::999999999999:user/alice", "arn:*")
			if strings.HasPrefix(c.operator, "Arn") { // parts are compared one by one: the interpreter compares texts
				c.values = c.values[:1]
				if c.values[0] == "arn:*" {
					c.values[0] = "arn:aws:iam::" + testAccount + ":*"
				}
			}
		case strings.Contains(c.operator, "Like") && c.key != "kms:EncryptionContextKeys":
			c.values = some(r, 3, "a*", "*x", "*", "al*e", "x*x", "b")
		case strings.Contains(c.operator, "Like"):
			c.values = some(r, 2, "*", "a", "b")
		}
		if !seen[c.operator+c.key] {
			s.Conditions = append(s.Conditions, c)
		}
		seen[c.operator+c.key] = true
	}
	return s
}

// TestTheTranslationDecidesAsAWS compares random documents and requests with the interpreter.
func TestTheTranslationDecidesAsAWS(t *testing.T) {
	documents := 1500
	if os.Getenv("KEYHOLD_LONG") == "1" {
		documents = 100_000
	}
	r := rand.New(rand.NewPCG(7, 11))
	rules, err := Compile("default", Settings{}, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	refused, allowed, cases := 0, 0, 0
	for range documents {
		var policy []refStatement
		for range 1 + r.IntN(4) {
			policy = append(policy, randomStatement(r))
		}
		text := refText(policy)
		compiled, err := CheckKeyPolicy(testAccount, text)
		if err != nil {
			var found Findings
			if kms.CodeOf(err) != kms.CodeBadPolicy || !errors.As(err, &found) {
				t.Fatalf("%s: %v", text, err)
			}
			refused++
			continue
		}
		k := testKey
		on := PrepareKey(&k).With(compiled, nil)
		for range 20 {
			q := refRequest{who: pick(r, "alice", "bob", "carol"), action: pick(r, "Encrypt", "Decrypt", "GenerateDataKey", "DescribeKey"), role: r.IntN(2) == 0, context: map[string]string{}}
			for range r.IntN(3) {
				q.context[pick(r, "a", "b", "x")] = pick(r, "a", "b", "x", "ax", "alice", "")
			}
			action, _ := kms.ParseAction(q.action)
			p := &kms.Principal{Name: q.who, Namespace: "default", Method: kms.AuthToken}
			if q.role {
				p.Roles = []kms.Role{kms.RoleUser}
			}
			got := rules.Decide(Request{Principal: PreparePrincipal(p), Action: action, Resource: on, Now: time.Unix(1e9, 0), Context: q.context})
			want := refDecide(policy, &q)
			if got.Allowed != want {
				t.Fatalf("%s\n%+v: got %v (%v %v), want %v", text, q, got.Allowed, got.Policies, got.Errors, want)
			}
			if cases++; want {
				allowed++
			}
		}
	}
	if refused > documents/4 || allowed < cases/10 || allowed > cases*9/10 {
		t.Errorf("%d of %d documents refused, %d of %d requests allowed: the comparison says little", refused, documents, allowed, cases)
	}
}

// FuzzKeyPolicy: whatever is written is translated completely or refused with findings, and no decision on it fails.
func FuzzKeyPolicy(f *testing.F) {
	f.Add([]byte(DefaultKeyPolicy(testAccount)))
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		f.Add(refText([]refStatement{randomStatement(r), randomStatement(r)}))
	}
	for _, s := range []string{``, `{`, `{"Statement": []}`, `[]`, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Condition":{"DateLessThan":{"aws:CurrentTime":"9999-12-31T23:59:59Z"}}}}`,
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"kms:TagResource","Condition":{"IpAddress":{"aws:SourceIp":"::/0"},"StringLike":{"aws:PrincipalArn":"arn:aws:iam::1*:*"}}}}`} {
		f.Add([]byte(s))
	}
	rules, err := Compile("default", Settings{SeparationOfDuties: true}, nil, 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, check := range []func() error{
			func() error { _, err := CheckKeyPolicy(testAccount, text); return err },
			func() error {
				_, err := CheckIAM("p", testAccount, text, Attached{Principals: []string{"alice"}})
				return err
			},
		} {
			if err := check(); err != nil && kms.CodeOf(err) != kms.CodeBadPolicy {
				t.Fatal(err, errors.Unwrap(err))
			}
		}
		p, err := CheckKeyPolicy(testAccount, text)
		if err != nil {
			return
		}
		k := testKey
		on := PrepareKey(&k).With(p, nil)
		for _, a := range []kms.Action{kms.Encrypt, kms.UpdateKey, kms.CreateGrant} {
			d := rules.Decide(Request{Principal: PreparePrincipal(&kms.Principal{Name: "alice", Namespace: "default", Roles: []kms.Role{kms.RoleUser}, Method: kms.AuthToken}),
				Action: a, Resource: on, Now: time.Unix(1e9, 0), Context: kms.Context{"tenant": "a"}})
			if len(d.Errors) > 0 {
				t.Fatal(d.Errors)
			}
		}
	})
}
