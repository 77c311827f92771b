package lifecycle_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
)

const page = "../../docs/lifecycle.md"

// TestPageShowsTheTables as they are. KEYHOLD_UPDATE=1 writes them into the page.
func TestPageShowsTheTables(t *testing.T) {
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for name, want := range map[string]string{"states": stateTable(), "switches": switchTable(), "moves": moveTable()} {
		block := regexp.MustCompile(`(?s)(<!-- ` + name + ` -->\n).*?(<!-- /` + name + ` -->\n)`)
		if !block.MatchString(text) {
			t.Fatalf("%s has no block %q", page, name)
		}
		text = block.ReplaceAllLiteralString(text, "<!-- "+name+" -->\n"+want+"<!-- /"+name+" -->\n")
	}
	if os.Getenv("KEYHOLD_UPDATE") == "1" {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil { //nolint:gosec // documentation is public
			t.Fatal(err)
		}
		return
	}
	if text != string(b) {
		t.Errorf("%s is not what the tables say: run KEYHOLD_UPDATE=1 go test ./internal/lifecycle", page)
	}
}

// when says under which terms something is permitted.
func when(permits func(lifecycle.Terms) bool) string {
	if permits(lifecycle.Terms{}) {
		if permits(lifecycle.Terms{Freeze: true}) {
			return "yes"
		}
		return "unless frozen"
	}
	var all []string
	for _, c := range []struct {
		terms lifecycle.Terms
		word  string
	}{{lifecycle.Terms{ProcessDeactivated: true}, "preset"}, {lifecycle.Terms{Recall: true}, "recall"}, {lifecycle.Terms{Compromised: true}, "permission"}} {
		if permits(c.terms) {
			all = append(all, c.word)
		}
	}
	if all == nil {
		return "–"
	}
	return strings.Join(all, " or ")
}

func needs() []lifecycle.Need {
	return []lifecycle.Need{lifecycle.Protect, lifecycle.Process, lifecycle.Rewrap, lifecycle.Publish}
}

func stateTable() string {
	var b strings.Builder
	b.WriteString("| state | protect | process | re-wrap | publish |\n|---|---|---|---|---|\n")
	for _, st := range kms.AllStates() {
		fmt.Fprintf(&b, "| %s |", st)
		for _, n := range needs() {
			fmt.Fprintf(&b, " %s |", when(func(t lifecycle.Terms) bool { return lifecycle.VersionPermits(st, n, t) == nil }))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func switchTable() string {
	var b strings.Builder
	b.WriteString("| switch | protect | process | re-wrap | publish | rotate | change | look |\n|---|---|---|---|---|---|---|---|\n")
	for _, sw := range kms.AllSwitches() {
		fmt.Fprintf(&b, "| %s |", sw)
		for _, n := range append(needs(), lifecycle.Rotate, lifecycle.Manage, lifecycle.Read) {
			fmt.Fprintf(&b, " %s |", when(func(t lifecycle.Terms) bool { return lifecycle.KeyPermits(sw, n, t) == nil }))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func moveTable() string {
	var b strings.Builder
	b.WriteString("| from | to |\n|---|---|\n")
	for _, from := range kms.AllStates() {
		var all []string
		for _, to := range kms.AllStates() {
			if lifecycle.Next(from, to) == nil {
				all = append(all, to.String())
			}
		}
		if all == nil {
			all = []string{"–"}
		}
		fmt.Fprintf(&b, "| %s | %s |\n", from, strings.Join(all, ", "))
	}
	return b.String()
}
