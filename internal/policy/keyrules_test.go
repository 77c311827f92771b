package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/policy/iam"
)

const testAccount = "111122223333"

var testKey = kms.Key{ID: kms.ID{1, 2, 3, 4, 5, 6, 0x70, 8, 0x80, 10, 11, 12, 13, 14, 15, 16}, Namespace: "default", Name: "payments/card", Algorithm: kms.AES256GCM,
	Usage: kms.EncryptDecrypt, Origin: kms.Generated, Switch: kms.Enabled, Labels: map[string]string{"Env": "prod"}, Aliases: []string{"card", "app.card"}, Region: "us-east-1"}

// told are facts as a request tells them.
type told Facts

func (f *told) Tell(to *Facts) {
	a := to.Action
	*to = Facts(*f)
	to.Action = a
}

// awsCase is one row of testdata/aws-evaluation.txt.
type awsCase struct {
	line      int
	what      string // it shows
	keyPolicy string
	namespace string // Cedar policies of the namespace
	identity  string // AWS's language, attached to user alice
	grants    []GrantTerms
	request   Request
	want      string
}

// readAWSCases reads the table. A row is a paragraph of "name: value" lines; key-policy and identity run on over indented lines; "S:" in a statement
// stands for the common parts.
func readAWSCases(t *testing.T, path string) []awsCase {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []awsCase
	lines := strings.Split(string(b), "\n")
	for i := 0; i < len(lines); {
		if lines[i] == "" || strings.HasPrefix(lines[i], "#") {
			i++
			continue
		}
		c := awsCase{line: i + 1}
		c.request = Request{Now: time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC), Dialect: kms.DialectAWS, Region: "us-east-1"}
		f := &told{}
		var roles []kms.Role
		who := "alice"
		for ; i < len(lines) && lines[i] != ""; i++ {
			name, v, _ := strings.Cut(lines[i], ":")
			v = strings.TrimSpace(v)
			for i+1 < len(lines) && strings.HasPrefix(lines[i+1], " ") {
				i++
				v += "\n" + strings.TrimSpace(lines[i])
			}
			if err := c.set(name, v, f, &roles, &who); err != nil {
				t.Fatalf("line %d: %v", i+1, err)
			}
		}
		c.request.Asks = f
		c.request.Principal = PreparePrincipal(&kms.Principal{Name: who, Namespace: "default", Roles: roles, Method: kms.AuthToken})
		all = append(all, c)
	}
	return all
}

func (c *awsCase) set(name, v string, f *told, roles *[]kms.Role, who *string) (err error) {
	words := strings.Fields(v)
	switch name {
	case "case":
		c.what = v
	case "key-policy":
		c.keyPolicy = document(v)
	case "identity":
		c.identity = document(v)
	case "namespace":
		c.namespace = v
	case "grant":
		g := GrantTerms{ID: strings.Repeat("a", 64), Grantee: words[0]}
		for _, w := range words[1:] {
			switch kind, pair, is := strings.Cut(w, ":"); {
			case !is:
				a, err := kms.ParseAction(w)
				if err != nil {
					return err
				}
				g.Operations = append(g.Operations, a)
			default:
				m := &g.Equals
				if kind == "subset" {
					m = &g.Subset
				}
				if *m == nil {
					*m = kms.Context{}
				}
				n, value, _ := strings.Cut(pair, "=")
				(*m)[n] = value
			}
		}
		c.grants = append(c.grants, g)
	case "who":
		*who = words[0]
		for _, r := range words[1:] {
			*roles = append(*roles, kms.Role(r))
		}
	case "asks":
		if c.request.Action, err = kms.ParseAction(words[0]); err != nil {
			return err
		}
		for _, w := range words[1:] {
			if err := c.fact(w, f); err != nil {
				return err
			}
		}
	case "want":
		c.want = v
	default:
		return fmt.Errorf("there is no %q", name)
	}
	return nil
}

