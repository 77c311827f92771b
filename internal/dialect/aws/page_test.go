package aws

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
)

const page = "../../../docs/dialects/aws.md"

// TestThePageHasTheTable holds docs/dialects/aws.md to the code's own tables. KEYHOLD_UPDATE=1 writes them into it.
func TestThePageHasTheTable(t *testing.T) {
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	got := string(b)
	want := put(t, put(t, got, "operations", operationTable()), "errors", errorTable())
	if got == want {
		return
	}
	if os.Getenv("KEYHOLD_UPDATE") == "" {
		t.Fatalf("%s is not what the tables say: KEYHOLD_UPDATE=1 go test ./internal/dialect/aws", page)
	}
	if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// put replaces what stands between the marks of a name.
func put(t *testing.T, text, name, with string) string {
	t.Helper()
	begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->"
	head, rest, ok := strings.Cut(text, begin)
	_, tail, is := strings.Cut(rest, end)
	if !ok || !is {
		t.Fatalf("%s has no place for %s", page, name)
	}
	return head + begin + with + end + tail
}

func operationTable() string {
	var b strings.Builder
	b.WriteString("\n| operation | works | how, or why not |\n|---|---|---|\n")
	all := slices.SortedFunc(slices.Values(operations), func(a, b operation) int { return cmp.Compare(a.name, b.name) })
	for _, o := range all {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", o.name, [...]string{wholly: "yes", partly: "partly", notAtAll: "no"}[o.works], o.how)
	}
	b.WriteString("\n")
	return b.String()
}

func errorTable() string {
	var b strings.Builder
	b.WriteString("\n| Keyhold | AWS | status |\n|---|---|---|\n")
	codes := kms.AllCodes()
	slices.Sort(codes)
	for _, c := range codes {
		w := wireErrorOf(c)
		without := ""
		if w.silent {
			without = ", without a message"
		}
		fmt.Fprintf(&b, "| [%s](../errors.md#%s) %s | `%s`%s | %d |\n", c, strings.ToLower(c.String()), c.Title(), w.code, without, newFault(w.code, "").status())
	}
	b.WriteString("\n")
	return b.String()
}

// TestEveryKindHasAnErrorOfAWS ranges over all codes, and so over all kinds.
func TestEveryKindHasAnErrorOfAWS(t *testing.T) {
	x := &exchange{asked: "alias/a", operation: "Encrypt"}
	for _, c := range kms.AllCodes() {
		f := x.fault(kms.Errorf(c, "what happened").Because(fmt.Errorf("an internal reason")))
		w := wireErrorOf(c)
		if f.code == "" || (f.message == "") != w.silent {
			t.Errorf("%s: got %q %q", c, f.code, f.message)
		}
		if strings.Contains(f.message, "internal reason") {
			t.Errorf("%s tells the internal reason: %s", c, f.message)
		}
		if f.status() >= 500 != (c.Kind() == kms.KindUnavailable || c.Kind() == kms.KindInternal || f.code == "KMSInternalException") {
			t.Errorf("%s: status %d", c, f.status())
		}
	}
}
