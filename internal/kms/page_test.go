package kms_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/internal/kms"
)

const page = "../../docs/algorithms.md"

// TestPageShowsTheAlgorithms as they are. KEYHOLD_UPDATE=1 writes them into the page.
func TestPageShowsTheAlgorithms(t *testing.T) {
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for name, want := range map[string]string{"algorithms": algorithmTable(), "leaks": leakTable()} {
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
		t.Errorf("%s is not what the algorithm table says: run KEYHOLD_UPDATE=1 go test ./internal/kms", page)
	}
}

func algorithmTable() string {
	var b strings.Builder
	b.WriteString("| algorithm | strength | usage | schemes | FIPS profile |\n|---|---|---|---|---|\n")
	for _, a := range kms.AllAlgorithms() {
		for _, u := range a.Usages() {
			var schemes, fips []string
			for _, s := range a.Facts().Schemes {
				if s.Usage != u {
					continue
				}
				schemes = append(schemes, "`"+s.Scheme.String()+"`")
				if s.Leave[kms.ProfileFIPS] != kms.Full {
					fips = append(fips, permitted(s.Leave[kms.ProfileFIPS])+" `"+s.Scheme.String()+"`")
				}
			}
			leave := "yes"
			switch {
			case len(fips) == len(schemes):
				leave = "no"
			case len(fips) > 0:
				leave = "yes, but " + strings.Join(fips, ", ")
			}
			fmt.Fprintf(&b, "| `%s` | %d | %s | %s | %s |\n", a, a.Facts().Strength, u, strings.Join(schemes, ", "), leave)
		}
	}
	return b.String()
}

func permitted(l kms.Leave) string {
	if l == kms.ProcessOnly {
		return "only processes"
	}
	return "not"
}

func leakTable() string {
	var b strings.Builder
	b.WriteString("| algorithm | what its ciphertexts show |\n|---|---|\n")
	for _, a := range kms.AllAlgorithms() {
		if l := a.Facts().Leaks; l != "" {
			fmt.Fprintf(&b, "| `%s` | %s |\n", a, l)
		}
	}
	return b.String()
}