func (c *awsCase) fact(w string, f *told) (err error) {
	name, v, _ := strings.Cut(w, "=")
	list := strings.Split(v, ",")
	switch {
	case strings.HasPrefix(name, "ctx:"):
		if c.request.Context == nil {
			c.request.Context = kms.Context{}
		}
		c.request.Context[name[4:]] = v
	case strings.HasPrefix(name, "tag:"):
		if f.NewLabels == nil {
			f.NewLabels = map[string]string{}
		}
		f.NewLabels[name[4:]] = v
		f.LabelNames = append(f.LabelNames, name[4:])
	case name == "alias":
		c.request.Alias = v
	case name == "region":
		c.request.Region = v
	case name == "ip":
		c.request.Remote, err = netip.ParseAddr(v)
	case name == "at":
		c.request.Now, err = time.Parse(time.RFC3339, v)
	case name == "days":
		_, err = fmt.Sscan(v, &f.Window)
	case name == "bypass":
		yes := v == "true"
		f.Bypass = &yes
	case name == "scheme":
		f.Scheme, err = kms.ParseScheme(v)
	case name == "message":
		f.Message = v
	case name == "pair":
		f.Pair, err = kms.ParseAlgorithm(v)
	case name == "changes":
		for _, s := range list {
			f.Changes = append(f.Changes, iam.Change(s))
		}
	case name == "operations":
		for _, s := range list {
			a, err := kms.ParseAction(s)
			if err != nil {
				return err
			}
			f.Operations = append(f.Operations, a)
		}
	case name == "grantee":
		f.Grantee = v
	case name == "constraint":
		f.Constraint = v
	default:
		err = fmt.Errorf("there is no fact %q", name)
	}
	return err
}

// document makes a policy of statements in short: one a line, in JSON without braces, in which Allow, Deny and such are members, or
// "root" for the statement that every default policy has.
func document(v string) string {
	if v == "none" {
		return ""
	}
	var all []string
	for _, s := range strings.Split(v, "\n") {
		switch s {
		case "":
		case "root":
			all = append(all, `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+testAccount+`:root"},"Action":"kms:*","Resource":"*"}`)
		default:
			if !strings.Contains(s, `"Resource":`) && !strings.Contains(s, `"NotResource":`) {
				s += `, "Resource": "*"`
			}
			s = strings.ReplaceAll(s, "@", "arn:aws:iam::"+testAccount+":")
			all = append(all, "{"+s+"}")
		}
	}
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(all, ",") + `]}`
}

// decide puts a row through the engine of decisions.
func (c *awsCase) decide(t *testing.T) Explanation {
	t.Helper()
	var policies []*Policy
	if c.namespace != "" {
		p, err := Check("namespace", []byte(c.namespace))
		if err != nil {
			t.Fatal(err)
		}
		policies = append(policies, p)
	}
	if c.identity != "" {
		p, err := CheckIAM("identity", testAccount, []byte(c.identity), Attached{Principals: []string{"alice"}})
		if err != nil {
			t.Fatalf("line %d: %v (%v)", c.line, err, errors.Unwrap(err))
		}
		policies = append(policies, p)
	}
	rules, err := Compile("default", Settings{}, policies, 1)
	if err != nil {
		t.Fatal(err)
	}
	var own *KeyPolicy
	if c.keyPolicy != "" {
		if own, err = CheckKeyPolicy(testAccount, []byte(c.keyPolicy)); err != nil {
			t.Fatalf("line %d: %v (%v)", c.line, err, errors.Unwrap(err))
		}
	}
	var grants []*Grant
	for i := range c.grants {
		grants = append(grants, PrepareGrant(&c.grants[i]))
	}
	k := testKey
	q := c.request
	if q.Action.OnKey() {
		q.Resource = PrepareKey(&k).With(own, grants)
	} else {
		q.Resource = PrepareNamespace("default")
	}
	return rules.Explain(q)
}

// TestAWSEvaluation decides every row of the table that was written out from AWS's documentation.
func TestAWSEvaluation(t *testing.T) {
	cases := readAWSCases(t, "testdata/aws-evaluation.txt")
	if len(cases) < 120 {
		t.Fatalf("%d rows, want 120 at least", len(cases))
	}
	for _, c := range cases {
		ex := c.decide(t)
		got := "denied"
		if ex.Allowed {
			got = "allowed"
		}
		if got != c.want {
			t.Errorf("line %d: %s: got %s, want %s (policies %v, errors %v, needs %v)", c.line, c.what, got, c.want, ex.Policies, ex.Errors, ex.Needs)
		}
	}
}
