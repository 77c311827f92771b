package doctest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the repository, from here.
const root = "../.."

// pages are all Markdown files of the repository, by path from its root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{"node_modules", "bin", "testdata", "vendor"}, d.Name()) || strings.HasPrefix(d.Name(), ".") && p != root {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(p) != ".md" {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		all[filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"README.md", "ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/errors.md", "docs/operations.md", "docs/dependencies.md"} {
		if all[p] == "" {
			t.Errorf("there is no %s", p)
		}
	}
	return all
}

var (
	fence = regexp.MustCompile("(?ms)^```.*?^```$")
	link  = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	head  = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	plain = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// prose is a page without its blocks of code.
func prose(text string) string { return fence.ReplaceAllString(text, "") }

// anchors are the names that headings can be linked by.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range head.FindAllStringSubmatch(prose(text), -1) {
		slug := strings.ReplaceAll(plain.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")
		all[slug] = true
	}
	return all
}

func TestLinksLeadSomewhere(t *testing.T) {
	all := pages(t)
	seen := 0
	for page, text := range all {
		for _, m := range link.FindAllStringSubmatch(prose(text), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.HasPrefix(target, "https://") {
				continue
			}
			seen++
			to := page
			if target != "" {
				to = filepath.ToSlash(filepath.Join(filepath.Dir(page), target))
				if _, err := os.Stat(filepath.Join(root, to)); err != nil {
					t.Errorf("%s links to %s, which is not there", page, m[1])
					continue
				}
			}
			if anchor != "" && filepath.Ext(to) == ".md" && !anchors(all[to])[anchor] {
				t.Errorf("%s links to %s, which has no such heading", page, m[1])
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d links were followed", seen)
	}
}

func TestPagesNameNoMachine(t *testing.T) {
	machine := regexp.MustCompile(`(^|[^\w.])/(home|root|Users|tmp|mnt|opt|workspace)/`)
	for page, text := range pages(t) {
		for i, line := range strings.Split(text, "\n") {
			if machine.MatchString(line) {
				t.Errorf("%s:%d names a path of somebody's machine: %s", page, i+1, line)
			}
		}
	}
}

// What pages say of tests and commands is there.
func TestPagesNameWhatExists(t *testing.T) {
	all := pages(t)
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, "_test.go") {
			return err
		}
		text, err := os.ReadFile(p)
		for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
			tests[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test[A-Z]\\w+)`")
	commands := anchors(all["docs/cli.md"])
	command := regexp.MustCompile("`(?:bin/)?keyhold ([a-z][a-z -]*[a-z])")
	seen := 0
	for page, text := range all {
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			seen++
			if !tests[m[1]] {
				t.Errorf("%s names the test %s, which is not there", page, m[1])
			}
		}
		if page == "docs/cli.md" {
			continue
		}
		for _, m := range command.FindAllStringSubmatch(prose(text), -1) {
			words := strings.Fields(m[1])
			words = words[:min(len(words), 2)] // a third word is an argument
			if at := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "-") }); at >= 0 {
				words = words[:at]
			}
			if !commands["keyhold-"+strings.Join(words, "-")] && !commands["keyhold-"+words[0]] {
				t.Errorf("%s names the command keyhold %s, which docs/cli.md does not have", page, strings.Join(words, " "))
			}
			seen++
		}
	}
	if seen < 60 {
		t.Errorf("only %d names were looked at", seen)
	}
}
