package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const page = "../../docs/cli.md"

// reference is what the binary says of itself.
func reference(t *testing.T) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(keyhold, "keyhold"), "reference").Output()
	if err != nil {
		t.Fatalf("keyhold reference: %v", err)
	}
	return string(out)
}

func TestReferenceIsWhatTheBinarySays(t *testing.T) {
	want := reference(t)
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil { //nolint:gosec // documentation is public
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what keyhold reference says: run go test ./test/cli -update", page)
	}
}

// commandLines are the lines of all scripts that run the binary, without exec and !, split at blanks.
func commandLines(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var all []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(line), "! "), "? ")
			if rest, ok := strings.CutPrefix(line, "exec keyhold"); ok {
				all = append(all, "keyhold"+rest)
			}
		}
	}
	return all
}

func TestEveryExampleIsRun(t *testing.T) {
	ran := commandLines(t)
	// What a script replaces: a server of its own, started by dev and prod; paths that exist on a server only.
	replaced := []string{
		"keyhold server --config /etc/keyhold.yaml", "keyhold server --dev --data ./dev",
		"keyhold witness --name witness.example/w1 --dir ./witness --log-key audit-key.txt",
		"keyhold audit verify /var/lib/keyhold/audit --key audit-key.txt --anchor anchor.txt", "keyhold doctor --data /var/lib/keyhold -o json",
	}
	block := regexp.MustCompile("(?s)Examples:\n\n```\n(.*?)\n```")
	n := 0
	for _, m := range block.FindAllStringSubmatch(reference(t), -1) {
		for line := range strings.Lines(m[1]) {
			n++
			if line = strings.TrimSpace(line); !slices.Contains(ran, line) && !slices.Contains(replaced, line) {
				t.Errorf("no script runs the example %q", line)
			}
		}
	}
	if n < 50 {
		t.Errorf("got %d examples, want those of all commands", n)
	}
}

func TestEveryChangeHasADryRunThatIsTested(t *testing.T) {
	text, err := os.ReadFile("testdata/dryrun.txtar")
	if err != nil {
		t.Fatal(err)
	}
	prod, err := os.ReadFile("testdata/operator.txtar")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, part := range strings.SplitAfter(reference(t), "\n### ") {
		name, body, _ := strings.Cut(part, "\n")
		if !strings.Contains(body, "`--dry-run`") || strings.Contains(name, "#") {
			continue
		}
		n++
		tested := regexp.MustCompile(`(?m)^exec ` + regexp.QuoteMeta(name) + ` .*--dry-run`)
		if !tested.Match(text) && !tested.Match(prod) {
			t.Errorf("no script runs %s with --dry-run", name)
		}
	}
	if n < 25 {
		t.Errorf("got %d commands with --dry-run, want all that change something", n)
	}
}

func TestEveryCommandHasAnExample(t *testing.T) {
	for _, part := range strings.Split(reference(t), "\n### ")[1:] {
		name, body, _ := strings.Cut(part, "\n")
		if strings.Contains(body, "\n    keyhold") && !strings.Contains(body, "Examples:") && !strings.HasPrefix(name, "keyhold completion") {
			t.Errorf("%s has no example", name)
		}
	}
}
