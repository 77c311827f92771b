package policy

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

const page = "../../docs/policy.md"

// block is one fenced block of the page.
type block struct{ kind, text string }

func blocks(text string) []block {
	var out []block
	for i, part := range strings.Split(text, "```") {
		if i%2 == 1 {
			kind, body, _ := strings.Cut(part, "\n")
			out = append(out, block{kind, body})
		}
	}
	return out
}

// TestPageShowsTheSchemaAndTheBuiltInRules as they are. KEYHOLD_UPDATE=1 writes them into the page.
func TestPageShowsTheSchemaAndTheBuiltInRules(t *testing.T) {
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for kind, want := range map[string]string{"cedar builtin": strings.TrimSpace(Builtins()) + "\n", "cedarschema": strings.TrimSpace(Schema()) + "\n"} {
		head, rest, ok := strings.Cut(text, "```"+kind+"\n")
		got, tail, ok2 := strings.Cut(rest, "```")
		if !ok || !ok2 {
			t.Fatalf("%s has no block %q", page, kind)
		}
		if got != want && os.Getenv("KEYHOLD_UPDATE") != "1" {
			t.Errorf("the block %q of %s differs; it should be\n%s", kind, page, want)
		}
		text = head + "```" + kind + "\n" + want + "```" + tail
	}
	if os.Getenv("KEYHOLD_UPDATE") == "1" {
		if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExamplesDecideAsThePageSays: every policy of the page is valid, and the decisions below it are what it says.
func TestExamplesDecideAsThePageSays(t *testing.T) {
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var rules *Rules
	examples, decisions := 0, 0
	for _, b := range blocks(string(raw)) {
		switch b.kind {
		case "cedar":
			examples++
			rules = mustCompile(t, "default", apart, b.text)
		case "decisions":
			if rules == nil {
				t.Fatalf("decisions without a policy:\n%s", b.text)
			}
			for _, line := range strings.Split(strings.TrimSpace(b.text), "\n") {
				decisions++
				want, q := decisionLine(t, line)
				if got := rules.Decide(q); got.Code != want || len(got.Errors) > 0 {
					t.Errorf("%s\ngot %+v", line, got)
				}
			}
			rules = nil // each has its own
		}
	}
	if examples < 9 || decisions < 30 {
		t.Errorf("found only %d examples with %d decisions", examples, decisions)
	}
}

// decisionLine reads "allowed|denied|duties PRINCIPAL ACTION KEY|- [name=value]…".
func decisionLine(t *testing.T, line string) (kms.Code, Request) {
	t.Helper()
	f := strings.Fields(line)
	codes := map[string]kms.Code{"allowed": 0, "denied": kms.CodeDenied, "duties": kms.CodeDuties}
	want, ok := codes[f[0]]
	action, err := kms.ParseAction(f[2])
	if !ok || err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	p := &kms.Principal{Name: f[1], Namespace: "default", Method: kms.AuthToken}
	k := &kms.Key{ID: idOf(f[3]), Namespace: "default", Name: f[3], Algorithm: kms.AES256GCM, Usage: kms.EncryptDecrypt, Origin: kms.Generated, Switch: kms.Enabled, Labels: map[string]string{}}
	q := Request{Action: action, Now: noon, Dialect: kms.DialectNative, Context: kms.Context{}}
	for _, opt := range f[4:] {
		name, value, _ := strings.Cut(opt, "=")
		if err := option(name, value, p, k, &q); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	q.Principal, q.Resource = PreparePrincipal(p), PrepareKey(k)
	if f[3] == "-" {
		q.Resource = PrepareNamespace("default")
	}
	return want, q
}

func option(name, value string, p *kms.Principal, k *kms.Key, q *Request) (err error) {
	kind, entry, _ := strings.Cut(name, ":")
	switch kind {
	case "role":
		p.Roles = append(p.Roles, kms.Role(value))
	case "group":
		p.Groups = append(p.Groups, value)
	case "method":
		for p.Method = 0; p.Method.String() != value; p.Method++ {
		}
	case "label":
		k.Labels[entry] = value
	case "algorithm":
		k.Algorithm, err = kms.ParseAlgorithm(value)
	case "context":
		q.Context[entry] = value
	case "from":
		q.Remote, err = netip.ParseAddr(value)
	case "at":
		q.Now, err = time.Parse(time.RFC3339, value)
	default:
		err = fmt.Errorf("unknown option %q", name)
	}
	return err
}

// TestPageListsWhatIsRefused: each finding of the page's table is what Check says.
func TestPageListsWhatIsRefused(t *testing.T) {
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "| policy says | finding |\n|---|---|\n")
	rows, _, _ := strings.Cut(rest, "\n\n")
	n := 0
	for _, row := range strings.Split(rows, "\n") {
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		if len(cells) != 2 {
			t.Fatalf("row %q", row)
		}
		n++
		says := strings.Trim(cells[0], "`")
		words, _, _ := strings.Cut(cells[1], ": write")
		found := findings(t, `forbid (principal, action, resource is Key) when { `+says+` };`)
		if len(found) == 0 || !strings.Contains(found[0].String(), words) {
			t.Errorf("%s: got %v, want %s", says, found, words)
		}
	}
	if n < 5 {
		t.Errorf("found only %d rows", n)
	}
}
